//! What a client knows of an upload, and how it asks for one.

use std::fmt;

/// What an upload is in a concatenation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Single,
    Part,
    Final,
}

/// What must be found of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is there, and can be brought to its end.
    Alive,
    /// It was brought there.
    Whole,
    /// It was terminated, and leaves nothing.
    Ended,
    /// A part of it is gone, and so is it; that may be remembered.
    PartLost,
    /// Its time was up; that may be remembered.
    Expired,
    /// It was forgotten, and leaves nothing.
    Forgotten,
}

/// What a client knows of an upload.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
    pub(crate) role: Role,
    pub(crate) fate: Fate,
    /// The largest offset that any answer has told.
    pub(crate) told: u64,
    /// The most bytes that can have arrived.
    pub(crate) sent: u64,
    /// Whether the server has confirmed the length; `None` where it may have heard it.
    pub(crate) declared: Option<bool>,
    /// Whether the answer to its creation was lost.
    pub(crate) stray: bool,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, role, fate, told, sent, .. } = self;
        let length = self.body.len();
        write!(f, "{path}: {role:?}, {fate:?}, told {told}, sent {sent} of {length}")
    }
}

impl Upload {
    pub(crate) fn new(path: &str, body: Vec<u8>, role: Role) -> Self {
        let (path, fate) = (path.to_owned(), Fate::Alive);
        // The bytes of a final were sent to its parts.
        let sent = if role == Role::Final { body.len() as u64 } else { 0 };
        Self { path, body, role, fate, told: 0, sent, declared: Some(true), stray: false }
    }

    pub(crate) fn id(&self) -> &str {
        self.path.rsplit('/').next().expect("an id")
    }

    pub(crate) fn length(&self) -> u64 {
        self.body.len() as u64
    }

    /// Takes note of an offset, and holds it against what was told before and what was sent.
    pub(crate) fn hear(&mut self, offset: u64) {
        let Self { path, told, sent, .. } = self;
        assert!(offset >= *told, "{path}: told {told} before, now {offset}");
        assert!(offset <= *sent, "{path}: told {offset}, but only {sent} were sent");
        *told = offset;
    }
}

/// What the head of a creation says that brings bytes.
pub(crate) const BRINGS: &str = "\r\nContent-Type: application/offset+octet-stream";

/// The head of a creation; a final's parts are added to it.
pub(crate) fn post(length: Option<usize>, role: Role) -> String {
    let length = match (length, role) {
        (_, Role::Final) => String::new(),
        (Some(length), _) => format!("\r\nUpload-Length: {length}"),
        (None, _) => "\r\nUpload-Defer-Length: 1".to_owned(),
    };
    let concat = if role == Role::Part { "\r\nUpload-Concat: partial" } else { "" };
    // "report.bin": a name that all of them ask for.
    let name = "Upload-Metadata: filename cmVwb3J0LmJpbg==";
    format!("POST /files HTTP/1.1\r\n{name}{length}{concat}")
}
