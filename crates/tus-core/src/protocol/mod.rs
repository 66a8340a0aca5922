//! The rules, pure: given the command, the record, the stored length, the policy and the time,
//! they decide. No IO, no clock, no async.
//!
//! ```text
//!  command ──▶ admit ──▶ Admission ──▶ Intake ──▶ Verdict ──▶ settle ──▶ Settlement
//!              (may it    (from where,  (shown each (how the     (what to record,
//!               write?)    how much)     frame)      body ended)   what to answer)
//! ```
//!
//! Each state is made from the one before and consumed by the next, so a wrong order does not
//! compile. [`recover`] says what a record and a stored length that disagree mean, [`concat`]
//! what a final may be made of, [`limits`] how large anything may become, [`expire`] when time is up.

pub(crate) mod admit;
pub(crate) mod concat;
pub(crate) mod create;
pub(crate) mod digests;
pub(crate) mod expire;
pub(crate) mod inspect;
pub(crate) mod intake;
pub(crate) mod limits;
pub(crate) mod read;
pub(crate) mod recover;
pub(crate) mod settle;
