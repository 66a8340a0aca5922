//! Smaller faults, one test each.
