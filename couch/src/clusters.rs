//! The servers of an installation: the global server and the list of servers for tenants.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::config::CouchConfig;
use crate::error::{Error, Result};
use crate::random::entropy;
use crate::server::Couch;

/// The settings of a server of the list.
#[derive(Debug, Clone)]
pub struct Member {
    /// How to reach it.
    pub config: CouchConfig,
    /// Whether the server takes new tenants.
    pub open: bool,
}

/// The servers of an installation. Each may be a cluster behind one address.
///
/// The global server has the databases of the installation. A tenant's databases are on one server of the
/// list. The tenant stores the *position* of that server, so the list may only grow at its end. An empty
/// list stands for a list of the global server alone. Clones share connections.
#[derive(Clone)]
pub struct Clusters {
    global: Couch,
    list: Arc<[Server]>,
}

struct Server {
    couch: Couch,
    open: bool,
}

impl From<Couch> for Clusters {
    fn from(global: Couch) -> Self {
        let only = Server {
            couch: global.clone(),
            open: true,
        };
        Self {
            global,
            list: Arc::new([only]),
        }
    }
}

impl fmt::Debug for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open: Vec<bool> = self.list.iter().map(|server| server.open).collect();
        f.debug_struct("Clusters")
            .field("open", &open)
            .finish_non_exhaustive()
    }
}

impl Clusters {
    /// Creates clients for the global server and the list. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Config`] for an invalid setting; [`Error::Cluster`] contains it for a server of the list.
    pub fn connect(global: &CouchConfig, list: impl IntoIterator<Item = Member>) -> Result<Self> {
        Self::with_global(Couch::connect(global)?, list)
    }

    /// As [`Clusters::connect`], with a client for the global server.
    ///
    /// # Errors
    /// As [`Clusters::connect`].
    pub fn with_global(global: Couch, list: impl IntoIterator<Item = Member>) -> Result<Self> {
        let list = list
            .into_iter()
            .enumerate()
            .map(|(position, member)| {
                let couch = Couch::connect(&member.config).map_err(|source| Error::Cluster {
                    position,
                    source: Box::new(source),
                })?;
                Ok(Server {
                    couch,
                    open: member.open,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        if list.is_empty() {
            return Ok(global.into());
        }
        Ok(Self {
            global,
            list: list.into(),
        })
    }

    /// The server with the databases of the installation.
    #[must_use]
    pub const fn global(&self) -> &Couch {
        &self.global
    }

    /// The server at `position` in the list.
    ///
    /// # Errors
    /// [`Error::NoSuchCluster`] if the list is shorter. The caller must not use another server instead: it
    /// would create a second copy of the tenant's databases there.
    pub fn at(&self, position: i64) -> Result<&Couch> {
        usize::try_from(position)
            .ok()
            .and_then(|index| self.list.get(index))
            .map(|server| &server.couch)
            .ok_or(Error::NoSuchCluster {
                position,
                listed: self.list.len(),
            })
    }

    /// The servers of the list, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Couch> {
        self.list.iter().map(|server| &server.couch)
    }

    /// The length of the list, at least 1.
    #[must_use]
    pub fn listed(&self) -> usize {
        self.list.len()
    }

    /// The positions of the servers that take new tenants, in order.
    #[must_use]
    pub fn open(&self) -> Vec<usize> {
        self.list
            .iter()
            .enumerate()
            .filter(|(_, server)| server.open)
            .map(|(position, _)| position)
            .collect()
    }

    /// The position of a random server that takes new tenants, each with the same probability. `None` if no
    /// server does.
    #[must_use]
    pub fn draw(&self) -> Option<usize> {
        let open = self.open();
        // The bias of the remainder is negligible: the list is short compared with 2^64.
        let drawn = entropy().checked_rem(open.len() as u64)?;
        open.get(usize::try_from(drawn).ok()?).copied()
    }

    /// Waits for the global server for at most `patience`, then asks each server of the list once.
    ///
    /// A server of the list that is unreachable is only logged: the tenants on the other servers do not
    /// depend on it.
    ///
    /// # Errors
    /// As [`Couch::wait_until_up`] for the global server. [`Error::Cluster`] if a server of the list fails
    /// with an error that is not retryable, for example if it refuses the credentials.
    pub async fn wait_until_up(&self, patience: Duration) -> Result<()> {
        self.global.wait_until_up(patience).await?;
        let results = join_all(self.iter().map(Couch::up)).await;
        for (position, result) in results.into_iter().enumerate() {
            match result {
                Ok(()) => {}
                Err(error) if error.is_retryable() => {
                    tracing::warn!(position, %error, "a couch cluster is unreachable");
                }
                Err(source) => {
                    return Err(Error::Cluster {
                        position,
                        source: Box::new(source),
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use std::ptr;

    use super::{Clusters, Member};
    use crate::{Couch, CouchConfig, Error};

    fn clusters(open: &[bool]) -> Clusters {
        let members = open.iter().enumerate().map(|(position, &open)| Member {
            config: CouchConfig::new(format!("http://member-{position}:5984")),
            open,
        });
        Clusters::connect(&CouchConfig::new("http://global:5984"), members).unwrap()
    }

    #[test]
    fn without_a_list_the_global_server_is_the_list() {
        let couch = Couch::connect(&CouchConfig::new("http://global:5984")).unwrap();
        for clusters in [clusters(&[]), couch.into()] {
            assert!(ptr::eq(
                &raw const *clusters.at(0).unwrap().transport,
                &raw const *clusters.global().transport
            ));
            assert_eq!(clusters.draw(), Some(0));
        }
    }

    #[test]
    fn a_position_beyond_the_list_is_an_error_and_not_the_global_server() {
        for position in [-1, 2, i64::MAX] {
            let error = clusters(&[true, true]).at(position).unwrap_err();
            let Error::NoSuchCluster {
                position: named,
                listed: 2,
            } = error
            else {
                unreachable!("{error}");
            };
            assert_eq!(named, position);
        }
    }

    #[test]
    fn open_servers_are_drawn_with_equal_probability() {
        let clusters = clusters(&[true, false, true, true]);
        let mut drawn = [0_u32; 4];
        for _ in 0..9_000 {
            drawn[clusters.draw().unwrap()] += 1;
        }
        assert_eq!(drawn[1], 0);
        // A fair draw misses this by more than 11 standard deviations less than once in 10^27 runs.
        for position in [0, 2, 3] {
            assert!((2_500..3_500).contains(&drawn[position]), "{drawn:?}");
        }
    }

    #[test]
    fn without_an_open_server_nothing_is_drawn() {
        assert_eq!(clusters(&[false, false]).draw(), None);
    }

    #[test]
    fn an_invalid_member_is_reported_with_its_position() {
        let members = ["http://fine:5984", "ftp://wrong"].map(|url| Member {
            config: CouchConfig::new(url),
            open: true,
        });
        let error = Clusters::connect(&CouchConfig::new("http://global:5984"), members);
        assert!(matches!(error, Err(Error::Cluster { position: 1, .. })));
    }
}
