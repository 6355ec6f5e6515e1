//! What `--unset` takes.

use hamlet_proto::fields::{FIELDS, Field, by_path};

/// The fields that can be cleared, each with the flag that sets it.
fn clearable() -> impl Iterator<Item = (&'static str, &'static Field)> {
    FIELDS
        .iter()
        .filter(|field| field.change.may_clear())
        .filter_map(|field| Some((field.flag?, field)))
}

/// Finds the path of what to clear, by the flag's name or the field's. One key of a map is `settings.KEY`.
///
/// # Errors
/// When there is no such field, or it cannot be cleared.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let text = text.trim();
    let plain = |name: &str| name.replace('-', "_");
    if let Some((name, key)) = text.split_once('.')
        && let Some((flag, field)) = clearable().find(|(flag, field)| field.keyed && *flag == name)
    {
        if key.is_empty() {
            let one = flag.strip_suffix('s').unwrap_or(flag);
            return Err(format!(
                "names no {one}; write {flag}.KEY, or {flag} for all"
            ));
        }
        return Ok(format!("{}.{key}", field.path));
    }
    let name = plain(text.trim_start_matches("--"));
    clearable()
        .find(|(flag, field)| plain(flag) == name || field.path == name)
        .map(|(_, field)| field.path.to_owned())
        .ok_or_else(|| format!("cannot be cleared; what can is {}", names().join(", ")))
}

/// All that `--unset` takes: the names of flags, then keys of maps.
pub(crate) fn names() -> Vec<String> {
    let keys = clearable().filter(|(_, field)| field.keyed);
    clearable()
        .map(|(flag, _)| flag.to_owned())
        .chain(keys.map(|(flag, _)| format!("{flag}.KEY")))
        .collect()
}

/// The flag that sets a path, without its dashes: `tz` for `timezone`, `settings` for one setting.
pub(crate) fn flag(path: &str) -> &str {
    let field = path.split('.').next().unwrap_or(path);
    by_path(field).and_then(|field| field.flag).unwrap_or(field)
}

#[cfg(test)]
mod tests {
    use super::{flag, names, parse};

    #[test]
    fn a_flag_and_its_field_clear_the_same() {
        for same in ["tz", "timezone", "--tz"] {
            assert_eq!(parse(same).as_deref(), Ok("timezone"));
        }
        assert_eq!(parse("public_name").as_deref(), Ok("public_name"));
        assert_eq!(parse("settings.a").as_deref(), Ok("settings.a"));
        for name in names() {
            assert!(parse(&name).is_ok(), "{name}");
        }
        for wrong in [
            "",
            "domain",
            "prefix",
            "settings.",
            "email.a",
            "locked",
            "blocked",
            "locale",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_path_is_told_by_its_flag() {
        assert_eq!(flag("disk_quota_bytes"), "disk-quota");
        assert_eq!(flag("settings.offer"), "settings");
    }
}
