//! The store of an instance's apps: their documents.

use couch::{
    AllDocs, BulkDoc, ClaimOutcome, Couch, Database, DbName, Document, Exchange, Find,
    design::{Index, View},
};
use futures::TryStreamExt as _;
use hamlet_proto::hamlet::instance::v1::Tenant;
use serde_json::{Map, Value, json};

use crate::{
    domain::{
        app_type::AppType,
        document::{Draft, permission_id},
    },
    error::Error,
};

const PERMISSIONS: &str = "io.cozy.permissions";
const TRIGGERS: &str = "io.cozy.triggers";

/// Finds the permissions of an app.
const BY_SOURCE: Index = Index::new(
    "by-source-and-type",
    "60850b5f3ea02d90d424c53ac302e15be3d6c4c0",
    &["source_id", "type"],
);

/// Views for other software of the ecosystem. Hamlet does not read them.
const VIEWS: [View; 4] = [
    View::new(
        "by-short-code",
        "function (doc) {
  if (!doc.shortcodes) { return; }
  Object.keys(doc.shortcodes).forEach(function (name) {
    emit(doc.shortcodes[name], name);
  });
}",
        None,
    ),
    View::new(
        "byDoc",
        "function (doc) {
  if (doc.type !== 'share' || !doc.permissions) { return; }
  Object.keys(doc.permissions).forEach(function (name) {
    var rule = doc.permissions[name];
    (rule.values || []).forEach(function (value) {
      emit([rule.type, rule.selector || '_id', value], rule.verbs);
    });
  });
}",
        None,
    ),
    View::new(
        "byToken",
        "function (doc) {
  if (!doc.codes || typeof doc.type !== 'string' || doc.type.slice(0, 5) !== 'share') { return; }
  Object.keys(doc.codes).forEach(function (name) {
    emit(doc.codes[name], null);
  });
}",
        None,
    ),
    View::new(
        "permissions-by-doctype",
        "function (doc) {
  if (!doc.permissions) { return; }
  Object.keys(doc.permissions).forEach(function (name) {
    emit([doc.permissions[name].type, doc.type], null);
  });
}",
        None,
    ),
];

/// The document of an installed app.
pub(crate) type AppDocument = Document<Map<String, Value>>;

/// A text in the document of an app; empty when it has none.
pub(crate) fn text<'a>(app: &'a AppDocument, name: &str) -> &'a str {
    app.body
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The name of an app in a language; that of the manifest when it has none in that language.
pub(crate) fn localized_name<'a>(app: &'a AppDocument, locale: &str) -> &'a str {
    app.body
        .get("locales")
        .and_then(|locales| locales.get(locale))
        .and_then(|texts| texts.get("name"))
        .and_then(Value::as_str)
        .unwrap_or_else(|| text(app, "name"))
}

/// The apps of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    couch: Couch,
    domain: String,
    prefix: String,
}

/// The outcome of publishing an app.
#[derive(Debug)]
pub(crate) enum Published {
    /// The app was published.
    Ours(AppDocument),
    /// An app with that slug already existed.
    Theirs(AppDocument),
}

impl Store {
    /// The apps of this instance. Sends no request.
    pub(crate) fn new(couch: Couch, tenant: &Tenant) -> Self {
        Self {
            couch,
            domain: tenant.domain.clone(),
            prefix: tenant.prefix.clone(),
        }
    }

