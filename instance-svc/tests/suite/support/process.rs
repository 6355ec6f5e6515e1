//! Replicas that can be interrupted at any point, as by SIGSTOP and SIGKILL.

use std::{sync::mpsc, thread::JoinHandle, time::Duration};

use couch::CouchConfig;
use instance_svc::Settings;
use tokio_util::sync::CancellationToken;

use super::{Clients, World, config, given, listen};

/// A replica that runs entirely on its own thread: while the thread sleeps, none of its timers and calls make
/// progress.
pub(crate) struct Process {
    clients: Clients,
    stop: CancellationToken,
    kill: CancellationToken,
    runtime: tokio::runtime::Handle,
    thread: Option<JoinHandle<()>>,
}

impl std::ops::Deref for Process {
    type Target = Clients;

    fn deref(&self) -> &Clients {
        &self.clients
    }
}

impl World {
    /// Starts a replica whose calls to the database have the timeout `call`.
    pub(crate) async fn process(&self, settings: Settings, call: Duration) -> Process {
        let couch = CouchConfig {
            call_timeout: call,
            race_timeout: call,
            ..CouchConfig::new(self.next_node())
        };
        let peers = self.neighbours.address();
        let (listener, address) = listen().await;
        let listener = listener.into_std().unwrap();
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let (stopped, killed) = (stop.clone(), kill.clone());
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            tell.send(runtime.handle().clone()).unwrap();
            runtime.block_on(async move {
                let serve = async {
                    // At the start, the database may be unavailable for as long as the test decides.
                    loop {
                        let given = given(peers, &couch, settings.clone());
                        let listener = listener.try_clone().unwrap();
                        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                        let served =
                            instance_svc::serve(config(), given, listener, stopped.clone());
                        if served.await.is_ok() {
                            return;
                        }
                    }
                };
                tokio::select! {
                    () = serve => {}
                    () = killed.cancelled() => {}
                }
            });
            // Ends everything that the replica was doing, at once.
            runtime.shutdown_background();
        });
        let runtime = tokio::task::spawn_blocking(move || told.recv().unwrap())
            .await
            .unwrap();
        Process {
            clients: Clients::of(address),
            stop,
            kill,
            runtime,
            thread: Some(thread),
        }
    }
}

impl Process {
    /// Pauses it at any point for some time, as by SIGSTOP and SIGCONT.
    pub(crate) fn freeze(&self, time: Duration) {
        self.runtime.spawn(async move { std::thread::sleep(time) });
    }

    /// Kills it at any point, as by SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.kill.cancel();
        self.join().await;
    }

    /// Stops it gracefully, as a deployment does.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.join().await;
    }

    async fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            tokio::task::spawn_blocking(move || thread.join().unwrap())
                .await
                .unwrap();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}
