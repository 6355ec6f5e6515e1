//! The servers of an installation: the global one, and the list of those that tenants lie on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::config::CouchConfig;
use crate::error::{Error, Result};
use crate::pause::entropy;
use crate::server::Couch;

/// One server of the list, before it is connected.
#[derive(Debug, Clone)]
pub struct Member {
    /// How to reach it.
    pub config: CouchConfig,
    /// Whether it takes new tenants.
    pub open: bool,
}

/// The servers of an installation. Each may be a cluster behind one address.
///
/// The global one holds what belongs to the installation. A tenant's databases lie on one server of
/// the list, and the tenant keeps its *position* there: the list may only grow at its end. Without a
/// list, the list is the one global server. Clones share connections.
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
    /// The servers of a global one and a list. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting cannot be used, within [`Error::Cluster`] when it is one of
    /// the list.
    pub fn connect(global: &CouchConfig, list: impl IntoIterator<Item = Member>) -> Result<Self> {
        Self::with_global(Couch::connect(global)?, list)
    }

    /// As [`Clusters::connect`], with a global server that is connected already.
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

    /// The server that holds what belongs to the installation.
    #[must_use]
    pub const fn global(&self) -> &Couch {
        &self.global
    }

    /// The server at a position of the list.
    ///
    /// # Errors
    /// [`Error::NoSuchCluster`] when the list has none there: whatever lies there must not be looked
    /// for, or made, elsewhere.
    pub fn at(&self, position: i64) -> Result<&Couch> {
        usize::try_from(position)
            .ok()
            .and_then(|place| self.list.get(place))
            .map(|server| &server.couch)
            .ok_or(Error::NoSuchCluster {
                position,
                listed: self.list.len(),
            })
    }

    /// All servers of the list, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Couch> {
        self.list.iter().map(|server| &server.couch)
    }

    /// How many servers the list has; at least one.
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

    /// Draws one of the servers that take new tenants, each as likely as the others. `None` when none
    /// does.
    #[must_use]
    pub fn draw(&self) -> Option<usize> {
        let open = self.open();
        // 64 random bits against a short list: no position is favoured by what can be noticed.
        let drawn = entropy().checked_rem(open.len() as u64)?;
        open.get(usize::try_from(drawn).ok()?).copied()
    }

    /// Waits until the global server is up, for at most `patience`, then asks those of the list once.
    ///
    /// One of the list that is away keeps nobody from the tenants of the others: it is logged.
    ///
    /// # Errors
    /// As [`Couch::wait_until_up`] for the global server; [`Error::Cluster`] when waiting for one of
    /// the list cannot help, as when it refuses the credentials.
    pub async fn wait_until_up(&self, patience: Duration) -> Result<()> {
        self.global.wait_until_up(patience).await?;
        let answers = join_all(self.iter().map(Couch::up)).await;
        for (position, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(()) => {}
                Err(error) if error.is_retryable() => {
                    tracing::warn!(position, %error, "a couch cluster is away");
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
        let members = open.iter().enumerate().map(|(place, &open)| Member {
            config: CouchConfig::new(format!("http://member-{place}:5984")),
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
    fn a_position_outside_of_the_list_is_never_the_global_server() {
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
    fn those_that_are_open_are_drawn_alike_and_no_others() {
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
    fn where_none_is_open_none_is_drawn() {
        assert_eq!(clusters(&[false, false]).draw(), None);
    }

    #[test]
    fn a_member_that_cannot_be_used_is_named_by_its_position() {
        let members = ["http://fine:5984", "ftp://wrong"].map(|url| Member {
            config: CouchConfig::new(url),
            open: true,
        });
        let error = Clusters::connect(&CouchConfig::new("http://global:5984"), members);
        assert!(matches!(error, Err(Error::Cluster { position: 1, .. })));
    }
}
