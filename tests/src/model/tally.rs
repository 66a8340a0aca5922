//! What the sequences came across: a model that nothing happens to proves nothing.

use std::{collections::BTreeMap, fmt::Write as _, sync::Mutex};

use super::{Operation, Who};
use crate::rig::Answer;

/// How often something happened, in all sequences.
#[derive(Debug)]
pub struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    pub(crate) fn add(&self, what: &'static str) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }

    pub(crate) fn note(&self, operation: &Operation, answers: &[(Who, Answer)]) {
        self.add("operations");
        let asks = matches!(operation, Operation::Ask { .. });
        for (who, answer) in answers {
            let stopped = *who != Who::Asking && asks;
            self.note_rufh(answer);
            match answer.status {
                503 if stopped => self.add("preempted"),
                423 => self.add("preempted"),
                201 if stopped => self.add("preempted with a URL"),
                204 if stopped => self.add("ended while somebody waited"),
                408 => self.add("too long a pause"),
                409 => self.add("wrong offset"),
                410 if is_outgrown(answer) => self.add("outgrown"),
                410 => self.add("gone"),
                422 => self.add("refused at the end"),
                460 => self.add("wrong digest"),
                503 => self.add("failed hook"),
                _ => {}
            }
        }
        match operation {
            Operation::Round(off) if off.abs() > 10 => self.add("jumps of the clock"),
            Operation::Round(_) => self.add("rounds of the sweeper"),
            Operation::Restart => self.add("restarts"),
            Operation::Cancel { .. } => self.add("cancelled"),
            _ => {}
        }
    }

    fn note_rufh(&self, answer: &Answer) {
        let Some(complete) = answer.headers.get("upload-complete") else { return };
        self.add("answers of RUFH");
        let body = String::from_utf8_lossy(&answer.body);
        match answer.status {
            201 if complete == "?1" => self.add("said to be complete"),
            204 if complete == "?0" && answer.length() == answer.offset() => {
                self.add("open at its length");
            }
            400 if body.contains("inconsistent-upload-length") => {
                self.add("lengths that differ");
            }
            _ => {}
        }
    }

    /// In words.
    ///
    /// # Panics
    ///
    /// If one of these has never happened.
    pub fn report(&self) -> String {
        let seen = self.0.lock().unwrap();
        let expected = [
            "operations",
            "answers of RUFH",
            "cancelled",
            "crashed in mid-request",
            "preempted with a URL",
            "ended while somebody waited",
            "failed hook",
            "gone",
            "jumps of the clock",
            "lengths that differ",
            "open at its length",
            "outgrown",
            "preempted",
            "refused at the end",
            "restarts",
            "rounds of the sweeper",
            "said to be complete",
            "too long a pause",
            "wrong digest",
            "wrong offset",
        ];
        let mut text = String::new();
        for what in expected {
            let count = seen.get(what).copied().unwrap_or(0);
            assert!(count > 0, "never seen: {what}");
            let _infallible = write!(text, ", {count} {what}");
        }
        text
    }
}

fn is_outgrown(answer: &Answer) -> bool {
    String::from_utf8_lossy(&answer.body).contains("More bytes came than were declared.")
}
