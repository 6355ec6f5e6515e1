//! `hamlet instances`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use prost_types::Duration;
use service_kit::secret::Secret;

use super::{Add, AuthMode, Condition, Modify, Request};
use crate::{fields, values};

/// Commands for instances.
#[derive(Debug, Subcommand)]
pub(crate) enum Instances {
    /// Create an instance and follow its creation.
    ///
    /// Prints the link by which the owner chooses a passphrase. It is a secret: whoever has it can take the instance.
    /// An app that cannot be installed does not undo the instance: it is warned about, and the exit code is 1. Ctrl-C
    /// leaves the creation to the server, and says how to follow it again. Refused when HAMLET_DISABLE_INSTANCES_ADD_RM
    /// is set.
    #[command(
        visible_alias = "create",
        after_help = "Examples:\n  hamlet instances add bob.localhost:8080\n  hamlet instances add bob.localhost:8080 --locale de --apps home --public-name Bob --email bob@example.org\n  hamlet instances add eve.example.org --apps home,file:///srv/apps/notes --disk-quota 10GB\n  hamlet instances add eve.example.org --settings offer:freemium,partner:acme --domain-aliases www.eve.example.org --dry-run"
    )]
    Add(Box<Add>),
    /// List instances, in the order of their creation.
    ///
    /// Columns: domain, locale, quota, state, version of the indexes, prefix of the databases.
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  hamlet instances ls\n  hamlet instances ls --fields domain,disk_quota\n  hamlet instances ls --json --deleted | jq -r .domain\n  hamlet instances ls --limit 100"
    )]
    Ls(Ls),
    /// Show an instance, by its domain or an alias.
    #[command(
        after_help = "Examples:\n  hamlet instances show bob.localhost:8080\n  hamlet instances show bob.localhost:8080 --fields email,tz -o json"
    )]
    Show(Show),
    /// Count instances, those being destroyed or deleted softly included.
    #[command(after_help = "Examples:\n  hamlet instances count")]
    Count,
    /// Change an instance. Only what is named changes.
    ///
    /// A flag gives a value, --unset clears one.
    #[command(
        visible_alias = "update",
        after_help = "Examples:\n  hamlet instances modify bob.localhost:8080 --locale fr --tz Europe/Paris\n  hamlet instances modify bob.localhost:8080 --settings offer:premium --unset phone,settings.partner\n  hamlet instances modify bob.localhost:8080 --blocked --blocking-reason PAYMENT_FAILED\n  hamlet instances modify bob.localhost:8080 --lock"
    )]
    Modify(Box<Modify>),
    /// Destroy an instance and all that it holds.
    ///
    /// Asks for the domain again, and reads the answer from standard input, be it a terminal or not. There is no way
    /// back, and no way to stop it once it has begun. Only the main domain destroys, never an alias. With --keep the
    /// instance is deleted softly: blocked, left out of lists, brought back by `instances undelete`, and destroyed when
    /// the time has passed. Refused when HAMLET_DISABLE_INSTANCES_ADD_RM is set.
    #[command(visible_aliases = ["rm", "delete", "remove"], after_help = "Examples:\n  hamlet instances destroy bob.localhost:8080\n  hamlet instances destroy bob.localhost:8080 --dry-run\n  hamlet instances destroy bob.localhost:8080 --keep 30d\n  hamlet instances destroy bob.localhost:8080 --force")]
    Destroy(Destroy),
    /// Bring back an instance that was deleted softly.
    #[command(after_help = "Examples:\n  hamlet instances undelete bob.localhost:8080")]
    Undelete(Target),
    /// Refuse access to an instance, with a reason.
    #[command(
        after_help = "Examples:\n  hamlet instances block bob.localhost:8080 --reason PAYMENT_FAILED"
    )]
    Block {
        #[command(flatten)]
        target: Target,
        /// LOGIN_FAILED, PAYMENT_FAILED, UNKNOWN or a reason of your own.
        #[arg(long, default_value = "UNKNOWN", value_parser = values::names::not_empty)]
        reason: String,
    },
    /// Give access to an instance again.
    #[command(after_help = "Examples:\n  hamlet instances unblock bob.localhost:8080")]
    Unblock(Target),
    /// Set how much an instance may store.
    #[command(
        after_help = "Examples:\n  hamlet instances set-disk-quota bob.localhost:8080 10GB\n  hamlet instances set-disk-quota bob.localhost:8080 unlimited"
    )]
    SetDiskQuota {
        #[command(flatten)]
        target: Target,
        /// 10GB, "512 MiB", bytes; 0 or unlimited for no limit.
        #[arg(allow_negative_numbers = true, value_parser = values::quota::parse)]
        size: i64,
    },
    /// Set the passphrase, whether there was one or not. All sessions end.
    ///
    /// Asks for it twice on a terminal, without showing it; else reads one line of standard input.
    #[command(
        after_help = "Examples:\n  hamlet instances set-passphrase bob.localhost:8080\n  hamlet instances set-passphrase bob.localhost:8080 --passphrase-file ./passphrase"
    )]
    SetPassphrase(SetPassphrase),
    /// Choose how the owner proves who they are.
    #[command(
        after_help = "Examples:\n  hamlet instances auth-mode bob.localhost:8080 two_factor_mail"
    )]
    AuthMode {
        #[command(flatten)]
        target: Target,
        /// The way.
        mode: AuthMode,
    },
    /// Log calls for an instance in detail for a while, or tell until when they are.
    #[command(
        after_help = "Examples:\n  hamlet instances debug bob.localhost:8080\n  hamlet instances debug bob.localhost:8080 true --ttl 2h\n  hamlet instances debug bob.localhost:8080 false"
    )]
    Debug {
        #[command(flatten)]
        target: Target,
        /// true begins, false ends; tells how it is when left out.
        #[arg(hide_possible_values = true)]
        on: Option<bool>,
        /// For how long, with true; 24h by default.
        #[arg(long, value_name = "TIME", value_parser = values::duration::parse)]
        ttl: Option<Duration>,
    },
    /// Print the prefix of an instance's databases, and its CouchDB cluster when that is not the first.
    #[command(after_help = "Examples:\n  hamlet instances show-db-prefix bob.localhost:8080")]
    ShowDbPrefix {
        /// The domain or an alias.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
    },
    /// Print a token by which the command line may use an instance. It is a secret, and lives 30 minutes.
    #[command(
        after_help = "Examples:\n  hamlet instances token-cli bob.localhost:8080 io.cozy.files io.cozy.contacts:GET"
    )]
    TokenCli {
        /// The domain or an alias.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// What it may do, such as io.cozy.files:GET.
        #[arg(required = true, value_parser = values::names::not_empty)]
        scopes: Vec<String>,
    },
    /// Print a token by which a web app may use an instance. It is a secret.
    #[command(
        after_help = "Examples:\n  hamlet instances token-app bob.localhost:8080 home --expire 1h"
    )]
    TokenApp {
        /// The domain or an alias.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// The app's slug.
        #[arg(value_parser = values::names::slug)]
        slug: String,
        /// How long it lives; 24h by default, and at most.
        #[arg(long, value_name = "TIME", value_parser = values::duration::parse)]
        expire: Option<Duration>,
    },
    /// Print a token by which a konnector may use an instance. It is a secret, and lives 30 minutes.
    #[command(
        after_help = "Examples:\n  hamlet instances token-konnector bob.localhost:8080 bills"
    )]
    TokenKonnector {
        /// The domain or an alias.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// The konnector's slug.
        #[arg(value_parser = values::names::slug)]
        slug: String,
    },
    /// Print an OAuth client's access token. It is a secret.
    #[command(
        after_help = "Examples:\n  hamlet instances token-oauth bob.localhost:8080 0198f3c2 io.cozy.files --expire 1h"
    )]
    TokenOauth {
        /// The domain or an alias.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// The client's id.
        #[arg(value_parser = values::names::not_empty)]
        client: String,
        /// What it may do, such as io.cozy.files:GET.
        #[arg(required = true, value_parser = values::names::not_empty)]
        scopes: Vec<String>,
        /// How long it lives; 7 days by default, and at most.
        #[arg(long, value_name = "TIME", value_parser = values::duration::parse)]
        expire: Option<Duration>,
    },
    /// Print an OAuth client's refresh token. It is a secret, and does not expire.
    #[command(
        after_help = "Examples:\n  hamlet instances refresh-token-oauth bob.localhost:8080 0198f3c2 io.cozy.files"
    )]
    RefreshTokenOauth {
        /// The domain or an alias.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// The client's id.
        #[arg(value_parser = values::names::not_empty)]
        client: String,
        /// What it may do, such as io.cozy.files:GET.
        #[arg(required = true, value_parser = values::names::not_empty)]
        scopes: Vec<String>,
    },
    /// End all sessions and forget all logins of an instance.
    #[command(after_help = "Examples:\n  hamlet instances clean-sessions bob.localhost:8080")]
    CleanSessions {
        /// The domain or an alias.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        #[command(flatten)]
        request: Request,
    },
    /// Check the tree of an instance and its contents.
    ///
    /// Columns: what is wrong, where, the id of the document, more about it. Exit code 1 when anything is.
    #[command(
        after_help = "Examples:\n  hamlet instances fsck bob.localhost:8080\n  hamlet instances fsck bob.localhost:8080 --index-integrity --fail-fast --json"
    )]
    Fsck(Fsck),
    /// Print the link by which the owner chooses a passphrase. It is a secret.
    ///
    /// Once the owner has chosen a passphrase there is none.
    #[command(
        after_help = "Examples:\n  hamlet instances register-link bob.localhost:8080\n  hamlet instances register-link bob.localhost:8080 --rotate"
    )]
    RegisterLink {
        #[command(flatten)]
        target: Target,
        /// Make a new link; the old one works no more.
        #[arg(long)]
        rotate: bool,
    },
    /// List what belongs to no instance and to no operation at work, and remove it with --purge.
    ///
    /// Columns: kind, name, how many objects or documents it holds, why it belongs to nobody.
    #[command(
        after_help = "Examples:\n  hamlet instances orphans\n  hamlet instances orphans --purge --dry-run\n  hamlet instances orphans --purge"
    )]
    Orphans(Orphans),
}

