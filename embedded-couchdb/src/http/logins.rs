//! Passwords of users: their hashes, and what strangers may cost.
//!
//! A hash of PBKDF2 takes a good part of a second on purpose. So one is computed at a time, few wait, a password that was
//! right is remembered for a minute, and who is wrong too often is locked out, as in CouchDB.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hmac::{Hmac, Mac as _};
use http::StatusCode;
use ring::pbkdf2;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use super::{auth::wrong_credentials, users::User};
use crate::api_error::ApiError;

/// What CouchDB hashes new passwords with: PBKDF2 with SHA-256 and these iterations.
pub(crate) const ITERATIONS: u32 = 600_000;

/// More iterations would let one user's document occupy a core for minutes. CouchDB takes a hundred times as many.
pub(crate) const MAX_ITERATIONS: u32 = 10_000_000;

/// How long a password that was right is remembered.
const REMEMBERED: Duration = Duration::from_mins(1);

/// The most passwords that are remembered.
const MOST_REMEMBERED: usize = 10_000;

/// The most hashes that wait for the one that is computed.
const MOST_WAITING: usize = 32;

/// After so many failures of one address with one user, its tries are refused unseen…
const FAILURES: u32 = 5;

/// … for this time.
const LOCKED: Duration = Duration::from_mins(5);

/// The most pairs of address and password whose failures are counted.
const MOST_COUNTED: usize = 10_000;

/// The function below PBKDF2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prf {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Prf {
    /// The name of CouchDB.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "sha" => Some(Self::Sha1),
            "sha256" => Some(Self::Sha256),
            "sha384" => Some(Self::Sha384),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }

    fn algorithm(self) -> (pbkdf2::Algorithm, usize) {
        match self {
            Self::Sha1 => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
            Self::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
            Self::Sha384 => (pbkdf2::PBKDF2_HMAC_SHA384, 48),
            Self::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
        }
    }
}

