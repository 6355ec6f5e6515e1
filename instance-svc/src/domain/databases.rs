//! The databases of a new instance, with their indexes and views.
//!
//! The list is that of the compatible data; every database that the manual names is here. The internal names of
//! the indexes are those that CouchDB derives from these definitions: with other names, CouchDB would add a
//! second index when other software defines the same one again.

use couch::design::{Index, View};
use serde_json::{Value, json};

/// The version of the indexes and views below, as instance documents keep it.
pub const INDEXES_VERSION: i64 = 38;

/// One database of an instance.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The doctype, such as `io.cozy.jobs`.
    pub doctype: &'static str,
    /// Its indexes.
    pub indexes: &'static [Index],
    /// Its views. They are for other software; Hamlet never reads them.
    pub views: &'static [View],
}

/// The databases that the instance service makes itself.
pub const OWN: &[Plan] = &[
    Plan {
        doctype: "com.bitwarden.ciphers",
        indexes: &[
            Index::new(
                "by-folder-id",
                "7217c1daaa464c4081fe7288269658da080fcc70",
                &["folder_id"],
            ),
            Index::new(
                "by-organization-id",
                "278eab78df9361737c564b0be830a0ab5eb147e9",
                &["organization_id"],
            ),
        ],
        views: &[],
    },
    Plan {
        doctype: CONTACTS,
        indexes: &[
            Index::new("by-me", "599cd0eba416e5eaab60087cefb114421f3cb286", &["me"]),
            Index::new(
                "by-groups",
                "c54dddf0990729664b2e5e5b3e6b4bb336a1bdc6",
                &["relationships.groups.data"],
            ),
        ],
        views: &[View::new(
            "contacts-by-email",
            "function (doc) {
  if (Array.isArray(doc.email)) {
    doc.email.forEach(function (entry) {
      if (entry && entry.address) {
        emit(entry.address, doc._id);
      }
    });
  }
}",
            None,
        )],
    },
    Plan {
        doctype: "io.cozy.jobs",
        indexes: &[
            Index::new(
                "by-worker-and-state",
                "b4055aa4a6aead4881f090bc76f4819bd9bc9869",
                &["worker", "state"],
            ),
            Index::new(
                "by-trigger-id",
                "9c991d52cf5359078e285a45b12e59cb91dd2764",
                &["trigger_id", "queued_at"],
            ),
            Index::new(
                "by-queued-at",
                "dc404ad786cb735d1d4bb77baed4d8ad82220e61",
                &["queued_at"],
            ),
        ],
        views: &[],
    },
    Plan {
        doctype: "io.cozy.nextcloud.migrations",
        indexes: &[Index::new(
            "by-status",
            "7788a8c14dbddaec3a2ebab8c460f251f8e72e37",
            &["status"],
        )],
        views: &[],
    },
    Plan {
        doctype: "io.cozy.notifications",
        indexes: &[Index::new(
            "by-source-id",
            "9cd9ca4e8db0bc5d1bdc7b03fecca92087ec9316",
            &["source_id", "created_at"],
        )],
        views: &[],
    },
    Plan {
        doctype: "io.cozy.oauth.clients",
        indexes: &[
            Index::new(
                "by-client-name",
                "817b3170c15f733b661ebec92ea6cab2d1ab5dc8",
                &["client_name"],
            ),
            Index::new(
                "by-notification-platform",
                "5ccc969aba2971424e9b8ab0180b924b09b00794",
                &["notification_platform"],
            ),
            Index::new(
                "connected-user-clients",
                "307d11f653f9bbfc1d8786e5bc7f412a5d675491",
                &["client_kind", "client_name"],
            )
            .only_where(connected_clients, connected_clients),
        ],
        views: &[],
    },
    Plan {
        doctype: "io.cozy.sessions.logins",
        indexes: &[Index::new(
            "by-os-browser-ip",
            "0887591763b2434d989a616c8ae6f1e0c50d63fd",
            &["os", "browser", "ip"],
        )],
        views: &[],
    },
    Plan {
        doctype: SETTINGS,
        indexes: &[],
        views: &[],
    },
    Plan {
        doctype: "io.cozy.shared",
        indexes: &[],
        views: &[View::new(
            "shared-docs-by-sharingid",
            "function (doc) {
  if (doc.infos) {
    Object.keys(doc.infos).forEach(function (sharing) {
      emit(sharing, doc._id);
    });
  }
}",
            None,
        )],
    },
    Plan {
        doctype: "io.cozy.sharings",
        indexes: &[Index::new(
            "active",
            "49ff230d3e919680d9d38a94c0a16e250b983ba8",
            &["active"],
        )],
        views: &[View::new(
            "sharings-by-doctype",
            "function (doc) {
  if (Array.isArray(doc.rules)) {
    doc.rules.forEach(function (rule) {
      if (rule && !rule.local) {
        emit(rule.doctype, doc._id);
      }
    });
  }
}",
            None,
        )],
    },
    Plan {
        doctype: "io.cozy.triggers",
        indexes: &[Index::new(
            "by-worker-and-type",
            "dcf585a890883260dacb0a1680dcd6c470b5aabf",
            &["worker", "type"],
        )],
        views: &[],
    },
];

