//! What a caller may do with the documents of an instance. Services ask here, each in one place for all of its calls.

use hamlet_proto::hamlet::instance::v1::identity::{Kind, Rule};
use tonic::{Code, Status};

use crate::{
    caller::{Caller, Door},
    status::{StatusBuilder, reasons},
};

/// What is done with documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Reading them.
    Get,
    /// Making one.
    Post,
    /// Replacing one.
    Put,
    /// Changing a part of one.
    Patch,
    /// Removing one.
    Delete,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// Its name in rules.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// What a caller may do.
#[derive(Clone, Copy, Debug)]
pub enum Rights<'a> {
    /// All that the owner of the instance may.
    Owner,
    /// All that an administrator may.
    Administrator,
    /// What the rules of a token say.
    Token(&'a [Rule]),
}

impl Caller {
    /// What the caller may do with the instance of the call.
    ///
    /// # Errors
    /// UNAUTHENTICATED for a stranger.
    pub fn rights(&self) -> Result<Rights<'_>, Status> {
        match (self.door(), self.identity()) {
            (Door::Admin | Door::Internal, _) => Ok(Rights::Administrator),
            (Door::Public, Some(identity)) if identity.kind() == Kind::Session => Ok(Rights::Owner),
            (Door::Public, Some(identity)) => Ok(Rights::Token(&identity.rules)),
            (Door::Public, None) => Err(self.unproven().refusal()),
        }
    }

    /// Accepts whoever may do something with every document of a doctype.
    ///
    /// # Errors
    /// UNAUTHENTICATED for a stranger, PERMISSION_DENIED for a token that does not allow it.
    pub fn require(&self, doctype: &str, verb: Verb) -> Result<(), Status> {
        self.rights()?.require(doctype, verb)
    }

    /// Accepts administrators and other services. Whoever has a session or a token is told that it is of no use.
    ///
    /// # Errors
    /// UNAUTHENTICATED for strangers, PERMISSION_DENIED for other callers.
    pub fn require_administrator(&self) -> Result<(), Status> {
        match self.rights()? {
            Rights::Administrator => Ok(()),
            Rights::Owner | Rights::Token(_) => Err(StatusBuilder::new(
                Code::PermissionDenied,
                "ADMIN_DOOR_ONLY",
                "this call is for administrators: use the admin door",
            )
            .build()),
        }
    }
}

impl<'a> Rights<'a> {
    /// Whether they allow a verb on every document of a doctype. Rules for some documents do not.
    #[must_use]
    pub fn allow(self, doctype: &str, verb: Verb) -> bool {
        self.allow_one(doctype, verb, |_| false)
    }

    /// Whether they allow a verb on one document. `is_meant` tells whether a rule for some documents is for this one.
    #[must_use]
    pub fn allow_one(self, doctype: &str, verb: Verb, is_meant: impl Fn(&Rule) -> bool) -> bool {
        match self {
            Self::Owner | Self::Administrator => true,
            Self::Token(_) => self
                .rules(doctype, verb)
                .any(|rule| rule.values.is_empty() || is_meant(rule)),
        }
    }

    /// The rules of a token about a verb on a doctype, those for some documents among them.
    pub fn rules(self, doctype: &str, verb: Verb) -> impl Iterator<Item = &'a Rule> {
        let rules = match self {
            Self::Token(rules) => rules,
            Self::Owner | Self::Administrator => &[],
        };
        rules.iter().filter(move |rule| covers(rule, doctype, verb))
    }

    /// Requires that they allow a verb on every document of a doctype.
    ///
    /// # Errors
    /// PERMISSION_DENIED.
    pub fn require(self, doctype: &str, verb: Verb) -> Result<(), Status> {
        if self.allow(doctype, verb) {
            Ok(())
        } else {
            Err(too_small(doctype, verb))
        }
    }
}

/// The refusal of a token that does not allow a verb on a doctype.
#[must_use]
pub fn too_small(doctype: &str, verb: Verb) -> Status {
    let told = format!(
        "the token does not allow this; ask for one with {doctype}:{}",
        verb.as_str()
    );
    StatusBuilder::new(Code::PermissionDenied, reasons::TOKEN_SCOPE, told).build()
}

/// Whether a rule is about a verb on a doctype.
fn covers(rule: &Rule, doctype: &str, verb: Verb) -> bool {
    let of_doctype = rule.doctype == "*"
        || rule.doctype == doctype
        || rule.doctype.strip_suffix(".*").is_some_and(|above| {
            let below = doctype.strip_prefix(above);
            below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
        });
    let of_verb = rule.verbs.is_empty()
        || rule
            .verbs
            .iter()
            .any(|given| given == "ALL" || given == verb.as_str());
    of_doctype && of_verb
}

#[cfg(test)]
mod tests {
    use hamlet_proto::hamlet::instance::v1::identity::Rule;

    use super::{Rights, Verb};

    fn rule(doctype: &str, verbs: &[&str], values: &[&str]) -> Rule {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Rule {
            doctype: doctype.to_owned(),
            verbs: texts(verbs),
            values: texts(values),
            selector: String::new(),
        }
    }

    #[test]
    fn a_token_allows_what_one_of_its_rules_says() {
        let get = |rule: Rule, doctype: &str| Rights::Token(&[rule]).allow(doctype, Verb::Get);
        assert!(get(rule("*", &[], &[]), "io.cozy.files"));
        assert!(get(rule("io.cozy.files", &[], &[]), "io.cozy.files"));
        assert!(get(rule("io.cozy.files", &["ALL"], &[]), "io.cozy.files"));
        assert!(get(
            rule("io.cozy.files", &["POST", "GET"], &[]),
            "io.cozy.files"
        ));
        assert!(!get(rule("io.cozy.files", &["POST"], &[]), "io.cozy.files"));
        assert!(!get(rule("io.cozy.files", &[], &["some"]), "io.cozy.files"));
        assert!(!get(rule("io.cozy.file", &[], &[]), "io.cozy.files"));
        assert!(!get(rule("", &[], &[]), "io.cozy.files"));
        let bank = rule("io.cozy.bank.*", &[], &[]);
        for (doctype, is_covered) in [
            ("io.cozy.bank", true),
            ("io.cozy.bank.accounts", true),
            ("io.cozy.banks", false),
            ("io.cozy", false),
        ] {
            assert_eq!(get(bank.clone(), doctype), is_covered, "{doctype}");
        }
        assert!(!Rights::Token(&[]).allow("io.cozy.files", Verb::Get));
        assert!(Rights::Owner.allow("io.cozy.files", Verb::Delete));
    }

    #[test]
    fn a_rule_for_some_documents_is_for_those_alone() {
        let rules = [rule("io.cozy.files", &["GET"], &["a", "b"])];
        let one = |id: &str, verb| {
            let is_meant = |rule: &Rule| rule.values.iter().any(|value| value == id);
            Rights::Token(&rules).allow_one("io.cozy.files", verb, is_meant)
        };
        assert!(one("b", Verb::Get));
        assert!(!one("c", Verb::Get) && !one("b", Verb::Delete));
    }
}
