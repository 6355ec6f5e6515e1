//! How the outcome of a change of an instance is printed.

use hamlet_proto::hamlet::instance::v1::{Instance, OperationMetadata, instance::AuthMode};

use super::{
    instance::{ROWS, RowValue, describe},
    words,
};
use crate::output::table::all_facts;

/// The fields of a change, by their paths in the contract.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changed<'a> {
    /// All that it sets or clears. A server that does not say it names none.
    pub(crate) fields: &'a [String],
    /// Those of them that were so already.
    pub(crate) unchanged: &'a [String],
}

impl<'a> Changed<'a> {
    /// What an operation tells of them.
    pub(crate) fn of(metadata: &'a OperationMetadata) -> Self {
        Self {
            fields: &metadata.changed_fields,
            unchanged: &metadata.unchanged_fields,
        }
    }

    /// Whether all was so already.
    pub(crate) fn is_nothing(self) -> bool {
        !self.fields.is_empty() && self.fields.iter().all(|path| self.was_so(path))
    }

    fn was_so(self, path: &str) -> bool {
        self.unchanged.iter().any(|unchanged| unchanged == path)
    }

    fn has(self, path: &str) -> bool {
        self.fields.iter().any(|changed| changed == path)
    }
}

/// What a change did to an instance, for people: the first line is `label` and the domain, then a line for each of its
/// fields. A field without a row of its own shows in the state. A server that does not say what has changed has the whole
/// instance described.
pub(crate) fn describe_change(label: &str, instance: &Instance, changed: Changed<'_>) -> String {
    if changed.fields.is_empty() {
        return describe(label, instance);
    }
    let is_nothing = changed.is_nothing();
    let mut rows = vec![(label, instance.domain.clone())];
    if changed.fields.iter().any(|path| !has_row(path)) {
        rows.push(("state", words::state(instance.state()).to_owned()));
    }
    // Why access is refused is told also where the reason stays as it was.
    if instance.blocked && changed.has("blocked") && !changed.has("blocking_reason") {
        rows.push(("blocked because", instance.blocking_reason.clone()));
    }
    // A reason ends with its block, which the state tells.
    let ended = changed.has("blocked") && !instance.blocked;
    let fields = changed.fields.iter();
    for path in fields.filter(|path| !ended || *path != "blocking_reason") {
        let was_so = changed.was_so(path);
        for (label, value) in lines(instance, path, was_so) {
            // Where nothing has changed, the first line says it of all.
            let value = if was_so && !is_nothing {
                format!("{value} (as before)")
            } else {
                value
            };
            rows.push((label, value));
        }
    }
    all_facts(&rows)
}

fn has_row(path: &str) -> bool {
    let field = path.split('.').next().unwrap_or(path);
    ROWS.iter().any(|row| row.path == field)
}

/// The lines of a field, or of one key of a map.
fn lines(instance: &Instance, path: &str, was_so: bool) -> Vec<(&'static str, String)> {
    let (field, key) = match path.split_once('.') {
        Some((field, key)) => (field, Some(key)),
        None => (path, None),
    };
    let Some(row) = ROWS.iter().find(|row| row.path == field) else {
        return Vec::new();
    };
    let cleared = cleared(row.path, was_so);
    match row.value {
        RowValue::Text(text) => {
            let text = Some(text(instance)).filter(|text| !text.is_empty());
            vec![(row.label, text.unwrap_or_else(|| cleared.to_owned()))]
        }
        RowValue::Map { map, separator } => {
            let mut pairs: Vec<_> = map(instance).iter().collect();
            pairs.retain(|(name, _)| key.is_none_or(|key| key == *name));
            pairs.sort();
            match (pairs.is_empty(), key) {
                (true, Some(key)) => vec![(row.label, format!("{key}: {cleared}"))],
                (true, None) => vec![(row.label, cleared.to_owned())],
                (false, _) => pairs
                    .into_iter()
                    .map(|(key, value)| (row.label, format!("{key}{separator}{value}")))
                    .collect(),
            }
        }
    }
}

/// What a change says of a field that has no value any more, or had none before.
fn cleared(path: &str, was_so: bool) -> &'static str {
    match path {
        "locked" | "magic_link" | "deleting" => "no",
        "no_auto_update" => "updated",
        "debug_until" => "off",
        "auth_mode" => words::auth_mode(AuthMode::Basic),
        _ if was_so => "none",
        _ => "cleared",
    }
}

#[cfg(test)]
mod tests {
    use hamlet_proto::hamlet::instance::v1::{Instance, instance::State};

    use super::{Changed, describe_change};

    fn bob() -> Instance {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        Instance {
            domain: "bob.example".to_owned(),
            locale: "fr".to_owned(),
            labels: [pair("team", "a"), pair("shard", "7")].into(),
            ..Instance::default()
        }
    }

    fn told(label: &str, instance: &Instance, fields: &[&str], unchanged: &[&str]) -> String {
        let owned = |paths: &[&str]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (fields, unchanged) = (owned(fields), owned(unchanged));
        let changed = Changed {
            fields: &fields,
            unchanged: &unchanged,
        };
        describe_change(label, instance, changed)
    }

    #[test]
    fn a_key_of_a_map_is_shown_as_its_flag_takes_it() {
        let told = told("changed", &bob(), &["labels.team"], &[]);
        assert_eq!(told, "changed  bob.example\nlabel    team=a\n");
    }

    #[test]
    fn a_block_tells_its_reason_where_none_was_given() {
        let mut bob = bob();
        bob.set_state(State::Onboarding);
        assert!(!told("unblocked", &bob, &["blocked"], &[]).contains("because"));
        let both = told("brought back", &bob, &["blocked", "blocking_reason"], &[]);
        assert_eq!(
            both,
            "brought back  bob.example\nstate         onboarding\n"
        );
        bob.set_state(State::Blocked);
        bob.blocked = true;
        bob.blocking_reason = "UNKNOWN".to_owned();
        let alone = told("blocked", &bob, &["blocked"], &[]);
        assert_eq!(
            alone,
            "blocked          bob.example\nstate            blocked\nblocked because  UNKNOWN\n"
        );
        let both = told("blocked", &bob, &["blocked", "blocking_reason"], &[]);
        assert_eq!(both, alone);
    }

    #[test]
    fn a_change_says_what_it_cleared_in_words() {
        for (path, words) in [
            ("no_auto_update", "apps     updated"),
            ("locked", "locked   no"),
            ("magic_link", "magic link  no"),
            ("debug_until", "debug until  off"),
            ("email", "email    cleared"),
            ("domain_aliases", "aliases  cleared"),
            ("settings.gone", "setting  gone: cleared"),
        ] {
            let changed = told("changed", &bob(), &[path], &[]);
            assert!(
                changed.contains(words) && !changed.contains("  -"),
                "{changed}"
            );
        }
    }

    #[test]
    fn what_was_so_already_is_told_as_such() {
        let fields = ["email", "labels.team", "locale"];
        assert_eq!(
            told("changed", &bob(), &fields, &["email", "labels.team"]),
            "changed  bob.example\nemail    none (as before)\nlabel    team=a (as before)\nlocale   fr\n"
        );
        assert_eq!(
            told("unchanged", &bob(), &["locale"], &["locale"]),
            "unchanged  bob.example\nlocale     fr\n"
        );
    }
}
