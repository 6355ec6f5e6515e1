//! `hamlet.instance.v1.InstanceService`.

use std::{
    collections::{BTreeSet, HashSet},
    pin::Pin,
    time::Duration,
};

use futures::{Stream, stream};
use hamlet_proto::{
    google::longrunning::Operation,
    hamlet::instance::v1::{
        BlockInstanceRequest, CheckContextRequest, CheckContextResponse, CleanSessionsRequest,
        CountInstancesRequest, CountInstancesResponse, CreateInstanceRequest, CreateInstanceResult,
        CreateResetLinkRequest, CreateTokenRequest, DeleteInstanceRequest, DeleteInstanceResult,
        FindOauthClientRequest, GetInstanceRequest, GetRegisterLinkRequest, Instance,
        ListConflictsRequest, ListContextsRequest, ListContextsResponse, ListInstancesRequest,
        ListInstancesResponse, ListOrphansRequest, NameConflict, OauthClient, Orphan,
        PurgeOrphansRequest, PurgeOrphansResult, RegisterLink, RegisterOauthClientRequest,
        RevokeTokensRequest, RotateRegisterLinkRequest, SetPassphraseRequest, Token,
        UnblockInstanceRequest, UndeleteInstanceRequest, UpdateInstanceRequest,
        instance_service_server::InstanceService,
    },
};
use serde::Serialize;
use service_kit::{caller::Caller, contexts::DEFAULT, secret::Secret, status};
use tonic::{Request, Response, Status};

use super::{
    Shared, change, oauth,
    operations::show,
    page_token::{self, Position},
    passphrase, tokens,
};
use crate::{
    actions::{
        check_context::check_context,
        conflicts::conflicts,
        find,
        list::{creations, list},
        request::{
            Answer, Plan, RequestOptions, Requests,
            change::{ChangePlan, Changes},
            check_request_id,
            create::{CreatePlan, Creations, FirstPassphrase},
            destroy::{Accounts, DestroyPlan},
            purge_orphans::PurgeOrphansPlan,
        },
        soft_delete,
    },
    domain::{change::Change, name::Name},
    error::Error,
    messages,
    operations::engine::Detail,
};

const DEFAULT_PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

#[derive(Clone, Debug)]
pub(crate) struct Instances(pub(crate) Shared);

impl Instances {
    fn require_enabled(&self) -> Result<(), Error> {
        if self.0.config.disable_instances_add_rm.is_empty() {
            Ok(())
        } else {
            Err(Error::Disabled(
                self.0.config.disable_instances_add_rm.clone(),
            ))
        }
    }
}

impl Instances {
    async fn ask<P: Plan>(
        &self,
        plan: P,
        options: RequestOptions<'_>,
    ) -> Result<Answer<P::Preview>, Error> {
        let key = self.0.key.current();
        let requests = Requests {
            engine: &self.0.engine,
            key: &key,
        };
        requests.ask(plan, options).await
    }

    /// Requests a change whose arguments describe it completely.
    async fn change(
        &self,
        name: &Name,
        change: Change,
        request_id: &str,
        validate_only: bool,
    ) -> Result<Response<Operation>, Status> {
        let arguments = change.clone();
        let options = RequestOptions {
            request_id,
            validate_only,
        };
        self.change_with(name, arguments, change, options).await
    }

    async fn delete_softly(
        &self,
        name: &Name,
        keep: Duration,
        request: &DeleteInstanceRequest,
    ) -> Result<Response<Operation>, Status> {
        let change = soft_delete::begin(&request.etag, keep, &self.0.clock).map_err(Error::from)?;
        let options = RequestOptions {
            request_id: &request.request_id,
            validate_only: request.validate_only,
        };
        self.change_with(name, (&request.etag, keep), change, options)
            .await
    }

    async fn change_with(
        &self,
        name: &Name,
        arguments: impl Serialize + Send + Sync,
        change: Change,
        options: RequestOptions<'_>,
    ) -> Result<Response<Operation>, Status> {
        let kind = change.kind;
        let with = Changes {
            store: &self.0.store,
            contexts: &self.0.contexts,
            config: &self.0.config,
        };
        let answer = self
            .ask(ChangePlan::new(with, name, arguments, change), options)
            .await?;
        Ok(Response::new(change::answer(&self.0, kind, answer).await?))
    }

    async fn show<P>(
        &self,
        answer: Answer<P>,
        preview: impl FnOnce(P) -> Operation,
    ) -> Result<Response<Operation>, Status> {
        Ok(Response::new(match answer {
            Answer::Accepted { id, operation } => {
                show(&self.0, &id, &operation, Detail::Whole).await?
            }
            Answer::Preview(found) => preview(found),
        }))
    }
}

