//! What a finish is about to do, noted durably before it does it.
//!
//! A note that cannot be read says nothing, and rightly so: what it would say had not begun.

use std::io;

use tus_core::{UploadId, store::StoreError};

use crate::{
    Durability, Inner,
    disk::Open,
    layout::{self, During},
};

const MAGIC: &str = "tus-place 1";
const MAX_LEN: usize = 16 * 1024;

/// The step that a finish is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The bytes get a second name. It was done if both names are one file.
    Link,
    /// The bytes are moved. It was done if they are no longer where they were.
    Move,
    /// The bytes are being copied to a file beside their place; nothing was done.
    Copying,
    /// The copy is durable and gets its name. It was done if it is no longer where it was.
    Copied,
}

/// A step, and the path below the destination that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) step: Step,
    pub(crate) path: String,
}

impl Step {
    const ALL: [Self; 4] = [Self::Link, Self::Move, Self::Copying, Self::Copied];

    fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Move => "move",
            Self::Copying => "copying",
            Self::Copied => "copied",
        }
    }
}

impl Note {
    pub(crate) fn encode(&self) -> String {
        let said = format!("{} {}", self.step.as_str(), self.path);
        format!("{MAGIC} {:08x} {said}\n", crc32fast::hash(said.as_bytes()))
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let rest = text.strip_suffix('\n')?.strip_prefix(MAGIC)?.strip_prefix(' ')?;
        let (crc, said) = rest.split_once(' ')?;
        if u32::from_str_radix(crc, 16) != Ok(crc32fast::hash(said.as_bytes())) {
            return None;
        }
        let (step, path) = said.split_once(' ')?;
        let step = Step::ALL.into_iter().find(|known| known.as_str() == step)?;
        layout::is_placed_path(path).then(|| Self { step, path: path.to_owned() })
    }
}

impl Inner {
    pub(crate) fn read_note(&self, id: &UploadId) -> Result<Option<Note>, StoreError> {
        let name = layout::place(id);
        let file = match self.dir.open(&name, Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.during("open", &name)?,
        };
        let bytes = file.read_all(MAX_LEN).during("read", &name)?;
        Ok(String::from_utf8(bytes).ok().and_then(|text| Note::decode(&text)))
    }

    pub(crate) fn write_note(&self, id: &UploadId, note: &Note) -> Result<(), StoreError> {
        let name = layout::place(id);
        let file = self.dir.open_fresh(&name).during("create", &name)?;
        file.write_all_at(note.encode().as_bytes(), 0).during("write", &name)?;
        if self.durability == Durability::Power {
            file.sync_all().during("sync", &name)?;
        }
        self.settle_names()
    }

    /// Removes the note, durably before anything that it speaks of goes.
    pub(crate) fn remove_note(&self, id: &UploadId) -> Result<(), StoreError> {
        let name = layout::place(id);
        match self.dir.unlink(&name).during("remove", &name)? {
            true => self.settle_names(),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_and_a_torn_or_changed_one_says_nothing() {
        for step in Step::ALL {
            let note = Note { step, path: "2026/a b.txt".to_owned() };
            let text = note.encode();
            assert_eq!(Note::decode(&text).as_ref(), Some(&note));
            for length in 0..text.len() {
                assert_eq!(Note::decode(&text[..length]), None, "{length}");
            }
            assert_eq!(Note::decode(&text.replace("a b", "a c")), None);
        }
        let outside = Note { step: Step::Link, path: "../a".to_owned() };
        assert_eq!(Note::decode(&outside.encode()), None);
    }
}
