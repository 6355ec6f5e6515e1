//! `hamlet apps`.

use hamlet_proto::hamlet::apps::v1::{
    GetAppRequest, ListAppsRequest, apps_service_client::AppsServiceClient,
};

use crate::{
    args::{Apps, Format},
    failure::Failure,
    output::{self, List},
    session::Session,
    table::facts,
};

const PAGE: i32 = 200;

pub(super) async fn run(session: &Session, format: Format, command: Apps) -> Result<(), Failure> {
    match command {
        Apps::Ls { domain } => ls(session, format, &domain).await,
        Apps::Show { domain, slug } => show(session, format, &domain, slug).await,
    }
}

async fn ls(session: &Session, format: Format, domain: &str) -> Result<(), Failure> {
    let door = session.door_of(domain).await?;
    let mut list = List::new(format, &["slug", "version", "state", "source"]);
    let mut page_token = String::new();
    loop {
        let request = ListAppsRequest {
            page_size: PAGE,
            page_token,
            ..ListAppsRequest::default()
        };
        let page = session
            .ask(async || {
                AppsServiceClient::new(door.clone())
                    .list_apps(request.clone())
                    .await
            })
            .await?;
        for app in &page.apps {
            list.push(app, &app.slug, || {
                vec![
                    app.slug.clone(),
                    app.version.clone(),
                    app.state.clone(),
                    app.source.clone(),
                ]
            })?;
        }
        list.flush()?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

async fn show(
    session: &Session,
    format: Format,
    domain: &str,
    slug: String,
) -> Result<(), Failure> {
    let door = session.door_of(domain).await?;
    let request = GetAppRequest {
        slug,
        ..GetAppRequest::default()
    };
    let app = session
        .ask(async || {
            AppsServiceClient::new(door.clone())
                .get_app(request.clone())
                .await
        })
        .await?;
    output::one(format, &app, &app.slug, || {
        facts(&[
            ("slug", app.slug.clone()),
            ("name", app.display_name.clone()),
            ("version", app.version.clone()),
            ("state", app.state.clone()),
            ("source", app.source.clone()),
            ("editor", app.editor.clone()),
            ("checksum", app.checksum.clone()),
        ])
    })
}
