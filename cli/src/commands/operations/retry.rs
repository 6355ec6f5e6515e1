//! `hamlet operations retry`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    RetryOperationRequest, operation_service_client::OperationServiceClient,
};

use crate::{error::CommandError, flags::global::GlobalFlags, session::Session, values, views};

/// Let one that waits for its next try go on at once.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet operations retry 0198f3c2")]
pub(crate) struct Retry {
    /// Its id, as `operations ls` shows it.
    #[arg(value_parser = values::names::operation)]
    operation: String,
}

impl Retry {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let request = RetryOperationRequest {
            name: self.operation,
        };
        let operation = session
            .call(async || {
                OperationServiceClient::new(channel.clone())
                    .retry_operation(request.clone())
                    .await
            })
            .await?;
        views::operation::print(global.output, &operation)
    }
}
