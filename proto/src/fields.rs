//! The fields of an [`Instance`](crate::hamlet::instance::v1::Instance): their names, where each is stored, and how it
//! may be changed.
//!
//! This is the declarative half of a field. The command line derives from it what `--fields` and `--unset` accept, and
//! checks its flags against it. The code that validates, reads and writes a field is in
//! `instance-svc/src/domain/fields`, under the same path. A test fails when a field lacks one of the halves.
//!
//! The table is static and not made of options in the `.proto` files: both sides would have to read such options by
//! reflection at run time, while the compiler checks a static table.

/// A field of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name in the contract, as used in field masks.
    pub path: &'static str,
    /// The column name for `--fields`. `None` when the field is not a column.
    pub column: Option<&'static str>,
    /// Additional column names. Each is printed under its own name.
    pub also_columns: &'static [&'static str],
    /// Additional names that `--fields` accepts; printed as `column`.
    pub aliases: &'static [&'static str],
    /// Whether the field is a map, so that masks and `--unset` can name one key: `settings.offer`.
    pub keyed: bool,
    /// The flag of `hamlet instances add` and `modify` that sets the field, without the dashes. `None` when no flag
    /// sets it, or when it has its own command.
    pub flag: Option<&'static str>,
    /// Where it is stored.
    pub kept: Kept,
    /// Whether it may be set at creation.
    pub at_creation: bool,
    /// How an update may change it.
    pub change: Change,
    /// Whether lists contain it. Otherwise it has to be read from each instance.
    pub listed: bool,
    /// Whether lists can be filtered by it. Such a field is copied to `global/hamlet-instances`.
    pub filtered: bool,
    /// Whether lists can be sorted by it. Such a field is copied there, too.
    pub sorted: bool,
}

/// Where the value of a field is stored, with its key in that document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In the compatible document of the instance, in `global/instances`.
    Document(&'static str),
    /// In the owner's settings, in the database of the instance.
    Settings(&'static str),
    /// In Hamlet's own document of the instance, in `global/hamlet-instances`.
    Record(&'static str),
    /// Not stored: derived from other fields or from the document itself.
    Derived,
}

/// How an update may change a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Never: the service sets it.
    ByService,
    /// Never: it is set at creation only.
    AtCreationOnly,
    /// It can be set, but not cleared.
    Set,
    /// It can be set and cleared.
    SetAndClear,
}

impl Change {
    /// Whether an update may set the field.
    #[must_use]
    pub const fn may_set(self) -> bool {
        matches!(self, Self::Set | Self::SetAndClear)
    }

    /// Whether an update may clear the field.
    #[must_use]
    pub const fn may_clear(self) -> bool {
        matches!(self, Self::SetAndClear)
    }
}

impl Field {
    /// A field that callers can set, at creation and later.
    const fn new(path: &'static str, kept: Kept) -> Self {
        Self {
            path,
            column: Some(path),
            also_columns: &[],
            aliases: &[],
            keyed: false,
            flag: None,
            kept,
            at_creation: true,
            change: Change::SetAndClear,
            listed: true,
            filtered: false,
            sorted: false,
        }
    }

    /// A field that the service sets.
    const fn by_service(path: &'static str, kept: Kept) -> Self {
        Self {
            at_creation: false,
            change: Change::ByService,
            ..Self::new(path, kept)
        }
    }

    const fn column(self, column: &'static str, aliases: &'static [&'static str]) -> Self {
        Self {
            column: Some(column),
            aliases,
            ..self
        }
    }

    const fn also_columns(self, also_columns: &'static [&'static str]) -> Self {
        Self {
            also_columns,
            ..self
        }
    }

    const fn no_column(self) -> Self {
        Self {
            column: None,
            ..self
        }
    }

    const fn keyed(self) -> Self {
        Self {
            keyed: true,
            ..self
        }
    }

    const fn flag(self, flag: &'static str) -> Self {
        Self {
            flag: Some(flag),
            ..self
        }
    }

    const fn not_listed(self) -> Self {
        Self {
            listed: false,
            ..self
        }
    }

    const fn not_cleared(self) -> Self {
        Self {
            change: Change::Set,
            ..self
        }
    }

    const fn at_creation_only(self) -> Self {
        Self {
            change: Change::AtCreationOnly,
            ..self
        }
    }

    const fn not_at_creation(self) -> Self {
        Self {
            at_creation: false,
            ..self
        }
    }
}

/// All fields, in the order of their columns.
pub static FIELDS: &[Field] = &[
    Field::new("auth_mode", Kept::Document("auth_mode")).flag("auth-mode"),
    Field::new("blocked", Kept::Document("blocked"))
        .flag("blocked")
        .not_at_creation()
        .not_cleared(),
    Field::new("blocking_reason", Kept::Document("blocking_reason"))
        .flag("blocking-reason")
        .not_at_creation(),
    Field::new("context", Kept::Document("context"))
        .column("context", &["context_name"])
        .flag("context-name"),
    Field::new("couch_cluster", Kept::Document("couch_cluster"))
        .flag("couch-cluster")
        .at_creation_only(),
    Field::by_service("create_time", Kept::Record("created_at")),
    Field::new("debug_until", Kept::Record("debug_until")).not_at_creation(),
    Field::by_service("delete_time", Kept::Record("deleted_at")),
    Field::new("deleting", Kept::Document("deleting"))
        .flag("deleting")
        .not_at_creation()
        .not_cleared(),
    Field::new("disk_quota_bytes", Kept::Document("disk_quota"))
        .column("disk_quota", &["disk_quota_bytes"])
        .flag("disk-quota"),
    Field::new("domain", Kept::Document("domain")).at_creation_only(),
    Field::new("domain_aliases", Kept::Document("domain_aliases")).flag("domain-aliases"),
    // Lists show the copy in the record.
    Field::new("email", Kept::Settings("email")).flag("email"),
    Field::by_service("etag", Kept::Derived).not_listed(),
    Field::new("feature_flags", Kept::Document("feature_flags")).keyed(),
    Field::new("feature_sets", Kept::Document("feature_sets")),
    Field::new("franceconnect_id", Kept::Document("franceconnect_id")).flag("franceconnect_id"),
    Field::by_service("id", Kept::Derived),
    Field::by_service("indexes_version", Kept::Document("indexes_version")),
    Field::new("labels", Kept::Record("labels"))
        .flag("labels")
        .keyed(),
    Field::new("locale", Kept::Document("locale"))
        .flag("locale")
        .not_cleared(),
    Field::new("locked", Kept::Record("locked"))
        .flag("lock")
        .not_at_creation()
        .not_cleared(),
    Field::new("magic_link", Kept::Document("magic_link")).flag("magic_link"),
    Field::by_service("name", Kept::Derived).no_column(),
    Field::new("no_auto_update", Kept::Document("no_auto_update")).flag("no-auto-update"),
    Field::new("oidc_id", Kept::Document("oidc_id")).flag("oidc_id"),
    Field::new("old_domain", Kept::Document("old_domain")).flag("old-domain"),
    Field::new("onboarding_finished", Kept::Document("onboarding_finished"))
        .flag("onboarding-finished")
        .not_at_creation()
        .not_cleared(),
    Field::by_service("operation", Kept::Record("operation")),
    Field::new("org_domain", Kept::Document("org_domain"))
        .flag("org-domain")
        .at_creation_only(),
    Field::new("org_id", Kept::Document("org_id"))
        .flag("org-id")
        .at_creation_only(),
    Field::by_service("password_defined", Kept::Document("password_defined")),
    Field::new("phone", Kept::Settings("phone"))
        .flag("phone")
        .not_listed(),
    Field::by_service("prefix", Kept::Document("prefix")).also_columns(&["db_prefix"]),
    Field::new("public_name", Kept::Settings("public_name"))
        .flag("public-name")
        .not_listed(),
    Field::by_service("purge_time", Kept::Record("purge_at")),
    Field::by_service("register_expire_time", Kept::Record("register_expires_at")),
    Field::new("settings", Kept::Settings("*"))
        .flag("settings")
        .keyed()
        .not_listed(),
    Field::new("sponsorships", Kept::Document("sponsorships")).flag("sponsorships"),
    Field::by_service("state", Kept::Derived),
    Field::new("tos_signed", Kept::Document("tos"))
        .column("tos", &["tos_signed"])
        .flag("tos"),
    Field::new("tos_latest", Kept::Document("tos_latest")).flag("tos-latest"),
    Field::new("timezone", Kept::Settings("tz"))
        .column("tz", &["timezone"])
        .flag("tz")
        .not_listed(),
    Field::new("uuid", Kept::Document("uuid")).flag("uuid"),
    Field::by_service("warnings", Kept::Derived).not_listed(),
];

/// The field with this path in the contract.
#[must_use]
pub fn by_path(path: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.path == path)
}

