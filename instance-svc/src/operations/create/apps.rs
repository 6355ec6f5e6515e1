//! The step that installs apps.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use hamlet_proto::hamlet::instance::v1::Tenant;
use service_kit::status::reasons;
use tokio::time::Instant;

use super::{AppOutcome, CreateWork, Creation};
use crate::operations::engine::{Report, StepError, Task};

/// How many apps are installed at once.
pub(crate) const APPS_AT_ONCE: usize = 4;

/// How long it can take until every node of a cluster knows a new database.
const HEARD_AFTER: Duration = Duration::from_secs(5);

impl Creation {
    /// Installs the apps, several at once. An app that fails does not fail the creation: its error is reported.
    pub(super) async fn install_apps(
        &self,
        task: Task<'_, CreateWork>,
    ) -> Result<Report<CreateWork>, StepError> {
        let tenant = self.tenant(task);
        let outcomes: Vec<AppOutcome> = stream::iter(task.work.spec.apps.clone())
            .map(|source| self.install_app(&tenant, source))
            .buffered(APPS_AT_ONCE)
            .collect()
            .await;
        if !outcomes.is_empty() {
            self.require_names(task).await?;
        }
        Ok(Box::new(move |work| work.apps = outcomes))
    }

    async fn install_app(&self, tenant: &Tenant, source: String) -> AppOutcome {
        let limit = self.config.app_time_limit();
        let end = Instant::now() + limit;
        let heard = Instant::now() + HEARD_AFTER;
        let mut pause = Duration::from_millis(100);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let status = match self.peers.install(tenant, &source, left).await {
                Ok(app) => {
                    return AppOutcome {
                        source,
                        slug: app.slug,
                        version: app.version,
                        error: String::new(),
                    };
                }
                Err(status) => status,
            };
            // The databases exist, but a node of the cluster may not know them yet.
            let unheard = Instant::now() < heard
                && service_kit::status::reason(&status).as_deref()
                    == Some(reasons::INSTANCE_INCOMPLETE);
            let passing = unheard || status.code() == tonic::Code::Unavailable;
            let again = passing && Instant::now() + pause * 2 < end;
            if !again {
                let late = Instant::now() >= end;
                tracing::warn!(
                    domain = tenant.domain,
                    source,
                    code = %status.code(),
                    error = status.message(),
                    "an app could not be installed"
                );
                return AppOutcome {
                    source,
                    error: if late {
                        format!("it took longer than {} s", limit.as_secs())
                    } else {
                        status.message().to_owned()
                    },
                    ..AppOutcome::default()
                };
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}
