//! Whether a server of a backend is asked at all. Nothing here waits or sends.

/// How many failures in a row open a circuit.
const FAILURES: u32 = 3;

/// The circuit of one server. While it is open, no request goes there; a check that succeeds closes it.
///
/// Only what shows that the server cannot be reached counts as a failure. A connection that breaks off does not: a caller
/// may have sent what makes a server do that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Circuit {
    failures: u32,
    is_open: bool,
}

/// What has become of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// It has opened.
    Open,
    /// It has closed.
    Closed,
}

impl Circuit {
    /// Whether no request goes to the server.
    pub(super) const fn is_open(self) -> bool {
        self.is_open
    }

    /// Notes that the server could not be reached.
    pub(super) const fn failed(&mut self) -> Option<Turned> {
        self.failures = self.failures.saturating_add(1);
        if self.is_open || self.failures < FAILURES {
            return None;
        }
        self.is_open = true;
        Some(Turned::Open)
    }

    /// Notes that a request was answered. One that began before the circuit opened closes nothing.
    pub(super) const fn worked(&mut self) {
        if !self.is_open {
            self.failures = 0;
        }
    }

    /// Notes that a check has found the server well.
    pub(super) const fn is_well(&mut self) -> Option<Turned> {
        self.failures = 0;
        if !self.is_open {
            return None;
        }
        self.is_open = false;
        Some(Turned::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Circuit, Turned};

    #[test]
    fn three_failures_in_a_row_open_it_and_a_check_closes_it() {
        let mut circuit = Circuit::default();
        for _ in 0..10 {
            assert_eq!([circuit.failed(), circuit.failed()], [None, None]);
            circuit.worked();
        }
        assert_eq!([circuit.failed(), circuit.failed()], [None, None]);
        assert_eq!(circuit.failed(), Some(Turned::Open));
        assert_eq!(circuit.failed(), None);
        circuit.worked();
        assert!(circuit.is_open());
        assert_eq!(circuit.is_well(), Some(Turned::Closed));
        assert_eq!(circuit.is_well(), None);
        assert!(!circuit.is_open());
    }
}
