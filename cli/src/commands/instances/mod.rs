//! `hamlet instances`: one module a command, or a group of small ones.

mod add;
mod block;
mod destroy;
mod fsck;
mod ls;
mod modify;
mod orphans;
mod passphrase;
mod register_link;
mod sessions;
mod settings;
pub(super) mod show;
mod tokens;

use hamlet_proto::hamlet::instance::v1::{
    CountInstancesRequest, GetInstanceRequest, Instance,
    instance_service_client::InstanceServiceClient,
};

pub(super) use ls::available_fields;

use crate::{
    args::{Format, Instances},
    failure::Failure,
    output,
    session::{Door, Session},
};

pub(super) async fn run(
    session: &Session,
    format: Format,
    command: Instances,
) -> Result<(), Failure> {
    match command {
        Instances::Add(wanted) => add::run(session, format, *wanted).await,
        Instances::Ls(wanted) => ls::run(session, format, wanted).await,
        Instances::Show(wanted) => show::run(session, format, &wanted).await,
        Instances::Count => count(session, format).await,
        Instances::Modify(wanted) => modify::run(session, format, *wanted).await,
        Instances::Destroy(wanted) => destroy::run(session, format, wanted).await,
        Instances::Undelete(target) => destroy::undelete(session, format, target).await,
        Instances::Block { target, reason } => block::block(session, format, target, reason).await,
        Instances::Unblock(target) => block::unblock(session, format, target).await,
        Instances::SetDiskQuota { target, size } => {
            settings::disk_quota(session, format, target, size).await
        }
        Instances::SetPassphrase(wanted) => passphrase::set(session, format, wanted).await,
        Instances::AuthMode { target, mode } => {
            settings::auth_mode(session, format, target, mode).await
        }
        Instances::Debug { target, on, ttl } => {
            settings::debug(session, format, target, on, ttl).await
        }
        Instances::ShowDbPrefix { domain } => show::db_prefix(session, format, &domain).await,
        command @ (Instances::TokenCli { .. }
        | Instances::TokenApp { .. }
        | Instances::TokenKonnector { .. }
        | Instances::TokenOauth { .. }
        | Instances::RefreshTokenOauth { .. }) => tokens::run(session, format, command).await,
        Instances::CleanSessions { domain, request } => {
            sessions::clean(session, format, &domain, request).await
        }
        Instances::Fsck(wanted) => fsck::run(session, format, wanted).await,
        Instances::RegisterLink { target, rotate } => {
            register_link::run(session, format, target, rotate).await
        }
        Instances::Orphans(wanted) => orphans::run(session, format, wanted).await,
    }
}

/// The resource's name of an instance.
fn name_of(domain: &str) -> String {
    format!("instances/{domain}")
}

/// Reads one instance, by its domain or an alias.
async fn get(session: &Session, door: &Door, domain: &str) -> Result<Instance, Failure> {
    let request = GetInstanceRequest {
        name: name_of(domain),
    };
    session
        .ask(async || {
            InstanceServiceClient::new(door.clone())
                .get_instance(request.clone())
                .await
        })
        .await
}

async fn count(session: &Session, format: Format) -> Result<(), Failure> {
    let door = session.door().await?;
    let answer = session
        .ask(async || {
            InstanceServiceClient::new(door.clone())
                .count_instances(CountInstancesRequest {})
                .await
        })
        .await?;
    let number = answer.count.to_string();
    output::one(format, &answer, &number, || match answer.count {
        1 => "1 instance\n".to_owned(),
        count => format!("{count} instances\n"),
    })
}
