//! Continuous load, with a record of failed calls.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hamlet_proto::hamlet::{
    files::v1::{
        ListChildrenRequest, files_service_client::FilesServiceClient,
        list_children_request::Directory,
    },
    instance::v1::{CountInstancesRequest, instance_service_client::InstanceServiceClient},
};
use test_kit::{
    doors::{self, Way},
    eventually,
};
use tokio::task::JoinHandle;
use tonic::Status;

/// Callers at the admin door of a gateway. They count instances, which calls the instance service, and list the root of
/// one instance, which calls the instance and files services. Both calls are read-only, so they may be retried on any
/// replica.
#[derive(Debug)]
pub struct Load {
    tally: Arc<Tally>,
    callers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Tally {
    stop: AtomicBool,
    done: AtomicU64,
    failures: Mutex<Vec<Status>>,
}

impl Load {
    /// Starts the load, with `callers` callers of each kind. `admin` is the admin door of the gateway.
    ///
    /// # Panics
    /// When the gateway cannot be reached.
    pub async fn begin(admin: SocketAddr, credential: &str, domain: &str, callers: usize) -> Self {
        let way = doors::admin(admin, domain, credential).await;
        let tally = Arc::new(Tally::default());
        let callers = (0..callers)
            .flat_map(|_| [true, false])
            .map(|counts| {
                let (tally, way) = (Arc::clone(&tally), way.clone());
                tokio::spawn(async move {
                    while !tally.stop.load(Ordering::Relaxed) {
                        match call(way.clone(), counts).await {
                            Ok(()) => _ = tally.done.fetch_add(1, Ordering::Relaxed),
                            Err(status) => tally
                                .failures
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push(status),
                        }
                    }
                })
            })
            .collect();
        Self { tally, callers }
    }

    /// Waits until this many further calls have succeeded.
    ///
    /// # Panics
    /// When they do not succeed in time.
    pub async fn goes_on(&self, calls: u64) {
        let until = self.tally.done.load(Ordering::Relaxed) + calls;
        eventually(&format!("{calls} more answers"), async || {
            if self.tally.done.load(Ordering::Relaxed) < until {
                Err(self.failures())
            } else {
                Ok(())
            }
        })
        .await;
    }

    /// Stops the load. Returns the status of each failed call.
    ///
    /// # Panics
    /// When a caller panicked.
    pub async fn end(self) -> Vec<Status> {
        self.tally.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.expect("no panic");
        }
        self.tally
            .failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn failures(&self) -> Vec<Status> {
        self.tally
            .failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn call(way: Way, counts: bool) -> Result<(), Status> {
    if counts {
        InstanceServiceClient::new(way)
            .count_instances(CountInstancesRequest::default())
            .await?;
    } else {
        FilesServiceClient::new(way)
            .list_children(ListChildrenRequest {
                directory: Some(Directory::Path("/".to_owned())),
                page_size: 10,
                ..ListChildrenRequest::default()
            })
            .await?;
    }
    Ok(())
}