/// The instance to change, on which condition, and how.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// The domain; an alias will do, except to destroy.
    #[arg(value_parser = values::domain::parse)]
    pub(crate) domain: String,
    #[command(flatten)]
    pub(crate) condition: Condition,
    #[command(flatten)]
    pub(crate) request: Request,
}

/// Which instances to list, and what of them.
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Only these, in this order, separated by commas. What lies in an owner's settings (email, phone, public_name,
    /// settings, tz) and etag cost one call an instance.
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = fields::parse)]
    pub(crate) fields: Vec<&'static fields::Field>,
    /// Print what --fields takes, and end.
    #[arg(long, conflicts_with_all = ["fields", "json", "deleted", "page_token", "limit"])]
    pub(crate) available_fields: bool,
    /// The same as -o json: one object a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Also those that were deleted softly.
    #[arg(long)]
    pub(crate) deleted: bool,
    /// How many to ask for at once.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub(crate) page_size: i32,
    /// Begin where the list before ended that printed this token.
    #[arg(long, value_name = "TOKEN", value_parser = values::names::not_empty)]
    pub(crate) page_token: Option<String>,
    /// End after so many; stderr tells the --page-token that goes on.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
}

/// Which instance to show, and what of it.
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    pub(crate) domain: String,
    /// Only these, in this order, separated by commas; `instances ls --available-fields` lists them.
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = fields::parse)]
    pub(crate) fields: Vec<&'static fields::Field>,
}

