//! The database `_users`: the passwords of users are hashed, their documents are checked, and each sees only its own.

use std::num::NonZeroU32;

use rusqlite::Connection;

use super::{
    access::Access,
    app::App,
    auth::{ADMIN, Caller},
    logins::{self, Hash, ITERATIONS, MAX_ITERATIONS, Prf},
};
use crate::{
    api_error::ApiError,
    erlang::printed_readably,
    json::Json,
    storage::{
        Store, databases,
        documents::{self, NewDoc, Plan},
    },
};

/// The name of the database.
pub(crate) const USERS: &str = "_users";

/// The prefix of the ids of its documents.
const PREFIX: &str = "org.couchdb.user:";

/// The members that hold a hash.
const HASH_MEMBERS: [&str; 7] = [
    "derived_key",
    "iterations",
    "password_scheme",
    "password_sha",
    "preserve_salt",
    "pbkdf2_prf",
    "salt",
];

/// A user, as its document describes it.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) roles: Vec<String>,
    pub(crate) salt: String,
    /// `None` if the user has no password, or one whose scheme is unknown: nobody can log in.
    pub(crate) hash: Option<Hash>,
}

/// Finds a user.
pub(crate) async fn find(store: &Store, name: &str) -> Result<Option<User>, ApiError> {
    let id = format!("{PREFIX}{name}");
    store
        .read(move |conn| {
            let db = databases::open(conn, USERS)?;
            let Some(row) = documents::find(conn, db.id, &id)? else {
                return Ok(None);
            };
            let Some(body) = row.body.filter(|_| !row.deleted) else {
                return Ok(None);
            };
            let text = documents::body(conn, body)?.text;
            Ok(Json::parse(text.as_bytes()).ok().map(|doc| parse(&doc)))
        })
        .await
}

fn parse(doc: &Json) -> User {
    let text = |key: &str| doc.get(key).and_then(Json::as_str);
    let salt = text("salt").unwrap_or_default().to_owned();
    let roles = doc.get("roles").and_then(Json::as_arr).unwrap_or_default();
    let hash = match text("password_scheme") {
        Some("pbkdf2") => text("derived_key").map(|key| pbkdf2(doc, key)),
        None | Some("simple") => text("password_sha").map(|sha| Hash::Simple(sha.to_owned())),
        Some(_) => None,
    };
    User {
        roles: roles
            .iter()
            .filter_map(Json::as_str)
            .map(str::to_owned)
            .collect(),
        salt,
        hash,
    }
}

fn pbkdf2(doc: &Json, key: &str) -> Hash {
    let prf = match doc.get("pbkdf2_prf") {
        None => Some(Prf::Sha1),
        Some(prf) => prf.as_str().and_then(Prf::parse),
    };
    let Some(prf) = prf else {
        return Hash::Unusable("PRF is invalid");
    };
    let iterations = doc.get("iterations").and_then(Json::as_i64).unwrap_or(0);
    if iterations < 1 {
        return Hash::Unusable("Iteration count is too low for this server");
    }
    let iterations = u32::try_from(iterations)
        .ok()
        .filter(|count| *count <= MAX_ITERATIONS)
        .and_then(NonZeroU32::new);
    match iterations {
        Some(iterations) => Hash::Pbkdf2 {
            prf,
            iterations,
            key: key.to_owned(),
        },
        None => Hash::Unusable("Iteration count is too high for this server"),
    }
}

/// Replaces the password in each document by its hash.
pub(crate) async fn with_hashes(app: &App, docs: Vec<NewDoc>) -> Result<Vec<NewDoc>, ApiError> {
    let mut hashed = Vec::with_capacity(docs.len());
    for mut doc in docs {
        let password = doc
            .body
            .iter()
            .position(|(key, value)| key == "password" && *value != Json::Null);
        if let Some(place) = password.filter(|_| !doc.deleted) {
            match doc.body.remove(place).1 {
                Json::Str(password) => hash(app, &mut doc.body, password).await?,
                other => {
                    return Err(ApiError::forbidden(format!(
                        "Password value of '{}' is invalid.",
                        printed_readably(&other)
                    )));
                }
            }
        }
        hashed.push(doc);
    }
    Ok(hashed)
}