#[tonic::async_trait]
impl InstanceService for Instances {
    async fn create_instance(
        &self,
        request: Request<CreateInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        self.require_enabled()?;
        let mut request = request.into_inner();
        let first_passphrase = FirstPassphrase {
            passphrase: Secret::new(std::mem::take(&mut request.passphrase)),
            kdf_iterations: request.kdf_iterations,
            key: Secret::new(std::mem::take(&mut request.key)),
        };
        let (request_id, validate_only) = (request.request_id.clone(), request.validate_only);
        let (spec, mut wrong) = messages::spec(request)?;
        wrong.extend(check_request_id(&request_id).err());
        let with = Creations {
            store: &self.0.store,
            contexts: &self.0.contexts,
            deriver: &self.0.deriver,
            sealing: &self.0.sealing,
            passphrase_score: self.0.config.passphrase_score,
            app_time_limit: self.0.config.app_time_limit,
            config: &self.0.config,
            peers: &self.0.peers,
        };
        let plan = CreatePlan::new(with, spec, wrong, &first_passphrase)?;
        let options = RequestOptions {
            request_id: &request_id,
            validate_only,
        };
        let answer = self.ask(plan, options).await?;
        self.show(answer, |preview| {
            messages::checked(&CreateInstanceResult {
                instance: Some(messages::preview(&preview.spec)),
                warnings: preview.warnings,
                apps: messages::apps(&preview.apps),
                ..CreateInstanceResult::default()
            })
        })
        .await
    }

    async fn get_instance(
        &self,
        request: Request<GetInstanceRequest>,
    ) -> Result<Response<Instance>, Status> {
        Caller::of(&request)?.require_admin()?;
        let name = find::parse_resource_name("name", &request.into_inner().name)?;
        let missing = match find::by_name(&self.0.store, &name).await {
            Ok(found) => return Ok(Response::new(messages::shown(&self.0.config, &found))),
            Err(missing @ Error::NoSuchInstance(_)) => missing,
            Err(error) => return Err(error.into()),
        };
        let log = self.0.engine.log();
        match find::creation_of(&self.0.store, log, &name).await? {
            Some((id, operation)) => {
                let instance = messages::being_created(&id, &operation);
                Ok(Response::new(instance.ok_or(missing)?))
            }
            // It may have come into being between the two reads.
            None => match find::by_name(&self.0.store, &name).await {
                Ok(found) => Ok(Response::new(messages::shown(&self.0.config, &found))),
                Err(Error::NoSuchInstance(_)) => Err(missing.into()),
                Err(error) => Err(error.into()),
            },
        }
    }

