//! A credential that can be changed without a restart.
//!
//! It lies in a file. The first line is the credential that is used; further lines are accepted beside
//! it. The file is read every two seconds, and at once when somebody shows a credential that is not
//! known. When the first line has changed, the new one is used from then on, and the one before is
//! accepted for the *overlap*.
//!
//! So there are two ways to change one. Where everybody reads the same file, it is replaced, best by
//! renaming a new one over it. Where each machine has its own, the new credential is first added as a
//! second line everywhere, then made the first line everywhere, and then the old line is removed.
//!
//! A file that is empty, cannot be read or holds what cannot be used changes nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use subtle::ConstantTimeEq as _;

use crate::Secret;

/// How often a file is read.
const EVERY: Duration = Duration::from_secs(2);
/// A credential is short; what is longer was not meant to be one.
const LONGEST: usize = 4096;

/// What a credential may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Any text of one line.
    Line,
    /// What can stand in a header of HTTP: printable ASCII characters.
    Header,
}

impl Rule {
    fn check(self, text: &str) -> io::Result<()> {
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
        if text.len() > LONGEST {
            return wrong("it is longer than 4096 bytes, so it is no credential");
        }
        let header = || text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if self == Self::Header && !header() {
            return wrong("it may hold printable ASCII characters only");
        }
        Ok(())
    }
}

/// The credential in use, and those that are accepted beside it. Clones are the same keyring.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    file: Option<Source>,
    held: Mutex<Held>,
}

struct Source {
    path: PathBuf,
    rule: Rule,
    overlap: Duration,
}

struct Held {
    /// As the file has them, the one in use first; never empty.
    listed: Vec<Secret>,
    /// Those that were in use before, until their time is over.
    before: Vec<(Secret, Instant)>,
    /// What was wrong with the file when it was last read, so that it is told once.
    trouble: Option<String>,
}

impl Keyring {
    /// A keyring with one credential that never changes.
    #[must_use]
    pub fn fixed(secret: Secret) -> Self {
        Self(Arc::new(Inner {
            file: None,
            held: Mutex::new(Held::new(vec![secret])),
        }))
    }

    /// The keyring of a file, which is read again and again until the last clone is dropped. What was in
    /// use is accepted for `overlap` longer.
    ///
    /// # Errors
    /// When the file cannot be read, holds nothing, or holds what `rule` does not allow.
    pub fn open(path: &Path, overlap: Duration, rule: Rule) -> io::Result<Self> {
        let source = Source {
            path: path.to_owned(),
            rule,
            overlap,
        };
        let inner = Arc::new(Inner {
            held: Mutex::new(Held::new(source.read()?)),
            file: Some(source),
        });
        let watched = Arc::downgrade(&inner);
        // A thread, so that a keyring needs no runtime and a slow file system stops nobody.
        thread::Builder::new()
            .name("credentials".to_owned())
            .spawn(move || watch(&watched))?;
        Ok(Self(inner))
    }

    /// The credential in use.
    #[must_use]
    pub fn current(&self) -> Secret {
        let held = self.0.held();
        #[expect(clippy::expect_used, reason = "a keyring is made with at least one")]
        held.listed.first().expect("a keyring holds one").clone()
    }

    /// All that are accepted now, the one in use first.
    #[must_use]
    pub fn all(&self) -> Vec<Secret> {
        let mut held = self.0.held();
        held.forget(Instant::now());
        let mut all = held.listed.clone();
        all.extend(held.before.iter().map(|(secret, _)| secret.clone()));
        all
    }

    /// Whether `text` is one of those that are accepted. Takes the same time whichever it is.
    #[must_use]
    pub fn accepts(&self, text: &str) -> bool {
        // Who reads the file earlier must not be refused by who reads it later.
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

    /// Reads the file now. Whether the credentials are others than before.
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
    fn held(&self) -> MutexGuard<'_, Held> {
        // Whoever panicked while holding it left it whole: it is changed in one assignment.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh(&self, now: Instant) -> bool {
        let Some(file) = &self.file else {
            return false;
        };
        let read = file.read();
        let mut held = self.held();
        match read {
            Ok(listed) => {
                if held.trouble.take().is_some() {
                    tracing::info!(path = %file.path.display(), "the credential can be read again");
                }
                let changed = held.replace(listed, now + file.overlap);
                if changed {
                    tracing::info!(path = %file.path.display(), "the credential has changed; the one before is still accepted for a while");
                }
                changed
            }
            Err(error) => {
                let trouble = error.to_string();
                if held.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(path = %file.path.display(), error = trouble, "the credential cannot be read; the one before stays in use");
                    held.trouble = Some(trouble);
                }
                false
            }
        }
    }
}

impl Held {
    const fn new(listed: Vec<Secret>) -> Self {
        Self {
            listed,
            before: Vec::new(),
            trouble: None,
        }
    }

    fn replace(&mut self, listed: Vec<Secret>, until: Instant) -> bool {
        if same(&self.listed, &listed) {
            return false;
        }
        if let Some(used) = self.listed.first().cloned() {
            self.before.retain(|(secret, _)| !equal(secret, &used));
            self.before.push((used, until));
        }
        self.before
            .retain(|(secret, _)| !listed.iter().any(|other| equal(other, secret)));
        self.listed = listed;
        true
    }

    fn forget(&mut self, now: Instant) {
        self.before.retain(|(_, until)| now < *until);
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
        thread::sleep(EVERY);
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

    use super::{Held, Keyring, Rule};
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
    fn a_new_credential_is_accepted_at_once_and_the_old_one_for_a_while() {
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
    fn without_overlap_the_old_one_is_refused_at_once() {
        let file = File::with("one");
        let keyring = file.open(Duration::ZERO);
        file.write("two");
        assert!(keyring.refresh());
        assert!(!keyring.accepts("one"));
    }

    #[test]
    fn the_old_one_ends_with_the_overlap() {
        let now = Instant::now();
        let mut held = Held::new(vec![Secret::new("one")]);
        held.replace(vec![Secret::new("two")], now + LONG);
        held.forget(now + LONG / 2);
        assert_eq!(held.before.len(), 1);
        held.forget(now + LONG);
        assert!(held.before.is_empty());
    }

    #[test]
    fn further_lines_are_accepted_and_not_used() {
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
    fn a_bad_file_changes_nothing() {
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
    fn a_bad_file_is_refused_at_the_start() {
        for (bad, why) in [("", "empty"), ("naïve", "printable ASCII")] {
            let file = File::with(bad);
            let error = Keyring::open(&file.path(), LONG, Rule::Header).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn the_file_is_read_even_if_nobody_asks() {
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
    fn nothing_of_it_is_shown() {
        let keyring = Keyring::fixed(Secret::new("swordfish"));
        assert!(!format!("{keyring:?}").contains("swordfish"));
    }
}