async fn hash(app: &App, body: &mut Vec<(String, Json)>, password: String) -> Result<(), ApiError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)
        .map_err(|_| ApiError::internal("the system has no random bytes for a salt"))?;
    let salt = hex::encode(salt);
    let iterations = NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MIN);
    let text = salt.clone();
    let key = app
        .auth
        .logins
        .compute(move || logins::derive(Prf::Sha256, iterations, &text, &password))
        .await?;
    body.retain(|(name, _)| !HASH_MEMBERS.contains(&name.as_str()));
    let members = [
        ("password_scheme", "pbkdf2".into()),
        ("pbkdf2_prf", "sha256".into()),
        ("salt", salt.into()),
        ("iterations", i64::from(ITERATIONS).into()),
        ("derived_key", key.into()),
    ];
    let members = members.map(|(name, value): (&str, Json)| (name.to_owned(), value));
    body.splice(0..0, members);
    Ok(())
}

/// The id of the caller's own document. A stranger has none: no document has this id then.
pub(crate) fn id_of(caller: &Caller) -> String {
    format!("{PREFIX}{}", caller.name.as_deref().unwrap_or_default())
}

/// Whether the document of an id belongs to the caller.
fn is_own(caller: &Caller, id: &str) -> bool {
    caller.name.is_some() && id == id_of(caller)
}

/// Refuses to show a document to who is no administrator and not its owner.
pub(crate) fn check_read(caller: &Caller, id: &str) -> Result<(), ApiError> {
    if caller.is_admin() {
        Ok(())
    } else if id.starts_with("_design/") {
        Err(ApiError::forbidden(
            "Only administrators can view design docs in the users database.",
        ))
    } else if is_own(caller, id) {
        Ok(())
    } else {
        Err(ApiError::missing())
    }
}

/// Refuses what CouchDB refuses in `_users`, in the same order and words.
pub(crate) fn check(
    conn: &Connection,
    caller: &Caller,
    access: &Access,
    new: &NewDoc,
    plan: &Plan,
) -> Result<(), ApiError> {
    let is_admin = caller.is_admin() || access.is_database_admin();
    let old = match (&plan.there, plan.replaced()) {
        (Some(row), Some(rev)) => row
            .tree
            .get(rev)
            .and_then(|node| node.stored?.body)
            .map(|body| documents::body(conn, body))
            .transpose()?
            .and_then(|body| Json::parse(body.text.as_bytes()).ok()),
        _ => None,
    };
    let named = |doc: &Json| doc.get("name").and_then(Json::as_str).map(str::to_owned);
    let old_name = old.as_ref().and_then(named);
    // A stranger may register, and a user may change its own document.
    if !is_admin && caller.name.is_some() && !is_own(caller, &new.id) {
        return Err(ApiError::missing());
    }
    if new.deleted {
        return if is_admin || old_name == caller.name {
            Ok(())
        } else {
            Err(ApiError::forbidden(
                "Only admins may delete other user docs.",
            ))
        };
    }
    check_form(new)?;
    let member = |key: &str| member(new, key);
    let name = member("name").and_then(Json::as_str).unwrap_or_default();
    if old.is_some() && old_name.as_deref() != Some(name) {
        return Err(ApiError::forbidden("Usernames can not be changed."));
    }
    check_hash(new)?;
    let roles = member("roles").and_then(Json::as_arr).unwrap_or_default();
    if !is_admin {
        check_roles(caller, roles, old.as_ref(), old_name.as_deref())?;
    }
    let is_reserved = |role: &Json| {
        let role = role.as_str().unwrap_or_default();
        role.starts_with('_') && !(role == "_metrics" && is_admin)
    };
    if roles.iter().any(is_reserved) {
        return Err(ApiError::forbidden(
            "No system roles (starting with underscore) in users db.",
        ));
    }
    if name.starts_with('_') {
        return Err(ApiError::forbidden(
            "Username may not start with underscore.",
        ));
    }
    if name.contains(':') {
        return Err(ApiError::forbidden(
            "Character `:` is not allowed in usernames.",
        ));
    }
    Ok(())
}

