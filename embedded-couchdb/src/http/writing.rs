//! Writes of documents on behalf of a caller. Every document that a client writes passes here.

use std::sync::Arc;

use http::StatusCode;

use super::{
    access::Access,
    app::App,
    auth::Caller,
    users::{self, USERS},
};
use crate::{
    api_error::ApiError,
    storage::{
        databases,
        documents::{self, NewDoc, Origin, Plan},
        locals,
        revtree::Rev,
        transaction::Transaction,
    },
};

/// The outcome for each document, in the order of the request.
pub(crate) type Outcomes = Vec<Result<Rev, ApiError>>;

/// Saves one document.
pub(crate) async fn save(
    app: &App,
    caller: &Caller,
    name: &str,
    new: NewDoc,
    origin: Origin,
) -> Result<Rev, ApiError> {
    let outcomes = save_all(app, caller, name, vec![new], origin).await?;
    outcomes
        .into_iter()
        .next()
        .unwrap_or_else(|| Err(ApiError::internal("a document got no answer")))
}

/// Saves documents. An error of the store, or an attachment that is missing, fails all of them.
pub(crate) async fn save_all(
    app: &App,
    caller: &Caller,
    name: &str,
    docs: Vec<NewDoc>,
    origin: Origin,
) -> Result<Outcomes, ApiError> {
    let docs = if name == USERS {
        users::with_hashes(app, docs).await?
    } else {
        docs
    };
    let makes_room = is_of_installation(name) || docs.iter().all(|doc| doc.deleted);
    let write = Write {
        caller: caller.clone(),
        name: name.to_owned(),
        docs: Arc::new(docs),
        origin,
    };
    let work = move |transaction: &mut Transaction<'_>| write.run(transaction);
    if makes_room {
        app.store.write_making_room(work).await
    } else {
        app.store.write(work).await
    }
}

/// Whether a database holds what an installation needs to remove something: operations, records, claims.
fn is_of_installation(name: &str) -> bool {
    name.starts_with("global/")
}

struct Write {
    caller: Caller,
    name: String,
    docs: Arc<Vec<NewDoc>>,
    origin: Origin,
}

impl Write {
    fn run(&self, transaction: &mut Transaction<'_>) -> Result<Outcomes, ApiError> {
        let mut db = databases::open(transaction.conn, &self.name)?;
        let access = Access::of(&self.caller, &db)?;
        let mut outcomes: Vec<(usize, Result<Rev, ApiError>)> = Vec::with_capacity(self.docs.len());
        // CouchDB stores documents in the order of their ids and answers in the order of the request.
        let mut ordered: Vec<(usize, &NewDoc)> = self.docs.iter().enumerate().collect();
        ordered.sort_by(|(_, a), (_, b)| a.id.cmp(&b.id));
        for (place, doc) in ordered {
            let outcome = self.one(transaction, &mut db, &access, doc);
            if let Err(failure) = &outcome
                && is_of_request(failure)
            {
                return Err(failure.clone());
            }
            outcomes.push((place, outcome));
        }
        db.store(transaction)?;
        outcomes.sort_by_key(|(place, _)| *place);
        Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
    }

    fn one(
        &self,
        transaction: &mut Transaction<'_>,
        db: &mut databases::Database,
        access: &Access,
        doc: &NewDoc,
    ) -> Result<Rev, ApiError> {
        access.check_document(&doc.id)?;
        if doc.id.starts_with("_local/") {
            return locals::save(transaction, db, doc, self.origin);
        }
        let plan = documents::plan(transaction.conn, db.id, doc, self.origin)?;
        if !plan.is_known {
            self.check(transaction, access, doc, &plan)?;
        }
        documents::carry_out(transaction, db, doc, self.origin, plan)
    }

    fn check(
        &self,
        transaction: &Transaction<'_>,
        access: &Access,
        doc: &NewDoc,
        plan: &Plan,
    ) -> Result<(), ApiError> {
        if self.name == USERS && !doc.id.starts_with("_design/") {
            return users::check(transaction.conn, &self.caller, access, doc, plan);
        }
        Ok(())
    }
}

/// Whether an error fails the whole request, and not one document.
fn is_of_request(failure: &ApiError) -> bool {
    failure.status.is_server_error() || failure.status == StatusCode::PRECONDITION_FAILED
}
