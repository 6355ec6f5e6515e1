//! The documents of an app, as other software of the ecosystem reads them.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{kind::Kind, manifest::Manifest};

/// What is installed where: all that goes into the documents.
#[derive(Debug)]
pub(crate) struct Installation<'a> {
    /// The instance's domain.
    pub(crate) domain: &'a str,
    /// The instance's prefix.
    pub(crate) prefix: &'a str,
    /// What it is.
    pub(crate) kind: Kind,
    /// The name it is installed under.
    pub(crate) slug: &'a str,
    /// Where it came from, as stored.
    pub(crate) source: &'a str,
    /// The version that is stored.
    pub(crate) version: &'a str,
    /// The SHA-256 of the archive in hex, or empty.
    pub(crate) checksum: &'a str,
    /// The time, RFC 3339.
    pub(crate) now: &'a str,
    /// The manifest.
    pub(crate) manifest: &'a Manifest,
}

/// A document that is yet to be written.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// Its id.
    pub(crate) id: String,
    /// Its members.
    pub(crate) body: Value,
}

impl Installation<'_> {
    /// The document of the app. Its triggers are those of [`Self::triggers`].
    pub(crate) fn app(&self) -> Draft {
        let mut members = self.manifest.members.clone();
        if let Some(Value::Object(services)) = members.get_mut("services") {
            for trigger in &self.manifest.triggers {
                if let Some(Value::Object(service)) = services.get_mut(&trigger.service) {
                    service.insert(
                        "trigger_id".to_owned(),
                        json!(self.trigger_id(&trigger.service)),
                    );
                }
            }
        }
        for (name, value) in [
            ("checksum", self.checksum),
            ("created_at", self.now),
            ("slug", self.slug),
            ("source", self.source),
            ("state", "ready"),
            ("updated_at", self.now),
            ("version", self.version),
        ] {
            members.insert(name.to_owned(), json!(value));
        }
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        Draft {
            id: self.kind.document_id(self.slug),
            body: Value::Object(members.into_iter().collect()),
        }
    }

    /// The document that says what the app may do.
    pub(crate) fn permission(&self) -> Draft {
        let mut body = Map::new();
        body.insert("type".to_owned(), json!(self.kind.permission_type()));
        body.insert(
            "source_id".to_owned(),
            json!(self.kind.document_id(self.slug)),
        );
        if let Some(rules) = &self.manifest.permissions {
            body.insert("permissions".to_owned(), Value::Object(rules.clone()));
        }
        body.insert(
            "cozyMetadata".to_owned(),
            json!({
                "doctypeVersion": "1",
                "metadataVersion": 1,
                "createdAt": self.now,
                "createdByApp": self.slug,
                "createdByAppVersion": self.version,
                "updatedAt": self.now,
                "updatedByApps": [{"slug": self.slug, "date": self.now, "version": self.version}],
            }),
        );
        Draft {
            id: permission_id(self.prefix, self.kind, self.slug),
            body: Value::Object(body),
        }
    }

    /// The documents that make its services run.
    pub(crate) fn triggers(&self) -> Vec<Draft> {
        self.manifest
            .triggers
            .iter()
            .map(|trigger| Draft {
                id: self.trigger_id(&trigger.service),
                body: json!({
                    "domain": self.domain,
                    "prefix": self.prefix,
                    "type": trigger.kind,
                    "worker": "service",
                    "arguments": trigger.arguments,
                    "debounce": trigger.debounce,
                    "options": null,
                    "message": {"slug": self.slug, "name": trigger.service},
                    "cozyMetadata": {
                        "doctypeVersion": "1",
                        "metadataVersion": 1,
                        "createdByApp": self.slug,
                        "createdAt": self.now,
                        "updatedAt": self.now,
                        "updatedByApps": [{"slug": self.slug, "date": self.now}],
                    },
                }),
            })
            .collect()
    }

    /// The form in which the contents know it.
    pub(crate) fn form(&self) -> String {
        derived_id(&[self.source, self.version, self.checksum])
    }

    fn trigger_id(&self, service: &str) -> String {
        derived_id(&["io.cozy.triggers", self.prefix, self.slug, service])
    }
}

/// The id of the permission document of an app. The same each time, so that an installation that is
/// repeated after a crash makes nothing twice.
pub(crate) fn permission_id(prefix: &str, kind: Kind, slug: &str) -> String {
    derived_id(&["io.cozy.permissions", prefix, kind.as_str(), slug])
}

/// Ten letters after the version of an app from a folder, which may change without a new version. They
/// follow from the contents, so that a repeated installation comes to the same version.
pub(crate) fn folder_suffix(tree: &str) -> String {
    let letters = |byte: &u8| char::from(b'a' + byte % 26);
    Sha256::digest(tree.as_bytes())
        .iter()
        .take(10)
        .map(letters)
        .collect()
}

fn derived_id(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex::encode(
        hash.finalize()
            .iter()
            .take(16)
            .copied()
            .collect::<Vec<u8>>(),
    )
}
