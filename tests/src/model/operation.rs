//! What a client, an operator or time itself can do.

/// A body.
#[derive(Clone, Debug)]
pub struct Bytes {
    /// How many bytes each frame has.
    pub frames: Vec<u8>,
    /// After so many frames the connection breaks.
    pub breaks_after: Option<u8>,
    /// Whether a `Content-Length` says how many bytes come.
    pub announced: bool,
    /// What is said about its digest.
    pub proof: Proof,
}

/// What a request says about the digest of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    None,
    /// The right one, in the head.
    Right,
    /// A wrong one, in the head.
    Wrong,
    /// The right one in a trailer that the head announces.
    TrailerRight,
    /// A wrong one in a trailer that the head announces.
    TrailerWrong,
    /// A trailer is announced and never comes.
    TrailerMissing,
    /// The right one in a trailer that nobody announces.
    SurpriseRight,
    /// A wrong one in a trailer that nobody announces.
    SurpriseWrong,
}

/// Something that happens. Uploads are named by a number, modulo how many there are.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A creation.
    Create {
        /// Whether it is a part.
        partial: bool,
        /// Its length; deferred if there is none.
        length: Option<u8>,
        /// Its first bytes.
        body: Option<Bytes>,
    },
    /// A PATCH.
    Append {
        /// To which upload.
        upload: u8,
        /// How far beside the right offset.
        beside: i8,
        /// A length that is declared now.
        length: Option<u8>,
        /// The bytes.
        body: Bytes,
    },
    /// A PATCH that declares as length what there will be, and brings it.
    Complete {
        /// Of which upload.
        upload: u8,
    },
    /// A HEAD.
    Head {
        /// Of which upload.
        upload: u8,
    },
    /// A DELETE.
    Delete {
        /// Of which upload.
        upload: u8,
    },
    /// The creation of a final.
    Concat {
        /// Of which uploads, parts or not.
        parts: Vec<u8>,
    },
    /// Minutes go by.
    Wait(u8),
    /// The sweeper comes, until it finds nothing more to do.
    Sweep,
    /// The process is killed and started again.
    Restart,
}

impl Bytes {
    /// How many bytes it would have in all.
    pub fn total(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(*frame)).sum()
    }
}
