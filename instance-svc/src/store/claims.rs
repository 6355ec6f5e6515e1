//! Claims: `global/hamlet-claims`.

use std::collections::HashMap;

use couch::ClaimOutcome;

use super::Store;
use crate::domain::claim::Claim;

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

    /// Reads the claims of several hosts in one call. The result may lag; only [`Self::claim`] decides.
    pub async fn claims_of(&self, hosts: &[&str]) -> Result<HashMap<String, Claim>, couch::Error> {
        let found = self.claims.get_many(hosts).await?;
        Ok(found
            .into_iter()
            .map(|(host, document)| (host, document.body))
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
