//! Converts documents to messages.

use hamlet_proto::hamlet::apps::v1::{App, app};
use prost_types::Timestamp;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    actions::{install::Settled, update::AVAILABLE_VERSION},
    domain::app_type::AppType,
    store::{AppDocument, localized_name, text},
};

/// The kind of app that a request names; web app by default. `None` for an unknown number.
pub(super) fn kind(number: i32) -> Option<AppType> {
    match app::Kind::try_from(number) {
        Ok(app::Kind::Unspecified | app::Kind::Webapp) => Some(AppType::Webapp),
        Ok(app::Kind::Konnector) => Some(AppType::Konnector),
        Err(_) => None,
    }
}

/// How apps are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    /// The language of the instance, for titles.
    pub(super) locale: &'a str,
    /// Whether with the whole document.
    pub(super) with_document: bool,
}

/// An installed app.
pub(super) fn app(kind: AppType, document: &AppDocument, shown: Shown<'_>) -> App {
    let text = |name: &str| text(document, name).to_owned();
    App {
        slug: text("slug"),
        display_name: localized_name(document, shown.locale).to_owned(),
        kind: match kind {
            AppType::Webapp => app::Kind::Webapp.into(),
            AppType::Konnector => app::Kind::Konnector.into(),
        },
        version: text("version"),
        source: text("source"),
        state: text("state"),
        editor: text("editor"),
        checksum: text("checksum"),
        create_time: timestamp(&text("created_at")),
        update_time: timestamp(&text("updated_at")),
        etag: document.rev.to_string(),
        document: if shown.with_document {
            Value::Object(document.body.clone()).to_string()
        } else {
            String::new()
        },
        unchanged: None,
        available_version: text(AVAILABLE_VERSION),
        new_permissions: String::new(),
    }
}

/// An app after a call that installs or updates it.
pub(super) fn settled(kind: AppType, settled: &Settled, shown: Shown<'_>) -> App {
    App {
        unchanged: Some(settled.unchanged),
        new_permissions: if settled.asked.is_empty() {
            String::new()
        } else {
            Value::Object(settled.asked.clone()).to_string()
        },
        ..app(kind, &settled.app, shown)
    }
}

fn timestamp(text: &str) -> Option<Timestamp> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(Timestamp {
        seconds: time.unix_timestamp(),
        nanos: i32::try_from(time.nanosecond()).ok()?,
    })
}
