//! Reads passphrases: from an argument, a file, standard input or the terminal.

use std::path::Path;

use service_kit::secret::Secret;

use crate::{error::CommandError, output::say, terminal};

/// The largest file that may hold a passphrase, in bytes.
const LARGEST_FILE: usize = 64 * 1024;

/// Takes a passphrase from an argument, with a warning.
///
/// # Errors
/// When it is empty.
pub(crate) fn argument(passphrase: Secret, flag: &str) -> Result<Secret, CommandError> {
    say(&format!(
        "warning: {flag}: everybody who lists the processes of this machine can see it; prefer --passphrase-file, or \
         be asked for it"
    ));
    not_empty(passphrase, flag)
}

/// Reads the only line of a file, or a line of standard input when the file is `-`.
///
/// # Errors
/// When the file cannot be read, or does not hold exactly one line.
pub(crate) async fn file(path: &Path) -> Result<Secret, CommandError> {
    if path.as_os_str() == "-" {
        return standard_input("--passphrase-file -").await;
    }
    let wrong =
        |why: String| CommandError::Usage(format!("--passphrase-file: {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    if text.len() > LARGEST_FILE {
        return Err(wrong(
            "is larger than 64 KiB; that is no passphrase".to_owned(),
        ));
    }
    let line = without_mark(&text);
    let line = line.strip_suffix('\n').unwrap_or(line);
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

/// Reads a line of standard input. Errors name the argument `asked_by`.
///
/// # Errors
/// When there is no line, or it is empty.
pub(crate) async fn standard_input(asked_by: &str) -> Result<Secret, CommandError> {
    match terminal::line().await {
        Ok(Some(line)) => not_empty(Secret::new(without_mark(&line)), asked_by),
        Ok(None) => Err(CommandError::Usage(format!(
            "{asked_by}: standard input holds no passphrase; write it on one line"
        ))),
        Err(error) => Err(CommandError::Usage(format!(
            "{asked_by}: standard input cannot be read: {error}"
        ))),
    }
}

/// Asks twice at the terminal, without echo.
///
/// # Errors
/// When standard input is no terminal, or the two answers differ.
pub(crate) async fn prompt() -> Result<Secret, CommandError> {
    if !terminal::is_interactive() {
        return Err(CommandError::Usage(
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
        Err(CommandError::Failed(
            "aborted: the two differ; nothing was changed".to_owned(),
        ))
    }
}

/// A text without the mark of its encoding, which some editors of Windows put first.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn not_empty(passphrase: Secret, from: &str) -> Result<Secret, CommandError> {
    if passphrase.expose().is_empty() {
        return Err(CommandError::Usage(format!(
            "{from}: is empty; write a passphrase"
        )));
    }
    Ok(passphrase)
}
