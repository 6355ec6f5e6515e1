//! Claims: `global/hamlet-claims`.

use std::collections::HashMap;

use couch::ClaimOutcome;

use super::Store;
use crate::domain::claim::Claim;

impl Store {
    /// Claims a host. Only one claimant wins.
    ///
    /// # Errors
    /// When the database fails; the claim may then be ours all the same.
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

    /// Reads who has a host.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_of(&self, host: &str) -> Result<Option<Claim>, couch::Error> {
        Ok(self.claims.get(host).await?.map(|document| document.body))
    }

    /// Claims a host for an instance that exists already, whoever did so before.
    ///
    /// # Errors
    /// When the database fails; the claim may then be made all the same.
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

    /// Reads who has which of some hosts, in one call. It may lag: claims decide.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claims_of(&self, hosts: &[&str]) -> Result<HashMap<String, Claim>, couch::Error> {
        let found = self.claims.get_many(hosts).await?;
        Ok(found
            .into_iter()
            .map(|(host, document)| (host, document.body))
            .collect())
    }

    /// Gives a host back if `is_ours` says so of its claim. Whether there was such a claim.
    ///
    /// # Errors
    /// When a claim of ours may still be there.
    pub async fn release(
        &self,
        host: &str,
        is_ours: impl Fn(&Claim) -> bool + Send + Sync,
    ) -> Result<bool, couch::Error> {
        self.claims.release(host, is_ours).await
    }
}
