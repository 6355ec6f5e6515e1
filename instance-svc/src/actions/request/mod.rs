//! Requests for operations: one pipeline, and a plan for each type of request.
//!
//! A request is checked, compared with the earlier request of the same id (AIP-155), drafted, and then accepted
//! or, if only that is wanted, previewed (AIP-163). What differs between requests is in their [`Plan`].

pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod destroy;
pub(crate) mod purge_orphans;
pub(crate) mod relay;
pub(crate) mod secret;

use hmac::{Hmac, Mac as _};
use serde::Serialize;
use service_kit::{contexts::Contexts, secret::Secret};
use sha2::{Digest as _, Sha256};

use super::follow::end_of;
use crate::{
    domain::{
        operation::{Envelope, Subject},
        sealed::Sealed,
        spec::InvalidField,
    },
    error::Error,
    operations::{Engine, Operation, Work, engine::Accepted},
};

/// The result of a request.
#[derive(Debug)]
pub(crate) enum Answer<P> {
    /// A new operation, or the one of an earlier request with the same id.
    Accepted {
        /// Its id.
        id: String,
        /// Its current state.
        operation: Box<Operation>,
    },
    /// The request is valid; nothing was done.
    Preview(P),
}

/// The part that all requests have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestOptions<'a> {
    /// The caller's request id; empty for none.
    pub request_id: &'a str,
    /// Whether the request is only to be validated.
    pub validate_only: bool,
}

/// An operation before it is accepted.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The instance.
    pub subject: Subject,
    /// The work.
    pub work: Work,
}

/// What differs between requests. The methods are called in the order below, each at most once.
pub(crate) trait Plan: Send + Sync {
    /// The result of a preview.
    type Preview;

    /// The arguments that are compared when a request id is used again.
    fn verb(&self) -> &'static str;

    /// The HMAC of the arguments under `key`: [`arguments_mac`].
    ///
    /// # Errors
    /// Never in practice: the arguments can be written as JSON.
    fn mac(&self, key: &Secret) -> Result<String, Error>;

    /// Whether acceptance is so expensive that all checks are made before it.
    fn is_costly(&self) -> bool {
        false
    }

    /// Drafts the operation. Refuses what can be refused without reading further documents.
    fn draft(
        &mut self,
        options: RequestOptions<'_>,
    ) -> impl Future<Output = Result<Draft, Error>> + Send;

    /// Checks whether the operation is possible. May run in parallel with the write that accepts the operation.
    /// Returns warnings for the administrator.
    fn check(&self) -> impl Future<Output = Result<Vec<String>, Error>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// The secret values that the operation with this id has to carry, sealed.
    fn seal(&mut self, _id: &str) -> impl Future<Output = Result<Option<Sealed>, Error>> + Send {
        std::future::ready(Ok(None))
    }

    /// The preview of the operation.
    fn preview(
        self,
        warnings: Vec<String>,
    ) -> impl Future<Output = Result<Self::Preview, Error>> + Send;
}

/// The warning of a context that is not configured.
fn unknown_context(contexts: &Contexts, context: &str) -> Option<String> {
    if contexts.knows(context) {
        return None;
    }
    let names: Vec<&str> = contexts.names().collect();
    let configured = if names.is_empty() {
        String::new()
    } else {
        format!("; configured are {}", names.join(", "))
    };
    Some(format!(
        "the context {context:?} is not configured: the settings of the default context apply{configured}"
    ))
}

/// Accepts requests for operations.
#[derive(Debug)]
pub(crate) struct Requests<'a> {
    /// Drives the operations.
    pub engine: &'a Engine,
    /// The key of the HMAC with which arguments are compared.
    pub key: &'a Secret,
}

