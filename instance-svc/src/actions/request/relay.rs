//! Requests to hold an instance while the original is asked.

use service_kit::secret::Secret;

use super::{Draft, Plan, RequestOptions, arguments_mac};
use crate::{
    domain::{operation::Subject, record::Refusal, sealed::Sealed},
    error::Error,
    operations::{
        Work,
        relay::{RelayWork, Requests, Ticket},
    },
    store::Found,
};

/// A request that is to be passed on. It is announced under the id of its operation.
#[derive(Debug)]
pub(crate) struct RelayPlan<'a> {
    pub(crate) requests: &'a Requests,
    pub(crate) found: &'a Found,
    /// Its route, as in `POST /instances/{domain}/export`.
    pub(crate) route: &'a str,
    /// Where the ticket goes.
    pub(crate) ticket: &'a mut Option<Ticket>,
}

impl Plan for RelayPlan<'_> {
    type Preview = ();

    fn verb(&self) -> &'static str {
        "relay"
    }

    fn mac(&self, key: &Secret) -> Result<String, Error> {
        arguments_mac(key, &(&self.found.id, self.route))
    }

    async fn draft(&mut self, _: RequestOptions<'_>) -> Result<Draft, Error> {
        let document = &self.found.document.body;
        if let Some(record) = &self.found.record
            && record.body.locked
        {
            return Err(Error::Refused {
                domain: document.domain.clone(),
                why: Refusal::Locked,
            });
        }
        Ok(Draft {
            subject: Subject {
                instance: self.found.id.clone(),
                domain: document.domain.clone(),
                prefix: document.database_prefix().to_owned(),
                couch_cluster: document.couch_cluster,
            },
            work: Work::Relay(RelayWork {
                route: self.route.to_owned(),
                status: None,
            }),
        })
    }

    async fn seal(&mut self, id: &str) -> Result<Option<Sealed>, Error> {
        *self.ticket = Some(self.requests.announce(id));
        Ok(None)
    }

    async fn preview(self, _: Vec<String>) -> Result<(), Error> {
        Ok(())
    }
}
