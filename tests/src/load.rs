//! Calls that never stop, and what became of them.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use hamlet_proto::hamlet::{
    files::v1::{
        ListChildrenRequest, files_service_client::FilesServiceClient,
        list_children_request::Directory,
    },
    instance::v1::{CountInstancesRequest, instance_service_client::InstanceServiceClient},
};
use tokio::task::JoinHandle;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::daemon::PATIENCE;

/// Callers at the admin door of a gateway: they count instances, which asks the instance service, and
/// list the root of one instance, which asks the instance and the files services. Both only read, so
/// each may be sent to any replica.
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
    /// Begins, with as many callers of each kind. The gateway is reached at `admin`.
    ///
    /// # Panics
    /// When the gateway cannot be reached.
    pub async fn begin(admin: SocketAddr, credential: &str, domain: &str, callers: usize) -> Self {
        let bearer: MetadataValue<Ascii> = format!("Bearer {credential}")
            .parse()
            .expect("it can stand in a header");
        // The host names the instance; the connection goes to the door.
        let channel = Endpoint::from_shared(format!("http://{admin}"))
            .expect("an address")
            .origin(format!("http://{domain}").parse().expect("a domain"))
            .connect()
            .await
            .expect("the gateway can be reached");
        let tally = Arc::new(Tally::default());
        let callers = (0..callers)
            .flat_map(|_| [true, false])
            .map(|counts| {
                let (tally, channel, bearer) =
                    (Arc::clone(&tally), channel.clone(), bearer.clone());
                tokio::spawn(async move {
                    while !tally.stop.load(Ordering::Relaxed) {
                        match call(channel.clone(), &bearer, counts).await {
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

    /// Waits until so many more calls have been answered well.
    ///
    /// # Panics
    /// When they are not.
    pub async fn goes_on(&self, calls: u64) {
        let until = self.tally.done.load(Ordering::Relaxed) + calls;
        let going = async {
            while self.tally.done.load(Ordering::Relaxed) < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, going)
            .await
            .unwrap_or_else(|_| panic!("no call is answered any more: {:?}", self.failures()));
    }

    /// Stops, and tells how each call that failed did so.
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

async fn call(channel: Channel, bearer: &MetadataValue<Ascii>, counts: bool) -> Result<(), Status> {
    if counts {
        let mut request = Request::new(CountInstancesRequest::default());
        request
            .metadata_mut()
            .insert("authorization", bearer.clone());
        InstanceServiceClient::new(channel)
            .count_instances(request)
            .await?;
    } else {
        let mut request = Request::new(ListChildrenRequest {
            directory: Some(Directory::Path("/".to_owned())),
            page_size: 10,
            ..ListChildrenRequest::default()
        });
        request
            .metadata_mut()
            .insert("authorization", bearer.clone());
        FilesServiceClient::new(channel)
            .list_children(request)
            .await?;
    }
    Ok(())
}
