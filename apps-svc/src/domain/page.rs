//! What the page of an app holds.

use serde_json::{Value as Json, json};
use service_kit::contexts::Subdomains;

use super::{addresses::Addresses, template::Value};

/// What the page of an app holds for whoever opens it.
pub(crate) struct Values<'a> {
    /// The token of the app; empty for a stranger.
    pub(crate) token: String,
    /// Whether the owner opens it.
    pub(crate) is_logged_in: bool,
    /// Whether the context allows tracking.
    pub(crate) tracking: bool,
    /// The feature flags, as JSON.
    pub(crate) flags: &'a str,
    /// What the instance can do, as JSON.
    pub(crate) capabilities: &'a str,
    /// Where the app and its instance are.
    pub(crate) at: &'a Addresses,
    /// The language of the instance.
    pub(crate) locale: &'a str,
    /// The context of the instance.
    pub(crate) context: &'a str,
    /// The slug of the app.
    pub(crate) slug: &'a str,
    /// Its name in that language.
    pub(crate) name: &'a str,
    /// What is written before its name.
    pub(crate) name_prefix: &'a str,
    /// Who made it.
    pub(crate) editor: &'a str,
    /// The path of its icon.
    pub(crate) icon: &'a str,
}

impl Values<'_> {
    /// The value of a slot; `None` when there is none of this name.
    pub(crate) fn of(&self, name: &str) -> Option<Value> {
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        match name {
            "CozyData" => Some(Value::Text(self.data())),
            "Token" => text(&self.token),
            "Domain" => text(&self.at.instance),
            "SubDomain" => text(self.subdomain()),
            "Tracking" => Some(Value::Text(self.tracking.to_string())),
            "Locale" => text(self.locale),
            "ContextName" => text(self.context),
            "AppSlug" => text(self.slug),
            "AppName" => text(self.name),
            "AppNamePrefix" => text(self.name_prefix),
            "AppEditor" => text(self.editor),
            "IconPath" => text(self.icon),
            "Flags" => Some(Value::Text(object(self.flags).to_string())),
            "Capabilities" => Some(Value::Text(object(self.capabilities).to_string())),
            "Favicon" => Some(Value::Html(self.favicon())),
            // Scripts, fonts and style sheets that another server brings along, and this one does not: a link to them
            // would be a dead one. An instance has no warnings here, and no picture behind its apps.
            "CozyBar" | "CozyClientJS" | "CozyFonts" | "ThemeCSS" | "Warnings" => {
                Some(Value::Html(String::new()))
            }
            "DefaultWallpaper" => text(""),
            _ => None,
        }
    }

    /// All of it in one JSON object, for scripts.
    fn data(&self) -> String {
        json!({
            "token": self.token,
            "domain": self.at.instance,
            "subdomain": self.subdomain(),
            "tracking": self.tracking,
            "locale": self.locale,
            "isLoggedIn": self.is_logged_in,
            "app": {
                "editor": self.editor,
                "name": self.name,
                "prefix": self.name_prefix,
                "slug": self.slug,
                "icon": self.icon,
            },
            "flags": object(self.flags),
            "capabilities": object(self.capabilities),
        })
        .to_string()
    }

    const fn subdomain(&self) -> &'static str {
        match self.at.subdomains() {
            Subdomains::Nested => "nested",
            Subdomains::Flat => "flat",
        }
    }

    /// The icon of all pages of the instance, which the gateway has.
    fn favicon(&self) -> String {
        // A host has no character that means something in HTML.
        let instance = self.at.instance_origin();
        format!("<link rel=\"icon\" href=\"{instance}/favicon.svg\" type=\"image/svg+xml\">")
    }
}

/// A JSON object; an empty one where the text is none.
fn object(text: &str) -> Json {
    let read = serde_json::from_str(text).ok();
    read.filter(Json::is_object).unwrap_or_else(|| json!({}))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "a failed expectation is the test failing"
    )]

    use serde_json::{Value as Json, json};
    use service_kit::contexts::Subdomains;

    use super::{Value, Values};
    use crate::domain::addresses::Addresses;

    #[test]
    fn a_page_gets_what_compatible_apps_read() {
        let at = Addresses::of(
            "home.ann.example:81",
            "home",
            Subdomains::Nested,
            "http://ann.example/",
        )
        .unwrap();
        let values = Values {
            token: "jwt".to_owned(),
            is_logged_in: true,
            tracking: false,
            flags: r#"{"a":1}"#,
            capabilities: "no object",
            at: &at,
            locale: "fr",
            context: "",
            slug: "home",
            name: "Accueil",
            name_prefix: "",
            editor: "Us",
            icon: "icon.svg",
        };
        let text = |name: &str| match values.of(name) {
            Some(Value::Text(text)) => text,
            other => panic!("{name}: {other:?}"),
        };
        let data: Json = serde_json::from_str(&text("CozyData")).unwrap();
        assert_eq!(
            data,
            json!({
                "token": "jwt", "domain": "ann.example:81", "subdomain": "nested", "tracking": false,
                "locale": "fr", "isLoggedIn": true,
                "app": {"editor": "Us", "name": "Accueil", "prefix": "", "slug": "home", "icon": "icon.svg"},
                "flags": {"a": 1}, "capabilities": {},
            })
        );
        assert_eq!(text("Tracking"), "false");
        assert_eq!(text("Flags"), r#"{"a":1}"#);
        let favicon = values.of("Favicon").unwrap();
        assert!(
            matches!(favicon, Value::Html(html) if html.contains("//ann.example:81/favicon.svg"))
        );
        assert_eq!(values.of("Unknown"), None);
    }
}
