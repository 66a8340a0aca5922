//! How long a peer may keep us waiting for it to take bytes.

use std::time::Duration;

use tokio::time::Instant;

/// A time that runs down while we wait for a peer, and grows with each byte that it takes.
///
/// A peer that takes nothing has used it up after `most`; one that takes less than `rate` bytes
/// a second on the long run uses it up later; one that takes more never does. Time in which the
/// peer has nothing to take is not held against it.
#[derive(Clone, Debug)]
pub(super) struct Credit {
    most: Duration,
    rate: Option<u64>,
    left: Duration,
    waiting: Option<Instant>,
}

impl Credit {
    /// A full credit; without a rate every byte fills it up again.
    pub(super) fn new(most: Duration, rate: Option<u64>) -> Self {
        Self { most, rate, left: most, waiting: None }
    }

    /// It is the peer's turn, if it was not already; when its credit ends.
    pub(super) fn wait(&mut self, now: Instant) -> Instant {
        *self.waiting.get_or_insert(now) + self.left
    }

    /// It is our turn.
    pub(super) fn rest(&mut self, now: Instant) {
        if let Some(since) = self.waiting.take() {
            self.left = self.left.saturating_sub(now - since);
        }
    }

    /// The peer has taken so many bytes.
    pub(super) fn earn(&mut self, now: Instant, bytes: usize) {
        let was_waiting = self.waiting.is_some();
        self.rest(now);
        self.left = match self.rate {
            Some(rate) => {
                let nanos = (bytes as u64).saturating_mul(1_000_000_000) / rate.max(1);
                self.left.saturating_add(Duration::from_nanos(nanos)).min(self.most)
            }
            None if bytes > 0 => self.most,
            None => self.left,
        };
        if was_waiting {
            self.waiting = Some(now);
        }
    }

    /// Whether nothing of it is used up.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.is_none() && self.left == self.most
    }

    /// When the credit ends if nothing changes; `None` while it is our turn.
    pub(super) fn end(&self) -> Option<Instant> {
        self.waiting.map(|since| since + self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(30);

    /// How long a peer lasts that takes `bytes` every `pause`, in pauses; at most a thousand.
    fn lasts(rate: Option<u64>, bytes: usize, pause: Duration) -> Option<u32> {
        let mut credit = Credit::new(MOST, rate);
        let begun = Instant::now();
        (0..1000).find(|pauses| {
            let end = credit.wait(begun + pause * *pauses);
            let next = begun + pause * (pauses + 1);
            credit.earn(next, bytes);
            end < next
        })
    }

    #[test]
    fn a_peer_that_takes_nothing_lasts_for_the_whole_credit_and_no_longer() {
        for rate in [None, Some(1), Some(1024)] {
            assert_eq!(lasts(rate, 0, Duration::from_secs(1)), Some(30), "{rate:?}");
        }
    }

    #[test]
    fn a_peer_below_the_rate_is_found_out_and_one_above_it_never() {
        let second = Duration::from_secs(1);
        assert_eq!(lasts(Some(1024), 1, second), Some(30));
        // Half the rate, half the loss.
        assert_eq!(lasts(Some(1024), 512, second), Some(59));
        assert_eq!(lasts(Some(1024), 1024, second), None);
        assert_eq!(lasts(Some(1024), 1024 * 20, second * 20), None);
        assert_eq!(lasts(None, 1, second * 29), None);
    }

    #[test]
    fn our_own_time_is_not_held_against_the_peer() {
        let mut credit = Credit::new(MOST, Some(1024));
        let now = Instant::now();
        assert_eq!(credit.end(), None);
        credit.wait(now);
        credit.rest(now + Duration::from_secs(10));
        assert_eq!(credit.end(), None);
        let later = now + Duration::from_secs(1000);
        assert_eq!(credit.wait(later), later + Duration::from_secs(20));
        // Never more than there was at first, whatever it takes at once.
        credit.earn(later, 1 << 30);
        assert_eq!(credit.end(), Some(later + MOST));
    }
}
