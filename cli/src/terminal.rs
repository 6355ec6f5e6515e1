//! Lines from standard input, and secrets typed at the terminal.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Read as _},
    thread,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use service_kit::secret::Secret;
use tokio::sync::oneshot;

use crate::{error::CommandError, output::say};

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;

/// Reads a line of standard input without its end; `None` at the end of the input. A thread of its own reads, so that
/// Ctrl-C is handled meanwhile; the thread ends with the program.
///
/// # Errors
/// When standard input cannot be read, is not UTF-8, or its line is longer than 64 KiB.
pub(crate) async fn line() -> io::Result<Option<String>> {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || {
        // The receiver is gone once the command was stopped.
        let _ = sender.send(read_line());
    });
    receiver.await.map_err(io::Error::other)?
}

fn read_line() -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = io::stdin().lock().take(LONGEST_LINE).read_line(&mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if !line.ends_with('\n') && u64::try_from(read).is_ok_and(|read| read == LONGEST_LINE) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the line is too long",
        ));
    }
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(Some(line))
}

/// Whether standard input is a terminal.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal()
}

/// Asks for a secret, which is not echoed while it is typed.
///
/// # Errors
/// When standard input is no terminal, or ends.
pub(crate) async fn hidden(question: &str) -> Result<Secret, CommandError> {
    let unreadable = |error| CommandError::Failed(format!("cannot read what is typed: {error}"));
    // Input that is typed before the question must not be echoed either.
    let echo_off = EchoOff::begin().map_err(unreadable)?;
    say(question);
    let typed = line().await.map_err(unreadable);
    drop(echo_off);
    match typed? {
        Some(typed) => Ok(Secret::new(typed)),
        None => Err(CommandError::Failed(
            "aborted: nothing was typed".to_owned(),
        )),
    }
}

/// Keeps the terminal from echoing input until it is dropped.
struct EchoOff(Termios);

impl EchoOff {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // The line feed is echoed, so that the next output begins on a line of its own.
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Now, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
