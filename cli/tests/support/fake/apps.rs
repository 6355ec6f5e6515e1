//! What it answers about apps.

use hamlet_proto::hamlet::apps::v1::{
    App, GetAppRequest, InstallAppRequest, ListAppsRequest, ListAppsResponse, UninstallAppRequest,
    UninstallAppResponse, apps_service_server::AppsService,
};
use tonic::{Request, Response, Status};

use super::{State, not_here, page};

#[tonic::async_trait]
impl AppsService for State {
    async fn list_apps(
        &self,
        request: Request<ListAppsRequest>,
    ) -> Result<Response<ListAppsResponse>, Status> {
        self.enter("ListApps", &request)?;
        let token = request.into_inner().page_token;
        let (apps, next_page_token) = self.script(|script| page(&script.apps, &token));
        Ok(Response::new(ListAppsResponse {
            apps,
            next_page_token,
        }))
    }

    async fn get_app(&self, request: Request<GetAppRequest>) -> Result<Response<App>, Status> {
        self.enter("GetApp", &request)?;
        let slug = request.into_inner().slug;
        self.script(|script| {
            script
                .apps
                .iter()
                .find(|app| app.slug == slug)
                .cloned()
                .map(Response::new)
                .ok_or_else(|| Status::not_found(format!("there is no app {slug}")))
        })
    }

    async fn install_app(&self, _: Request<InstallAppRequest>) -> Result<Response<App>, Status> {
        not_here()
    }

    async fn uninstall_app(
        &self,
        _: Request<UninstallAppRequest>,
    ) -> Result<Response<UninstallAppResponse>, Status> {
        not_here()
    }
}
