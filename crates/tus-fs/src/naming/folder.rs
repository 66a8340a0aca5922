//! The sub-folder of a finished upload.

use std::{fmt, path::PathBuf, str::FromStr};

use super::{MAX_NAME, sanitize};

/// The sub-folder of the destination that a finished upload goes to, as an operator writes it.
///
/// Segments are separated by `/` and mix plain text with placeholders:
///
/// | placeholder | becomes |
/// |---|---|
/// | `{year}` `{month}` `{day}` | the date in UTC, as `2026`, `03`, `09` |
/// | `{metadata:KEY}` | the value of that key in the upload's metadata |
/// | `{owner}` | the owner that authorization gave the upload |
/// | `{id:N}` | the first N characters of the upload's id, N from 1 to 8 |
///
/// An empty template means no sub-folder. Each expanded segment is sanitised as file names are, a
/// separator within a value becomes `_`, and a segment of which nothing is left is `_`, so no value
/// leads out of the destination. Two values can give the same folder (`a/b` and `a_b`): a folder
/// sorts files, it does not keep one owner from another's.
///
/// # Examples
///
/// ```
/// use std::path::Path;
/// use tus_fs::FolderTemplate;
///
/// let template: FolderTemplate = "{year}/{month}/by-{owner}".parse()?;
/// let folder = template.expand(1_709_164_800, "4f2a9c", Some("../ann"), &|_| None);
/// assert_eq!(folder, Path::new("2024/02/by-.._ann"));
///
/// let error = "{date:%Y}".parse::<FolderTemplate>().unwrap_err();
/// assert_eq!(error.piece(), "{date:%Y}");
/// # Ok::<(), tus_fs::FolderTemplateError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderTemplate {
    template: String,
    segments: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Year,
    Month,
    Day,
    Metadata(String),
    Owner,
    Id(usize),
}

impl FolderTemplate {
    /// The most segments a template may have.
    pub const MAX_SEGMENTS: usize = 16;

    /// The folder for one upload: relative, without `..`, empty for an empty template.
    ///
    /// A finish that is repeated must find the same folder, so `unix_seconds` is a time from the
    /// upload's record, not the clock's.
    #[must_use]
    pub fn expand(
        &self,
        unix_seconds: u64,
        id: &str,
        owner: Option<&str>,
        metadata: &dyn Fn(&str) -> Option<String>,
    ) -> PathBuf {
        let (year, month, day) = utc_date(unix_seconds);
        let expand = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Year => format!("{year:04}"),
            Piece::Month => format!("{month:02}"),
            Piece::Day => format!("{day:02}"),
            Piece::Metadata(key) => metadata(key).unwrap_or_default(),
            Piece::Owner => owner.unwrap_or_default().to_owned(),
            Piece::Id(count) => id.chars().take(*count).collect(),
        };
        let segment = |pieces: &Vec<Piece>| {
            // `sanitize` alone would keep what follows a separator, and so let a client's value
            // drop the operator's text before it.
            let text = pieces.iter().map(expand).collect::<String>().replace(['/', '\\'], "_");
            sanitize(&text).unwrap_or_else(|| "_".to_owned())
        };
        self.segments.iter().map(segment).collect()
    }
}

impl fmt::Display for FolderTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.template)
    }
}

impl FromStr for FolderTemplate {
    type Err = FolderTemplateError;

    fn from_str(template: &str) -> Result<Self, Self::Err> {
        parse_segments(template)
            .map(|segments| Self { template: template.to_owned(), segments })
            .map_err(|(piece, problem)| FolderTemplateError {
                template: template.to_owned(),
                piece,
                problem,
            })
    }
}

fn parse_segments(template: &str) -> Result<Vec<Vec<Piece>>, (String, Problem)> {
    if template.is_empty() {
        return Ok(Vec::new());
    }
    // A metadata key may hold a slash.
    let mut inside = false;
    let segments = template.split(|c| {
        inside = c == '{' || inside && c != '}';
        c == '/' && !inside
    });
    let segments = segments.map(parse_segment).collect::<Result<Vec<_>, _>>()?;
    if segments.len() > FolderTemplate::MAX_SEGMENTS {
        return Err((template.to_owned(), Problem::TooManySegments));
    }
    Ok(segments)
}

