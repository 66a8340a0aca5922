//! Structured fields (RFC 9651), read and written by a library.
//!
//! A field that cannot be read is as good as absent: RUFH says so for each of its own (sections
//! 4.1.1 to 4.1.4), and RFC 9530 for digests.

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, DictSerializer, Dictionary, Item, Key, ListEntry, Parser};

/// All lines of a field, as one value (RFC 9110, section 5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(name).iter();
    let mut all = lines.next()?.as_bytes().to_vec();
    for line in lines {
        all.extend_from_slice(b", ");
        all.extend_from_slice(line.as_bytes());
    }
    Some(all)
}

fn item(headers: &HeaderMap, name: &HeaderName) -> Option<BareItem> {
    let all = joined(headers, name)?;
    Parser::new(&all).parse::<Item>().ok().map(|item| item.bare_item)
}

/// A field that is a Boolean.
pub(super) fn boolean(headers: &HeaderMap, name: &HeaderName) -> Option<bool> {
    item(headers, name)?.as_boolean()
}

/// A field that is a non-negative Integer.
pub(super) fn integer(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let integer = item(headers, name)?.as_integer()?;
    u64::try_from(i64::from(integer)).ok()
}

/// The members of a field that is a Dictionary of single values.
pub(super) fn dictionary(headers: &HeaderMap, name: &HeaderName) -> Vec<(String, BareItem)> {
    let parsed = joined(headers, name).map(|all| Parser::new(&all).parse::<Dictionary>());
    let members = parsed.and_then(Result::ok).unwrap_or_default().into_iter();
    members
        .filter_map(|(key, entry)| match entry {
            ListEntry::Item(item) => Some((String::from(key), item.bare_item)),
            ListEntry::InnerList(_) => None,
        })
        .collect()
}

/// The value of a field that is a Dictionary, of these members; `None` where there are none.
pub(super) fn write_dictionary(
    members: impl IntoIterator<Item = (&'static str, BareItem)>,
) -> Option<HeaderValue> {
    let mut dictionary = DictSerializer::new();
    for (key, value) in members {
        let key = Key::from_string(key.to_owned()).ok()?;
        let _parameters = dictionary.bare_item(&key, &value);
    }
    HeaderValue::try_from(dictionary.finish()?).ok()
}

/// An Integer of this value, or the largest there is (RFC 9651, section 3.3.1).
pub(super) fn of_integer(value: u64) -> BareItem {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    BareItem::Integer(sfv::Integer::try_from(value).unwrap_or(sfv::Integer::MAX))
}

/// A Boolean as it stands in a field.
pub(super) fn of_boolean(value: bool) -> HeaderValue {
    HeaderValue::from_static(if value { "?1" } else { "?0" })
}

#[cfg(test)]
mod tests {
    use super::{super::names, *};

    fn field(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&names::UPLOAD_COMPLETE, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn what_is_no_boolean_is_absent() {
        for (lines, expected) in [
            (&["?1"][..], Some(true)),
            (&["?0"], Some(false)),
            (&[" ?1 "], Some(true)),
            (&["?1;reason=\"x\""], Some(true)),
            (&["1"], None),
            (&["true"], None),
            (&["?2"], None),
            (&["?1, ?1"], None),
            (&["?1", "?1"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(boolean(&field(lines), &names::UPLOAD_COMPLETE), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_natural_number_is_absent() {
        for (lines, expected) in [
            (&["0"][..], Some(0)),
            (&["999999999999999"], Some(999_999_999_999_999)),
            (&["1000000000000000"], None),
            (&["-1"], None),
            (&["1.0"], None),
            (&["+1"], None),
            (&["\"1\""], None),
            (&["1", "2"], None),
        ] {
            assert_eq!(integer(&field(lines), &names::UPLOAD_COMPLETE), expected, "{lines:?}");
        }
    }

    #[test]
    fn dictionaries_are_written_as_they_are_read() {
        let members = [("max-size", of_integer(u64::MAX)), ("min-size", of_integer(0))];
        let value = write_dictionary(members).unwrap();
        assert_eq!(value, "max-size=999999999999999, min-size=0");
        let mut headers = HeaderMap::new();
        headers.insert(&names::UPLOAD_LIMIT, value);
        let read = dictionary(&headers, &names::UPLOAD_LIMIT);
        assert_eq!(read.len(), 2);
        assert_eq!(write_dictionary([]), None);
    }
}
