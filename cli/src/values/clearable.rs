//! What `--unset` clears.

/// The flags whose value can be cleared, each with the field of the contract.
const CLEARABLE: [(&str, &str); 19] = [
    ("auth-mode", "auth_mode"),
    ("blocking-reason", "blocking_reason"),
    ("context-name", "context"),
    ("disk-quota", "disk_quota_bytes"),
    ("domain-aliases", "domain_aliases"),
    ("email", "email"),
    ("franceconnect_id", "franceconnect_id"),
    ("magic_link", "magic_link"),
    ("no-auto-update", "no_auto_update"),
    ("oidc_id", "oidc_id"),
    ("old-domain", "old_domain"),
    ("phone", "phone"),
    ("public-name", "public_name"),
    ("settings", "settings"),
    ("sponsorships", "sponsorships"),
    ("tos", "tos_signed"),
    ("tos-latest", "tos_latest"),
    ("tz", "timezone"),
    ("uuid", "uuid"),
];

/// Reads what to clear, by the flag's name or the field's, and gives the field's. One setting is `settings.KEY`.
///
/// # Errors
/// When nothing has this name, or it cannot be cleared.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let text = text.trim();
    if let Some(key) = text.strip_prefix("settings.") {
        if key.is_empty() {
            return Err("names no setting; write settings.KEY, or settings for all".to_owned());
        }
        return Ok(text.to_owned());
    }
    let plain = |name: &str| name.replace('-', "_");
    let name = plain(text.trim_start_matches("--"));
    CLEARABLE
        .iter()
        .find(|(flag, field)| plain(flag) == name || *field == name)
        .map(|(_, field)| (*field).to_owned())
        .ok_or_else(|| {
            let known: Vec<_> = CLEARABLE.iter().map(|(flag, _)| *flag).collect();
            format!(
                "cannot be cleared; what can is {}, settings.KEY",
                known.join(", ")
            )
        })
}

/// How the flag of a field is called: `--tz` for `timezone`, `--settings` for one setting.
pub(crate) fn flag(field: &str) -> String {
    let field = field.split('.').next().unwrap_or(field);
    let flag = CLEARABLE
        .iter()
        .find(|(_, name)| *name == field)
        .map_or(field, |(flag, _)| *flag);
    format!("--{flag}")
}

#[cfg(test)]
mod tests {
    use super::{flag, parse};

    #[test]
    fn flags_and_fields_name_the_same() {
        for same in ["tz", "timezone", "--tz"] {
            assert_eq!(parse(same).as_deref(), Ok("timezone"));
        }
        assert_eq!(parse("public_name").as_deref(), Ok("public_name"));
        assert_eq!(parse("settings.a").as_deref(), Ok("settings.a"));
        for wrong in [
            "",
            "domain",
            "prefix",
            "settings.",
            "locked",
            "blocked",
            "locale",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(flag("disk_quota_bytes"), "--disk-quota");
        assert_eq!(flag("settings.offer"), "--settings");
    }
}
