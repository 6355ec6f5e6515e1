//! The filter of a list of operations: `done=false AND domain="bob.example" AND kind=create`, a part of AIP-160.

use super::{
    name::{Name, shorten},
    operation::Envelope,
};

/// Which operations a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationFilter {
    /// Ended ones, or those that have not ended.
    pub done: Option<bool>,
    /// Those about the instance with this name; its port may be left out.
    pub name: Option<Name>,
    /// Those of this kind, by its name in the contract.
    pub kind: Option<String>,
}

impl OperationFilter {
    /// Reads a filter; an empty text shows everything. `kinds` are the kinds of the contract.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn parse(text: &str, kinds: &[&str]) -> Result<Self, String> {
        let mut filter = Self::default();
        if text.trim().is_empty() {
            return Ok(filter);
        }
        for term in text.split(" AND ") {
            let (field, value) = term.split_once('=').ok_or_else(|| {
                format!(
                    "{:?} is no condition; write done=false, domain=\"bob.example\" or kind=create, joined by AND",
                    shorten(term)
                )
            })?;
            let value = value.trim();
            let value = value
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                .unwrap_or(value);
            let field = field.trim();
            let is_given = match field {
                "done" => filter.done.is_some(),
                "domain" => filter.name.is_some(),
                "kind" => filter.kind.is_some(),
                _ => false,
            };
            if is_given {
                return Err(format!("{field} is there twice; give it once"));
            }
            match field {
                "done" => {
                    let done = value.parse().map_err(|_| {
                        format!("done: {:?} is neither true nor false", shorten(value))
                    })?;
                    filter.done = Some(done);
                }
                "domain" => {
                    let name: Name = value.parse().map_err(|wrong| format!("domain: {wrong}"))?;
                    filter.name = Some(name);
                }
                "kind" if kinds.contains(&value) => filter.kind = Some(value.to_owned()),
                "kind" => {
                    return Err(format!(
                        "kind: {:?} is no kind of operation; there are {}",
                        shorten(value),
                        kinds.join(", ")
                    ));
                }
                other => {
                    return Err(format!(
                        "{:?} is no field to filter by; there are done, domain and kind",
                        shorten(other)
                    ));
                }
            }
        }
        Ok(filter)
    }

    /// Whether an operation of this kind is shown.
    #[must_use]
    pub fn shows(&self, operation: &Envelope, kind: &str) -> bool {
        let is_named = |name: &Name| {
            let domain = operation.domain.parse::<Name>();
            domain.is_ok_and(|domain| name.means(&domain, &domain))
        };
        self.done
            .is_none_or(|done| done == operation.phase.is_end())
            && self.name.as_ref().is_none_or(is_named)
            && self.kind.as_ref().is_none_or(|wanted| wanted == kind)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::OperationFilter;
    use crate::domain::{
        operation::{Envelope, Subject},
        time::Time,
    };

    const KINDS: &[&str] = &["create", "destroy"];

    #[test]
    fn what_is_wrong_is_told_however_long_it_is() {
        let long = "x".repeat(6000);
        for (filter, why) in [
            (format!("kind={long}"), "there are create, destroy"),
            (format!("done={long}"), "neither true nor false"),
            (format!("{long}=1"), "there are done, domain and kind"),
            (long, "is no condition"),
        ] {
            let told = OperationFilter::parse(&filter, KINDS).unwrap_err();
            assert!(told.contains(why) && told.len() < 300, "{told}");
        }
    }

    #[test]
    fn a_filter_is_a_list_of_conditions() {
        let read = OperationFilter::parse(
            "done = false AND domain=\"BOB.example:80\" AND kind=create",
            KINDS,
        );
        let expected = OperationFilter {
            done: Some(false),
            name: "bob.example:80".parse().ok(),
            kind: Some("create".to_owned()),
        };
        assert_eq!(read, Ok(expected));
        for (asked, is_shown) in [
            ("bücher.localhost", true),
            ("BÜCHER.localhost:8080", true),
            ("xn--bcher-kva.localhost", true),
            ("bücher.localhost:9", false),
            ("other.localhost", false),
        ] {
            let filter = OperationFilter::parse(&format!("domain={asked}"), KINDS);
            let subject = Subject {
                domain: "bücher.localhost:8080".to_owned(),
                instance: String::new(),
                prefix: String::new(),
                couch_cluster: 0,
            };
            let operation = Envelope::new(subject, String::new(), Time::MIN);
            let shown = filter.map(|filter| filter.shows(&operation, "create"));
            assert_eq!(shown, Ok(is_shown), "{asked}");
        }
        assert_eq!(
            OperationFilter::parse(" ", KINDS),
            Ok(OperationFilter::default())
        );
        for wrong in [
            "done",
            "done=maybe",
            "domain=a b",
            "phase=3",
            "kind=",
            "kind=Create",
            "done=true AND done=false",
            "done=true OR done=false",
        ] {
            assert!(OperationFilter::parse(wrong, KINDS).is_err(), "{wrong}");
        }
    }
}
