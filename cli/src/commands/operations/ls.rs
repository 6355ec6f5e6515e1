//! `hamlet operations ls`.

use clap::Args;
use hamlet_proto::google::longrunning::{
    ListOperationsRequest, operations_client::OperationsClient,
};

use crate::{
    error::CommandError,
    flags::global::GlobalFlags,
    output::ListPrinter,
    session::Session,
    views::operation::{COLUMNS, push},
};

/// How many operations to ask for at once.
const PAGE_SIZE: i32 = 200;

/// List operations, newest first.
///
/// Columns: operation, kind, domain, phase, how many go before it in the line, the step at work, how often that
/// step was tried, why the last try failed.
#[derive(Args, Debug)]
#[command(
    visible_alias = "list",
    after_help = "Examples:\n  hamlet operations ls\n  hamlet operations ls --running"
)]
pub(crate) struct Ls {
    /// Only those that have not ended.
    #[arg(long)]
    running: bool,
}

impl Ls {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let mut list = ListPrinter::new(global.output, &COLUMNS);
        let mut page_token = String::new();
        loop {
            let request = ListOperationsRequest {
                page_size: PAGE_SIZE,
                page_token,
                filter: if self.running { "done=false" } else { "" }.to_owned(),
                ..ListOperationsRequest::default()
            };
            let page = session
                .call(async || {
                    OperationsClient::new(channel.clone())
                        .list_operations(request.clone())
                        .await
                })
                .await?;
            for operation in &page.operations {
                push(&mut list, operation)?;
            }
            list.flush()?;
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(());
            }
        }
    }
}
