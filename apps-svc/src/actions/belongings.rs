//! What an app has besides its document: contents, triggers and permissions. They are written before the document that
//! makes the app visible, and must match the one that was published.

use hamlet_proto::hamlet::instance::v1::Tenant;
use serde_json::Value;

use super::Shared;
use crate::{
    code::Place,
    domain::{
        app_type::AppType,
        document::{Installation, trigger_id},
        manifest::Manifest,
        version_folder::ASIDE,
    },
    error::Error,
    store::{AppDocument, Store, text},
};

/// Triggers and contents of an app that were found before a change, and that may be of no version that is in force.
#[derive(Debug)]
pub(super) struct Found {
    kind: AppType,
    slug: String,
    triggers: Vec<String>,
    forms: Vec<String>,
    /// Where the code lies that other software uses, too, and the folders of versions there.
    place: Option<Place>,
    folders: Vec<String>,
}

impl Found {
    /// All that an app has now.
    pub(super) async fn of(
        shared: &Shared,
        store: &Store,
        tenant: &Tenant,
        kind: AppType,
        slug: &str,
    ) -> Result<Self, Error> {
        let triggers = match kind {
            AppType::Webapp => triggers(store, slug).await?,
            // Services belong to web apps.
            AppType::Konnector => Vec::new(),
        };
        let forms = shared.contents.forms(store.prefix(), kind, slug).await?;
        let place = shared.code.place(tenant, kind, slug);
        let versions = match place.clone() {
            Some(place) => place.versions().await?,
            None => None,
        };
        Ok(Self {
            kind,
            slug: slug.to_owned(),
            triggers,
            forms,
            place: place.filter(|_| versions.is_some()),
            folders: versions.unwrap_or_default(),
        })
    }

    /// All that an installation writes, whether it has done so or not.
    pub(super) fn made_by(
        shared: &Shared,
        tenant: &Tenant,
        installation: &Installation<'_>,
    ) -> Self {
        let triggers = installation.triggers();
        let (kind, slug) = (installation.kind, installation.slug);
        Self {
            kind,
            slug: slug.to_owned(),
            place: shared.code.place(tenant, kind, slug),
            folders: vec![installation.folder().name],
            triggers: triggers.into_iter().map(|trigger| trigger.id).collect(),
            forms: vec![installation.form()],
        }
    }

    /// What of it this version does not have.
    pub(super) fn without(mut self, kept: &Installation<'_>) -> Self {
        let form = kept.form();
        let triggers = kept.triggers();
        self.triggers
            .retain(|id| triggers.iter().all(|trigger| trigger.id != *id));
        self.forms.retain(|found| *found != form);
        let folder = kept.folder().name;
        // What is not complete may be complete in a moment: another installation is at work on it.
        self.folders
            .retain(|found| *found != folder && !found.starts_with(ASIDE));
        self
    }

    /// Whether the code of this version lies where other software looks for it, if that has such a place.
    pub(super) fn has_code_of(&self, installation: &Installation<'_>) -> bool {
        let folder = installation.folder().name;
        self.place.is_none() || self.folders.contains(&folder)
    }

    /// Whether there is nothing.
    pub(super) const fn is_empty(&self) -> bool {
        self.triggers.is_empty() && self.forms.is_empty() && self.folders.is_empty()
    }

    /// Removes the triggers. Idempotent.
    pub(super) async fn remove_triggers(&self, store: &Store) -> Result<(), Error> {
        for id in &self.triggers {
            store.remove_trigger(id).await?;
        }
        Ok(())
    }

    /// Removes it. Idempotent.
    pub(super) async fn remove(&self, shared: &Shared, store: &Store) -> Result<(), Error> {
        self.remove_triggers(store).await?;
        for form in &self.forms {
            shared
                .contents
                .forget_form(store.prefix(), self.kind, &self.slug, form)
                .await?;
        }
        self.remove_code().await
    }

    /// Removes the code that other software uses, too. Idempotent.
    pub(super) async fn remove_code(&self) -> Result<(), Error> {
        match self.place.clone() {
            Some(place) => place.remove(self.folders.clone()).await,
            None => Ok(()),
        }
    }
}

/// The triggers of an app that Hamlet wrote, those of earlier versions included. Other software gives other ids.
async fn triggers(store: &Store, slug: &str) -> Result<Vec<String>, Error> {
    let mut triggers = store.triggers().await?;
    triggers.retain(|found| {
        let message = found.body.get("message");
        let text = |name: &str| {
            let value = message.and_then(|message| message.get(name));
            value.and_then(Value::as_str).unwrap_or_default()
        };
        text("slug") == slug && found.id == trigger_id(store.prefix(), slug, text("name"))
    });
    Ok(triggers.into_iter().map(|found| found.id).collect())
}

/// Makes triggers, permissions and contents match the app's document, which another change published while `ours` was
/// running.
pub(super) async fn repair(
    shared: &Shared,
    store: &Store,
    tenant: &Tenant,
    ours: &Installation<'_>,
    app: &AppDocument,
) -> Result<(), Error> {
    let manifest = manifest_of(ours.kind, app)?;
    let theirs = Installation {
        source: text(app, "source"),
        version: text(app, "version"),
        checksum: text(app, "checksum"),
        now: text(app, "created_at"),
        manifest: &manifest,
        ..*ours
    };
    store.write_triggers(&theirs.triggers()).await?;
    store.write_permission(&theirs.permission()).await?;
    Found::made_by(shared, tenant, ours)
        .without(&theirs)
        .remove(shared, store)
        .await
}

/// Writes again the triggers and permissions of the app's document, which a removal took away before it found that the
/// app had been replaced.
pub(super) async fn restore(
    store: &Store,
    tenant: &Tenant,
    kind: AppType,
    slug: &str,
    app: &AppDocument,
) -> Result<(), Error> {
    let manifest = manifest_of(kind, app)?;
    let published = Installation {
        domain: &tenant.domain,
        prefix: &tenant.prefix,
        kind,
        slug,
        source: text(app, "source"),
        version: text(app, "version"),
        checksum: text(app, "checksum"),
        now: text(app, "created_at"),
        manifest: &manifest,
    };
    store.write_triggers(&published.triggers()).await?;
    store.write_permission(&published.permission()).await
}

fn manifest_of(kind: AppType, app: &AppDocument) -> Result<Manifest, Error> {
    Manifest::from_json(kind, Value::Object(app.body.clone()))
        .map_err(|wrong| Error::Stored(format!("{}: {wrong}", app.id)))
}
