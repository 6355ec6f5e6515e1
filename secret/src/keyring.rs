//! A credential that can be changed without a restart.
//!
//! The credential is stored in a file. The first line is the current value, which the owner presents to
//! others. Further lines are accepted too. The file is read every two seconds, and immediately when an unknown
//! value is presented. After a change of the first line, the previous value is accepted for the *overlap*.
//!
//! There are two ways to change a credential. If all processes read the same file, replace it atomically by
//! renaming a new file. If each machine has its own file, first add the new value as the second line on each
//! machine, then make it the first line on each machine, then remove the old line.
//!
//! A file that is empty, unreadable or invalid changes nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use subtle::ConstantTimeEq as _;

use crate::Secret;

/// The interval between two reads of a file.
const READ_INTERVAL: Duration = Duration::from_secs(2);
/// The longest credential, in bytes. A longer line is probably a wrong file.
const MAX_LENGTH: usize = 4096;

/// Which characters a credential may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Any text without a line break.
    Line,
    /// Printable ASCII characters, which are valid in an HTTP header.
    Header,
}

impl Rule {
    fn check(self, text: &str) -> io::Result<()> {
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
        if text.len() > MAX_LENGTH {
            return wrong("it is longer than 4096 bytes, so it is no credential");
        }
        let header = || text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if self == Self::Header && !header() {
            return wrong("it may hold printable ASCII characters only");
        }
        Ok(())
    }
}

/// The current value of a credential and the other accepted values. Clones share them.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    file: Option<Source>,
    values: Mutex<Values>,
}

struct Source {
    path: PathBuf,
    rule: Rule,
    overlap: Duration,
}

struct Values {
    /// The lines of the file, the current value first. Never empty.
    listed: Vec<Secret>,
    /// Previous values, each with the end of its overlap.
    previous: Vec<(Secret, Instant)>,
    /// The error of the last read, so that it is logged only once.
    last_error: Option<String>,
}

impl Keyring {
    /// A keyring with one value that never changes.
    #[must_use]
    pub fn fixed(secret: Secret) -> Self {
        Self(Arc::new(Inner {
            file: None,
            values: Mutex::new(Values::new(vec![secret])),
        }))
    }

    /// A keyring that follows the file `path` until the last clone is dropped. After a change, the previous
    /// value is accepted for `overlap`.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the file is empty or violates `rule`.
    pub fn open(path: &Path, overlap: Duration, rule: Rule) -> io::Result<Self> {
        let source = Source {
            path: path.to_owned(),
            rule,
            overlap,
        };
        let inner = Arc::new(Inner {
            values: Mutex::new(Values::new(source.read()?)),
            file: Some(source),
        });
        let watched = Arc::downgrade(&inner);
        // With a thread, a keyring needs no async runtime, and a slow file system blocks nobody.
        thread::Builder::new()
            .name("credentials".to_owned())
            .spawn(move || watch(&watched))?;
        Ok(Self(inner))
    }

    /// The current value.
    #[must_use]
    pub fn current(&self) -> Secret {
        let values = self.0.values();
        #[expect(
            clippy::expect_used,
            reason = "a keyring is created with at least one value"
        )]
        values
            .listed
            .first()
            .expect("a keyring is never empty")
            .clone()
    }

    /// All values that are accepted now, the current one first.
    #[must_use]
    pub fn all(&self) -> Vec<Secret> {
        let mut values = self.0.values();
        values.remove_expired(Instant::now());
        let mut all = values.listed.clone();
        all.extend(values.previous.iter().map(|(secret, _)| secret.clone()));
        all
    }

    /// Whether `text` is an accepted value. The time does not depend on which one it is.
    #[must_use]
    pub fn accepts(&self, text: &str) -> bool {
        // A peer may have read the new file earlier than this process.
        self.fits(text) || (self.0.refresh(Instant::now()) && self.fits(text))
    }

    fn fits(&self, text: &str) -> bool {
        self.all()
            .iter()
            .fold(subtle::Choice::from(0), |fits, secret| {
                fits | secret.expose().as_bytes().ct_eq(text.as_bytes())
            })
            .into()
    }

    /// Reads the file now. Returns whether the values changed.
    pub fn refresh(&self) -> bool {
        self.0.refresh(Instant::now())
    }
}

impl From<Secret> for Keyring {
    fn from(secret: Secret) -> Self {
        Self::fixed(secret)
    }
}

impl From<&Secret> for Keyring {
    fn from(secret: &Secret) -> Self {
        Self::fixed(secret.clone())
    }
}

impl From<&Self> for Keyring {
    fn from(keyring: &Self) -> Self {
        keyring.clone()
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.0.file.as_ref().map(|file| &file.path);
        f.debug_struct("Keyring")
            .field("path", &path)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn values(&self) -> MutexGuard<'_, Values> {
        // The values stay consistent even if a thread panics: they are replaced in one assignment.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh(&self, now: Instant) -> bool {
        let Some(file) = &self.file else {
            return false;
        };
        let read = file.read();
        let mut values = self.values();
        match read {
            Ok(listed) => {
                if values.last_error.take().is_some() {
                    tracing::info!(path = %file.path.display(), "the credential can be read again");
                }
                let changed = values.replace(listed, now + file.overlap);
                if changed {
                    tracing::info!(path = %file.path.display(), "the credential has changed; the previous one is accepted during the overlap");
                }
                changed
            }
            Err(error) => {
                let last_error = error.to_string();
                if values.last_error.as_ref() != Some(&last_error) {
                    tracing::warn!(path = %file.path.display(), error = last_error, "the credential cannot be read; the previous one stays in use");
                    values.last_error = Some(last_error);
                }
                false
            }
        }
    }
}

