//! `hamlet instances ls`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{Instance, ListInstancesRequest};
use serde_json::Value;
use tonic::Code;

use crate::{
    calls::{get_instance, list_instances},
    error::CommandError,
    fields::{
        columns::{self, Column},
        words,
    },
    flags::{format::Format, global::GlobalFlags},
    output::{self, ListPrinter, say, time},
    session::{AdminChannel, Session},
    values::{self, quota},
};

/// The columns without `--fields`.
const COLUMNS: [&str; 6] = ["domain", "state", "owner", "locale", "quota", "created"];
/// The columns that `-o wide` adds.
const WIDE: [&str; 5] = ["email", "aliases", "context", "indexes", "prefix"];

/// List instances, in the order of their creation.
///
/// Columns: domain, state, whether its owner has arrived, locale, quota, when it was created. `-o wide` adds the
/// owner's mail address, aliases, context, version of the indexes and prefix of the databases. `--fields` has the names
/// of the JSON form. Instances that are being
/// created come last.
#[derive(Args, Debug)]
#[command(
    visible_alias = "list",
    after_help = "Examples:\n  hamlet instances ls\n  hamlet instances ls --fields domain,diskQuotaBytes\n  hamlet instances ls --json --deleted | jq -r .domain\n  hamlet instances ls --limit 100\n  hamlet instances ls -o wide\n  hamlet instances ls -o csv > instances.csv"
)]
pub(crate) struct Ls {
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = columns::parse, help = columns::help())]
    fields: Vec<Column>,
    /// Print what --fields takes, and end.
    #[arg(long, conflicts_with_all = ["fields", "json", "deleted", "page_token", "limit"])]
    available_fields: bool,
    /// The same as -o json: one object a line.
    #[arg(long)]
    json: bool,
    /// Also those that were deleted softly.
    #[arg(long)]
    deleted: bool,
    /// How many to ask for at once.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1000))]
    page_size: i32,
    /// Go on where an earlier list ended: the token that it told on stderr.
    #[arg(long, value_name = "TOKEN", value_parser = values::names::not_empty)]
    page_token: Option<String>,
    /// End after so many; where there may be more, stderr tells the --page-token that goes on.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

impl Ls {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        if self.available_fields {
            // Needs no server.
            return output::print(&format!("{}\n", columns::available().join("\n")));
        }
        let session = Session::find(global)?;
        let format = global.output.or_json(self.json)?;
        format.check_fields(!self.fields.is_empty())?;
        let channel = session.channel().await?;
        let is_wide = format == Format::Wide;
        let columns: Vec<&str> = if self.fields.is_empty() {
            let more = WIDE.iter().filter(|_| is_wide);
            COLUMNS.iter().chain(more).copied().collect()
        } else {
            self.fields.iter().map(|column| column.name).collect()
        };
        let mut list = ListPrinter::new(format, &columns);
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut page_token = self.page_token.unwrap_or_default();
        loop {
            // A page is never larger than what is left, so that its token continues where this list ends.
            let page_size =
                i32::try_from(left).map_or(self.page_size, |left| self.page_size.min(left));
            let request = ListInstancesRequest {
                page_size,
                page_token,
                show_deleted: self.deleted,
            };
            let page = list_instances(&session, &channel, request).await?;
            for instance in &page.instances {
                if self.fields.is_empty() {
                    list.push(instance, &instance.name, || row(instance, format))?;
                } else {
                    list.push_values(
                        &read(&session, &channel, instance, (&self.fields, format)).await?,
                    )?;
                }
                left = left.saturating_sub(1);
            }
            list.flush()?;
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return list
                    .end("there are no instances; `hamlet instances add DOMAIN` creates one");
            }
            if left == 0 {
                say(&format!(
                    "there may be more: go on with --page-token {page_token}"
                ));
                return Ok(());
            }
        }
    }
}

fn row(instance: &Instance, format: Format) -> Vec<String> {
    let mut cells = vec![
        instance.domain.clone(),
        words::state(instance.state()).to_owned(),
        words::owner(instance).to_owned(),
        instance.locale.clone(),
        quota::show(instance.disk_quota_bytes),
        time::age(instance.create_time.as_ref(), format),
    ];
    if format == Format::Wide {
        cells.extend([
            instance.email.clone(),
            instance.domain_aliases.join(","),
            instance.context.clone(),
            format!("v{}", instance.indexes_version),
            instance.prefix.clone(),
        ]);
    }
    cells
}

/// The values of some fields of a listed instance. Fields that lists do not have cost a call.
async fn read(
    session: &Session,
    channel: &AdminChannel,
    listed: &Instance,
    (fields, format): (&[Column], Format),
) -> Result<Vec<(&'static str, Value)>, CommandError> {
    if fields.iter().all(|column| column.listed) {
        return columns::read(listed, fields, format);
    }
    match get_instance(session, channel, &listed.domain).await {
        Ok(whole) => columns::read(&whole, fields, format),
        // It was destroyed since it was listed: only the fields of the list are known.
        Err(CommandError::Refused(status)) if status.code() == Code::NotFound => {
            columns::read(listed, fields, format)
        }
        Err(error) => Err(error),
    }
}
