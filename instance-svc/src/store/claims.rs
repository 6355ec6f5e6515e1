//! Claims: `global/hamlet-claims`.

use std::collections::HashMap;

use couch::{ClaimOutcome, Document};

use super::{Store, feed::readable};
use crate::{domain::claim::Claim, error::Error};

impl Store {
    /// Claims a host. Of several claimants exactly one wins.
    ///
    /// # Errors
    /// When the database fails; the claim may have been won all the same.
    pub async fn claim(
        &self,
        host: &str,
        claim: &Claim,
    ) -> Result<ClaimOutcome<Claim>, couch::Error> {
        self.claims
            .claim(host, claim, |found: &Claim| {
                found.operation == claim.operation && found.instance == claim.instance
            })
            .await
    }

    /// Reads the claim of a host.
    pub async fn claim_of(&self, host: &str) -> Result<Option<Claim>, couch::Error> {
        Ok(self.claims.get(host).await?.map(|document| document.body))
    }

    /// All claims of a host that are alive. There are several while writers race, or when a node of the database has
    /// brought one back.
    pub async fn live_claims(&self, host: &str) -> Result<Vec<Claim>, Error> {
        let leaves = self.claims.leaves(host).await?;
        let alive = leaves.into_iter().filter(|leaf| !leaf.deleted);
        alive
            .map(|leaf| Ok(serde_json::from_value(leaf.body)?))
            .collect()
    }

    /// Releases a claim that a node of the database has brought back.
    ///
    /// # Errors
    /// When the database fails; the claim may still exist.
    pub async fn release_returned(&self, host: &str, claim: &Claim) -> Result<(), couch::Error> {
        if self.release(host, |found| found == claim).await? {
            self.claims.report_returned(host);
        }
        Ok(())
    }

    /// Claims a host for an instance that holds it already, whichever operation claimed it before.
    ///
    /// # Errors
    /// When the database fails; the claim may have been written all the same.
    pub async fn claim_for_instance(
        &self,
        host: &str,
        claim: &Claim,
    ) -> Result<ClaimOutcome<Claim>, couch::Error> {
        self.claims
            .claim(host, claim, |found: &Claim| {
                found.instance == claim.instance
            })
            .await
    }

    /// Reads the claims of several hosts in one call; one that cannot be read is left out. The result may lag; only
    /// [`Self::claim`] decides.
    pub async fn claims_of(&self, hosts: &[&str]) -> Result<HashMap<String, Claim>, couch::Error> {
        let found = self.claims.get_many(hosts).await?;
        Ok(readable(found)
            .map(|claim: Document<Claim>| (claim.id, claim.body))
            .collect())
    }

    /// Releases a host if `is_ours` accepts its claim. Returns whether there was such a claim.
    ///
    /// # Errors
    /// When the database fails; the claim may still exist.
    pub async fn release(
        &self,
        host: &str,
        is_ours: impl Fn(&Claim) -> bool + Send + Sync,
    ) -> Result<bool, couch::Error> {
        self.claims.release(host, is_ours).await
    }
}
