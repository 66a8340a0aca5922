//! What clients, an operator or time itself can do.

/// A body.
#[derive(Clone, Debug)]
pub struct Bytes {
    /// How many bytes each frame has.
    pub frames: Vec<u8>,
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

impl Proof {
    /// Whether the head of a request promises a digest.
    pub fn is_promised(self) -> bool {
        !matches!(self, Self::None | Self::SurpriseRight | Self::SurpriseWrong)
    }
}

/// What the application makes of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It takes it.
    Fine,
    /// It does not let it be made.
    Unwanted,
    /// It fails the first time it hears that the upload is complete.
    FailsOnce,
    /// It does not want it once it is complete.
    Refuses,
    /// It fails the first time it hears that the upload has ended.
    DeafOnce,
}

/// Which dialect a request speaks and, if it brings bytes, when its upload is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Says {
    /// tus: once it has its length.
    #[default]
    Tus,
    /// RUFH, `Upload-Complete: ?0`: when another request says so.
    Later,
    /// RUFH, `Upload-Complete: ?1`: with this request.
    Complete,
}

impl Says {
    /// Whether it is RUFH.
    pub fn is_rufh(self) -> bool {
        self != Self::Tus
    }
}

/// A request. Uploads are named by a number, among the latest ones.
#[derive(Clone, Debug)]
pub enum Request {
    /// A creation.
    Create {
        /// In which dialect.
        says: Says,
        /// Whether it is a part, which there is in tus alone.
        partial: bool,
        /// Its length; deferred if there is none.
        length: Option<u8>,
        /// What the application makes of it.
        mood: Mood,
        /// Its first bytes.
        body: Option<Bytes>,
    },
    /// A PATCH.
    Append {
        /// In which dialect.
        says: Says,
        /// To which upload.
        upload: u8,
        /// Whether it begins where the last answer has left the upload, rather than where the
        /// bytes end that are still arriving.
        behind: bool,
        /// How far beside that.
        beside: i8,
        /// A length that is declared now.
        length: Option<u8>,
        /// The bytes.
        body: Bytes,
    },
    /// A PATCH that declares as length what there will be, and brings it.
    Complete {
        /// In which dialect.
        says: Says,
        /// Of which upload.
        upload: u8,
    },
    /// A HEAD.
    Head {
        /// In which dialect.
        says: Says,
        /// Of which upload.
        upload: u8,
    },
    /// A DELETE.
    Delete {
        /// In which dialect.
        says: Says,
        /// Of which upload.
        upload: u8,
        /// Whether the application wants it to stay.
        stays: bool,
    },
    /// The creation of a final.
    Concat {
        /// Of which uploads, parts or not.
        parts: Vec<u8>,
        /// What the application makes of it.
        mood: Mood,
    },
}

/// How the body of a request goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Its next frame comes, if it has one.
    Frame,
    /// The rest of it comes, and its end.
    Rest,
    /// The connection breaks.
    Breaks,
}

/// Something that happens.
///
/// Two clients can each have one request under way, in whose body they pause as long as they like.
/// Others ask in the meantime, and get their answers at once.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Somebody asks, while whoever holds the upload goes on for a moment.
    Ask {
        /// For what.
        request: Request,
        /// Whether the application forbids it.
        denied: bool,
        /// What still comes of the body of the request that holds the upload.
        meanwhile: Vec<Then>,
    },
    /// A client begins a request with a body, and pauses.
    Begin {
        /// Which of the two; one that has a request under way does nothing.
        client: u8,
        /// For what.
        request: Request,
        /// After so many frames.
        pause: u8,
        /// What still comes of the body of the request that holds the upload.
        meanwhile: Vec<Then>,
    },
    /// A client goes on with its body.
    GoOn {
        /// Which of the two; one that has no request under way does nothing.
        client: u8,
        /// How.
        then: Then,
    },
    /// The request of a client is dropped in mid-body, as an adapter never does.
    Cancel {
        /// Which of the two.
        client: u8,
    },
    /// Nobody sends anything until the server has enough of it.
    Idle,
    /// The wall clock goes on, by so many minutes.
    Wait(u8),
    /// The operator has the sweeper come, until it finds nothing more to do.
    Sweep,
    /// Time passes until the sweeper comes by itself. The wall clock then shows so many minutes
    /// more, or less, than have passed.
    Round(i16),
    /// The process is killed and started again.
    Restart,
    /// The process dies at a call that it makes to a store for a request, and is started again.
    Crash {
        /// At the call of this number.
        at: u8,
        /// Right after the call, rather than right before it.
        after: bool,
        /// For what request.
        request: Request,
    },
}

impl Bytes {
    /// How many bytes it would have in all.
    pub fn total(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(*frame)).sum()
    }

    /// A body of one frame, announced.
    pub fn whole(length: u64) -> Self {
        let frame = u8::try_from(length).expect("a small upload");
        Self { frames: vec![frame], announced: true, proof: Proof::None }
    }
}

impl Request {
    /// Its body, if it says it has one.
    pub fn body(&self) -> Option<&Bytes> {
        match self {
            Self::Create { body, .. } => body.as_ref(),
            Self::Append { body, .. } => Some(body),
            _ => None,
        }
    }

    /// The dialect that it speaks.
    pub fn says(&self) -> Says {
        match self {
            Self::Create { says, .. }
            | Self::Append { says, .. }
            | Self::Complete { says, .. }
            | Self::Head { says, .. }
            | Self::Delete { says, .. } => *says,
            Self::Concat { .. } => Says::Tus,
        }
    }

    /// The same, so that a creation without a body has made its upload and is not finished yet.
    pub(super) fn with_body(&self) -> Self {
        let mut begun = self.clone();
        if let Self::Create { body, .. } = &mut begun {
            body.get_or_insert(Bytes { frames: Vec::new(), announced: false, proof: Proof::None });
        }
        begun
    }
}
