//! Which bytes a download sends (RFC 9110, sections 13 and 14).

use std::ops::Range;

use crate::model::{RangeSpec, Read, Refusal};

/// What to send of `length` bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of them.
    Whole,
    /// Some.
    Part(Range<u64>),
    /// None: the client has them.
    NotModified,
}

/// Decides what to send to a client that may have some of it already.
pub(crate) fn select(read: &Read, length: u64, etag: &str) -> Result<Selection, Refusal> {
    if let Some(known) = &read.if_none_match {
        let known = known.to_str().unwrap_or_default();
        let weak = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag) == etag;
        if known.split(',').map(str::trim).any(|tag| tag == "*" || weak(tag)) {
            return Ok(Selection::NotModified);
        }
    }
    // Another validator than ours, or a date, means that the range no longer holds.
    let stale = read.if_range.as_ref().is_some_and(|validator| validator != etag);
    let Some(range) = read.range.filter(|_| !stale) else {
        return Ok(Selection::Whole);
    };
    let range = match range {
        RangeSpec::From(first, last) => {
            first..last.map_or(length, |last| last.saturating_add(1).min(length))
        }
        // The last bytes of nothing are nothing (RFC 9110, section 14.1.2).
        RangeSpec::Suffix(1..) if length == 0 => return Ok(Selection::Whole),
        RangeSpec::Suffix(last) => length.saturating_sub(last)..length,
    };
    if range.is_empty() {
        return Err(Refusal::RangeNotSatisfiable { length });
    }
    Ok(Selection::Part(range))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn ranges_are_cut_to_what_exists() {
        let table = [
            (RangeSpec::From(0, Some(0)), Ok(Selection::Part(0..1))),
            (RangeSpec::From(3, None), Ok(Selection::Part(3..10))),
            (RangeSpec::From(3, Some(99)), Ok(Selection::Part(3..10))),
            (RangeSpec::Suffix(4), Ok(Selection::Part(6..10))),
            (RangeSpec::Suffix(99), Ok(Selection::Part(0..10))),
            (RangeSpec::From(10, None), Err(Refusal::RangeNotSatisfiable { length: 10 })),
            (RangeSpec::Suffix(0), Err(Refusal::RangeNotSatisfiable { length: 10 })),
        ];
        for (range, expected) in table {
            let read = Read { range: Some(range), ..Read::default() };
            assert_eq!(select(&read, 10, "\"e\""), expected, "{range:?}");
        }
    }

    #[test]
    fn validators_decide_whether_a_range_holds() {
        let range = Some(RangeSpec::From(1, None));
        let header = |text| Some(HeaderValue::from_static(text));
        let read = |if_range, if_none_match| Read { range, if_range, if_none_match };
        let table = [
            (read(header("\"e\""), None), Selection::Part(1..10)),
            (read(header("\"old\""), None), Selection::Whole),
            (read(header("Wed, 21 Oct 2015 07:28:00 GMT"), None), Selection::Whole),
            (read(None, header("\"e\"")), Selection::NotModified),
            (read(None, header("\"x\", W/\"e\"")), Selection::NotModified),
            (read(None, header("*")), Selection::NotModified),
            (read(None, header("\"x\"")), Selection::Part(1..10)),
        ];
        for (read, expected) in table {
            assert_eq!(select(&read, 10, "\"e\""), Ok(expected), "{read:?}");
        }
    }
}
