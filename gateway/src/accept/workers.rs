//! The threads that serve connections.
//!
//! Each has a runtime of its own, with connections of its own to the services. A call stays on one thread, so nothing is
//! woken across threads: that costs a third of a small call where tasks move between threads.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// The threads.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    stop: CancellationToken,
}

struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// Counts a connection at its thread until it is dropped.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// When the system has no room for them.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let mut started = Self {
            workers: Vec::with_capacity(count),
            stop: stop.clone(),
        };
        for number in 0..count.max(1) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let handle = runtime.handle().clone();
            let stop = stop.clone();
            let thread = std::thread::Builder::new()
                .name(format!("gateway-{number}"))
                .spawn(move || runtime.block_on(stop.cancelled()))?;
            started.workers.push(Worker {
                runtime: handle,
                connections: Arc::default(),
                thread: Some(thread),
            });
        }
        Ok(started)
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> usize {
        self.workers.len()
    }

    /// The thread with the fewest connections: its number and runtime. The connection is counted there.
    pub(super) fn pick(&self) -> Option<(usize, &Handle, Counted)> {
        let load = |worker: &Worker| worker.connections.load(Ordering::Relaxed);
        let (number, worker) = self
            .workers
            .iter()
            .enumerate()
            .min_by_key(|(_, worker)| load(worker))?;
        worker.connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(&worker.connections));
        Some((number, &worker.runtime, counted))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
        for worker in &mut self.workers {
            // A thread that panicked has said so.
            let _ = worker.thread.take().map(JoinHandle::join);
        }
    }
}
