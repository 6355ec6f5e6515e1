//! `hamlet features`.

mod config;
mod defaults;
mod flags;
mod ratio;
mod sets;
mod show;

use std::collections::{BTreeMap, HashMap};

use hamlet_proto::hamlet::instance::v1::{
    ContextFlags, FlagShares, GetContextFlagsRequest, feature_service_client::FeatureServiceClient,
};
use serde_json::{Map, Value, json};

use super::group::command_group;
use crate::{
    error::CommandError, flags::format::Format, output, output::table::facts, session::Session,
};

command_group! {
    /// See and set feature flags, by which apps decide what they offer.
    ///
    /// Of a flag that several sources have, the first counts: the instance, the configuration of its context, the shares
    /// of its context, the defaults.
    #[command(visible_alias = "feature", arg_required_else_help = true)]
    Features {
        Show(show::Show),
        Flags(flags::Flags),
        Sets(sets::Sets),
        Ratio(ratio::Ratio),
        Config(config::Config),
        Defaults(defaults::Defaults),
    }
}

/// The flags of a context.
async fn of_context(session: &Session, context: String) -> Result<ContextFlags, CommandError> {
    let channel = session.channel().await?;
    let request = GetContextFlagsRequest { context };
    session
        .call(async || {
            FeatureServiceClient::new(channel.clone())
                .get_context_flags(request.clone())
                .await
        })
        .await
}

/// The value behind a text in JSON. The server sends no other.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// The flags as an object, by name.
fn object(flags: &HashMap<String, String>) -> Map<String, Value> {
    let sorted: BTreeMap<_, _> = flags.iter().collect();
    let sorted = sorted.into_iter();
    sorted
        .map(|(name, text)| (name.clone(), value(text)))
        .collect()
}

/// The flags of a context with their shares, by name.
fn shares(flags: &HashMap<String, FlagShares>) -> Map<String, Value> {
    let sorted: BTreeMap<_, _> = flags.iter().collect();
    let shares = |shares: &FlagShares| {
        let shares = shares.shares.iter();
        shares
            .map(|share| json!({"ratio": share.ratio, "value": value(&share.value)}))
            .collect()
    };
    let sorted = sorted.into_iter();
    sorted
        .map(|(name, flag)| (name.clone(), shares(flag)))
        .collect()
}

/// Lines of a name and its value.
fn lines(flags: &Map<String, Value>) -> String {
    let rows: Vec<(&str, String)> = flags
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_string()))
        .collect();
    facts(&rows)
}

/// Prints flags. `of` is whose they are.
fn print(format: Format, of: &str, flags: Map<String, Value>) -> Result<(), CommandError> {
    if flags.is_empty() && matches!(format, Format::Table | Format::Wide) {
        output::say(&format!("{of} has no flags"));
    }
    let text = lines(&flags);
    output::document(format, &flags.into(), of, || text)
}

/// Reads `NAME=VALUE`, where the value is JSON.
fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        format!("{text:?} is no flag; write NAME=VALUE, such as drive.office=true")
    })?;
    match serde_json::from_str::<Value>(value) {
        Ok(Value::Null) => Err(format!(
            "null is no value of a flag; remove it with --remove {name}"
        )),
        Ok(_) => Ok((name.to_owned(), value.to_owned())),
        Err(_) => Err(format!(
            "{value:?} is no JSON; a text stands in quotes: {name}='\"{value}\"'"
        )),
    }
}

/// Refuses a name that is set twice, or set and removed.
fn require_once(set: &[(String, String)], removed: &[String]) -> Result<(), CommandError> {
    let mut names: Vec<&String> = set.iter().map(|(name, _)| name).chain(removed).collect();
    names.sort_unstable();
    let twice = names.windows(2).find_map(|pair| match pair {
        [first, second] if first == second => Some(*first),
        _ => None,
    });
    match twice {
        None => Ok(()),
        Some(name) => Err(CommandError::Usage(format!(
            "the flag {name} is given twice; set it once, or remove it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{assignment, require_once};

    #[test]
    fn values_are_json() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(assignment("a.b=true"), pair("a.b", "true"));
        assert_eq!(assignment("a=\"x=y\""), pair("a", "\"x=y\""));
        for wrong in ["a", "a=", "a=beta", "a=null"] {
            assert!(assignment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_flag_is_given_once() {
        let set = ["a".to_owned(), "b".to_owned()].map(|name| (name, "1".to_owned()));
        assert!(require_once(&set, &["c".to_owned()]).is_ok());
        assert!(require_once(&set, &["b".to_owned()]).is_err());
    }
}