impl Values {
    const fn new(listed: Vec<Secret>) -> Self {
        Self {
            listed,
            previous: Vec::new(),
            last_error: None,
        }
    }

    fn replace(&mut self, listed: Vec<Secret>, until: Instant) -> bool {
        if same(&self.listed, &listed) {
            return false;
        }
        if let Some(used) = self.listed.first().cloned() {
            self.previous.retain(|(secret, _)| !equal(secret, &used));
            self.previous.push((used, until));
        }
        self.previous
            .retain(|(secret, _)| !listed.iter().any(|other| equal(other, secret)));
        self.listed = listed;
        true
    }

    fn remove_expired(&mut self, now: Instant) {
        self.previous.retain(|(_, until)| now < *until);
    }
}

impl Source {
    fn read(&self) -> io::Result<Vec<Secret>> {
        let text = fs::read_to_string(&self.path)?;
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        if lines.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file is empty",
            ));
        }
        lines.iter().try_for_each(|line| self.rule.check(line))?;
        Ok(lines.into_iter().map(Secret::new).collect())
    }
}

fn watch(watched: &Weak<Inner>) {
    loop {
        thread::sleep(READ_INTERVAL);
        let Some(inner) = watched.upgrade() else {
            return;
        };
        inner.refresh(Instant::now());
    }
}

fn equal(one: &Secret, other: &Secret) -> bool {
    one.matches(other.expose())
}

fn same(one: &[Secret], other: &[Secret]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::{
        fs,
        path::PathBuf,
        time::{Duration, Instant},
    };

    use super::{Keyring, Rule, Values};
    use crate::Secret;

    struct File(tempfile::TempDir);

    impl File {
        fn with(text: &str) -> Self {
            let file = Self(tempfile::tempdir().unwrap());
            file.write(text);
            file
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("key")
        }

        fn write(&self, text: &str) {
            let unfinished = self.0.path().join("unfinished");
            fs::write(&unfinished, text).unwrap();
            fs::rename(unfinished, self.path()).unwrap();
        }

        fn open(&self, overlap: Duration) -> Keyring {
            Keyring::open(&self.path(), overlap, Rule::Header).unwrap()
        }
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_new_value_is_accepted_at_once_and_the_old_one_during_the_overlap() {
        let file = File::with("one\n");
        let keyring = file.open(LONG);
        assert!(keyring.accepts("one") && !keyring.accepts("two"));
        file.write("two\n");
        assert!(keyring.accepts("two"), "the file is read before refusing");
        assert!(keyring.accepts("one"));
        assert_eq!(keyring.current().expose(), "two");
        let all: Vec<_> = keyring
            .all()
            .iter()
            .map(|it| it.expose().to_owned())
            .collect();
        assert_eq!(all, ["two", "one"]);
    }

    #[test]
    fn without_overlap_the_old_value_is_refused_at_once() {
        let file = File::with("one");
        let keyring = file.open(Duration::ZERO);
        file.write("two");
        assert!(keyring.refresh());
        assert!(!keyring.accepts("one"));
    }

    #[test]
    fn the_old_value_expires_after_the_overlap() {
        let now = Instant::now();
        let mut values = Values::new(vec![Secret::new("one")]);
        values.replace(vec![Secret::new("two")], now + LONG);
        values.remove_expired(now + LONG / 2);
        assert_eq!(values.previous.len(), 1);
        values.remove_expired(now + LONG);
        assert!(values.previous.is_empty());
    }

    #[test]
    fn further_lines_are_accepted_but_are_not_the_current_value() {
        let file = File::with("one\n\n  two \n");
        let keyring = file.open(Duration::ZERO);
        assert_eq!(keyring.current().expose(), "one");
        assert!(keyring.accepts("two"));
        file.write("two\none\n");
        assert!(keyring.refresh());
        assert_eq!(keyring.current().expose(), "two");
        file.write("two\n");
        assert!(keyring.refresh());
        assert!(!keyring.accepts("one"));
    }

    #[test]
    fn an_invalid_file_changes_nothing() {
        let file = File::with("one");
        let keyring = file.open(LONG);
        for bad in ["", " \n\t", "naïve"] {
            file.write(bad);
            assert!(!keyring.refresh(), "{bad:?}");
            assert_eq!(keyring.current().expose(), "one");
        }
        fs::remove_file(file.path()).unwrap();
        assert!(!keyring.refresh());
        assert!(keyring.accepts("one"));
        assert!(!keyring.accepts(""));
    }

    #[test]
    fn an_invalid_file_cannot_be_opened() {
        for (bad, why) in [("", "empty"), ("naïve", "printable ASCII")] {
            let file = File::with(bad);
            let error = Keyring::open(&file.path(), LONG, Rule::Header).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn the_file_is_read_periodically() {
        let file = File::with("one");
        let keyring = file.open(LONG);
        file.write("two");
        let end = Instant::now() + Duration::from_secs(60);
        while keyring.current().expose() != "two" {
            assert!(Instant::now() < end, "never read again");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn debug_hides_the_values() {
        let keyring = Keyring::fixed(Secret::new("swordfish"));
        assert!(!format!("{keyring:?}").contains("swordfish"));
    }
}
