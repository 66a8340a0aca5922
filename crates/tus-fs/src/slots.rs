//! Sync points: how much of an upload a loss of power leaves.
//!
//! Two slots in turn, each in a block of its own, rewritten in place. Before one is written the
//! other is on the disk, so that whatever is torn, the newest valid slot names bytes that were
//! synced before it. A slot also says in which boot it was written: what lies beyond it counts
//! only as long as the machine has been up since. And it says by which start of the store: one that
//! an earlier start wrote may never have reached the disk, if that was killed before its sync.

use std::io;

use crate::disk::File;

const MAGIC: &[u8; 8] = b"tusslot1";
const SLOT: usize = 64;
const SUMMED: usize = SLOT - 4;
/// A block for each, so that a torn write damages one of them only.
const DISTANCE: u64 = 4096;

/// One sync point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Grows by one with each; its parity is the place.
    pub(crate) seq: u64,
    /// How many bytes are durable.
    pub(crate) offset: u64,
    /// In which boot; 0 is none, and makes what lies beyond count for nothing.
    pub(crate) boot: u64,
    /// By which start of the store.
    pub(crate) start: u64,
}

impl Slot {
    pub(crate) fn encode(self) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        let words = [self.seq, self.offset, self.boot, self.start].map(u64::to_le_bytes);
        let fields = MAGIC.iter().chain(words.as_flattened());
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = *from);
        if let Some((summed, sum)) = bytes.split_last_chunk_mut() {
            *sum = crc32fast::hash(summed).to_le_bytes();
        }
        bytes
    }

    pub(crate) fn decode(bytes: [u8; SLOT]) -> Option<Self> {
        let (summed, sum) = bytes.split_last_chunk()?;
        let rest = summed.strip_prefix(MAGIC)?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (boot, rest) = rest.split_first_chunk()?;
        let (start, _) = rest.split_first_chunk()?;
        let sound = crc32fast::hash(summed) == u32::from_le_bytes(*sum);
        sound.then(|| Self {
            seq: u64::from_le_bytes(*seq),
            offset: u64::from_le_bytes(*offset),
            boot: u64::from_le_bytes(*boot),
            start: u64::from_le_bytes(*start),
        })
    }

    fn position(self) -> u64 {
        (self.seq % 2) * DISTANCE
    }
}

const _: () = assert!(MAGIC.len() + 4 * size_of::<u64>() <= SUMMED);

/// The slots of one upload.
#[derive(Debug)]
pub(crate) struct Slots {
    file: File,
    start: u64,
}

impl Slots {
    /// Those in a file, written from now on by this start of the store.
    pub(crate) fn new(file: File, start: u64) -> Self {
        Self { file, start }
    }

    /// Writes both for an upload of which nothing is durable yet.
    ///
    /// They need no sync: without them nothing counts either. But from now on their blocks exist,
    /// and a full disk does not keep a sync point from being written.
    pub(crate) fn begin(&self, boot: u64) -> io::Result<Slot> {
        let newest = Slot { seq: 1, offset: 0, boot, start: self.start };
        self.put(Slot { seq: 0, ..newest })?;
        self.put(newest)?;
        Ok(newest)
    }

    /// The newest valid slot.
    pub(crate) fn newest(&self) -> io::Result<Option<Slot>> {
        let (even, odd) = (self.read(0)?, self.read(DISTANCE)?);
        Ok([even, odd].into_iter().flatten().max_by_key(|slot| slot.seq))
    }

    fn read(&self, position: u64) -> io::Result<Option<Slot>> {
        let mut bytes = [0; SLOT];
        match self.file.read_exact_at(&mut bytes, position) {
            Ok(()) => Ok(Slot::decode(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether one of them cannot be read: torn when the power went, or damaged since.
    pub(crate) fn is_damaged(&self) -> bool {
        let sound = |position| self.read(position).is_ok_and(|slot| slot.is_some());
        !sound(0) || !sound(DISTANCE)
    }

    /// Makes `offset` durable as the newest slot, after `newest`.
    pub(crate) fn advance(&self, newest: Option<Slot>, offset: u64, boot: u64) -> io::Result<()> {
        self.put(self.after(newest, offset, boot))?;
        self.file.sync_data().inspect_err(|_| {
            if let Err(error) = self.distrust(newest) {
                tracing::error!(%error, "a sync point that failed could not be taken back");
            }
        })
    }

    /// Makes the slots durable as they can be read.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Claims the upload for this boot and start; bytes beyond the newest slot that do not count
    /// have been cut.
    pub(crate) fn claim(&self, newest: Option<Slot>, boot: u64) -> io::Result<()> {
        // The newest may itself never have reached the disk.
        self.sync()?;
        self.advance(newest, newest.unwrap_or_default().offset, boot)
    }

    /// Puts the upload back to its newest slot after a sync has failed.
    ///
    /// The kernel may have dropped the bytes beyond it and yet call the next sync a success, so
    /// they must never count again: the slot that was to come says the same offset as the one
    /// before it, in no boot. Nothing of this needs to reach the disk.
    fn distrust(&self, newest: Option<Slot>) -> io::Result<()> {
        self.put(self.after(newest, newest.unwrap_or_default().offset, 0))
    }

    fn after(&self, newest: Option<Slot>, offset: u64, boot: u64) -> Slot {
        let seq = newest.map_or(0, |slot| slot.seq.wrapping_add(1));
        Slot { seq, offset, boot, start: self.start }
    }

    fn put(&self, slot: Slot) -> io::Result<()> {
        self.file.write_all_at(&slot.encode(), slot.position())
    }
}

/// Makes the first `offset` bytes durable and says so in a slot.
///
/// After an error the upload is back at the sync point before it.
pub(crate) fn sync_point(data: &File, slots: &Slots, offset: u64, boot: u64) -> io::Result<()> {
    let newest = slots.newest()?;
    data.sync_data().inspect_err(|_| {
        let cut = |_| data.set_len(newest.unwrap_or_default().offset);
        if let Err(error) = slots.distrust(newest).or_else(cut) {
            tracing::error!(%error, "bytes whose sync failed could not be taken back");
        }
    })?;
    slots.advance(newest, offset, boot)
}

/// A boot as a slot names it: FNV-1a, never 0.
pub(crate) fn boot_number(id: &str) -> u64 {
    let hash = id.trim().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
}
