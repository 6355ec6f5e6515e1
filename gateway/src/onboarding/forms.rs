//! The forms that are being read: how many there may be, of all clients and of one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::caller::CallerKey;

/// How many forms are read at once.
const ALL: usize = 256;

/// How many of one client.
const ONE: usize = 16;

/// The forms that are being read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forms(Arc<Mutex<HashMap<CallerKey, usize>>>);

/// A form; dropping this makes room for another one.
#[derive(Debug)]
pub(super) struct Form {
    forms: Forms,
    client: CallerKey,
}

impl Forms {
    /// Room for a form of `client`, if there is some.
    pub(super) fn begin(&self, client: CallerKey) -> Option<Form> {
        let mut clients = self.clients();
        let all: usize = clients.values().sum();
        let own = clients.get(&client).copied().unwrap_or_default();
        if all >= ALL || own >= ONE {
            return None;
        }
        clients.insert(client, own + 1);
        Some(Form {
            forms: self.clone(),
            client,
        })
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<CallerKey, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Form {
    fn drop(&mut self) {
        let mut clients = self.forms.clients();
        if let Some(own) = clients.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{ALL, Forms, ONE};
    use crate::caller::CallerKey;

    #[test]
    fn one_client_has_a_part_of_the_room() {
        let forms = Forms::default();
        let client = |last| CallerKey::of(Ipv4Addr::new(192, 0, 2, last).into());
        let mut held = Vec::new();
        for last in 0..100 {
            let own: Vec<_> = (0..100).map_while(|_| forms.begin(client(last))).collect();
            assert!(own.len() <= ONE);
            held.extend(own);
        }
        assert_eq!(held.len(), ALL);
        held.clear();
        assert!(forms.clients().is_empty());
        assert!(forms.begin(client(1)).is_some());
    }
}
