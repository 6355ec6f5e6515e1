//! Receiving the bodies of requests: how large one may be, and how much memory all of them may take.
//!
//! A body is held in memory until its request is answered. Whoever sends it is known by then, because the head of the
//! request says so: strangers share little memory and have little time.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::api_error::ApiError;

/// What memory is counted in, in bytes.
const UNIT: usize = 64 * 1024;

/// The most of a refused request's body that is read before the refusal is sent, in bytes. Many clients read no response
/// before they have sent everything.
const DRAINED: usize = 1024 * 1024;

/// How long reading it may take.
const DRAINED_WITHIN: Duration = Duration::from_secs(5);

/// The memory for the bodies of requests.
pub(crate) struct Room {
    known: Share,
    strangers: Share,
}

/// What some callers may use.
struct Share {
    free: Arc<Semaphore>,
    /// The largest body in bytes.
    largest: usize,
    /// How long a caller may wait for memory.
    patience: Duration,
    /// The longest pause in a body.
    pause: Duration,
    /// How long a whole body may take.
    whole: Duration,
}

/// A body, and the memory that it takes.
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    pub(crate) held: Held,
}

/// Memory of [`Room`], given back when this is dropped.
#[derive(Default)]
pub(crate) struct Held(Option<OwnedSemaphorePermit>);

impl Room {
    pub(crate) fn new() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            known: Share {
                free: Arc::new(Semaphore::new(512 * MIB / UNIT)),
                // CouchDB permits gigabytes.
                largest: 256 * MIB,
                patience: Duration::from_secs(30),
                pause: Duration::from_mins(1),
                whole: Duration::from_hours(1),
            },
            strangers: Share {
                free: Arc::new(Semaphore::new(32 * MIB / UNIT)),
                // CouchDB's largest document.
                largest: 8_000_000,
                patience: Duration::ZERO,
                pause: Duration::from_secs(10),
                whole: Duration::from_mins(1),
            },
        }
    }

    /// Receives a body. `is_known` says whether its sender has logged in.
    ///
    /// # Errors
    /// 413 for a body that is too large, 503 if others hold the memory, 408 if it comes too slowly, 400 if it ends
    /// early.
    pub(crate) async fn receive(
        &self,
        is_known: bool,
        body: Incoming,
    ) -> Result<Received, ApiError> {
        let share = if is_known {
            &self.known
        } else {
            &self.strangers
        };
        timeout(share.whole, share.receive(body))
            .await
            .unwrap_or_else(|_late| Err(slow()))
    }
}

impl Share {
    async fn receive(&self, mut body: Incoming) -> Result<Received, ApiError> {
        let announced = match body.size_hint().exact() {
            Some(length) => usize::try_from(length).map_err(|_| too_large())?,
            None => 0,
        };
        if announced > self.largest {
            return Err(too_large());
        }
        let mut held = Held::default();
        self.reserve(&mut held, announced).await?;
        let mut bytes = BytesMut::with_capacity(announced);
        loop {
            let frame = timeout(self.pause, body.frame())
                .await
                .map_err(|_late| slow())?;
            let Some(frame) = frame else {
                break;
            };
            let frame = frame.map_err(|_| ApiError::bad_request("the request ended early"))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let length = bytes.len() + data.len();
            if length > self.largest {
                return Err(too_large());
            }
            if length > held.bytes() {
                self.reserve_now(&mut held, length)?;
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Received {
            bytes: bytes.freeze(),
            held,
        })
    }

    /// Waits for memory for a body of a known length.
    async fn reserve(&self, held: &mut Held, length: usize) -> Result<(), ApiError> {
        if self.reserve_now(held, length).is_ok() {
            return Ok(());
        }
        let waiting = Arc::clone(&self.free).acquire_many_owned(units(length));
        match timeout(self.patience, waiting).await {
            Ok(Ok(permit)) => {
                held.0 = Some(permit);
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(full()),
        }
    }

    /// Takes what is missing to `length` bytes. This does not wait: two who hold a part would wait for each other.
    fn reserve_now(&self, held: &mut Held, length: usize) -> Result<(), ApiError> {
        let missing = length.saturating_sub(held.bytes());
        if missing == 0 {
            return Ok(());
        }
        let more = Arc::clone(&self.free)
            .try_acquire_many_owned(units(missing))
            .map_err(|_| full())?;
        match &mut held.0 {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

impl Held {
    fn bytes(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |permit| permit.num_permits() * UNIT)
    }
}

/// Reads and forgets the body of a request that is refused, up to a limit.
pub(crate) async fn drain(mut body: Incoming) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > DRAINED {
                break;
            }
        }
    };
    // What is left is cut off with the connection.
    let _ = timeout(DRAINED_WITHIN, reading).await;
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

fn too_large() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        "the request entity is too large",
    )
}

fn full() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "busy",
        "the bodies of other requests fill the memory; try again in a moment",
    )
}

fn slow() -> ApiError {
    ApiError::new(
        StatusCode::REQUEST_TIMEOUT,
        "timeout",
        "the body of the request came too slowly",
    )
}
