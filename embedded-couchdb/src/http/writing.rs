//! Writes of documents on behalf of a caller. Every document that a client writes passes here.

use std::sync::Arc;

use http::StatusCode;

use super::{
    access::Access,
    app::App,
    auth::Caller,
    designs,
    users::{self, USERS},
    validation::{self, Verdicts, is_validated},
};
use crate::{
    api_error::ApiError,
    storage::{
        databases,
        documents::{self, NewDoc, Origin, Plan},
        locals, partitions,
        revtree::Rev,
        transaction::Transaction,
        validators,
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
    let mut refused = Vec::with_capacity(docs.len());
    for doc in &docs {
        refused.push(designs::check(app, doc).await.err());
    }
    let makes_room = is_of_installation(name) || docs.iter().all(|doc| doc.deleted);
    let (docs, refused) = (Arc::new(docs), Arc::new(refused));
    let mut verdicts = None;
    for _ in 0..MOST_VALIDATIONS {
        let write = Write {
            caller: caller.clone(),
            name: name.to_owned(),
            docs: Arc::clone(&docs),
            refused: Arc::clone(&refused),
            origin,
            verdicts,
        };
        let work = move |transaction: &mut Transaction<'_>| write.run(transaction);
        let outcomes = if makes_room {
            app.store.write_making_room(work).await
        } else {
            app.store.write(work).await
        };
        match outcomes {
            Err(failure) if validation::is_outdated(&failure) => {
                verdicts = Some(validation::verdicts(app, caller, name, &docs, origin).await?);
            }
            outcomes => return outcomes,
        }
    }
    Err(validation::outdated())
}

/// How often documents are validated again because others change them meanwhile.
const MOST_VALIDATIONS: usize = 20;

/// Whether a database holds what an installation needs to remove something: operations, records, claims.
fn is_of_installation(name: &str) -> bool {
    name.starts_with("global/")
}

struct Write {
    caller: Caller,
    name: String,
    docs: Arc<Vec<NewDoc>>,
    /// For each document, why it is refused whatever is stored.
    refused: Arc<Vec<Option<ApiError>>>,
    origin: Origin,
    /// What the validation functions said, if they were asked.
    verdicts: Option<Verdicts>,
}

impl Write {
    fn run(&self, transaction: &mut Transaction<'_>) -> Result<Outcomes, ApiError> {
        let mut db = databases::open(transaction.conn, &self.name)?;
        let access = Access::of(&self.caller, &db)?;
        for doc in self.docs.iter() {
            partitions::check_id(&db, &doc.id)?;
        }
        let validators = validators::of(transaction.conn, db.id)?;
        let asked = self.verdicts.as_ref().map(|asked| &asked.validators);
        if asked != Some(&validators)
            && !validators.is_empty()
            && self.docs.iter().any(|doc| is_validated(&doc.id))
        {
            return Err(validation::outdated());
        }
        let mut outcomes: Vec<(usize, Result<Rev, ApiError>)> = Vec::with_capacity(self.docs.len());
        // CouchDB stores documents in the order of their ids and answers in the order of the request.
        let mut ordered: Vec<(usize, &NewDoc)> = self.docs.iter().enumerate().collect();
        ordered.sort_by(|(_, a), (_, b)| a.id.cmp(&b.id));
        for (place, doc) in ordered {
            let outcome = self.one(transaction, &mut db, &access, place, doc);
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
        place: usize,
        doc: &NewDoc,
    ) -> Result<Rev, ApiError> {
        access.check_document(&doc.id)?;
        if let Some(Some(failure)) = self.refused.get(place) {
            return Err(failure.clone());
        }
        designs::check_partitions(db, doc)?;
        if doc.id.starts_with("_local/") {
            return locals::save(transaction, db, doc, self.origin);
        }
        let plan = documents::plan(transaction.conn, db.id, doc, self.origin)?;
        if !plan.is_known {
            self.check(transaction, access, place, doc, &plan)?;
        }
        documents::carry_out(transaction, db, doc, self.origin, plan)
    }

    fn check(
        &self,
        transaction: &Transaction<'_>,
        access: &Access,
        place: usize,
        doc: &NewDoc,
        plan: &Plan,
    ) -> Result<(), ApiError> {
        let verdict = self
            .verdicts
            .as_ref()
            .and_then(|asked| asked.verdicts.get(place));
        if let Some(verdict) = verdict.filter(|_| is_validated(&doc.id)) {
            verdict.on(plan)?;
        }
        if self.name == USERS && !doc.id.starts_with("_design/") {
            return users::check(transaction.conn, &self.caller, access, doc, plan);
        }
        Ok(())
    }
}

/// Whether an error fails the whole request, and not one document.
fn is_of_request(failure: &ApiError) -> bool {
    failure.is_of_store()
        || validation::is_outdated(failure)
        || failure.status == StatusCode::PRECONDITION_FAILED
}
