//! By what a name is taken.

use std::fmt;

use super::time::Time;

/// By what a name is taken. As text it is the end of a sentence, with what can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An instance with this domain.
    Instance(String),
    /// An instance that was deleted softly.
    Deleted {
        /// Its domain.
        domain: String,
        /// Until when it can be brought back.
        until: Option<Time>,
    },
    /// An operation that is at work.
    Operation {
        /// Its id.
        operation: String,
        /// The domain of its instance.
        domain: String,
    },
    /// A claim whose holder has just gone, or is only just coming.
    Claimed,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(domain) => write!(
                f,
                "by the instance {domain}; `hamlet instances show {domain}` shows it"
            ),
            Self::Deleted { domain, until } => {
                write!(f, "by {domain}, which was deleted softly")?;
                if let Some(until) = until {
                    write!(f, " and is destroyed on {until}")?;
                }
                write!(f, "; `hamlet instances undelete {domain}` brings it back")
            }
            Self::Operation { operation, domain } => write!(
                f,
                "by operations/{operation}, which is at work on {domain}; wait for its end, or `hamlet operations \
                 cancel {operation}`"
            ),
            Self::Claimed => f.write_str("by a claim of a moment ago; try again in a few seconds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Holder;

    #[test]
    fn a_holder_is_told_with_what_can_be_done() {
        let deleted = Holder::Deleted {
            domain: "a.example".to_owned(),
            until: None,
        };
        assert_eq!(
            deleted.to_string(),
            "by a.example, which was deleted softly; `hamlet instances undelete a.example` brings it back"
        );
        let operation = Holder::Operation {
            operation: "1".to_owned(),
            domain: "a.example".to_owned(),
        };
        assert!(
            operation
                .to_string()
                .ends_with("`hamlet operations cancel 1`")
        );
    }
}
