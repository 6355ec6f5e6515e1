//! `hamlet operations ls`.

use clap::Args;
use hamlet_proto::google::longrunning::{
    ListOperationsRequest, operations_client::OperationsClient,
};

use tonic::Code;

use crate::{
    calls::get_instance,
    error::CommandError,
    flags::global::GlobalFlags,
    output::ListPrinter,
    session::{AdminChannel, Session},
    values,
    views::operation::{COLUMNS, push},
};

/// How many operations to ask for at once.
const PAGE_SIZE: i32 = 200;

/// List operations, newest first.
///
/// Columns: operation, kind, domain, phase, when it was accepted, how long it took or has taken so far, the step at work
/// or how many go before it in the line, why the last try failed. At a terminal an id is shown by its beginning, which
/// every command takes.
#[derive(Args, Debug)]
#[command(
    visible_alias = "list",
    after_help = "Examples:\n  hamlet operations ls\n  hamlet operations ls --running\n  hamlet operations ls --domain bob.localhost:8080 --kind update --limit 5"
)]
pub(crate) struct Ls {
    /// Only those that have not ended.
    #[arg(long)]
    running: bool,
    /// Only those about this instance, by its domain or an alias. One that was destroyed is named by its main domain.
    #[arg(long, value_parser = values::domain::parse)]
    domain: Option<String>,
    /// Only those of this kind: create, update, block, unblock, delete, undelete, destroy, register-link, passphrase,
    /// reset-link, sessions, tokens, relay or orphans.
    #[arg(long, value_parser = values::names::not_empty)]
    kind: Option<String>,
    /// End after so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

impl Ls {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let mut list = ListPrinter::new(global.output, &COLUMNS);
        let mut page_token = String::new();
        let (domain, unknown) = match &self.domain {
            Some(domain) => own_name(&session, &channel, domain).await?,
            None => (None, None),
        };
        let filter = self.filter(domain.as_deref());
        let mut is_empty = true;
        let mut left = self.limit.unwrap_or(u64::MAX);
        loop {
            let request = ListOperationsRequest {
                page_size: i32::try_from(left).map_or(PAGE_SIZE, |left| PAGE_SIZE.min(left)),
                page_token,
                filter: filter.clone(),
                ..ListOperationsRequest::default()
            };
            let page = session
                .call(async || {
                    OperationsClient::new(channel.clone())
                        .list_operations(request.clone())
                        .await
                })
                .await?;
            is_empty = is_empty && page.operations.is_empty();
            for operation in &page.operations {
                push(&mut list, operation, global.output)?;
                left = left.saturating_sub(1);
            }
            list.flush()?;
            page_token = page.next_page_token;
            if page_token.is_empty()
                && is_empty
                && let Some(unknown) = unknown
            {
                return Err(unknown);
            }
            if page_token.is_empty() || left == 0 {
                return list.end("there are no such operations");
            }
        }
    }

    fn filter(&self, domain: Option<&str>) -> String {
        let quoted = |field, value: &str| format!("{field}=\"{value}\"");
        let terms = [
            self.running.then(|| "done=false".to_owned()),
            domain.map(|domain| quoted("domain", domain)),
            self.kind.as_ref().map(|kind| quoted("kind", kind)),
        ];
        let terms: Vec<String> = terms.into_iter().flatten().collect();
        terms.join(" AND ")
    }
}

/// The main domain of the instance that was typed. Where there is none, what was typed, and the error that tells so: an
/// instance that was destroyed still has operations.
async fn own_name(
    session: &Session,
    channel: &AdminChannel,
    domain: &str,
) -> Result<(Option<String>, Option<CommandError>), CommandError> {
    match get_instance(session, channel, domain).await {
        Ok(instance) => Ok((Some(instance.domain), None)),
        Err(CommandError::Refused(status)) if status.code() == Code::NotFound => {
            Ok((Some(domain.to_owned()), Some(CommandError::Refused(status))))
        }
        Err(error) => Err(error),
    }
}
