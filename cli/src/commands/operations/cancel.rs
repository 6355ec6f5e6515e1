//! `hamlet operations cancel`.

use std::time::Duration;

use clap::Args;
use hamlet_proto::google::longrunning::{
    CancelOperationRequest, operations_client::OperationsClient,
};

use tokio::time::{Instant, sleep};

use crate::{
    calls::get_operation, error::CommandError, flags::global::GlobalFlags, session::Session,
    values, views,
};

/// How long the end is waited for.
const SOON: Duration = Duration::from_secs(3);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Ask one to stop and to take back what it did.
///
/// Exit code 4 when it is too late for that: the error says why. Shows the operation at its end, or as it is after a
/// moment; then follow it with `operations wait`.
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
        // It stops at its next step. Whoever waits for that sees what became of it.
        let mut operation = get_operation(&session, &channel, self.operation.clone()).await?;
        let end = Instant::now() + SOON;
        while !operation.done && Instant::now() < end {
            sleep(PAUSE).await;
            operation = get_operation(&session, &channel, self.operation.clone()).await?;
        }
        views::operation::print(global.output, &operation)
    }
}