impl Requests<'_> {
    /// Checks a request and, unless it is only to be validated, has it accepted.
    ///
    /// # Errors
    /// The refusal of the plan; [`Error::RequestIdReused`].
    pub(crate) async fn ask<P: Plan>(
        &self,
        mut plan: P,
        options: RequestOptions<'_>,
    ) -> Result<Answer<P::Preview>, Error> {
        if let Err(wrong) = check_request_id(options.request_id) {
            // What else is wrong is told, too. A draft changes nothing.
            return Err(match plan.draft(options).await {
                Err(refusal) => refusal.with_fields(vec![wrong]),
                Ok(_) => wrong.into(),
            });
        }
        let mac = plan.mac(self.key)?;
        let id = operation_id(plan.verb(), options.request_id);
        let look_first = options.validate_only || plan.is_costly();
        if look_first && let Some(known) = self.known(options, &id, &mac).await? {
            return Ok(known);
        }
        let asked = self.go_on(&mut plan, options, &id, &mac).await;
        match asked {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => {
                let warnings = plan.check().await?;
                Ok(Answer::Preview(plan.preview(warnings).await?))
            }
            // A completed request may be invalid by now. The caller repeats it because the response was lost,
            // so the earlier operation is returned.
            Err(refusal) if !look_first => {
                let known = self.known(options, &id, &mac).await?;
                known.ok_or(refusal)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Has a request accepted that nobody repeats, and waits for the end of its operation.
    ///
    /// # Errors
    /// As [`Self::ask`]; [`Error::Ended`] when the operation failed.
    pub(crate) async fn carry_out<P: Plan>(&self, plan: P) -> Result<(), Error> {
        let options = RequestOptions {
            request_id: "",
            validate_only: false,
        };
        // Nothing is only previewed.
        let Answer::Accepted { id, .. } = self.ask(plan, options).await? else {
            return Ok(());
        };
        end_of(self.engine, id)
            .await?
            .map_or(Ok(()), |failure| Err(Error::Ended(failure)))
    }

    /// Has a request accepted; `None` when only a preview is wanted.
    async fn go_on<P: Plan>(
        &self,
        plan: &mut P,
        options: RequestOptions<'_>,
        id: &str,
        mac: &str,
    ) -> Result<Option<Answer<P::Preview>>, Error> {
        let draft = plan.draft(options).await?;
        if options.validate_only {
            return Ok(None);
        }
        let now = self.engine.clock().now();
        let mut operation = Operation {
            envelope: Envelope::new(draft.subject, mac.to_owned(), now),
            work: draft.work,
        };
        let accepted = if plan.is_costly() {
            let warnings = plan.check().await?;
            operation.sealed = plan.seal(id).await?;
            let checked = std::future::ready(Ok(warnings));
            self.engine
                .accept(id.to_owned(), operation, checked)
                .await?
        } else {
            operation.sealed = plan.seal(id).await?;
            self.engine
                .accept(id.to_owned(), operation, plan.check())
                .await?
        };
        match accepted {
            Accepted::Operation { id, operation } => Ok(Some(Answer::Accepted { id, operation })),
            Accepted::Reused => Err(Error::RequestIdReused),
        }
    }

    /// The operation of an earlier request with the same id.
    async fn known<T>(
        &self,
        options: RequestOptions<'_>,
        id: &str,
        mac: &str,
    ) -> Result<Option<Answer<T>>, Error> {
        if options.request_id.is_empty() {
            return Ok(None);
        }
        match self.engine.log().read(id).await? {
            Some(known) if known.body.arguments_mac == mac => Ok(Some(Answer::Accepted {
                id: id.to_owned(),
                operation: Box::new(known.body),
            })),
            Some(_) => Err(Error::RequestIdReused),
            None => Ok(None),
        }
    }
}

/// The id of the operation for a request. It is derived from the request id, so that the same request finds the
/// same operation (AIP-155). A request without an id gets a random one.
///
/// There is a single caller, the administrator. With more callers, their identity has to be part of the
/// derivation.
fn operation_id(kind: &str, request_id: &str) -> String {
    if request_id.is_empty() {
        return couch::DocId::ascending().into_string();
    }
    let mut hash = Sha256::new();
    for part in ["admin", kind, request_id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut id = hex::encode(hash.finalize());
    id.truncate(32);
    id
}

/// The HMAC of a request's arguments, in hex. With a plain hash, a reader of the database could guess secret
/// arguments.
fn arguments_mac<T: Serialize>(key: &Secret, arguments: &T) -> Result<String, Error> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes())
        // HMAC accepts keys of any length.
        .unwrap_or_else(|_| Hmac::<Sha256>::new(&hmac::digest::Key::<Hmac<Sha256>>::default()));
    mac.update(&serde_json::to_vec(arguments)?);
    Ok(hex::encode(mac.finalize().into_bytes()))
}

/// Checks a request id: any text of the caller's, preferably a UUID.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_request_id(text: &str) -> Result<(), InvalidField> {
    let fine = text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fine {
        Ok(())
    } else {
        Err(InvalidField {
            field: "request_id".to_owned(),
            wrong: "is not usable; give up to 128 printable ASCII characters without spaces, best a UUID"
                .to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use service_kit::secret::Secret;

    use super::{arguments_mac, check_request_id, operation_id};

    #[test]
    fn the_operation_id_is_derived_from_the_request_id() {
        assert_eq!(operation_id("create", "r"), operation_id("create", "r"));
        assert_ne!(operation_id("create", "r"), operation_id("destroy", "r"));
        assert_ne!(operation_id("create", ""), operation_id("create", ""));
        assert_eq!(operation_id("create", "r").len(), 32);
    }

    #[test]
    fn arguments_are_compared_under_a_key() {
        let one = arguments_mac(&Secret::new("one"), &"x").unwrap();
        assert_eq!(one, arguments_mac(&Secret::new("one"), &"x").unwrap());
        assert_ne!(one, arguments_mac(&Secret::new("two"), &"x").unwrap());
        assert_ne!(one, arguments_mac(&Secret::new("one"), &"y").unwrap());
    }

    #[test]
    fn a_request_id_is_short_and_printable() {
        assert!(check_request_id("").is_ok());
        assert!(check_request_id("018f0000-0000-7000-8000-000000000001").is_ok());
        assert!(check_request_id("a b").is_err());
        assert!(check_request_id(&"x".repeat(129)).is_err());
    }
}