fn member<'a>(doc: &'a NewDoc, key: &str) -> Option<&'a Json> {
    doc.body
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value)
}

/// Whether JavaScript takes a value for true.
fn is_truthy(value: Option<&Json>) -> bool {
    match value {
        None | Some(Json::Null | Json::Bool(false) | Json::Int(0)) => false,
        Some(Json::Str(text)) => !text.is_empty(),
        Some(Json::Float(number)) => *number != 0.0,
        Some(_) => true,
    }
}

fn check_form(new: &NewDoc) -> Result<(), ApiError> {
    if member(new, "type").and_then(Json::as_str) != Some("user") {
        return Err(ApiError::forbidden("doc.type must be user"));
    }
    if !is_truthy(member(new, "name")) {
        return Err(ApiError::forbidden("doc.name is required"));
    }
    let roles = member(new, "roles").filter(|roles| is_truthy(Some(roles)));
    let Some(roles) = roles else {
        return Err(ApiError::forbidden("doc.roles must exist"));
    };
    let Some(roles) = roles.as_arr() else {
        return Err(ApiError::forbidden("doc.roles must be an array"));
    };
    if roles.iter().any(|role| role.as_str().is_none()) {
        return Err(ApiError::forbidden("doc.roles can only contain strings"));
    }
    let name = member(new, "name").and_then(Json::as_str);
    if new.id.strip_prefix(PREFIX) != name || name.is_none() {
        return Err(ApiError::forbidden(
            "Doc ID must be of the form org.couchdb.user:name",
        ));
    }
    Ok(())
}

fn check_hash(new: &NewDoc) -> Result<(), ApiError> {
    if is_truthy(member(new, "password_sha")) && !is_truthy(member(new, "salt")) {
        return Err(ApiError::forbidden(
            "Users with password_sha must have a salt.See /_utils/script/couch.js for example code.",
        ));
    }
    let scheme = member(new, "password_scheme").filter(|scheme| is_truthy(Some(scheme)));
    match scheme {
        None => Ok(()),
        Some(Json::Str(scheme)) if scheme == "simple" => Ok(()),
        Some(Json::Str(scheme)) if scheme == "pbkdf2" => {
            let iterations = member(new, "iterations");
            if !matches!(
                iterations,
                Some(Json::Int(_) | Json::Big(_) | Json::Float(_))
            ) {
                return Err(ApiError::forbidden("iterations must be a number."));
            }
            if member(new, "derived_key").and_then(Json::as_str).is_none() {
                return Err(ApiError::forbidden("derived_key must be a string."));
            }
            Ok(())
        }
        Some(Json::Str(other)) => Err(unknown_scheme(other)),
        Some(other) => Err(unknown_scheme(&other.to_string())),
    }
}

fn unknown_scheme(scheme: &str) -> ApiError {
    ApiError::forbidden(format!("Password scheme `{scheme}` not supported."))
}

/// A user changes its own document only, and not its roles.
fn check_roles(
    caller: &Caller,
    roles: &[Json],
    old: Option<&Json>,
    old_name: Option<&str>,
) -> Result<(), ApiError> {
    let Some(old) = old else {
        return if roles.is_empty() {
            Ok(())
        } else {
            Err(ApiError::forbidden("Only _admin may set roles"))
        };
    };
    if caller.name.as_deref() != old_name {
        return Err(ApiError::forbidden(
            "You may only update your own user document.",
        ));
    }
    let sorted = |roles: &[Json]| {
        let mut roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
        roles.sort();
        roles
    };
    let before = old.get("roles").and_then(Json::as_arr).unwrap_or_default();
    if sorted(before) == sorted(roles) {
        Ok(())
    } else {
        Err(ApiError::forbidden(format!("Only {ADMIN} may edit roles")))
    }
}