/// Selects the OAuth clients that count against the limit of clients. Every condition is written with an
/// operator, so CouchDB's normal form is the same.
fn connected_clients() -> Value {
    json!({"$and": [
        {"client_kind": {"$in": ["browser", "desktop", "mobile"]}},
        {"pending": {"$exists": false}}
    ]})
}

/// The doctype of the owner's settings.
pub const SETTINGS: &str = "io.cozy.settings";
/// The doctypes of sessions and of the logins that began them. The database of sessions is made by the
/// first login, here or at other software.
pub const SESSIONS: [&str; 2] = ["io.cozy.sessions", "io.cozy.sessions.logins"];
/// The doctype of the proofs that a code or a link was used. Nothing removes it before the instance: without the proof, what
/// was used would open the instance again.
pub const USES: &str = "hamlet.uses";
/// The doctype of contacts.
pub const CONTACTS: &str = "io.cozy.contacts";

/// The databases that the files and apps services make. The instance service uses their names for one purpose
/// only: a destruction deletes the listed databases *and* those that it finds.
pub const OF_OTHERS: &[&str] = &[
    "io.cozy.apps",
    "io.cozy.files",
    "io.cozy.files.versions",
    "io.cozy.konnectors",
    "io.cozy.permissions",
];

/// The doctypes for which every instance has a database.
pub fn doctypes() -> impl Iterator<Item = &'static str> {
    OWN.iter()
        .map(|plan| plan.doctype)
        .chain(OF_OTHERS.iter().copied())
}

/// The indexes of `global/instances` that other software reads.
pub const INSTANCES_INDEXES: &[Index] = &[
    Index::new(
        "by-oidcid",
        "003edca08fe4b45fe38e8ac7869b1070f49a565c",
        &["oidc_id"],
    ),
    Index::new(
        "by-olddomain",
        "03457b6fb0d2704473ee4940a90cc2c41fde7cee",
        &["old_domain"],
    ),
    Index::new(
        "by-orgdomain",
        "40949ffcdc7f7a65819937cdcb6ddbd5c5ab4ff2",
        &["org_domain"],
    ),
];

/// The index of `global/instances` that is Hamlet's own, under an id that no other software has.
pub const INSTANCES_BY_DOMAIN: Index =
    Index::new("hamlet-by-domain", "hamlet-by-domain", &["domain"]);

/// The view of `global/instances`.
pub const INSTANCES_VIEWS: &[View] = &[View::new(
    "domain-and-aliases",
    "function (doc) {
  emit(doc.domain, null);
  if (Array.isArray(doc.domain_aliases)) {
    doc.domain_aliases.forEach(function (alias) {
      emit(alias, null);
    });
  }
}",
    None,
)];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::doctypes;

    /// The databases that the manual of the model lists; all of them must exist.
    const MANUAL: [&str; 13] = [
        "io.cozy.apps",
        "io.cozy.contacts",
        "io.cozy.files",
        "io.cozy.jobs",
        "io.cozy.konnectors",
        "io.cozy.notifications",
        "io.cozy.oauth.clients",
        "io.cozy.permissions",
        "io.cozy.sessions.logins",
        "io.cozy.settings",
        "io.cozy.shared",
        "io.cozy.sharings",
        "io.cozy.triggers",
    ];

    #[test]
    fn the_list_of_the_manual_is_complete() {
        let planned: BTreeSet<_> = doctypes().collect();
        assert!(MANUAL.iter().all(|doctype| planned.contains(doctype)));
        assert_eq!(planned.len(), 16, "each database is planned once");
    }
}
