//! Stores that break one promise each, beside the case that must notice.

pub mod chunks;
pub mod locker;
pub mod meta;
