//! `hamlet instances conflicts`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    ListConflictsRequest, NameConflict, instance_service_client::InstanceServiceClient,
    name_conflict::Contender,
};
use tokio_stream::StreamExt as _;

use crate::{
    error::CommandError, flags::global::GlobalFlags, output::ListPrinter, session::Session, waiting,
};

/// List names that several instances have.
///
/// Hamlet gives a name to one instance. The original's server checks and then writes, so that a name may be given
/// twice at the same moment: by two of its requests, or by one of them and one of Hamlet's. To decide for one, take
/// the name away from the others: remove the alias with `modify`, or `destroy` the instance.
///
/// Columns: the name, the instance that has it as domain or alias, the id of its document, whether the gateway
/// leads to it, whether the original's server does.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances conflicts\n  hamlet instances conflicts -o json"
)]
pub(crate) struct Conflicts {}

impl Conflicts {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let mut conflicts = session
            .call(async || {
                InstanceServiceClient::new(channel.clone())
                    .list_conflicts(ListConflictsRequest {})
                    .await
            })
            .await?;
        let columns = ["name", "instance", "id", "gateway", "original"];
        let mut list = ListPrinter::new(global.output, &columns);
        while let Some(conflict) = waiting::shown("looking for conflicts", conflicts.next()).await {
            let conflict = conflict.map_err(|status| session.stream_error(status, "list"))?;
            push(&mut list, &conflict)?;
        }
        list.end("no name is given twice")
    }
}

/// One row for each instance that has the name.
fn push(list: &mut ListPrinter, conflict: &NameConflict) -> Result<(), CommandError> {
    let yes = |is: bool| if is { "yes" } else { "" }.to_owned();
    for (position, contender) in conflict.contenders.iter().enumerate() {
        let one = NameConflict {
            name: conflict.name.clone(),
            contenders: vec![contender.clone()],
        };
        list.push(&one, &conflict.name, || {
            vec![
                conflict.name.clone(),
                described(contender),
                contender.id.clone(),
                yes(contender.has_claim),
                yes(position == 0),
            ]
        })?;
    }
    Ok(())
}

fn described(contender: &Contender) -> String {
    if contender.alias {
        format!("{} (alias)", contender.domain)
    } else {
        contender.domain.clone()
    }
}
