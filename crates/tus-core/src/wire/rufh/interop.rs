//! Which form of RUFH a client speaks (RUFH, appendix "Draft Version Identification").

use http::{HeaderMap, HeaderValue};

use super::{names, structured};

/// A form of the protocol.
///
/// | interop version | draft |
/// |---|---|
/// | 3, 4, 5 | -01, -02, -03 |
/// | 6 | -04, -05 |
/// | 7 | -06 to -08 |
/// | 8 | -09 to -12 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Interop {
    V3,
    V4,
    V5,
    V6,
    V7,
    V8,
    /// That of the RFC to come, whose clients name no version; also what a client gets that names
    /// one which is not spoken here.
    Final,
}

impl Interop {
    /// The form that a request names; `None` if it names none.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        if !headers.contains_key(&names::INTEROP_VERSION) {
            return None;
        }
        Some(match structured::integer(headers, &names::INTEROP_VERSION) {
            Some(3) => Self::V3,
            Some(4) => Self::V4,
            Some(5) => Self::V5,
            Some(6) => Self::V6,
            Some(7) => Self::V7,
            Some(8) => Self::V8,
            _ => Self::Final,
        })
    }

    /// The number, where there is one.
    pub(crate) fn number(self) -> Option<u64> {
        match self {
            Self::V3 => Some(3),
            Self::V4 => Some(4),
            Self::V5 => Some(5),
            Self::V6 => Some(6),
            Self::V7 => Some(7),
            Self::V8 => Some(8),
            Self::Final => None,
        }
    }

    /// Says the number, which a 104 MUST.
    pub(crate) fn add(self, headers: &mut HeaderMap) {
        if let Some(number) = self.number() {
            headers.insert(&names::INTEROP_VERSION, HeaderValue::from(number));
        }
    }

    /// Whether a client of this form knows a 104 that tells how far the upload is: since -03.
    pub(crate) fn knows_progress(self) -> bool {
        self >= Self::V5
    }
}