    async fn list_instances(
        &self,
        request: Request<ListInstancesRequest>,
    ) -> Result<Response<ListInstancesResponse>, Status> {
        Caller::of(&request)?.require_admin()?;
        let request = request.into_inner();
        let size = match usize::try_from(request.page_size) {
            Ok(0) => DEFAULT_PAGE,
            Ok(size) => size.min(LARGEST_PAGE),
            Err(_) => {
                return Err(status::invalid_field(
                    "page_size",
                    "is negative; use 0 for the default, or 1 to 1000",
                ));
            }
        };
        let token = request.page_token;
        let after = match token.as_str() {
            "" => None,
            token => Some(page_token::read(token).ok_or_else(|| {
                status::invalid_field(
                    "page_token",
                    "is not one that this server gave; use the next_page_token of the page before",
                )
            })?),
        };
        let (store, log) = (&self.0.store, self.0.engine.log());
        let after_creation = match after {
            Some(Position::Creation(id)) => Some(id),
            Some(Position::Instance(_)) | None => None,
        };
        let mut creations = creations(store, log, after_creation).await?;
        let (mut instances, next) = match after {
            Some(Position::Creation(_)) => (Vec::new(), None),
            Some(Position::Instance(_)) | None => {
                let after = after.map(|(Position::Instance(id) | Position::Creation(id))| id);
                let page = list(store, after, size, request.show_deleted).await?;
                let rows = page.rows.into_iter();
                let listed = rows.map(|row| messages::listed(row.id, row.document, row.record));
                (listed.collect::<Vec<Instance>>(), page.next)
            }
        };
        if let Some(next) = next {
            return Ok(Response::new(ListInstancesResponse {
                instances,
                next_page_token: page_token::of(Position::Instance(&next)),
            }));
        }
        let known: HashSet<String> = instances.iter().map(|it| it.id.clone()).collect();
        creations.retain(|found| !known.contains(&found.body.instance));
        let room = size.saturating_sub(instances.len());
        let is_last = creations.len() <= room;
        creations.truncate(room);
        let next = (!is_last).then(|| {
            let last = creations.last().map_or("", |last| &last.body.instance);
            page_token::of(Position::Creation(last))
        });
        let shown = creations
            .iter()
            .filter_map(|found| messages::being_created(&found.id, &found.body));
        instances.extend(shown);
        Ok(Response::new(ListInstancesResponse {
            instances,
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn count_instances(
        &self,
        request: Request<CountInstancesRequest>,
    ) -> Result<Response<CountInstancesResponse>, Status> {
        Caller::of(&request)?.require_admin()?;
        let (store, log) = (&self.0.store, self.0.engine.log());
        let created = store.count_instances().await.map_err(Error::from)?;
        // Lists show those that are being created, too.
        let count = created + creations(store, log, None).await?.len() as u64;
        Ok(Response::new(CountInstancesResponse {
            count: i64::try_from(count).unwrap_or(i64::MAX),
            without_database_count: i64::try_from(self.0.adopted.bare()).unwrap_or(i64::MAX),
            unadopted_count: i64::try_from(self.0.adopted.unadopted()).unwrap_or(i64::MAX),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    async fn list_contexts(
        &self,
        request: Request<ListContextsRequest>,
    ) -> Result<Response<ListContextsResponse>, Status> {
        Caller::of(&request)?.require_admin()?;
        let contexts = &self.0.contexts;
        let mut names: BTreeSet<&str> = contexts.names().collect();
        names.insert(DEFAULT);
        let contexts = names
            .into_iter()
            .map(|name| messages::context(contexts, &self.0.backends, name))
            .collect();
        Ok(Response::new(ListContextsResponse { contexts }))
    }

    async fn check_context(
        &self,
        request: Request<CheckContextRequest>,
    ) -> Result<Response<CheckContextResponse>, Status> {
        Caller::of(&request)?.require_admin()?;
        let request = request.into_inner();
        let (contexts, backends) = (&self.0.contexts, &self.0.backends);
        let checked = check_context(
            &self.0.store,
            contexts,
            backends,
            &request.name,
            &request.domain,
        )
        .await?;
        Ok(Response::new(CheckContextResponse {
            context: Some(messages::context(contexts, backends, &request.name)),
            instance_count: i64::try_from(checked.instances).unwrap_or(i64::MAX),
            findings: checked
                .findings
                .into_iter()
                .map(messages::finding)
                .collect(),
        }))
    }

    async fn delete_instance(
        &self,
        request: Request<DeleteInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        self.require_enabled()?;
        let request = request.into_inner();
        let name = find::parse_resource_name("name", &request.name)?;
        let accounts = if request.abandon_accounts {
            Accounts::MayBeLeft
        } else {
            Accounts::DeletedBy(self.0.backends.clone())
        };
        if let Some(keep) = change::keep(request.keep.as_ref())? {
            let found = find::by_name(&self.0.store, &name).await?;
            accounts.look(&self.0.store, &found.document.body).await?;
            return self.delete_softly(&name, keep, &request).await;
        }
        let (store, peers) = (&self.0.store, &self.0.peers);
        let plan = DestroyPlan::new(store, peers, &name, &request.etag, accounts);
        let options = RequestOptions {
            request_id: &request.request_id,
            validate_only: request.validate_only,
        };
        let answer = self.ask(plan, options).await?;
        self.show(answer, |preview| {
            messages::checked(&DeleteInstanceResult {
                domain: preview.domain,
                removed: messages::removed(&preview.count),
                ..DeleteInstanceResult::default()
            })
        })
        .await
    }

    async fn get_register_link(
        &self,
        request: Request<GetRegisterLinkRequest>,
    ) -> Result<Response<RegisterLink>, Status> {
        Caller::of(&request)?.require_admin()?;
        let name = find::parse_resource_name("name", &request.into_inner().name)?;
        let log = self.0.engine.log();
        let found = find::created_by_name(&self.0.store, log, &name).await?;
        let link = passphrase::register_link(&self.0, &found)?;
        Ok(Response::new(link))
    }

    async fn update_instance(
        &self,
        request: Request<UpdateInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        let request = request.into_inner();
        let (request_id, validate_only) = (request.request_id.clone(), request.validate_only);
        let name = request
            .instance
            .as_ref()
            .map_or("", |instance| instance.name.as_str())
            .to_owned();
        let (change, mut wrong) = change::update(request)?;
        wrong.extend(check_request_id(&request_id).err());
        let name = match find::parse_resource_name("instance.name", &name) {
            Ok(name) => name,
            Err(error) => return Err(error.with_fields(wrong).into()),
        };
        if !wrong.is_empty() {
            // The other fields of the mask are looked at all the same.
            return Err(match find::by_name(&self.0.store, &name).await {
                Ok(found) => change::refused(change, &found, wrong),
                Err(error) => error.with_fields(wrong),
            }
            .into());
        }
        self.change(&name, change, &request_id, validate_only).await
    }

    async fn undelete_instance(
        &self,
        request: Request<UndeleteInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        let request = request.into_inner();
        let name = find::parse_resource_name("name", &request.name)?;
        let change = soft_delete::take_back(&request.etag);
        self.change(&name, change, &request.request_id, request.validate_only)
            .await
    }

    async fn block_instance(
        &self,
        request: Request<BlockInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        let request = request.into_inner();
        let name = find::parse_resource_name("name", &request.name)?;
        let change = change::block(&request);
        self.change(&name, change, &request.request_id, request.validate_only)
            .await
    }

    async fn unblock_instance(
        &self,
        request: Request<UnblockInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        let request = request.into_inner();
        let name = find::parse_resource_name("name", &request.name)?;
        let change = change::unblock(&request);
        self.change(&name, change, &request.request_id, request.validate_only)
            .await
    }

    async fn rotate_register_link(
        &self,
        request: Request<RotateRegisterLinkRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        let operation = passphrase::rotate(&self.0, &request.into_inner()).await?;
        Ok(Response::new(operation))
    }

    async fn set_passphrase(
        &self,
        request: Request<SetPassphraseRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        let operation = passphrase::set(&self.0, request.into_inner()).await?;
        Ok(Response::new(operation))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<Token>, Status> {
        Caller::of(&request)?.require_admin()?;
        let token = tokens::create(&self.0, request.into_inner()).await?;
        Ok(Response::new(token))
    }

    async fn register_oauth_client(
        &self,
        request: Request<RegisterOauthClientRequest>,
    ) -> Result<Response<OauthClient>, Status> {
        Caller::of(&request)?.require_admin()?;
        let client = oauth::register(&self.0, request.into_inner()).await?;
        Ok(Response::new(client))
    }

    async fn find_oauth_client(
        &self,
        request: Request<FindOauthClientRequest>,
    ) -> Result<Response<OauthClient>, Status> {
        Caller::of(&request)?.require_admin()?;
        let client = oauth::search(&self.0, &request.into_inner()).await?;
        Ok(Response::new(client))
    }

    async fn clean_sessions(
        &self,
        request: Request<CleanSessionsRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        let operation = passphrase::clean_sessions(&self.0, &request.into_inner()).await?;
        Ok(Response::new(operation))
    }

    async fn create_reset_link(
        &self,
        request: Request<CreateResetLinkRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        let operation = passphrase::create_reset_link(&self.0, &request.into_inner()).await?;
        Ok(Response::new(operation))
    }

    async fn revoke_tokens(
        &self,
        request: Request<RevokeTokensRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        let operation = passphrase::revoke_tokens(&self.0, &request.into_inner()).await?;
        Ok(Response::new(operation))
    }

    type ListOrphansStream = Pin<Box<dyn Stream<Item = Result<Orphan, Status>> + Send>>;

    async fn list_orphans(
        &self,
        request: Request<ListOrphansRequest>,
    ) -> Result<Response<Self::ListOrphansStream>, Status> {
        Caller::of(&request)?.require_admin()?;
        let found = self.0.orphans.list().await?;
        let found = found.into_iter().map(|it| Ok(messages::orphan(it)));
        Ok(Response::new(Box::pin(stream::iter(found))))
    }

    type ListConflictsStream = Pin<Box<dyn Stream<Item = Result<NameConflict, Status>> + Send>>;

    async fn list_conflicts(
        &self,
        request: Request<ListConflictsRequest>,
    ) -> Result<Response<Self::ListConflictsStream>, Status> {
        Caller::of(&request)?.require_admin()?;
        let found = conflicts(&self.0.store).await?;
        let found = found.into_iter().map(|it| Ok(messages::conflict(it)));
        Ok(Response::new(Box::pin(stream::iter(found))))
    }

    async fn purge_orphans(
        &self,
        request: Request<PurgeOrphansRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        let request = request.into_inner();
        let options = RequestOptions {
            request_id: &request.request_id,
            validate_only: request.validate_only,
        };
        let answer = self.ask(PurgeOrphansPlan(&self.0.orphans), options).await?;
        self.show(answer, |count| {
            messages::checked(&PurgeOrphansResult {
                removed: messages::removed(&count),
            })
        })
        .await
    }
}
