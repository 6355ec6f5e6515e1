//! A process that runs JavaScript.

use std::{io, path::Path, process::Stdio};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::child::ARGUMENT;
use crate::api_error::ApiError;

/// A running process. It is killed when this is dropped.
pub(crate) struct Worker {
    _child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Worker {
    pub(crate) fn start(program: &Path) -> Result<Self, ApiError> {
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, program = %program.display(), "JavaScript cannot be run");
            ApiError::internal("JavaScript cannot be run; the server's log says why")
        };
        let mut child = Command::new(program)
            .arg(ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&error))?;
        let pipes = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = pipes else {
            return Err(failed(&"the process has no pipes"));
        };
        Ok(Self {
            _child: child,
            input,
            output,
        })
    }

    /// Sends a request and waits for its answer of at most `most` bytes.
    pub(crate) async fn ask(
        &mut self,
        key: &[u8],
        request: &[u8],
        most: u32,
    ) -> io::Result<Vec<u8>> {
        let (input, output) = (&mut self.input, &mut self.output);
        let sent = async {
            for part in [key, request] {
                let length = u32::try_from(part.len()).map_err(io::Error::other)?;
                input.write_all(&length.to_be_bytes()).await?;
                input.write_all(part).await?;
            }
            input.flush().await
        };
        let answered = async {
            let length = output.read_u32().await?;
            if length > most {
                return Err(io::Error::other("the answer is too long"));
            }
            let mut answer = Vec::new();
            output.take(length.into()).read_to_end(&mut answer).await?;
            if answer.len() < length as usize {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(answer)
        };
        let ((), answer) = tokio::try_join!(sent, answered)?;
        Ok(answer)
    }
}
