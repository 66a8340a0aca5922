//! What a run counts.

use std::{collections::BTreeMap, fmt};

use super::differences;

/// What was counted.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) odd: u64,
    pub(crate) stored: u64,
    pub(crate) whole: u64,
    /// How often actix-web dropped the end of a body whose client left.
    pub(crate) dropped: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) differences: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.odd += other.odd;
        self.stored += other.stored;
        self.whole += other.whole;
        self.dropped += other.dropped;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (name, count) in other.differences {
            *self.differences.entry(name).or_default() += count;
        }
    }

    /// How often the frameworks differed, and why.
    pub(crate) fn print_differences(&self) {
        for known in differences::ALL {
            let count = self.differences.get(known.name).copied().unwrap_or(0);
            println!("  differ {count:5} times: {}: {}", known.name, known.why);
        }
        println!("  actix-web dropped the end of {} bodies whose clients left", self.dropped);
    }

    /// Whether enough was right to matter, and (where enough was tried to see all of them) no
    /// difference stands in the list in vain.
    pub(crate) fn is_worth_it(&self) -> Result<(), String> {
        let good: u64 = self.statuses.range(200..300).map(|(_, count)| count).sum();
        if good * 3 < self.requests || self.whole * 50 < self.requests {
            return Err(format!("only {good} successes, {} whole uploads", self.whole));
        }
        if self.requests < 1_000_000 {
            return Ok(());
        }
        let seen = |name| self.differences.contains_key(name) || differences::RARE.contains(&name);
        let unseen = differences::ALL.iter().find(|known| !seen(known.name));
        unseen.map_or(Ok(()), |known| Err(format!("nobody differs by: {}", known.name)))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, odd, stored, whole, statuses, .. } = self;
        write!(
            f,
            "{requests} requests to each of 3 servers ({odd} odd), {whole} uploads finished, "
        )?;
        write!(f, "{stored} bytes stored, statuses {statuses:?}")
    }
}
