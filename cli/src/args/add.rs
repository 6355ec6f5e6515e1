//! `hamlet instances add`.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use service_kit::secret::Secret;

use super::Request;
use crate::values;

/// What is known of a new instance.
#[derive(Args, Debug)]
pub(crate) struct Add {
    /// The domain, with its port when it has one.
    #[arg(value_parser = values::domain::parse)]
    pub(crate) domain: String,
    /// Apps to install: slugs, or addresses (file://, http://, https://, registry://slug/channel); several separated
    /// by commas. A comma within an address is written %2C.
    #[arg(long, value_name = "APPS", value_delimiter = ',', value_parser = values::apps::source)]
    pub(crate) apps: Vec<String>,
    /// How the owner proves who they are.
    #[arg(long, value_name = "MODE")]
    pub(crate) auth_mode: Option<AuthMode>,
    /// The group of settings that applies.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "CONTEXT"
    )]
    pub(crate) context_name: String,
    /// The position of its CouchDB cluster in the configuration; -1 draws one of those that are open.
    #[arg(long, default_value = "-1", hide_default_value = true, value_name = "N",
          allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1..))]
    pub(crate) couch_cluster: i32,
    /// How much may be stored: 10GB, "512 MiB" or bytes; no limit by default.
    #[arg(long, default_value = "0", hide_default_value = true, value_name = "SIZE",
          allow_hyphen_values = true, value_parser = values::quota::parse)]
    pub(crate) disk_quota: i64,
    /// Other domains, separated by commas.
    #[arg(long, value_name = "DOMAINS", value_delimiter = ',', value_parser = values::domain::parse)]
    pub(crate) domain_aliases: Vec<String>,
    /// The owner's mail address.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) email: String,
    /// The subject at FranceConnect.
    #[arg(
        long = "franceconnect_id",
        default_value = "",
        hide_default_value = true,
        value_name = "SUBJECT"
    )]
    pub(crate) franceconnect_id: String,
    /// The language, such as fr, fr-FR or de_AT.
    #[arg(long, default_value = "en", value_name = "LANGUAGE")]
    pub(crate) locale: String,
    /// Let the owner log in by a link in a mail.
    #[arg(long = "magic_link", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "false", hide_default_value = true, hide_possible_values = true,
          value_name = "BOOL", action = ArgAction::Set)]
    pub(crate) magic_link: bool,
    /// Leave apps at their version instead of updating them.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "false", hide_default_value = true, hide_possible_values = true,
          value_name = "BOOL", action = ArgAction::Set)]
    pub(crate) no_auto_update: bool,
    /// The subject at the OIDC provider.
    #[arg(
        long = "oidc_id",
        default_value = "",
        hide_default_value = true,
        value_name = "SUBJECT"
    )]
    pub(crate) oidc_id: String,
    /// A former domain: browsers are redirected from it, and clients hash passphrases with it.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "DOMAIN"
    )]
    pub(crate) old_domain: String,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
    /// The owner's phone number.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) phone: String,
    /// The owner's name as others see it.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    pub(crate) public_name: String,
    /// Further settings, KEY:VALUE, several separated by commas.
    #[arg(long, value_name = "SETTINGS", value_delimiter = ',', value_parser = values::settings::parse)]
    pub(crate) settings: Vec<(String, String)>,
    /// Who pays, separated by commas.
    #[arg(long, value_name = "SPONSORS", value_delimiter = ',', value_parser = values::names::sponsor)]
    pub(crate) sponsorships: Vec<String>,
    /// The version of the terms of service that was signed.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "VERSION"
    )]
    pub(crate) tos: String,
    /// The version of the terms of service that awaits a signature.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "VERSION"
    )]
    pub(crate) tos_latest: String,
    /// Show how long each step took.
    #[arg(long)]
    pub(crate) trace: bool,
    /// The owner's time zone, such as Europe/Paris.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "ZONE"
    )]
    pub(crate) tz: String,
    /// An id given by the hosting provider.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) uuid: String,
    #[command(flatten)]
    pub(crate) request: Request,
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
pub(crate) struct Passphrase {
    /// The first passphrase. Everybody who lists the processes of this machine sees it: prefer the next two.
    #[arg(long)]
    pub(crate) passphrase: Option<Secret>,
    /// The file that holds the first passphrase on its only line; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Ask for the first passphrase on the terminal.
    #[arg(long)]
    pub(crate) passphrase_prompt: bool,
}

/// How an owner proves who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuthMode {
    /// A passphrase.
    #[value(name = "basic")]
    Basic,
    /// A passphrase and a code sent by mail.
    #[value(name = "two_factor_mail")]
    TwoFactorMail,
    /// A passphrase and an OIDC provider.
    #[value(name = "two_factor_oidc")]
    TwoFactorOidc,
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
