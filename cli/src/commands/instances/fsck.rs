//! `hamlet instances fsck`.

use hamlet_proto::hamlet::files::v1::{CheckTreeRequest, files_service_client::FilesServiceClient};
use tokio_stream::StreamExt as _;

use crate::{
    args::{Format, Fsck},
    failure::Failure,
    output::List,
    session::Session,
};

/// How many findings are aligned with each other.
const TOGETHER: u64 = 200;

pub(super) async fn run(session: &Session, format: Format, wanted: Fsck) -> Result<(), Failure> {
    let format = format.or_json(wanted.json)?;
    let door = session.door_of(&wanted.domain).await?;
    let request = CheckTreeRequest {
        index_integrity: wanted.index_integrity,
        files_consistency: wanted.files_consistency,
        fail_fast: wanted.fail_fast,
    };
    let mut findings = session
        .ask(async || {
            FilesServiceClient::new(door.clone())
                .check_tree(request)
                .await
        })
        .await?;
    let mut list = List::new(format, &["what", "where", "id", "more"]);
    let mut found: u64 = 0;
    while let Some(finding) = findings.next().await {
        // Findings that were printed already are true, whatever happens now.
        let finding = match finding {
            Ok(finding) => finding,
            Err(status) => {
                list.flush()?;
                return Err(session.broken_off(status, "check"));
            }
        };
        let name = if finding.file_id.is_empty() {
            &finding.path
        } else {
            &finding.file_id
        };
        list.push(&finding, name, || {
            vec![
                finding.r#type.clone(),
                finding.path.clone(),
                finding.file_id.clone(),
                finding.detail.clone(),
            ]
        })?;
        found += 1;
        if found.is_multiple_of(TOGETHER) {
            list.flush()?;
        }
    }
    list.flush()?;
    match found {
        0 => Ok(()),
        1 => Err(Failure::Failed(format!("1 finding in {}", wanted.domain))),
        _ => Err(Failure::Failed(format!(
            "{found} findings in {}",
            wanted.domain
        ))),
    }
}