    /// The instance's prefix.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    fn database(&self, doctype: &str) -> Result<Database, Error> {
        Ok(self
            .couch
            .database(&DbName::instance(&self.prefix, doctype)?))
    }

    /// Creates the databases. Returns their names, each with the number of documents that it then holds. Idempotent.
    pub(crate) async fn prepare(&self) -> Result<Vec<(String, usize)>, Error> {
        let (apps, konnectors, permissions) = futures::try_join!(
            self.prepare_one(AppType::Webapp.doctype(), Vec::new()),
            self.prepare_one(AppType::Konnector.doctype(), Vec::new()),
            self.prepare_one(PERMISSIONS, permission_designs()?),
        )?;
        Ok(vec![apps, konnectors, permissions])
    }

    async fn prepare_one(
        &self,
        doctype: &str,
        documents: Vec<BulkDoc>,
    ) -> Result<(String, usize), Error> {
        let name = DbName::instance(&self.prefix, doctype)?;
        self.couch.create_database(&name).await?;
        if !documents.is_empty() {
            self.couch.database(&name).bulk_ensure(&documents).await?;
        }
        Ok((name.as_str().to_owned(), documents.len()))
    }

    /// The document of an app, if it is installed.
    pub(crate) async fn app(
        &self,
        kind: AppType,
        slug: &str,
    ) -> Result<Option<AppDocument>, Error> {
        let database = self.database(kind.doctype())?;
        Ok(database.get(&kind.document_id(slug)).await?)
    }

    /// The document of an app that has to be installed, at this revision unless `etag` is empty.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::Changed`].
    pub(crate) async fn require(
        &self,
        kind: AppType,
        slug: &str,
        etag: &str,
    ) -> Result<AppDocument, Error> {
        let slug = slug.to_owned();
        match self.app(kind, &slug).await? {
            None => Err(Error::NotInstalled {
                kind: kind.permission_type(),
                slug,
                domain: self.domain.clone(),
            }),
            Some(app) if !etag.is_empty() && etag != app.rev.as_str() => {
                Err(Error::Changed { slug })
            }
            Some(app) => Ok(app),
        }
    }

    /// Returns up to `limit` apps whose slugs come after `after`, sorted by slug.
    pub(crate) async fn apps(
        &self,
        kind: AppType,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AppDocument>, Error> {
        let mut query = AllDocs::prefix(&kind.document_id("")).limit(limit);
        if let Some(after) = after {
            // The range includes its start, which was the end of the previous page.
            query = query.from(kind.document_id(after)).limit(limit + 1);
        }
        let found = self.database(kind.doctype())?.all_docs_with_bodies(query);
        let mut apps: Vec<AppDocument> = found.try_collect().await?;
        if let Some(after) = after {
            let shown = kind.document_id(after);
            apps.retain(|app| app.id != shown);
        }
        apps.truncate(limit);
        Ok(apps)
    }

    /// The slugs of the first `limit` apps, sorted.
    pub(crate) async fn slugs(&self, kind: AppType, limit: usize) -> Result<Vec<String>, Error> {
        let prefix = kind.document_id("");
        let query = AllDocs::prefix(&prefix).limit(limit);
        let found = self.database(kind.doctype())?.all_docs(query);
        let found: Vec<_> = found.try_collect().await?;
        let slugs = found.iter().filter_map(|row| row.id.strip_prefix(&prefix));
        Ok(slugs.map(str::to_owned).collect())
    }

    /// Writes the triggers of an app. They have no effect until the app is published. Idempotent.
    pub(crate) async fn write_triggers(&self, triggers: &[Draft]) -> Result<(), Error> {
        let database = self.database(TRIGGERS)?;
        for trigger in triggers {
            write(&database, trigger, "/message").await?;
        }
        Ok(())
    }

    /// All triggers of the instance, those of other software included.
    pub(crate) async fn triggers(&self) -> Result<Vec<AppDocument>, Error> {
        let triggers = self.database(TRIGGERS)?;
        let found: Result<Vec<AppDocument>, couch::Error> = triggers
            .all_docs_with_bodies(AllDocs::new())
            .try_collect()
            .await;
        let mut found = found?;
        found.retain(|document| !document.id.starts_with("_design/"));
        Ok(found)
    }

    /// Removes a trigger. Idempotent.
    pub(crate) async fn remove_trigger(&self, id: &str) -> Result<(), Error> {
        delete(&self.database(TRIGGERS)?, id).await
    }

    /// Writes the permissions of an app. They have no effect until the app is published. Idempotent.
    pub(crate) async fn write_permission(&self, permission: &Draft) -> Result<(), Error> {
        write(&self.database(PERMISSIONS)?, permission, "/source_id").await
    }

    /// Writes the permissions of an installed app, in the place of those that it has, whoever wrote them. Idempotent.
    pub(crate) async fn replace_permission(
        &self,
        permission: &Draft,
        kind: AppType,
        slug: &str,
    ) -> Result<(), Error> {
        self.write_permission(permission).await?;
        let permissions = self.database(PERMISSIONS)?;
        let found = permissions.find(permissions_of(kind, slug));
        let found: Vec<AppDocument> = found.try_collect().await?;
        for other in found.iter().filter(|found| found.id != permission.id) {
            delete(&permissions, &other.id).await?;
        }
        Ok(())
    }

    /// The permissions of an app, whoever wrote them.
    pub(crate) async fn permissions(
        &self,
        kind: AppType,
        slug: &str,
    ) -> Result<Option<AppDocument>, Error> {
        let permissions = self.database(PERMISSIONS)?;
        let ours = permission_id(&self.prefix, kind, slug);
        if let Some(found) = permissions.get(&ours).await? {
            return Ok(Some(found));
        }
        let mut found = Box::pin(permissions.find(permissions_of(kind, slug)));
        Ok(found.try_next().await?)
    }

    /// Removes the permissions of an app that Hamlet wrote. Idempotent.
    pub(crate) async fn remove_permission(&self, kind: AppType, slug: &str) -> Result<(), Error> {
        let id = permission_id(&self.prefix, kind, slug);
        delete(&self.database(PERMISSIONS)?, &id).await
    }

    /// Publishes an app, unless one with that slug exists.
    pub(crate) async fn publish(&self, kind: AppType, app: &Draft) -> Result<Published, Error> {
        let database = self.database(kind.doctype())?;
        let same = |found: &Value| {
            ["/created_at", "/source", "/version"]
                .into_iter()
                .all(|field| found.pointer(field) == app.body.pointer(field))
        };
        let read = |rev, body| match body {
            Value::Object(body) => Ok(AppDocument {
                id: app.id.clone(),
                rev,
                body,
            }),
            _ => Err(Error::Stored(app.id.clone())),
        };
        match database.claim(&app.id, &app.body, same).await? {
            ClaimOutcome::Won(rev) => read(rev, app.body.clone()).map(Published::Ours),
            ClaimOutcome::Taken(_) => {
                let found: Option<AppDocument> = database.get(&app.id).await?;
                // The app existed a moment ago and has been removed since.
                found.map(Published::Theirs).ok_or_else(|| Error::Changed {
                    slug: app.id.clone(),
                })
            }
        }
    }

    /// Replaces the document of an app.
    ///
    /// # Errors
    /// [`Error::Changed`] when the app has been changed in the meantime.
    pub(crate) async fn replace(
        &self,
        old: &AppDocument,
        new: Draft,
        kind: AppType,
    ) -> Result<AppDocument, Error> {
        let database = self.database(kind.doctype())?;
        let Value::Object(body) = new.body else {
            return Err(Error::Stored(new.id));
        };
        match database.compare_and_set(&old.id, &old.rev, &body).await? {
            Exchange::Won(rev) => Ok(AppDocument {
                id: new.id,
                rev,
                body,
            }),
            Exchange::Lost => Err(Error::Changed { slug: new.id }),
        }
    }

    /// Removes an app: first its triggers and permissions, then its document, so that an interrupted removal can be
    /// retried.
    ///
    /// # Errors
    /// [`Error::Changed`] when the app has been changed in the meantime.
    pub(crate) async fn remove(
        &self,
        kind: AppType,
        slug: &str,
        app: &AppDocument,
    ) -> Result<(), Error> {
        let services = app.body.get("services").and_then(Value::as_object);
        for service in services.into_iter().flat_map(Map::values) {
            let id = service
                .get("trigger_id")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if !id.is_empty() {
                delete(&self.database(TRIGGERS)?, id).await?;
            }
        }
        // The permission document that Hamlet writes is known by its id. For other software, CouchDB generates the id.
        self.remove_permission(kind, slug).await?;
        let permissions = self.database(PERMISSIONS)?;
        let found = permissions.find(permissions_of(kind, slug));
        let found: Vec<AppDocument> = found.try_collect().await?;
        for permission in found {
            delete(&permissions, &permission.id).await?;
        }
        let apps = self.database(kind.doctype())?;
        match apps.compare_and_delete(&app.id, &app.rev).await? {
            Exchange::Won(_) => Ok(()),
            Exchange::Lost => Err(Error::Changed {
                slug: slug.to_owned(),
            }),
        }
    }
}

