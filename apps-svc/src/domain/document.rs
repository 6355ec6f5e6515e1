//! The documents of an app, in the form that other software of the ecosystem reads.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{app_type::AppType, manifest::Manifest, version_folder::VersionFolder};

/// An installation: the input of all documents of an app.
#[derive(Debug)]
pub(crate) struct Installation<'a> {
    /// The instance's domain.
    pub(crate) domain: &'a str,
    /// The instance's prefix.
    pub(crate) prefix: &'a str,
    /// The kind of app.
    pub(crate) kind: AppType,
    /// The slug under which it is installed.
    pub(crate) slug: &'a str,
    /// The source, as stored.
    pub(crate) source: &'a str,
    /// The version, as stored.
    pub(crate) version: &'a str,
    /// The SHA-256 of the archive in hex; empty when unknown.
    pub(crate) checksum: &'a str,
    /// The current time, RFC 3339.
    pub(crate) now: &'a str,
    /// The manifest.
    pub(crate) manifest: &'a Manifest,
}

/// A document that has not been written yet.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// Its id.
    pub(crate) id: String,
    /// Its members.
    pub(crate) body: Value,
}

impl Installation<'_> {
    /// The document of the app.
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

    /// The document with the app's permissions.
    pub(crate) fn permission(&self) -> Draft {
        self.permission_with(&Map::new())
    }

    /// The same, with rules that the app was granted besides those of its manifest.
    pub(crate) fn permission_with(&self, extras: &Map<String, Value>) -> Draft {
        let mut body = Map::new();
        body.insert("type".to_owned(), json!(self.kind.permission_type()));
        body.insert(
            "source_id".to_owned(),
            json!(self.kind.document_id(self.slug)),
        );
        let mut rules = self.manifest.permissions.clone().unwrap_or_default();
        for (name, rule) in extras {
            rules.entry(name).or_insert_with(|| rule.clone());
        }
        if !rules.is_empty() {
            body.insert("permissions".to_owned(), Value::Object(rules));
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

    /// The documents that trigger the app's services.
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

    /// The key of the app's pointer in the content store: derived from source, version and checksum.
    pub(crate) fn form(&self) -> String {
        form(self.source, self.version, self.checksum)
    }

    /// The folder of the app's code on a file store that other software uses, too.
    pub(crate) fn folder(&self) -> VersionFolder {
        VersionFolder::of(self.version, self.checksum)
    }

    fn trigger_id(&self, service: &str) -> String {
        trigger_id(self.prefix, self.slug, service)
    }
}

/// The key of the pointer of an app with this source, version and checksum.
pub(crate) fn form(source: &str, version: &str, checksum: &str) -> String {
    derived_id(&[source, version, checksum])
}

/// The id of the trigger of a service. It is deterministic, as that of the permission.
pub(crate) fn trigger_id(prefix: &str, slug: &str, service: &str) -> String {
    derived_id(&["io.cozy.triggers", prefix, slug, service])
}

/// The id of an app's permission document. It is deterministic, so an installation that is retried after a crash
/// creates no second document.
pub(crate) fn permission_id(prefix: &str, kind: AppType, slug: &str) -> String {
    derived_id(&["io.cozy.permissions", prefix, kind.as_str(), slug])
}

/// A suffix of ten letters for the version of an app from a folder, because its files may change without a new version.
/// It is derived from the contents, so a retry gets the same version.
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
