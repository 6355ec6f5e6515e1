//! `hamlet contexts`.

mod check;
mod ls;
mod show;

use hamlet_proto::hamlet::instance::v1::{
    Context, ListContextsRequest, instance_service_client::InstanceServiceClient,
};

use super::group::command_group;
use crate::{error::CommandError, session::Session};

command_group! {
    /// See the groups of settings that instances choose from.
    #[command(visible_alias = "context", arg_required_else_help = true)]
    Contexts {
        Ls(ls::Ls),
        Show(show::Show),
        Check(check::Check),
    }
}

/// The contexts of the configuration.
async fn contexts(session: &Session) -> Result<Vec<Context>, CommandError> {
    let channel = session.channel().await?;
    let answer = session
        .call(async || {
            InstanceServiceClient::new(channel.clone())
                .list_contexts(ListContextsRequest {})
                .await
        })
        .await?;
    Ok(answer.contexts)
}

/// The server that serves the instances in Hamlet's stead, in one line.
fn backend(context: &Context) -> String {
    let backend = context.backend.clone().unwrap_or_default();
    backend.addresses.join(", ")
}

/// Who runs the installation, in one line.
fn operator(context: &Context) -> String {
    let operator = context.operator.clone().unwrap_or_default();
    let parts = [operator.name, operator.contact, operator.link];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}
