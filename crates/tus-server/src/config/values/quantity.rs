//! Sizes and durations.

use std::time::Duration;

use tus_fs::Reserve;

use super::{NONE, Parsed};

/// Beyond a century a deadline can no longer be counted on every clock.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// More of anything could as well be unlimited.
const MOST: u32 = 1_000_000;

/// A size in bytes, with or without a unit; underscores may group digits.
fn size(text: &str) -> Parsed<u64> {
    let wrong = || "is not a size; write bytes or a unit, for example 10GiB".to_owned();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let digits = digits.replace('_', "");
    if digits.is_empty() {
        return Err(wrong());
    }
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000_u64.pow(2),
        "gb" => 1000_u64.pow(3),
        "tb" => 1000_u64.pow(4),
        "pb" => 1000_u64.pow(5),
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "pib" => 1 << 50,
        _ => return Err(wrong()),
    };
    let too_large = || "is too large; write less than 8192PiB, or 0 for unlimited".to_owned();
    let number: u64 = digits.parse().map_err(|_| too_large())?;
    // File offsets are signed.
    let size = number.checked_mul(factor).filter(|size| i64::try_from(*size).is_ok());
    size.ok_or_else(too_large)
}

/// A largest size; 0 is none.
pub(crate) fn size_limit(text: &str) -> Parsed<Option<u64>> {
    Ok(Some(size(text)?).filter(|size| *size > 0))
}

/// Room to be left: a size, a percentage, or both, of which the smaller counts; 0 is none.
pub(crate) fn reserve(text: &str) -> Parsed<Reserve> {
    const WRONG: &str = "is not room to leave; write a size, a percentage below 100%, or both, for \
                         example 2GiB, 5% or 5%,2GiB, or none";
    let (mut percent, mut bytes) = (None, None);
    for part in text.split(',').map(str::trim) {
        let known = match part.strip_suffix('%') {
            Some(share) => {
                let share = share.trim_end().parse().ok().filter(|share| *share < 100_u8);
                percent.replace(share.ok_or(WRONG)?).is_some()
            }
            None if text == NONE => bytes.replace(0).is_some(),
            None => bytes.replace(size(part).map_err(|_| WRONG)?).is_some(),
        };
        if known {
            return Err(WRONG.to_owned());
        }
    }
    Ok(match (percent, bytes) {
        (Some(0), _) | (_, Some(0)) => Reserve::None,
        (Some(percent), bytes) => Reserve::Share { percent, at_most: bytes.unwrap_or(u64::MAX) },
        (None, bytes) => Reserve::Bytes(bytes.unwrap_or(0)),
    })
}

/// The largest head of a request: no more than what is read at once.
pub(crate) fn head_size(text: &str) -> Parsed<usize> {
    let size = size(text)?;
    let size = usize::try_from(size).ok().filter(|size| (8 << 10..=1 << 20).contains(size));
    size.ok_or_else(|| "is out of bounds; write a size from 8KiB to 1MiB".to_owned())
}

/// The size of a header field or of a part of one.
pub(crate) fn field_size(text: &str) -> Parsed<usize> {
    let size = usize::try_from(size(text)?).ok().filter(|size| (1..=1 << 20).contains(size));
    size.ok_or_else(|| "is out of bounds; write a size from 1 byte to 1MiB".to_owned())
}

/// A number of things.
pub(crate) fn count<T: TryFrom<u32>>(text: &str) -> Parsed<T> {
    let wrong = || format!("is not a number of them; write one from 1 to {MOST}");
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(wrong)
}

/// A largest number of things; 0 is none.
pub(crate) fn count_limit(text: &str) -> Parsed<Option<usize>> {
    if text == "0" { Ok(None) } else { count(text).map(Some) }
}

/// A duration with units.
pub(crate) fn duration(text: &str) -> Parsed<Duration> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let duration = humantime::parse_duration(text).map_err(|_| {
        "is not a duration; write a number with a unit, for example 30s or 24h".to_owned()
    })?;
    if duration > LONGEST {
        return Err("is more than a hundred years; write a shorter time".to_owned());
    }
    Ok(duration)
}

/// A duration that is not zero.
pub(crate) fn positive_duration(text: &str) -> Parsed<Duration> {
    match duration(text)? {
        Duration::ZERO => Err("leaves no time at all; write for example 30s".to_owned()),
        duration => Ok(duration),
    }
}

/// The lifetime of an upload; 0 is for ever.
pub(crate) fn lifetime(text: &str) -> Parsed<Option<Duration>> {
    Ok(Some(duration(text)?).filter(|lifetime| !lifetime.is_zero()))
}
