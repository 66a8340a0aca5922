use std::{fmt, io};

/// What went wrong in a store, by meaning, with the driver's own error as its source.
///
/// Never shown to clients: they hear a fixed text, the log gets this.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// The meanings that the engine tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// There is no such record or object.
    NotFound,
    /// It exists already.
    AlreadyExists,
    /// Somebody else changed or holds it.
    Conflict,
    /// There is no room (507).
    Full,
    /// It cannot be reached now; trying again may help (503).
    Unavailable,
    /// The store cannot do this at all.
    Unsupported,
    /// What is stored cannot be read back.
    Corrupt,
    /// Anything else.
    Other,
}

impl StoreError {
    /// An error of some kind with its cause (text or error).
    pub fn new(
        kind: StoreErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, source: source.into() }
    }

    /// What it means.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether it means that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.kind == StoreErrorKind::NotFound
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            StoreErrorKind::NotFound => "not found",
            StoreErrorKind::AlreadyExists => "exists already",
            StoreErrorKind::Conflict => "changed or held by somebody else",
            StoreErrorKind::Full => "no room",
            StoreErrorKind::Unavailable => "store unavailable",
            StoreErrorKind::Unsupported => "not supported by this store",
            StoreErrorKind::Corrupt => "stored data is damaged",
            StoreErrorKind::Other => "store error",
        };
        write!(f, "{what}: {}", self.source)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.source.as_ref())
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => StoreErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => StoreErrorKind::AlreadyExists,
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => StoreErrorKind::Full,
            _ => StoreErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
