//! What a record and a stored length that disagree mean.

use crate::model::Upload;

/// What must be done before an upload can be told or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Nothing.
    None,
    /// A request with a promised digest never settled: its bytes do not count.
    CutTo(u64),
    /// All bytes are there, but the finish was not recorded: repeat it.
    Finish,
    /// There is more than was ever declared, which no request of ours can have written.
    Corrupt,
}

/// Looks at an open upload that takes bytes (not a final) of which `stored` are there.
pub(crate) fn diagnose(upload: &Upload, stored: u64) -> Recovery {
    if let Some(fence) = upload.fence {
        return Recovery::CutTo(fence);
    }
    match upload.length {
        Some(length) if stored > length => Recovery::Corrupt,
        Some(length) if stored == length && !upload.awaits_end => Recovery::Finish,
        _ => Recovery::None,
    }
}
