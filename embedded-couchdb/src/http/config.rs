//! `/_node/{node}/_config`: the settings of CouchDB that this server has. They are kept in the store.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use http::Method;

use super::{app::App, request::ApiRequest, response::ApiResponse};
use crate::{
    api_error::ApiError,
    json::Json,
    storage::{Store, settings},
};

/// A section, a key, and the value without which nothing is set.
type Known = (&'static str, &'static str, &'static str);

const KNOWN: [Known; 7] = [
    ("chttpd", "enable_cors", "false"),
    ("cors", "credentials", "false"),
    ("cors", "headers", ""),
    ("cors", "max_age", "600"),
    ("cors", "methods", ""),
    ("cors", "origins", ""),
    ("couchdb", "users_db_security_editable", "false"),
];

/// The settings that are set, by section and key.
#[derive(Default)]
pub(crate) struct Settings(RwLock<BTreeMap<(String, String), String>>);

impl Settings {
    /// Reads the settings from the store.
    pub(crate) async fn load(store: &Store) -> Result<Self, ApiError> {
        let loaded = store
            .read(|conn| {
                let mut loaded = BTreeMap::new();
                for (section, key, _) in KNOWN {
                    if let Some(value) = settings::get(conn, &stored_name(section, key))? {
                        loaded.insert((section.to_owned(), key.to_owned()), value);
                    }
                }
                Ok(loaded)
            })
            .await?;
        Ok(Self(RwLock::new(loaded)))
    }

    /// The value that somebody has set.
    fn set(&self, section: &str, key: &str) -> Option<String> {
        let set = self.0.read().unwrap_or_else(PoisonError::into_inner);
        set.get(&(section.to_owned(), key.to_owned())).cloned()
    }

    /// The value of a setting.
    pub(crate) fn get(&self, section: &str, key: &str) -> String {
        self.set(section, key).unwrap_or_else(|| {
            let known = KNOWN
                .iter()
                .find(|known| (known.0, known.1) == (section, key));
            known.map_or("", |known| known.2).to_owned()
        })
    }

    /// Whether a setting is `true`.
    pub(crate) fn is_on(&self, section: &str, key: &str) -> bool {
        self.get(section, key) == "true"
    }

    fn put(&self, section: &str, key: &str, value: Option<String>) {
        let mut set = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let name = (section.to_owned(), key.to_owned());
        match value {
            Some(value) => set.insert(name, value),
            None => set.remove(&name),
        };
    }

    fn section(&self, section: &str) -> Json {
        let keys = KNOWN.iter().filter(|known| known.0 == section);
        let members = keys.filter_map(|(_, key, _)| {
            let value = self.set(section, key)?;
            Some(((*key).to_owned(), value.into()))
        });
        Json::Obj(members.collect())
    }
}

fn stored_name(section: &str, key: &str) -> String {
    format!("config/{section}/{key}")
}

/// `/_node/{node}/_config…`; `path` follows `_config`.
pub(crate) async fn config(
    app: &App,
    request: &ApiRequest,
    path: &[&str],
) -> Result<ApiResponse, ApiError> {
    match (&request.method, path) {
        (&(Method::GET | Method::HEAD), []) => {
            let mut sections: Vec<&str> = KNOWN.iter().map(|known| known.0).collect();
            sections.dedup();
            let members = sections
                .into_iter()
                .map(|section| (section.to_owned(), app.settings.section(section)));
            Ok(ApiResponse::ok(&Json::Obj(members.collect())))
        }
        (_, []) => Err(ApiError::method_not_allowed("GET")),
        (&(Method::GET | Method::HEAD), [section]) => {
            Ok(ApiResponse::ok(&app.settings.section(section)))
        }
        (_, [_]) => Err(ApiError::method_not_allowed("GET")),
        (method, [section, key]) => {
            let is_known = KNOWN
                .iter()
                .any(|known| (known.0, known.1) == (*section, *key));
            match *method {
                Method::GET | Method::HEAD => {
                    let value = app.settings.set(section, key).ok_or_else(unknown)?;
                    Ok(ApiResponse::ok(&value.into()))
                }
                Method::PUT if is_known => {
                    let Json::Str(value) = request.json()? else {
                        return Err(ApiError::bad_request("the value must be a JSON string"));
                    };
                    change(app, section, key, Some(value)).await
                }
                Method::DELETE => match app.settings.set(section, key) {
                    Some(_) => change(app, section, key, None).await,
                    None => Err(unknown()),
                },
                Method::PUT => Err(ApiError::not_implemented(format!(
                    "this server has no setting {section}/{key}: it is configured by its command line and environment"
                ))),
                _ => Err(ApiError::method_not_allowed("DELETE,GET,PUT")),
            }
        }
        _ => Err(ApiError::missing()),
    }
}

fn unknown() -> ApiError {
    ApiError::new(
        http::StatusCode::NOT_FOUND,
        "not_found",
        "unknown_config_value",
    )
}

/// Changes a setting and answers with its former value.
async fn change(
    app: &App,
    section: &str,
    key: &str,
    value: Option<String>,
) -> Result<ApiResponse, ApiError> {
    let before = app.settings.set(section, key).unwrap_or_default();
    let (name, stored) = (stored_name(section, key), value.clone());
    app.store
        .write(move |transaction| match stored {
            Some(value) => settings::set(transaction, &name, &value),
            None => settings::remove(transaction, &name),
        })
        .await?;
    app.settings.put(section, key, value);
    Ok(ApiResponse::ok(&before.into()))
}
