//! Calls that several commands make.

use std::{collections::HashMap, ops::ControlFlow};

use hamlet_proto::{
    google::longrunning::{GetOperationRequest, Operation, operations_client::OperationsClient},
    hamlet::instance::v1::{
        CreateTokenRequest, GetInstanceRequest, Instance, ListInstancesRequest,
        ListInstancesResponse, UpdateInstanceRequest, instance::State,
        instance_service_client::InstanceServiceClient,
    },
};
use prost_types::FieldMask;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

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

/// A connection for calls that are routed by an instance, as somebody typed its domain; see [`own_domain`].
///
/// # Errors
/// As [`own_domain`].
pub(crate) async fn channel_for(
    session: &Session,
    domain: &str,
) -> Result<AdminChannel, CommandError> {
    let own = own_domain(session, domain).await?;
    session.channel_of(&own).await
}

/// The domain of the instance that somebody typed, in its own spelling. The server is asked for it, because calls of one
/// instance are routed by the host alone: so what is no name of an instance is refused as by all commands.
///
/// # Errors
/// When there is no such instance, it is being created, or the server cannot be reached.
pub(crate) async fn own_domain(session: &Session, domain: &str) -> Result<String, CommandError> {
    let channel = session.channel().await?;
    let instance = get_instance(session, &channel, domain).await?;
    refuse_unready(&instance)?;
    Ok(instance.domain)
}

/// Refuses an instance that is being created: nothing else can be done with it before.
///
/// # Errors
/// The operation that has it, and how to follow it.
pub(crate) fn refuse_unready(instance: &Instance) -> Result<(), CommandError> {
    if instance.state() != State::Creating {
        return Ok(());
    }
    let id = instance.operation.trim_start_matches("operations/");
    let message = format!(
        "operations/{id} is creating {}; `hamlet operations wait {id}` follows it to its end",
        instance.domain
    );
    Err(refusal(Code::Aborted, "INSTANCE_BUSY", message))
}

/// What the server would answer, told before it is asked.
pub(crate) fn refusal(code: Code, reason: &str, message: String) -> CommandError {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "hamlet", HashMap::new());
    Status::with_error_details(code, message, details).into()
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

/// Creates a token and prints it. An argument may hold several scopes, separated by spaces. Those with a comma are warned
/// about.
pub(crate) async fn create_token(
    global: &GlobalFlags,
    mut request: CreateTokenRequest,
) -> Result<(), CommandError> {
    global.output.check_single()?;
    let arguments = std::mem::take(&mut request.scopes);
    let scopes = arguments.iter().flat_map(|it| it.split_whitespace());
    request.scopes.extend(scopes.map(str::to_owned));
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
