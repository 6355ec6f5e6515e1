//! `AppsService`.

use hamlet_proto::hamlet::apps::v1::{GetAppRequest, ListAppsRequest, ListAppsResponse, app::Kind};
use tonic::Status;

use super::{Stage, page};

pub(super) fn play(stage: &Stage<'_>) {
    stage.answer(|script, asked: ListAppsRequest| {
        let (apps, next_page_token) = page(&script.apps, &asked.page_token, asked.page_size);
        Ok(ListAppsResponse {
            apps,
            next_page_token,
        })
    });
    stage.answer(|script, asked: GetAppRequest| {
        let is_konnector = |kind| kind == Kind::Konnector;
        let slug = &asked.slug;
        let mut apps = script.apps.iter();
        let found = apps.find(|app| {
            app.slug == *slug && is_konnector(app.kind()) == is_konnector(asked.kind())
        });
        found
            .cloned()
            .ok_or_else(|| Status::not_found(format!("there is no app {slug}")))
    });
}
