//! `hamlet instances`.

use hamlet_proto::hamlet::instance::v1::{
    CountInstancesRequest, GetInstanceRequest, GetRegisterLinkRequest, Instance,
    ListInstancesRequest, instance, instance_service_client::InstanceServiceClient,
};

use super::{add, destroy};
use crate::{
    args::{Format, Instances},
    failure::Failure,
    output::{self, List},
    session::Session,
    table::facts,
    text::clean,
    values::quota,
};

const PAGE: i32 = 200;

pub(super) async fn run(
    session: &Session,
    format: Format,
    command: Instances,
) -> Result<(), Failure> {
    match command {
        Instances::Add(wanted) => add::run(session, format, *wanted).await,
        Instances::Ls => ls(session, format).await,
        Instances::Show { domain } => show(session, format, &domain).await,
        Instances::Count => count(session, format).await,
        Instances::RegisterLink { domain } => register_link(session, format, &domain).await,
        Instances::Destroy {
            domain,
            force,
            dry_run,
            request_id,
        } => destroy::run(session, format, &domain, force, dry_run, request_id).await,
    }
}

async fn ls(session: &Session, format: Format) -> Result<(), Failure> {
    let door = session.door().await?;
    let mut list = List::new(
        format,
        &["domain", "locale", "quota", "state", "indexes", "prefix"],
    );
    let mut page_token = String::new();
    loop {
        let request = ListInstancesRequest {
            page_size: PAGE,
            page_token,
            show_deleted: false,
        };
        let page = session
            .ask(async || {
                InstanceServiceClient::new(door.clone())
                    .list_instances(request.clone())
                    .await
            })
            .await?;
        for instance in &page.instances {
            list.push(instance, &instance.name, || {
                vec![
                    instance.domain.clone(),
                    instance.locale.clone(),
                    quota::show(instance.disk_quota_bytes),
                    state(instance).to_owned(),
                    format!("v{}", instance.indexes_version),
                    instance.prefix.clone(),
                ]
            })?;
        }
        list.flush()?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

async fn show(session: &Session, format: Format, domain: &str) -> Result<(), Failure> {
    let door = session.door().await?;
    let request = GetInstanceRequest {
        name: format!("instances/{domain}"),
    };
    let instance = session
        .ask(async || {
            InstanceServiceClient::new(door.clone())
                .get_instance(request.clone())
                .await
        })
        .await?;
    output::one(format, &instance, &instance.name, || describe(&instance))
}

/// An instance for people.
fn describe(instance: &Instance) -> String {
    let mut known = vec![
        ("domain", instance.domain.clone()),
        ("aliases", instance.domain_aliases.join(", ")),
        ("old domain", instance.old_domain.clone()),
        ("state", state(instance).to_owned()),
        ("blocked because", instance.blocking_reason.clone()),
        ("locale", instance.locale.clone()),
        ("context", instance.context.clone()),
        ("public name", instance.public_name.clone()),
        ("email", instance.email.clone()),
        ("phone", instance.phone.clone()),
        ("time zone", instance.timezone.clone()),
        ("quota", quota::show(instance.disk_quota_bytes)),
        ("uuid", instance.uuid.clone()),
        ("oidc id", instance.oidc_id.clone()),
        ("sponsorships", instance.sponsorships.join(", ")),
        ("terms signed", instance.tos_signed.clone()),
        ("terms to sign", instance.tos_latest.clone()),
        ("id", instance.id.clone()),
        ("prefix", instance.prefix.clone()),
        ("indexes", format!("v{}", instance.indexes_version)),
        ("at work", instance.operation.clone()),
        ("etag", instance.etag.clone()),
    ];
    let mut settings: Vec<_> = instance.settings.iter().collect();
    settings.sort();
    for (name, value) in settings {
        known.push(("setting", format!("{name}: {value}")));
    }
    facts(&known)
}

/// The state in one word.
fn state(instance: &Instance) -> &'static str {
    match instance.state() {
        instance::State::Unspecified => "unknown",
        instance::State::Creating => "creating",
        instance::State::Onboarding => "onboarding",
        instance::State::Onboarded => "onboarded",
        instance::State::Pending => "pending",
        instance::State::Blocked => "blocked",
        instance::State::Deleting => "deleting",
        instance::State::Deleted => "deleted",
    }
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

async fn register_link(session: &Session, format: Format, domain: &str) -> Result<(), Failure> {
    let door = session.door().await?;
    let request = GetRegisterLinkRequest {
        name: format!("instances/{domain}"),
    };
    let link = session
        .ask(async || {
            InstanceServiceClient::new(door.clone())
                .get_register_link(request.clone())
                .await
        })
        .await?;
    output::one(format, &link, &link.link, || {
        format!("{}\n", clean(&link.link))
    })
}
