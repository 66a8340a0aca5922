//! What clients and the application know of their uploads, and what that obliges the server to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use bytes::Bytes;

/// What an upload is to be.
#[derive(Clone)]
pub struct Plan {
    /// All its bytes; those of a final are its parts'.
    pub body: Bytes,
    /// Its role.
    pub role: Role,
    /// Whether its length is declared late.
    pub is_deferred: bool,
    /// Its file name.
    pub name: String,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (length, deferred) =
            (self.body.len(), if self.is_deferred { ", deferred" } else { "" });
        write!(f, "{:?} of {length} bytes{deferred}", self.role)
    }
}

/// The role of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// By itself.
    Single,
    /// To be a part.
    Partial,
    /// Made of these parts.
    Final(Vec<String>),
}

/// Bytes that were sent and not yet answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Where they begin.
    pub at: u64,
    /// Where they end.
    pub end: u64,
    /// Whether a digest was promised that is right, or that is wrong.
    pub sealed: Option<bool>,
}

/// Something that the application is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// `on_finish`.
    Finished,
    /// `on_terminated`.
    Terminated,
    /// `on_expired`.
    Expired,
}

/// Something that a client does or hears, or that the application is told.
#[derive(Clone, Debug)]
pub enum Mark {
    /// It is so late by the server's clock, in milliseconds; the time of these is over.
    Time(u64, Vec<String>),
    /// A creation is sent, with the first bytes perhaps.
    Creating(String, Arc<Plan>, Option<Flight>),
    /// 201.
    Created(String),
    /// Bytes are sent.
    Sending(String, Flight),
    /// A success that tells an offset.
    Told(String, u64),
    /// A success that tells that all is done.
    Whole(String),
    /// The application's refusal.
    Refused(String),
    /// A termination is sent.
    Ending(String),
    /// 204 to a termination.
    Ended(String),
    /// 404 or 410.
    Missing(String),
    /// A request is sent, or answered with this status.
    Asked(String, Option<u16>),
    /// The application is told, with the checksum of the bytes that it finds.
    Event(String, Event, String, Option<u32>),
}

/// What is known of one upload.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it is to be.
    pub plan: Arc<Plan>,
    /// Whether its URL was told.
    pub is_created: bool,
    /// The highest offset that was told.
    pub told: u64,
    /// What was sent since.
    pub flights: Vec<Flight>,
    /// Whether all was told to be done.
    pub is_whole: bool,
    /// Whether a refusal of the application was told.
    pub is_refused: bool,
    /// Whether somebody wants to terminate it.
    pub is_ending: bool,
    /// Whether it was told to be terminated.
    pub is_ended: bool,
    /// Whether it was told to be gone.
    pub is_missing: bool,
    /// Whether its time is over.
    pub is_late: bool,
    /// The ids of the events that the application was told.
    pub events: BTreeMap<Event, BTreeSet<String>>,
}

impl Known {
    /// Why an offset cannot be right, if so.
    pub fn is_wrong(&self, offset: u64) -> Option<String> {
        let possible = offset == self.told
            || self.flights.iter().any(|flight| match flight.sealed {
                None => offset > self.told && flight.at <= offset && offset <= flight.end,
                Some(right) => right && offset == flight.end,
            })
            || (matches!(self.plan.role, Role::Final(_)) && offset == self.length());
        (!possible).then(|| format!("{offset} is told after {}, {:?}", self.told, self.flights))
    }

    /// How many bytes it is to have.
    pub fn length(&self) -> u64 {
        self.plan.body.len() as u64
    }

    /// Whether its bytes may have been finished.
    pub fn is_announced(&self) -> bool {
        self.events.contains_key(&Event::Finished)
    }
}

/// All that is known.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// Of each upload, by its id.
    pub uploads: BTreeMap<String, Known>,
    /// How late it is, in milliseconds.
    pub time: u64,
}

impl Knowledge {
    /// Adds to what is known.
    ///
    /// # Errors
    ///
    /// Why it contradicts what is known.
    pub fn hear(&mut self, mark: &Mark) -> Result<(), String> {
        match mark {
            Mark::Time(time, late) => {
                self.time = *time;
                for id in late {
                    self.known(id).is_late = true;
                }
            }
            Mark::Creating(id, plan, flight) => {
                let known = Known {
                    plan: plan.clone(),
                    is_created: false,
                    told: 0,
                    flights: flight.iter().copied().collect(),
                    is_whole: false,
                    is_refused: false,
                    is_ending: false,
                    is_ended: false,
                    is_missing: false,
                    is_late: false,
                    events: BTreeMap::new(),
                };
                self.uploads.insert(id.clone(), known);
            }
            Mark::Asked(..) => {}
            Mark::Created(id) => self.known(id).is_created = true,
            Mark::Sending(id, flight) => self.known(id).flights.push(*flight),
            Mark::Told(id, offset) => {
                let known = self.known(id);
                if let Some(wrong) = known.is_wrong(*offset) {
                    return Err(format!("{id}: {wrong}"));
                }
                known.told = *offset;
                known.flights.clear();
            }
            Mark::Whole(id) => {
                let known = self.known(id);
                let length = known.length();
                let is_final = matches!(known.plan.role, Role::Final(_));
                if known.is_refused || (known.told != length && !is_final) {
                    return Err(format!("{id} is told to be whole: {known:?}"));
                }
                (known.is_whole, known.told) = (true, length);
            }
            Mark::Refused(id) => {
                let known = self.known(id);
                if known.is_whole {
                    return Err(format!("{id} was a success, and is refused now"));
                }
                known.is_refused = true;
            }
            Mark::Ending(id) => self.known(id).is_ending = true,
            Mark::Ended(id) => self.known(id).is_ended = true,
            Mark::Missing(id) => self.known(id).is_missing = true,
            Mark::Event(id, what, event, sum) => {
                let known = self.known(id);
                let whole = crc32fast::hash(&known.plan.body);
                if sum.is_some_and(|sum| sum != whole) {
                    return Err(format!("{id} is announced with other bytes"));
                }
                let events = known.events.entry(*what).or_default();
                events.insert(event.clone());
                if events.len() > 1 {
                    return Err(format!("{id}: {what:?} has many ids: {events:?}"));
                }
            }
        }
        Ok(())
    }

    fn known(&mut self, id: &str) -> &mut Known {
        self.uploads.get_mut(id).unwrap_or_else(|| panic!("{id} was never created"))
    }
}