/// The field that this flag of `hamlet instances add` or `modify` sets, named without its dashes.
#[must_use]
pub fn by_flag(flag: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.flag == Some(flag))
}

/// The field with this name in `--fields`, and the name under which it is printed.
#[must_use]
pub fn by_column(name: &str) -> Option<(&'static str, &'static Field)> {
    FIELDS.iter().find_map(|field| {
        let column = field.column?;
        let printed = if column == name || field.aliases.contains(&name) {
            column
        } else {
            field.also_columns.iter().find(|also| **also == name)?
        };
        Some((printed, field))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::{Change, FIELDS, Kept, by_column};

    #[test]
    fn each_field_of_the_contract_is_in_the_table_and_no_other() -> Result<(), prost::DecodeError> {
        let files = FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET)?;
        let in_contract: BTreeSet<String> = files
            .file
            .iter()
            .filter(|file| file.package() == "hamlet.instance.v1")
            .flat_map(|file| &file.message_type)
            .filter(|message| message.name() == "Instance")
            .flat_map(|message| &message.field)
            .map(|field| field.name().to_owned())
            .collect();
        let in_table: BTreeSet<String> = FIELDS.iter().map(|field| field.path.to_owned()).collect();
        assert_eq!(in_table, in_contract);
        Ok(())
    }

    #[test]
    fn columns_are_in_order_and_mean_one_field_each() {
        let columns: Vec<_> = FIELDS.iter().filter_map(|field| field.column).collect();
        assert!(columns.is_sorted());
        for field in FIELDS {
            let Some(column) = field.column else {
                assert_eq!(by_column(field.path), None);
                continue;
            };
            for name in field.aliases.iter().chain([&column]) {
                assert_eq!(by_column(name), Some((column, field)), "{name}");
            }
            for name in field.also_columns {
                assert_eq!(by_column(name), Some((*name, field)), "{name}");
            }
        }
    }

    #[test]
    fn fields_set_by_the_service_cannot_be_set_by_callers() {
        for field in FIELDS {
            if field.change == Change::ByService {
                assert!(!field.at_creation && field.flag.is_none(), "{field:?}");
            }
            if field.kept == Kept::Derived {
                assert_eq!(field.change, Change::ByService, "{field:?}");
            }
        }
    }
}
