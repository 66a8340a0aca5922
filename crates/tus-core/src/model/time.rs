use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment of wall-clock time, in whole milliseconds since the Unix epoch.
///
/// ```
/// use std::time::Duration;
/// use tus_core::Timestamp;
///
/// let created = Timestamp::from_millis(1_000);
/// assert_eq!(created.after(Duration::from_secs(2)).as_millis(), 3_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch itself.
    pub const EPOCH: Self = Self(0);

    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// What the system's clock says now; a clock before 1970 reads as the epoch.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment plus a period, saturating at the end of time.
    #[must_use]
    pub fn after(self, period: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(period.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this moment is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The same moment as the standard library's type, capped at the year 9999, the last one an
    /// HTTP date can name (RFC 9110, section 5.6.7).
    pub fn to_system_time(self) -> SystemTime {
        const END_OF_9999_MS: u64 = 253_402_300_799_000;
        UNIX_EPOCH + Duration::from_millis(self.0.min(END_OF_9999_MS))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
