//! `hamlet instances ls`.

use hamlet_proto::hamlet::instance::v1::{
    Instance, ListInstancesRequest, instance_service_client::InstanceServiceClient,
};

use super::{get, show::read};
use crate::{
    args::{Format, Ls},
    failure::{Failure, say},
    fields::{self, FIELDS, Field},
    output::{self, List},
    session::{Door, Session},
    values::quota,
};

/// The columns when nobody chooses others.
const COLUMNS: [&str; 6] = ["domain", "locale", "quota", "state", "indexes", "prefix"];

/// Prints the names of what `--fields` takes. Needs no server.
pub(crate) fn available_fields() -> Result<(), Failure> {
    let names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
    output::print(&format!("{}\n", names.join("\n")))
}

pub(super) async fn run(session: &Session, format: Format, wanted: Ls) -> Result<(), Failure> {
    let format = format.or_json(wanted.json)?;
    format.refuse_names_with(&wanted.fields)?;
    let door = session.door().await?;
    let columns: Vec<&str> = if wanted.fields.is_empty() {
        COLUMNS.to_vec()
    } else {
        wanted.fields.iter().map(|field| field.name).collect()
    };
    let mut list = List::new(format, &columns);
    let mut left = wanted.limit.unwrap_or(u64::MAX);
    let mut page_token = wanted.page_token.unwrap_or_default();
    loop {
        // A page is never larger than what is left, so that its token goes on where this list ends.
        let page_size =
            i32::try_from(left).map_or(wanted.page_size, |left| wanted.page_size.min(left));
        let request = ListInstancesRequest {
            page_size,
            page_token,
            show_deleted: wanted.deleted,
        };
        let page = session
            .ask(async || {
                InstanceServiceClient::new(door.clone())
                    .list_instances(request.clone())
                    .await
            })
            .await?;
        for instance in &page.instances {
            if wanted.fields.is_empty() {
                list.push(instance, &instance.name, || row(instance))?;
            } else {
                let values = values(session, &door, instance, &wanted.fields).await?;
                list.push_values(&wanted.fields, &values)?;
            }
            left = left.saturating_sub(1);
        }
        list.flush()?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
        if left == 0 {
            say(&format!(
                "there may be more: go on with --page-token {page_token}"
            ));
            return Ok(());
        }
    }
}

fn row(instance: &Instance) -> Vec<String> {
    vec![
        instance.domain.clone(),
        instance.locale.clone(),
        quota::show(instance.disk_quota_bytes),
        fields::state(instance.state()).to_owned(),
        format!("v{}", instance.indexes_version),
        instance.prefix.clone(),
    ]
}

/// The values of the fields of a listed instance, in their order.
async fn values(
    session: &Session,
    door: &Door,
    listed: &Instance,
    fields: &[&Field],
) -> Result<Vec<serde_json::Value>, Failure> {
    if !fields.iter().any(|field| field.not_in_lists) {
        return Ok(read(listed, fields));
    }
    match get(session, door, &listed.domain).await {
        Ok(whole) => Ok(read(&whole, fields)),
        // It was destroyed since it was listed: what the list told is all there is.
        Err(Failure::Refused(status)) if status.code() == tonic::Code::NotFound => {
            Ok(read(listed, fields))
        }
        Err(failure) => Err(failure),
    }
}
