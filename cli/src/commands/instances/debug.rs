//! `hamlet instances debug`.

use std::time::SystemTime;

use clap::Args;
use hamlet_proto::hamlet::instance::v1::Instance;
use prost_types::{Duration, Timestamp};

use crate::{
    calls::{get_instance, update_instance},
    error::CommandError,
    flags::{format::Format, global::GlobalFlags, request::no_effect, target::Target},
    output::{self, time},
    session::Session,
    values,
};

/// How long calls are logged in detail without `--ttl`.
const DEFAULT_TTL: Duration = Duration {
    seconds: 24 * 3600,
    nanos: 0,
};

/// Log calls for an instance in detail for a while, or tell until when they are logged so.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances debug bob.localhost:8080\n  hamlet instances debug bob.localhost:8080 true --ttl 2h\n  hamlet instances debug bob.localhost:8080 false"
)]
pub(crate) struct Debug {
    #[command(flatten)]
    target: Target,
    /// true begins it, false ends it. Without this argument the command tells until when it lasts, and changes nothing.
    #[arg(value_name = "true|false", hide_possible_values = true)]
    on: Option<bool>,
    /// How long it lasts, such as 2h; only with true. 24h by default.
    #[arg(long, value_name = "TIME", value_parser = values::duration::parse)]
    ttl: Option<Duration>,
}

impl Debug {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        if self.ttl.is_some() && self.on != Some(true) {
            return Err(no_effect("--ttl", "true"));
        }
        let Some(on) = self.on else {
            self.target.condition.refuse_without("true or false")?;
            self.target.request.refuse_without("true or false")?;
            return show(&session, global.output, &self.target.domain).await;
        };
        let instance = Instance {
            debug_until: on.then(|| after(&self.ttl.unwrap_or(DEFAULT_TTL))),
            ..Instance::default()
        };
        let paths = vec!["debug_until".to_owned()];
        update_instance(&session, global.output, self.target, instance, paths).await
    }
}

/// The time when `duration` has passed from now, in whole seconds.
fn after(duration: &Duration) -> Timestamp {
    let now = Timestamp::from(SystemTime::now());
    Timestamp {
        seconds: now.seconds.saturating_add(duration.seconds),
        nanos: 0,
    }
}

async fn show(session: &Session, format: Format, domain: &str) -> Result<(), CommandError> {
    let channel = session.channel().await?;
    let instance = get_instance(session, &channel, domain).await?;
    let until = instance.debug_until.as_ref().map(ToString::to_string);
    // The document is no message of the contracts.
    let document = serde_json::json!({ "domain": instance.domain, "debugUntil": until });
    output::document(format, &document, &instance.name, || {
        match time::moment(instance.debug_until.as_ref()).as_str() {
            "" => "off\n".to_owned(),
            until => format!("on until {until}\n"),
        }
    })
}
