//! What a history of answers must be, whatever happened in whatever order.

use super::client::{Event, History, LENGTH, WRONG, What, origin};

/// Checks a history; `last` is what a HEAD says in the end, `bytes` what is stored then.
pub(crate) fn check(history: &History, last: Option<u64>, bytes: &[u8]) -> Result<(), String> {
    let events = history.events();
    for event in &events {
        if matches!(event.status, 500 | 507) {
            return Err(format!("nothing has failed: {event:?}"));
        }
        told_is_stored(event)?;
    }
    for (n, event) in events.iter().enumerate() {
        for later in events.iter().skip(n + 1) {
            nothing_is_taken_back(event, later)?;
            one_writes(event, later)?;
        }
    }
    let deleted = events.iter().any(|event| event.what == What::Delete && event.status == 204);
    match (last, told(&events)) {
        (None, _) if deleted || history.may_be_ended() => Ok(()),
        (None, _) => Err("the upload is gone, and nobody has ended it".to_owned()),
        (Some(last), _) if deleted => Err(format!("ended, and yet at {last}")),
        (Some(last), Some(told)) if last < told => Err(format!("{told} told, {last} kept")),
        (Some(last), _) if last != bytes.len() as u64 => Err(format!("{last} of {bytes:?}")),
        _ => places(bytes),
    }
}

/// The most that anybody was told.
fn told(events: &[Event]) -> Option<u64> {
    events.iter().filter_map(|event| event.offset).max()
}

/// P1. An upload that somebody else has ended since has nothing to show.
fn told_is_stored(event: &Event) -> Result<(), String> {
    let (Some(offset), Some(durable)) = (event.offset, &event.durable) else { return Ok(()) };
    if offset > LENGTH || offset > durable.len() as u64 {
        return Err(format!("told more than is stored: {event:?}"));
    }
    places(durable)?;
    // What a PATCH was thanked for is what it has brought.
    if let (What::Patch(at, writer), 204) = (&event.what, event.status) {
        let range = usize::try_from(*at).unwrap()..usize::try_from(offset).unwrap();
        let brought = durable.get(range).unwrap_or_default();
        if let Some(byte) = brought.iter().find(|byte| origin(**byte).0 != *writer) {
            return Err(format!("{:?} has written in {event:?}", origin(*byte)));
        }
    }
    Ok(())
}

/// Every byte is where it belongs, and none was disproven (P3).
fn places(bytes: &[u8]) -> Result<(), String> {
    for (place, byte) in (0..).zip(bytes) {
        let (writer, at) = origin(*byte);
        if at != place || writer >= WRONG {
            return Err(format!("byte {place} is that of {writer} for {at}: {bytes:?}"));
        }
    }
    Ok(())
}

/// What was heard before something was asked holds for the answer.
fn nothing_is_taken_back(one: &Event, other: &Event) -> Result<(), String> {
    let (before, after) = if one.began < other.began { (one, other) } else { (other, one) };
    if before.ended > after.began {
        return Ok(());
    }
    let ended = before.what == What::Delete && before.status == 204;
    if ended && !matches!(after.status, 404 | 410) {
        return Err(format!("{before:?}, and then {after:?}"));
    }
    match (before.offset, after.offset) {
        (Some(before_offset), Some(offset)) if offset < before_offset => {
            Err(format!("{before:?}, and then {after:?}"))
        }
        _ => Ok(()),
    }
}

/// No two PATCHes are thanked for the same bytes (P4).
fn one_writes(one: &Event, other: &Event) -> Result<(), String> {
    let range = |event: &Event| match (&event.what, event.status, event.offset) {
        (What::Patch(at, _), 204, Some(offset)) => Some(*at..offset),
        _ => None,
    };
    match (range(one), range(other)) {
        (Some(a), Some(b)) if a.start.max(b.start) < a.end.min(b.end) => {
            Err(format!("two have written the same: {one:?} and {other:?}"))
        }
        _ => Ok(()),
    }
}
