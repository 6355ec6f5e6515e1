//! Decides who may do what with the apps of an instance: the one place in this service.

use hamlet_proto::hamlet::instance::v1::identity::Rule;
use service_kit::{
    caller::Caller,
    rights::{Verb, too_small},
};
use tonic::Status;

use crate::domain::app_type::AppType;

/// Requires that a caller may read an app. A rule may name its document or its slug.
///
/// # Errors
/// UNAUTHENTICATED, PERMISSION_DENIED.
pub(crate) fn require_one(caller: &Caller, kind: AppType, slug: &str) -> Result<(), Status> {
    let id = kind.document_id(slug);
    let is_meant = |rule: &Rule| {
        let value = match rule.selector.as_str() {
            "" | "_id" => &id,
            "slug" => slug,
            // Nothing else of an app is told apart here.
            _ => return false,
        };
        rule.values.iter().any(|it| it == value)
    };
    let may = caller
        .rights()?
        .allow_one(kind.doctype(), Verb::Get, is_meant);
    may.then_some(())
        .ok_or_else(|| too_small(kind.doctype(), Verb::Get))
}

/// Requires that a caller may do something with all apps of a kind. As in the original, whoever may install an app may
/// update it.
///
/// # Errors
/// UNAUTHENTICATED, PERMISSION_DENIED.
pub(crate) fn require(caller: &Caller, kind: AppType, verb: Verb) -> Result<(), Status> {
    caller.require(kind.doctype(), verb)
}