/// Finds the permissions of an app. Other software lets CouchDB make their ids.
fn permissions_of(kind: AppType, slug: &str) -> Find {
    Find::new(json!({
        "source_id": kind.document_id(slug),
        "type": kind.permission_type(),
    }))
    .use_index("by-source-and-type", None)
}

fn permission_designs() -> Result<Vec<BulkDoc>, Error> {
    let mut documents = vec![BulkDoc::create(BY_SOURCE.id(), &BY_SOURCE.body())?];
    for view in VIEWS {
        documents.push(BulkDoc::create(view.id(), &view.body())?);
    }
    Ok(documents)
}

/// Writes a document whose id belongs to one app, so an existing document may be overwritten.
async fn write(database: &Database, draft: &Draft, owner: &str) -> Result<(), Error> {
    let ours = |found: &Value| found.pointer(owner) == draft.body.pointer(owner);
    match database.claim(&draft.id, &draft.body, ours).await? {
        ClaimOutcome::Won(_) => Ok(()),
        ClaimOutcome::Taken(_) => Err(Error::Stored(format!(
            "{} in {} is another's",
            draft.id,
            database.name()
        ))),
    }
}

async fn delete(database: &Database, id: &str) -> Result<(), Error> {
    loop {
        let Some(found) = database.get::<Value>(id).await? else {
            return Ok(());
        };
        if let Exchange::Won(_) = database.compare_and_delete(id, &found.rev).await? {
            return Ok(());
        }
    }
}
