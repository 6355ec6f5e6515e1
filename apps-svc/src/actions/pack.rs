//! Packs the files of an installed app into an archive, while it is being sent.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::{Stream, StreamExt as _, stream::BoxStream};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::Shared;
use crate::{contents::Leaves, error::Error};

/// How many pieces wait for whoever reads them.
const WAITING: usize = 4;
/// How large a piece is, in bytes.
const PIECE: usize = 64 * 1024;

/// A tar archive, gzipped. `None` when as many are being sent as may be.
pub(crate) fn pack(
    shared: &Shared,
    files: Arc<Leaves>,
) -> Option<impl Stream<Item = io::Result<Bytes>> + Send + use<>> {
    let turn = Arc::clone(&shared.downloads).try_acquire_owned().ok()?;
    let (sender, pieces) = mpsc::channel(WAITING);
    let (shared, handle) = (shared.clone(), Handle::current());
    tokio::task::spawn_blocking(move || {
        let written = write(&shared, &handle, &files, Pieces(sender.clone()));
        if let Err(error) = written {
            // An archive that is not whole must not look so. Nobody hears it who has left.
            let _ = sender.blocking_send(Err(error));
        }
        drop(turn);
    });
    Some(ReceiverStream::new(pieces))
}

fn write(shared: &Shared, handle: &Handle, files: &Leaves, to: Pieces) -> io::Result<()> {
    let buffered = io::BufWriter::with_capacity(PIECE, to);
    let mut archive = tar::Builder::new(GzEncoder::new(buffered, Compression::default()));
    for (path, leaf) in files {
        let blob = handle.block_on(shared.contents.blob(leaf, None));
        let blob = blob.map_err(io::Error::other)?;
        let blob = blob.ok_or_else(|| io::Error::other(format!("{path} is gone")))?;
        let mut header = tar::Header::new_gnu();
        header.set_size(leaf.size);
        header.set_mode(0o644);
        header.set_mtime(0);
        let content = Content {
            handle,
            pieces: blob.bytes,
            piece: Bytes::new(),
        };
        archive.append_data(&mut header, path, content)?;
    }
    archive
        .into_inner()?
        .finish()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .flush()
}

/// Gives what is written to whoever reads the stream.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes of a file, as they arrive.
struct Content<'a> {
    handle: &'a Handle,
    pieces: BoxStream<'static, Result<Bytes, Error>>,
    piece: Bytes,
}

impl Read for Content<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.handle.block_on(self.pieces.next()) {
                None => return Ok(0),
                Some(piece) => self.piece = piece.map_err(io::Error::other)?,
            }
        }
        let mut piece = self.piece.as_ref();
        let read = piece.read(into)?;
        self.piece = self.piece.split_off(read);
        Ok(read)
    }
}
