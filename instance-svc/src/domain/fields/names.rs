//! The names of an instance: `domain`, `domain_aliases`, `old_domain`.

use hamlet_proto::hamlet::instance::v1 as pb;

use super::{
    Documents,
    rule::{CheckContext, Rule, invalid},
};
use crate::domain::{
    name::{InvalidName, Name},
    spec::InvalidField,
};

/// The maximum number of aliases of an instance.
pub const MOST_ALIASES: usize = 100;

fn parse(path: &str, text: &str) -> Result<Name, InvalidField> {
    text.parse()
        .map_err(|wrong: InvalidName| invalid(path, wrong.to_string()))
}

/// A name that an instance gets.
fn parse_new(path: &str, text: &str) -> Result<Name, InvalidField> {
    let name = parse(path, text)?;
    name.require_reachable()
        .map_err(|wrong| invalid(path, wrong.to_string()))?;
    Ok(name)
}

/// A name that the instance has already, or gets.
fn parse_unless_kept(path: &str, text: &str, is_kept: bool) -> Result<Name, InvalidField> {
    match is_kept {
        true => parse(path, text),
        false => parse_new(path, text),
    }
}

/// The main domain that the instance has, or will have; `None` when it is invalid, which its own rule tells.
fn domain(context: &CheckContext<'_>) -> Option<Name> {
    context.text("domain", |now| &now.domain).parse().ok()
}

/// The main domain; set at creation.
pub(super) struct Domain;

impl Rule for Domain {
    type Value = String;

    fn path(&self) -> &'static str {
        "domain"
    }

    fn ask(&self, message: &pb::Instance) -> Result<String, InvalidField> {
        Ok(message.domain.clone())
    }

    fn check(&self, text: String, _: &CheckContext<'_>) -> Result<String, InvalidField> {
        Ok(parse_new(Rule::path(self), &text)?.domain().to_owned())
    }

    /// The domain is required, so the check refuses the empty default.
    fn default_value(&self) -> Option<String> {
        Some(String::new())
    }

    fn write(&self, domain: String, documents: &mut Documents) {
        documents.instance.domain = domain;
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message.domain.clone_from(&documents.instance.domain);
    }

    fn copy(&self, documents: &mut Documents) {
        documents
            .record
            .domain
            .clone_from(&documents.instance.domain);
    }
}

/// The aliases, each once, in the given order.
pub(super) struct Aliases;

impl Rule for Aliases {
    type Value = Vec<String>;

    fn path(&self) -> &'static str {
        "domain_aliases"
    }

    fn ask(&self, message: &pb::Instance) -> Result<Vec<String>, InvalidField> {
        Ok(message.domain_aliases.clone())
    }

    fn check_all(
        &self,
        aliases: Vec<String>,
        context: &CheckContext<'_>,
    ) -> Result<Vec<String>, Vec<InvalidField>> {
        if aliases.len() > MOST_ALIASES {
            let wrong = format!("holds more than {MOST_ALIASES} names; use fewer");
            return Err(vec![self.invalid(wrong)]);
        }
        let domain = domain(context);
        let is_own = |alias: &Name| domain.as_ref().is_some_and(|it| it.host() == alias.host());
        let (mut taken, mut canonical, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        for (position, alias) in aliases.iter().enumerate() {
            let path = format!("{}[{position}]", Rule::path(self));
            let is_kept = context
                .now
                .is_some_and(|now| now.instance.domain_aliases.contains(alias));
            match parse_unless_kept(&path, alias, is_kept) {
                Err(invalid) => wrong.push(invalid),
                Ok(alias) if is_own(&alias) => wrong.push(invalid(
                    &path,
                    format!("{alias} is the instance's own host; name another"),
                )),
                Ok(alias) => {
                    if !taken.iter().any(|host| host == alias.host()) {
                        taken.push(alias.host().to_owned());
                        canonical.push(alias.domain().to_owned());
                    }
                }
            }
        }
        if wrong.is_empty() {
            Ok(canonical)
        } else {
            Err(wrong)
        }
    }

    fn write(&self, aliases: Vec<String>, documents: &mut Documents) {
        documents.instance.domain_aliases = aliases;
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message
            .domain_aliases
            .clone_from(&documents.instance.domain_aliases);
    }

    fn copy(&self, documents: &mut Documents) {
        documents
            .record
            .domain_aliases
            .clone_from(&documents.instance.domain_aliases);
    }
}

/// A former domain. It must not be a present name of the instance.
pub(super) struct OldDomain;

impl Rule for OldDomain {
    type Value = String;

    fn path(&self) -> &'static str {
        "old_domain"
    }

    fn ask(&self, message: &pb::Instance) -> Result<String, InvalidField> {
        Ok(message.old_domain.clone())
    }

    fn check(&self, text: String, context: &CheckContext<'_>) -> Result<String, InvalidField> {
        // Invalid names, written by other software, are not refused here; they never match.
        let aliases = context.asked.texts("domain_aliases").unwrap_or_else(|| {
            context
                .now
                .map_or_else(Vec::new, |now| now.instance.domain_aliases.clone())
        });
        let present: Vec<Name> = domain(context)
            .into_iter()
            .chain(aliases.iter().filter_map(|alias| alias.parse().ok()))
            .collect();
        if text.is_empty() {
            return Ok(text);
        }
        let is_kept = context
            .now
            .is_some_and(|now| now.instance.old_domain == text);
        let old = parse_unless_kept(Rule::path(self), &text, is_kept)?;
        if present.iter().any(|name| name.host() == old.host()) {
            return Err(self.invalid("is a present name of the instance; name a former one"));
        }
        Ok(old.domain().to_owned())
    }

    fn write(&self, old: String, documents: &mut Documents) {
        documents.instance.old_domain = old;
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message
            .old_domain
            .clone_from(&documents.instance.old_domain);
    }

    fn copy(&self, documents: &mut Documents) {
        documents
            .record
            .old_domain
            .clone_from(&documents.instance.old_domain);
    }
}
