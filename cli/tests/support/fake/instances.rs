//! What it answers about instances.

use hamlet_proto::{
    google::longrunning::Operation,
    hamlet::instance::v1::{
        BlockInstanceRequest, CleanSessionsRequest, CountInstancesRequest, CountInstancesResponse,
        CreateInstanceRequest, CreateTokenRequest, DeleteInstanceRequest, GetInstanceRequest,
        GetRegisterLinkRequest, Instance, ListInstancesRequest, ListInstancesResponse,
        ListOrphansRequest, Orphan, PurgeOrphansRequest, RegisterLink, RotateRegisterLinkRequest,
        SetPassphraseRequest, Token, UnblockInstanceRequest, UndeleteInstanceRequest,
        UpdateInstanceRequest, instance_service_server::InstanceService,
    },
};
use tonic::{Request, Response, Status};

use super::{Sent, State, page_of, stream};

#[tonic::async_trait]
impl InstanceService for State {
    async fn create_instance(
        &self,
        request: Request<CreateInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("CreateInstance", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.creations.push(request));
        match self.script(|script| script.failing_creations.pop_front()) {
            Some(status) => Err(status),
            None => self.change(only_check),
        }
    }

    async fn get_instance(
        &self,
        request: Request<GetInstanceRequest>,
    ) -> Result<Response<Instance>, Status> {
        self.enter("GetInstance", &request)?;
        let name = request.into_inner().name.to_lowercase();
        self.script(|script| {
            script
                .instances
                .iter()
                .find(|instance| {
                    instance.name == name
                        || instance
                            .domain_aliases
                            .iter()
                            .any(|alias| format!("instances/{alias}") == name)
                })
                .cloned()
                .map(Response::new)
                .ok_or_else(|| Status::not_found(format!("there is no {name}")))
        })
    }

    async fn list_instances(
        &self,
        request: Request<ListInstancesRequest>,
    ) -> Result<Response<ListInstancesResponse>, Status> {
        self.enter("ListInstances", &request)?;
        let request = request.into_inner();
        let before = self.asked.lock().unwrap().lists.len();
        if self.script(|script| script.pages == Some(before)) {
            std::future::pending::<()>().await;
        }
        // As real servers do, it never gives more than was asked for, and sometimes less.
        let size = usize::try_from(request.page_size).unwrap().min(2);
        let (instances, next_page_token) =
            self.script(|script| page_of(&script.instances, &request.page_token, size));
        self.note(|asked| asked.lists.push(request));
        Ok(Response::new(ListInstancesResponse {
            instances,
            next_page_token,
        }))
    }

    async fn count_instances(
        &self,
        request: Request<CountInstancesRequest>,
    ) -> Result<Response<CountInstancesResponse>, Status> {
        self.enter("CountInstances", &request)?;
        let count = self.script(|script| i64::try_from(script.instances.len()).unwrap());
        Ok(Response::new(CountInstancesResponse { count }))
    }

    async fn delete_instance(
        &self,
        request: Request<DeleteInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("DeleteInstance", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.destructions.push(request));
        self.change(only_check)
    }

    async fn get_register_link(
        &self,
        request: Request<GetRegisterLinkRequest>,
    ) -> Result<Response<RegisterLink>, Status> {
        self.enter("GetRegisterLink", &request)?;
        Ok(Response::new(self.script(|script| script.link.clone())))
    }

    async fn update_instance(
        &self,
        request: Request<UpdateInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("UpdateInstance", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.updates.push(request));
        self.change(only_check)
    }

    async fn undelete_instance(
        &self,
        request: Request<UndeleteInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("UndeleteInstance", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.undeletions.push(request));
        self.change(only_check)
    }

    async fn block_instance(
        &self,
        request: Request<BlockInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("BlockInstance", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.blocks.push(request));
        self.change(only_check)
    }

    async fn unblock_instance(
        &self,
        request: Request<UnblockInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("UnblockInstance", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.unblocks.push(request));
        self.change(only_check)
    }

    async fn rotate_register_link(
        &self,
        request: Request<RotateRegisterLinkRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("RotateRegisterLink", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.rotations.push(request));
        self.change(only_check)
    }

    async fn set_passphrase(
        &self,
        request: Request<SetPassphraseRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("SetPassphrase", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.passphrases.push(request));
        self.change(only_check)
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<Token>, Status> {
        self.enter("CreateToken", &request)?;
        self.note(|asked| asked.tokens.push(request.into_inner()));
        Ok(Response::new(Token {
            token: "the-token".to_owned(),
        }))
    }

    async fn clean_sessions(
        &self,
        request: Request<CleanSessionsRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("CleanSessions", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.cleanings.push(request));
        self.change(only_check)
    }

    type ListOrphansStream = Sent<Orphan>;

    async fn list_orphans(
        &self,
        request: Request<ListOrphansRequest>,
    ) -> Result<Response<Self::ListOrphansStream>, Status> {
        self.enter("ListOrphans", &request)?;
        Ok(self.script(|script| stream(&script.orphans, script.broken.as_ref())))
    }

    async fn purge_orphans(
        &self,
        request: Request<PurgeOrphansRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("PurgeOrphans", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.purges.push(request));
        self.change(only_check)
    }
}