fn parse_segment(text: &str) -> Result<Vec<Piece>, (String, Problem)> {
    let refuse = |problem| Err((text.to_owned(), problem));
    if text.is_empty() {
        return Err(("/".to_owned(), Problem::EmptySegment));
    }
    let mut pieces = Vec::new();
    // The segment with a harmless value in each placeholder.
    let mut sample = String::new();
    let mut rest = text;
    while let Some((literal, tail)) = rest.split_once('{') {
        let Some((inside, after)) = tail.split_once('}') else {
            return refuse(Problem::Braces);
        };
        if literal.contains('}') || inside.contains('{') {
            return refuse(Problem::Braces);
        }
        pieces.extend([Piece::Literal(literal.to_owned()), parse_placeholder(inside)?]);
        sample.extend([literal, "0"]);
        rest = after;
    }
    if rest.contains('}') {
        return refuse(Problem::Braces);
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    sample.push_str(rest);
    // An error at start is better than files in a folder that nobody named.
    if sanitize(&sample).as_ref() != Some(&sample) {
        return refuse(Problem::UnsafeSegment);
    }
    Ok(pieces)
}

fn parse_placeholder(inside: &str) -> Result<Piece, (String, Problem)> {
    let refuse = |problem| Err((format!("{{{inside}}}"), problem));
    match inside.split_once(':') {
        None if inside == "year" => Ok(Piece::Year),
        None if inside == "month" => Ok(Piece::Month),
        None if inside == "day" => Ok(Piece::Day),
        None if inside == "owner" => Ok(Piece::Owner),
        Some(("metadata", key)) if key.is_empty() || key.contains([' ', ',']) => {
            refuse(Problem::MetadataKey)
        }
        Some(("metadata", key)) => Ok(Piece::Metadata(key.to_owned())),
        Some(("id", count)) => match count.parse() {
            Ok(number @ 1..=8) if count.len() == 1 => Ok(Piece::Id(number)),
            _ => refuse(Problem::IdCount),
        },
        _ => refuse(Problem::Placeholder),
    }
}

/// A setting that is no [`FolderTemplate`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("folder template {template:?}: {piece:?} {problem}")]
pub struct FolderTemplateError {
    template: String,
    piece: String,
    problem: Problem,
}

impl FolderTemplateError {
    /// The part of the template that is wrong.
    #[must_use]
    pub fn piece(&self) -> &str {
        &self.piece
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error(
        "is no placeholder; use {{year}}, {{month}}, {{day}}, {{owner}}, {{metadata:KEY}} or \
         {{id:1}} to {{id:8}}"
    )]
    Placeholder,
    #[error("has a brace without its partner; write each placeholder as {{name}}")]
    Braces,
    #[error("asks for no usable part of the id; use {{id:1}} to {{id:8}}")]
    IdCount,
    #[error("names no metadata key; use {{metadata:KEY}}, a key without spaces and commas")]
    MetadataKey,
    #[error("stands before or after nothing; use a relative path with single slashes, as in a/b")]
    EmptySegment,
    #[error(
        "is no safe folder name on every system; leave out leading and trailing dots and spaces, \
         the characters \\ < > : \" | ? *, invisible ones, and names such as CON or NUL, and use \
         at most {MAX_NAME} bytes"
    )]
    UnsafeSegment,
    #[error("has too many segments; use at most {} of them", FolderTemplate::MAX_SEGMENTS)]
    TooManySegments,
}

/// Year, month and day in UTC, by the Gregorian calendar.
pub(super) fn utc_date(unix_seconds: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;

    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut day = unix_seconds / 86_400;
    let mut year = 1970 + day / DAYS_IN_400_YEARS * 400;
    day %= DAYS_IN_400_YEARS;
    loop {
        let days = if leap(year) { 366 } else { 365 };
        if day < days {
            break;
        }
        day -= days;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    (year, month, day + 1)
}
