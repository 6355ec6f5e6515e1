//! The headers by which services know the gateway, and the door, the instance and the client of a request.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, header::HOST};
use service_kit::{
    caller::{
        APP_HEADER, DOOR_HEADER, IDENTITY_HEADER, KEY_HEADER, TENANT_HEADER, UNPROVEN_HEADER,
        Unproven,
    },
    peer,
    secret::Keyring,
};
use tokio::time::Instant;

use super::{Forwarder, Whose};
use crate::identities::Identity;

impl Forwarder {
    /// Replaces the headers that services trust: those that the client sent are removed first.
    pub(super) fn rewrite(
        &self,
        headers: &mut HeaderMap,
        whose: Whose<'_>,
    ) -> Result<(), peer::Error> {
        remove_ours(headers);
        // The host is in `:authority` from here on.
        headers.remove(HOST);
        headers.insert(KEY_HEADER, self.key.now()?);
        headers.insert(DOOR_HEADER, self.door.clone());
        whose.last_lines.of(whose.client, whose.host).write(headers);
        whose.trace.inject(headers);
        if let Some(entry) = whose.entry {
            headers.insert(TENANT_HEADER, entry.header.clone());
            // The slug is part of a host, so it can stand in a header.
            if !entry.app_slug.is_empty()
                && let Ok(slug) = HeaderValue::from_str(&entry.app_slug)
            {
                headers.insert(APP_HEADER, slug);
            }
        }
        match whose.identity {
            Some(Identity::Known(identity)) => {
                headers.insert(IDENTITY_HEADER, identity.clone());
            }
            Some(Identity::Stranger(why)) if *why != Unproven::Missing => {
                headers.insert(UNPROVEN_HEADER, HeaderValue::from_static(why.as_str()));
            }
            Some(Identity::Stranger(_)) | None => {}
        }
        Ok(())
    }
}

/// Replaces what a server of others learns of the client. It gets nothing that services trust: not the cluster key above
/// all.
pub(super) fn rewrite_for_others(headers: &mut HeaderMap, whose: Whose<'_>) {
    remove_ours(headers);
    whose.last_lines.of(whose.client, whose.host).write(headers);
}

/// Removes what is said between the gateway and its services: a caller may neither say nor hear it.
pub(super) fn remove_ours(headers: &mut HeaderMap) {
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-hamlet-"))
        .cloned()
        .collect();
    for name in ours {
        headers.remove(name);
    }
}

/// The header with the cluster key, made anew now and then: the key may change.
pub(super) struct KeyHeader {
    key: Keyring,
    made: Mutex<(Instant, HeaderValue)>,
}

impl KeyHeader {
    /// Shorter than any time for which a previous key is accepted.
    const FRESH: Duration = Duration::from_millis(500);

    pub(super) fn new(key: &Keyring) -> Result<Self, peer::Error> {
        Ok(Self {
            made: Mutex::new((Instant::now(), Self::make(key)?)),
            key: key.clone(),
        })
    }

    fn make(key: &Keyring) -> Result<HeaderValue, peer::Error> {
        let mut header =
            HeaderValue::try_from(key.current().expose()).map_err(|_| peer::Error::Key)?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn now(&self) -> Result<HeaderValue, peer::Error> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.0.elapsed() >= Self::FRESH {
            *made = (Instant::now(), Self::make(&self.key)?);
        }
        Ok(made.1.clone())
    }
}
