//! `hamlet instances add`.

use std::{any::TypeId, path::PathBuf};

use clap::{Arg, Args, Command, builder::ValueParser};
use hamlet_proto::{
    fields::by_flag,
    hamlet::instance::v1::{
        CreateInstanceRequest, Instance, instance_service_client::InstanceServiceClient,
    },
};
use service_kit::secret::Secret;

use super::disabled::refuse_if_disabled;
use crate::{
    change::ChangeRequest,
    error::CommandError,
    fields::{
        help_order::sort_flags,
        instance::{DEFAULT_LOCALE, FieldFlags},
    },
    flags::{global::GlobalFlags, request::RequestFlags},
    passphrase,
    session::Session,
    values,
};

/// Create an instance and follow its creation.
///
/// Prints the link by which the owner chooses a passphrase. It is a secret: whoever has it can take the instance.
/// An app that cannot be installed does not undo the instance: it is warned about, and the exit code is 1. Ctrl-C
/// leaves the creation to the server, and says how to follow it again. Refused when HAMLET_DISABLE_INSTANCES_ADD_RM
/// is set.
#[derive(Args, Debug)]
#[command(
    defer(adapt_fields),
    visible_alias = "create",
    after_help = "Examples:\n  hamlet instances add bob.localhost:8080\n  hamlet instances add bob.localhost:8080 --locale de --apps home \\\n      --public-name Bob --email bob@example.org\n  hamlet instances add eve.example.org --apps home,file:///srv/apps/notes \\\n      --disk-quota 10GB\n  hamlet instances add eve.example.org \\\n      --settings offer:freemium,partner:acme \\\n      --domain-aliases www.eve.example.org --dry-run"
)]
pub(crate) struct Add {
    /// The domain, with its port when it has one.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// Apps to install: slugs, or addresses (file://, http://, https://, registry://slug/channel); several separated
    /// by commas. A comma within an address is written %2C.
    #[arg(long, value_name = "APPS", value_delimiter = ',', value_parser = values::apps::source)]
    apps: Vec<String>,
    /// The position of its CouchDB cluster in the configuration; -1 draws one of those that are open.
    #[arg(long, default_value = "-1", hide_default_value = true, value_name = "N",
          allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1..))]
    couch_cluster: i32,
    /// The domain of the organisation that the instance belongs to.
    #[arg(long, value_name = "DOMAIN")]
    org_domain: Option<String>,
    /// The id of that organisation.
    #[arg(long, value_name = "ID")]
    org_id: Option<String>,
    #[command(flatten)]
    fields: FieldFlags,
    #[command(flatten)]
    passphrase: FirstPassphrase,
    /// Show how long each step took.
    #[arg(long)]
    trace: bool,
    #[command(flatten)]
    request: RequestFlags,
    /// Refused: nothing is different in a development instance.
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true", value_parser = refuse_dev)]
    dev: Option<String>,
    /// Refused: contents do not lie in Swift.
    #[arg(
        long,
        hide = true,
        allow_hyphen_values = true,
        value_name = "N",
        value_parser = refuse_swift_layout
    )]
    swift_layout: Option<String>,
}

/// Where the first passphrase comes from.
#[derive(Args, Debug)]
#[group(multiple = false)]
struct FirstPassphrase {
    /// The first passphrase. Everybody who lists the processes of this machine sees it: prefer the next two.
    #[arg(long)]
    passphrase: Option<Secret>,
    /// The file that holds the first passphrase on its only line; - is standard input.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Ask for the first passphrase on the terminal.
    #[arg(long)]
    passphrase_prompt: bool,
}

/// What differs at a creation from [`FieldFlags`].
fn adapt_fields(command: Command) -> Command {
    let command = command
        .mut_arg("disk_quota", |flag| {
            flag.help("How much may be stored: 10GB, \"512 MiB\" or bytes; no limit by default")
        })
        .mut_arg("locale", |flag| {
            flag.help("The language, such as fr, fr-FR or de_AT; en by default")
        })
        .mut_args(accept_empty);
    sort_flags(
        command,
        &[],
        &["dry-run", "request-id", "dev", "swift-layout"],
    )
}

/// Lets a text be empty, as if it was not given: a script can pass on a variable that may be empty.
fn accept_empty(flag: Arg) -> Arg {
    let is_field = flag.get_long().is_some_and(|flag| by_flag(flag).is_some());
    let is_one_text = flag.get_value_parser().type_id() == TypeId::of::<String>()
        && flag.get_value_delimiter().is_none();
    if is_field && is_one_text {
        flag.value_parser(ValueParser::string())
    } else {
        flag
    }
}

impl Add {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        refuse_if_disabled("add")?;
        let session = Session::find(global)?;
        let mut patch = self.fields.into_patch()?;
        if patch.instance.locale.is_empty() {
            DEFAULT_LOCALE.clone_into(&mut patch.instance.locale);
        }
        let passphrase = self.passphrase.read().await?;
        let channel = session.channel().await?;
        let mut change =
            ChangeRequest::new(&session, &channel, global.output, "create", self.request);
        change.about = self.apps.join(", ");
        let request = CreateInstanceRequest {
            instance: Some(Instance {
                domain: self.domain,
                // -1 lets the server choose one.
                couch_cluster: Some(self.couch_cluster).filter(|cluster| *cluster >= 0),
                org_domain: self.org_domain.unwrap_or_default(),
                org_id: self.org_id.unwrap_or_default(),
                ..patch.instance
            }),
            apps: self.apps,
            request_id: change.request_id.clone(),
            validate_only: change.dry_run,
            passphrase,
            trace: self.trace,
            ..CreateInstanceRequest::default()
        };
        change
            .make(async || {
                InstanceServiceClient::new(channel.clone())
                    .create_instance(request.clone())
                    .await
            })
            .await
    }
}

impl FirstPassphrase {
    /// The passphrase; empty when the owner chooses it.
    async fn read(self) -> Result<String, CommandError> {
        let secret = match (
            self.passphrase,
            self.passphrase_file,
            self.passphrase_prompt,
        ) {
            (Some(given), _, _) => passphrase::argument(given, "--passphrase")?,
            (None, Some(file), _) => passphrase::file(&file).await?,
            (None, None, true) => passphrase::prompt().await?,
            (None, None, false) => return Ok(String::new()),
        };
        Ok(secret.expose().to_owned())
    }
}

fn refuse_dev(_: &str) -> Result<String, String> {
    Err("Hamlet has no development instances: every instance is made the same way; leave the flag out".to_owned())
}

fn refuse_swift_layout(_: &str) -> Result<String, String> {
    Err(
        "Hamlet keeps contents in an object store of its own layout, not in Swift; leave the flag out"
            .to_owned(),
    )
}
