//! Calls that several commands make.

use std::ops::ControlFlow;

use hamlet_proto::{
    google::longrunning::{GetOperationRequest, Operation, operations_client::OperationsClient},
    hamlet::instance::v1::{
        CreateTokenRequest, GetInstanceRequest, Instance, ListInstancesRequest,
        ListInstancesResponse, UpdateInstanceRequest,
        instance_service_client::InstanceServiceClient,
    },
};
use prost_types::FieldMask;

use crate::{
    change::ChangeRequest,
    error::CommandError,
    flags::{format::Format, global::GlobalFlags, target::Target},
    output::{self, say, text::clean},
    session::{AdminChannel, Session},
};

/// How many instances to ask for at once.
const PAGE_SIZE: i32 = 500;

/// The resource name of an instance.
pub(crate) fn instance_name(domain: &str) -> String {
    format!("instances/{domain}")
}

/// Reads one instance, by its domain or an alias.
pub(crate) async fn get_instance(
    session: &Session,
    channel: &AdminChannel,
    domain: &str,
) -> Result<Instance, CommandError> {
    let request = GetInstanceRequest {
        name: instance_name(domain),
    };
    session
        .call(async || {
            InstanceServiceClient::new(channel.clone())
                .get_instance(request.clone())
                .await
        })
        .await
}

/// A connection for calls that are routed by an instance, as somebody typed its domain. Calls are routed by the host alone;
/// so a port is asked about first, and one that the instance does not have is refused, as by all commands.
///
/// # Errors
/// When there is no such instance, or the server cannot be reached.
pub(crate) async fn channel_for(
    session: &Session,
    domain: &str,
) -> Result<AdminChannel, CommandError> {
    if domain.contains(':') {
        let channel = session.channel().await?;
        get_instance(session, &channel, domain).await?;
    }
    session.channel_of(domain).await
}

/// Reads one page of the list of instances.
pub(crate) async fn list_instances(
    session: &Session,
    channel: &AdminChannel,
    request: ListInstancesRequest,
) -> Result<ListInstancesResponse, CommandError> {
    session
        .call(async || {
            InstanceServiceClient::new(channel.clone())
                .list_instances(request.clone())
                .await
        })
        .await
}

/// Reads the list of instances page by page, until its end or until `each` has enough.
pub(crate) async fn each_page(
    session: &Session,
    show_deleted: bool,
    mut each: impl FnMut(Vec<Instance>) -> ControlFlow<()>,
) -> Result<(), CommandError> {
    let channel = session.channel().await?;
    let mut page_token = String::new();
    loop {
        let request = ListInstancesRequest {
            page_size: PAGE_SIZE,
            page_token,
            show_deleted,
        };
        let page = list_instances(session, &channel, request).await?;
        page_token = page.next_page_token;
        if each(page.instances).is_break() || page_token.is_empty() {
            return Ok(());
        }
    }
}

/// Changes the fields of an instance that `paths` names, and prints the outcome.
pub(crate) async fn update_instance(
    session: &Session,
    format: Format,
    target: Target,
    instance: Instance,
    paths: Vec<String>,
) -> Result<(), CommandError> {
    let channel = session.channel().await?;
    let change = ChangeRequest::new(session, &channel, format, "update", target.request);
    let request = UpdateInstanceRequest {
        instance: Some(Instance {
            name: instance_name(&target.domain),
            etag: target.condition.into_etag(),
            ..instance
        }),
        update_mask: Some(FieldMask { paths }),
        request_id: change.request_id.clone(),
        validate_only: change.dry_run,
    };
    change
        .make(async || {
            InstanceServiceClient::new(channel.clone())
                .update_instance(request.clone())
                .await
        })
        .await
}

/// Creates a token and prints it. Scopes with a comma are warned about.
pub(crate) async fn create_token(
    global: &GlobalFlags,
    request: CreateTokenRequest,
) -> Result<(), CommandError> {
    global.output.check_single()?;
    let session = Session::find(global)?;
    for scope in request.scopes.iter().filter(|scope| scope.contains(',')) {
        say(&format!(
            "warning: the scope {} has a comma; scopes are separated by spaces",
            clean(scope)
        ));
    }
    let channel = session.channel().await?;
    // The call can be repeated: it changes nothing on the server.
    let token = session
        .call(async || {
            InstanceServiceClient::new(channel.clone())
                .create_token(request.clone())
                .await
        })
        .await?;
    output::one(global.output, &token, &token.token, || {
        format!("{}\n", clean(&token.token))
    })
}

/// Reads one operation by its resource name.
pub(crate) async fn get_operation(
    session: &Session,
    channel: &AdminChannel,
    name: String,
) -> Result<Operation, CommandError> {
    let request = GetOperationRequest { name };
    session
        .call(async || {
            OperationsClient::new(channel.clone())
                .get_operation(request.clone())
                .await
        })
        .await
}
