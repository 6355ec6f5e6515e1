//! What it answers about files.

use hamlet_proto::hamlet::files::v1::{
    CheckTreeRequest, File, Finding, GetFileRequest, ListChildrenRequest, ListChildrenResponse,
    TreeEntry, WalkTreeRequest, files_service_server::FilesService,
};
use tonic::{Request, Response, Status};

use super::{Sent, State, not_here, page, stream};

#[tonic::async_trait]
impl FilesService for State {
    type CheckTreeStream = Sent<Finding>;

    async fn check_tree(
        &self,
        request: Request<CheckTreeRequest>,
    ) -> Result<Response<Self::CheckTreeStream>, Status> {
        self.enter("CheckTree", &request)?;
        self.note(|asked| asked.checks.push(request.into_inner()));
        Ok(self.script(|script| stream(&script.findings, script.broken.as_ref())))
    }

    type WalkTreeStream = Sent<TreeEntry>;

    async fn get_file(&self, _: Request<GetFileRequest>) -> Result<Response<File>, Status> {
        not_here()
    }

    async fn list_children(
        &self,
        request: Request<ListChildrenRequest>,
    ) -> Result<Response<ListChildrenResponse>, Status> {
        self.enter("ListChildren", &request)?;
        let token = request.into_inner().page_token;
        let (children, next_page_token) = self.script(|script| page(&script.files, &token));
        Ok(Response::new(ListChildrenResponse {
            children,
            next_page_token,
        }))
    }

    async fn walk_tree(
        &self,
        request: Request<WalkTreeRequest>,
    ) -> Result<Response<Self::WalkTreeStream>, Status> {
        self.enter("WalkTree", &request)?;
        let deepest = request.into_inner().max_depth;
        let entries: Vec<_> = self.script(|script| script.tree.clone());
        let entries = entries
            .into_iter()
            .filter(move |entry| deepest == 0 || entry.depth <= deepest)
            .map(Ok);
        Ok(Response::new(Box::pin(tokio_stream::iter(entries))))
    }
}