/// A stored hash of a password, in lower-case hexadecimal digits.
#[derive(Clone, Debug)]
pub(crate) enum Hash {
    Pbkdf2 {
        prf: Prf,
        iterations: NonZeroU32,
        key: String,
    },
    /// SHA-1 of password and salt, which old versions of CouchDB wrote.
    Simple(String),
    /// One that cannot be computed here, and why.
    Unusable(&'static str),
}

/// PBKDF2 over the text of the salt, in hexadecimal digits.
pub(crate) fn derive(prf: Prf, iterations: NonZeroU32, salt: &str, password: &str) -> String {
    let (algorithm, length) = prf.algorithm();
    let mut key = vec![0; length];
    pbkdf2::derive(
        algorithm,
        iterations,
        salt.as_bytes(),
        password.as_bytes(),
        &mut key,
    );
    hex::encode(key)
}

impl Hash {
    fn accepts(&self, salt: &str, password: &str) -> bool {
        let (computed, stored) = match self {
            Self::Pbkdf2 {
                prf,
                iterations,
                key,
            } => (derive(*prf, *iterations, salt, password), key),
            Self::Simple(stored) => {
                let mut sha = Sha1::new();
                sha.update(password.as_bytes());
                sha.update(salt.as_bytes());
                (hex::encode(sha.finalize()), stored)
            }
            Self::Unusable(_) => return false,
        };
        computed.as_bytes().ct_eq(stored.as_bytes()).into()
    }
}

struct Failures {
    count: u32,
    since: Instant,
}

/// What is known of passwords that were tried.
pub(crate) struct Logins {
    /// The key of [`Logins::mark`], of this process only.
    key: [u8; 32],
    right: Mutex<HashMap<[u8; 32], Instant>>,
    /// By address, and by salt and name: a new password is not locked.
    wrong: Mutex<HashMap<(IpAddr, String), Failures>>,
    /// One hash at a time.
    turn: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Logins {
    pub(crate) fn new() -> Self {
        let mut key = [0; 32];
        // Without random bytes, the marks can be computed by who can read the memory, and who can needs none.
        let _ = getrandom::fill(&mut key);
        Self {
            key,
            right: Mutex::default(),
            wrong: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
        }
    }

    /// Checks the password of a user; `None` if there is no such user.
    pub(crate) async fn check(
        &self,
        peer: IpAddr,
        name: &str,
        password: &str,
        user: Option<User>,
    ) -> Result<User, ApiError> {
        let mark = user.as_ref().map(|user| self.mark(user, name, password));
        if let (Some(user), Some(mark)) = (&user, mark)
            && self.is_remembered(mark)
        {
            return Ok(user.clone());
        }
        // To guess for a user who is not there costs nothing, and finds nothing.
        let user = user.ok_or_else(wrong_credentials)?;
        let hash = user.hash.clone().ok_or_else(wrong_credentials)?;
        if let Hash::Unusable(why) = hash {
            return Err(ApiError::forbidden(why));
        }
        let counted = (peer, format!("{} {name}", user.salt));
        self.refuse_locked(&counted)?;
        let (salt, password) = (user.salt.clone(), password.to_owned());
        let is_right = self.compute(move || hash.accepts(&salt, &password)).await?;
        if !is_right {
            self.count(counted);
            return Err(wrong_credentials());
        }
        if let Some(mark) = mark {
            self.remember(mark);
        }
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.remove(&counted);
        Ok(user)
    }

    /// Runs a computation that takes a good part of a second, alone.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let busy = || {
            ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                "too many passwords are being checked; try again in a moment",
            )
        };
        let _waiting = Arc::clone(&self.waiting)
            .try_acquire_owned()
            .map_err(|_| busy())?;
        let turn = Arc::clone(&self.turn)
            .acquire_owned()
            .await
            .map_err(|_| busy())?;
        // The turn ends with the computation, also when nobody waits for it any more.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        done.await
            .map_err(|_| ApiError::internal("a password could not be checked"))
    }

    /// Stands for a password that is right. Nobody can find the password from it without the key.
    fn mark(&self, user: &User, name: &str, password: &str) -> [u8; 32] {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            // HMAC accepts a key of any length.
            return [0; 32];
        };
        let hash = format!("{:?}", user.hash);
        for part in [name, &user.salt, &hash, password] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    fn is_remembered(&self, mark: [u8; 32]) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right
            .get(&mark)
            .is_some_and(|since| since.elapsed() < REMEMBERED)
    }

    fn remember(&self, mark: [u8; 32]) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= MOST_REMEMBERED {
            right.retain(|_, since| since.elapsed() < REMEMBERED);
            if right.len() >= MOST_REMEMBERED {
                right.clear();
            }
        }
        right.insert(mark, Instant::now());
    }

    fn refuse_locked(&self, counted: &(IpAddr, String)) -> Result<(), ApiError> {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        match wrong.get(counted) {
            Some(failures) if failures.count >= FAILURES && failures.since.elapsed() < LOCKED => {
                Err(ApiError::new(
                    StatusCode::FORBIDDEN,
                    "forbidden",
                    "Account is temporarily locked due to multiple authentication failures",
                ))
            }
            _ => Ok(()),
        }
    }

    fn count(&self, counted: (IpAddr, String)) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= MOST_COUNTED {
            wrong.retain(|_, failures| failures.since.elapsed() < LOCKED);
            if wrong.len() >= MOST_COUNTED {
                wrong.clear();
            }
        }
        let failures = wrong.entry(counted).or_insert(Failures {
            count: 0,
            since: Instant::now(),
        });
        if failures.since.elapsed() >= LOCKED {
            failures.count = 0;
        }
        failures.count += 1;
        failures.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::{Hash, Prf, derive};

    #[test]
    fn hashes_equal_those_of_couchdb() {
        let hash = Hash::Pbkdf2 {
            prf: Prf::Sha256,
            iterations: NonZeroU32::new(600_000).unwrap_or(NonZeroU32::MIN),
            key: "55cae0fd133bda0b91600f7a094862a72cb5d25555af2ba52b11e1a624c9185a".to_owned(),
        };
        assert!(hash.accepts("ec3be5742b4d981377cdeac27eb38859", "pw"));
        assert!(!hash.accepts("ec3be5742b4d981377cdeac27eb38859", "px"));
    }

    #[test]
    fn pbkdf2_with_sha_1_is_that_of_rfc_6070() {
        let two = NonZeroU32::new(2).unwrap_or(NonZeroU32::MIN);
        assert_eq!(
            derive(Prf::Sha1, two, "salt", "password"),
            "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"
        );
    }
}
