//! `hamlet operations cancel`.

use clap::Args;
use hamlet_proto::google::longrunning::{
    CancelOperationRequest, operations_client::OperationsClient,
};

use crate::{
    calls::get_operation, error::CommandError, flags::global::GlobalFlags, session::Session,
    values, views,
};

/// Ask one to stop and to take back what it did.
///
/// Exit code 4 when it is too late for that: the error says why. The operation ends by itself soon after; follow
/// it with `operations wait`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet operations cancel 0198f3c2")]
pub(crate) struct Cancel {
    /// Its id, as `operations ls` shows it.
    #[arg(value_parser = values::names::operation)]
    operation: String,
}

impl Cancel {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let request = CancelOperationRequest {
            name: self.operation.clone(),
        };
        session
            .call(async || {
                OperationsClient::new(channel.clone())
                    .cancel_operation(request.clone())
                    .await
            })
            .await?;
        let operation = get_operation(&session, &channel, self.operation).await?;
        views::operation::print(global.output, &operation)
    }
}