/// What to destroy, and how.
#[derive(Args, Debug)]
pub(crate) struct Destroy {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Do not ask for the domain again.
    #[arg(long)]
    pub(crate) force: bool,
    /// How long it can be brought back, such as 30d.
    #[arg(long, value_name = "TIME", value_parser = values::duration::parse)]
    pub(crate) keep: Option<Duration>,
}

/// Whose passphrase to set, and where it comes from.
#[derive(Args, Debug)]
pub(crate) struct SetPassphrase {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The passphrase. Everybody who lists the processes of this machine sees it: better leave it out.
    #[arg(conflicts_with = "passphrase_file")]
    pub(crate) passphrase: Option<Secret>,
    /// The file that holds the passphrase on its only line; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// What to check.
#[derive(Args, Debug)]
pub(crate) struct Fsck {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    pub(crate) domain: String,
    /// Check only that documents and tree fit together.
    #[arg(long, conflicts_with = "files_consistency")]
    pub(crate) index_integrity: bool,
    /// Check only that contents are there, with their size and hash.
    #[arg(long)]
    pub(crate) files_consistency: bool,
    /// End at the first finding.
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// The same as -o json: one object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to do with orphans.
#[derive(Args, Debug)]
pub(crate) struct Orphans {
    /// Remove them; asks before.
    #[arg(long)]
    pub(crate) purge: bool,
    /// Do not ask, with --purge.
    #[arg(long, requires = "purge")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) request: Request,
}
