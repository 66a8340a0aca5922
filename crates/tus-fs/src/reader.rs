//! The bytes of one download.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tus_core::store::{ChunkReader, StoreError};

use crate::{disk::File, gate::blocking, layout::During};

/// The first piece, and the largest. A client that never reads leaves us with a piece in our
/// hands; one that has read megabytes is worth a larger one.
const FIRST: u64 = 4 * 1024;
const LARGEST: u64 = 256 * 1024;

/// What was read before is so many times a piece.
const GROWTH: u64 = 64;

/// Reads at explicit offsets on the blocking pool, into one buffer as long as nobody keeps it.
#[derive(Debug)]
pub(crate) struct Reader {
    file: Arc<File>,
    name: String,
    start: u64,
    rest: Range<u64>,
    buffer: BytesMut,
}

impl Reader {
    /// Reads a range of a file of which `length` bytes count.
    pub(crate) fn new(file: File, name: String, range: Range<u64>, length: u64) -> Self {
        let rest = range.start..range.end.min(length);
        Self { file: Arc::new(file), name, start: rest.start, rest, buffer: BytesMut::new() }
    }
}

#[async_trait]
impl ChunkReader for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let at = self.rest.start;
        let Some(left) = self.rest.end.checked_sub(at).filter(|left| *left > 0) else {
            return Ok(None);
        };
        let piece = left.min(((at - self.start) / GROWTH).clamp(FIRST, LARGEST));
        let (file, name) = (self.file.clone(), self.name.clone());
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer = blocking(move || {
            buffer.resize(piece as usize, 0);
            file.read_exact_at(&mut buffer, at).during("read", &name)?;
            Ok(buffer)
        })
        .await?;
        let bytes = buffer.split().freeze();
        self.buffer = buffer;
        self.rest.start += piece;
        Ok(Some(bytes))
    }
}
