//! Where a passphrase comes from: a flag, a file, standard input, or the person at the terminal.

use std::path::Path;

use service_kit::secret::Secret;

use crate::{
    failure::{Failure, say},
    terminal,
};

/// The largest file that is taken for a passphrase, in bytes.
const LARGEST_FILE: usize = 64 * 1024;

/// One that was given as an argument, with a warning.
///
/// # Errors
/// When it is empty.
pub(crate) fn argument(passphrase: Secret, flag: &str) -> Result<Secret, Failure> {
    say(&format!(
        "warning: {flag}: everybody who lists the processes of this machine can see it; prefer --passphrase-file, or \
         be asked for it"
    ));
    not_empty(passphrase, flag)
}

/// The only line of a file, or of standard input when the file is `-`.
///
/// # Errors
/// When it cannot be read, or is not exactly one line of text.
pub(crate) async fn file(path: &Path) -> Result<Secret, Failure> {
    if path.as_os_str() == "-" {
        return standard_input("--passphrase-file -").await;
    }
    let wrong =
        |why: String| Failure::Usage(format!("--passphrase-file: {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    if text.len() > LARGEST_FILE {
        return Err(wrong(
            "is larger than 64 KiB; that is no passphrase".to_owned(),
        ));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains('\n') {
        return Err(wrong(
            "holds more than one line; write the passphrase alone".to_owned(),
        ));
    }
    not_empty(
        Secret::new(line),
        &format!("--passphrase-file: {}", path.display()),
    )
}

/// A line of standard input.
///
/// # Errors
/// When there is none.
pub(crate) async fn standard_input(asked_by: &str) -> Result<Secret, Failure> {
    match terminal::line().await {
        Ok(Some(line)) => not_empty(Secret::new(line), asked_by),
        Ok(None) => Err(Failure::Usage(format!(
            "{asked_by}: standard input holds no passphrase; write it on one line"
        ))),
        Err(error) => Err(Failure::Usage(format!(
            "{asked_by}: standard input cannot be read: {error}"
        ))),
    }
}

/// Asks twice at the terminal, without showing it.
///
/// # Errors
/// When nobody is there, or the two differ.
pub(crate) async fn prompt() -> Result<Secret, Failure> {
    if !terminal::is_there() {
        return Err(Failure::Usage(
            "--passphrase-prompt: standard input is no terminal; use --passphrase-file".to_owned(),
        ));
    }
    let first = not_empty(
        terminal::hidden("Passphrase (it is not shown):").await?,
        "the passphrase",
    )?;
    let second = terminal::hidden("The same again:").await?;
    if first.matches(second.expose()) {
        Ok(first)
    } else {
        Err(Failure::Failed(
            "aborted: the two differ; nothing was changed".to_owned(),
        ))
    }
}

fn not_empty(passphrase: Secret, from: &str) -> Result<Secret, Failure> {
    if passphrase.expose().is_empty() {
        return Err(Failure::Usage(format!(
            "{from}: is empty; write a passphrase"
        )));
    }
    Ok(passphrase)
}
