//! Where a finished upload may lie and under which name: the pure part of the file store's policy.
//!
//! Nothing here touches a disk. [`sanitize`] makes a client's file name a harmless path component,
//! [`Candidates`] lists the names to try in order, and [`FolderTemplate`] gives the sub-folder.
//! Whether a name is taken is decided by the kernel when the store links the file, never here.

use std::{fmt, str::FromStr};

mod folder;
#[cfg(test)]
mod tests;

pub use folder::{FolderTemplate, FolderTemplateError};

/// The longest sanitised name in bytes. Every file system we know takes 255, and the longest thing
/// a candidate adds is 17 bytes (`-` and a random token).
const MAX_NAME: usize = 200;

/// The longest extension in bytes, without its dot; what follows the dot is no extension beyond it.
const MAX_EXTENSION: usize = 32;

const DOUBLE_EXTENSIONS: [&str; 4] = [".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"];

/// Windows drops these at the end of a name, and a leading dot hides a file on Unix.
const EDGES: [char; 2] = ['.', ' '];

const LAST_INCREMENT: u16 = 9999;

const RANDOM_TRIES: u8 = 16;

/// How a finished upload is named in the destination directory.
///
/// A client's name is sanitised first: its last path component only, without control and invisible
/// characters, safe on Linux, macOS and Windows. An upload without a usable name gets a random one
/// under every policy. The extension is what follows the last dot (32 bytes at most), and
/// `.tar.gz`, `.tar.xz`, `.tar.zst` and `.tar.bz2` stay whole.
///
/// # Coming from django-tus
///
/// This is `TUS_FILE_NAME_FORMAT`; its values and its default are the same.
///
/// | value | django-tus | here |
/// |---|---|---|
/// | `increment` | `name.0001.ext`, also when `name.ext` is free | `name.ext` when it is free |
/// | `random-suffix` | `name.<random>.ext` | `name-<random>.ext`, 80 random bits |
/// | `random` | `<random>.ext` | the same |
/// | `keep` | the client's name | the same, sanitised |
///
/// `TUS_EXISTING_FILE` is [`OnConflict`].
///
/// # Examples
///
/// ```
/// use tus_fs::Naming;
///
/// let naming: Naming = "random-suffix".parse()?;
/// assert_eq!(naming, Naming::RandomSuffix);
/// assert_eq!(Naming::default().to_string(), "increment");
/// # Ok::<(), tus_fs::ParseNamingError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Naming {
    /// `increment`: the client's name when it is free, else `name.0001.ext`, `name.0002.ext`, ...
    #[default]
    Increment,
    /// `random-suffix`: always `name-<random>.ext`.
    RandomSuffix,
    /// `random`: `<random>.ext`, nothing of the client's name but its extension.
    Random,
    /// `keep`: the client's name; [`OnConflict`] says what happens when it is taken.
    Keep,
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Increment => "increment",
            Self::RandomSuffix => "random-suffix",
            Self::Random => "random",
            Self::Keep => "keep",
        })
    }
}

impl FromStr for Naming {
    type Err = ParseNamingError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        match value {
            "increment" => Ok(Self::Increment),
            "random-suffix" => Ok(Self::RandomSuffix),
            "random" => Ok(Self::Random),
            "keep" => Ok(Self::Keep),
            _ => Err(ParseNamingError { value: value.to_owned() }),
        }
    }
}

/// A setting that is no [`Naming`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is no file name format; use increment, random-suffix, random or keep")]
pub struct ParseNamingError {
    value: String,
}

/// What [`Naming::Keep`] does when the client's name is taken in the destination.
///
/// The other policies look for a free name themselves and never ask.
///
/// # Coming from django-tus
///
/// This is `TUS_EXISTING_FILE`; its values and its default are the same. There, `overwrite` and
/// `rename` can be set but do nothing; here each does what it says.
///
/// # Examples
///
/// ```
/// use tus_fs::OnConflict;
///
/// let on_conflict: OnConflict = "rename".parse()?;
/// assert_eq!(on_conflict, OnConflict::Rename);
/// assert_eq!(OnConflict::default().to_string(), "error");
/// # Ok::<(), tus_fs::ParseOnConflictError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnConflict {
    /// `error`: the upload is refused, the file that is there stays.
    #[default]
    Error,
    /// `overwrite`: the new file replaces the one that is there.
    Overwrite,
    /// `rename`: the new file is numbered as [`Naming::Increment`] does it.
    Rename,
}

impl fmt::Display for OnConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Overwrite => "overwrite",
            Self::Rename => "rename",
        })
    }
}

impl FromStr for OnConflict {
    type Err = ParseOnConflictError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        match value {
            "error" => Ok(Self::Error),
            "overwrite" => Ok(Self::Overwrite),
            "rename" => Ok(Self::Rename),
            _ => Err(ParseOnConflictError { value: value.to_owned() }),
        }
    }
}

/// A setting that is no [`OnConflict`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is no policy for existing files; use error, overwrite or rename")]
pub struct ParseOnConflictError {
    value: String,
}

/// A client's file name as one path component that is safe on Linux, macOS and Windows.
///
/// `None` when nothing usable is left; the name is random then. Only what follows the last `/` or
/// `\` counts: some clients send a whole path, and users want `a.txt` of `C:\dir\a.txt`, not the
/// layout of a stranger's disk. The result is at most 200 bytes long, has no leading or trailing
/// dot or space (so it is never hidden, never `..`, never a temporary file of ours), and sanitising
/// it again changes nothing.
pub(crate) fn sanitize(name: &str) -> Option<String> {
    let component = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = component.chars().filter_map(clean_char).collect();
    let trimmed = clean.trim_matches(EDGES);
    if trimmed.is_empty() {
        return None;
    }
    // Cutting can lay a reserved name bare (`con`, many spaces, more), so it comes before the
    // check; the escape makes the name longer, so it is cut once more.
    let name = fit(trimmed);
    Some(if is_reserved(&name) { fit(&format!("_{name}")) } else { name })
}

/// What becomes of one character: itself, a harmless stand-in, or nothing.
fn clean_char(c: char) -> Option<char> {
    match c {
        // Before the control characters: a tab or line break between words separates them.
        _ if c.is_whitespace() => Some(' '),
        _ if c.is_control() || is_invisible(c) => None,
        '<' | '>' | ':' | '"' | '|' | '?' | '*' => Some('_'),
        _ => Some(c),
    }
}

/// Characters that change how a name looks without being seen: `txt.exe` can pass for `exe.txt`.
fn is_invisible(c: char) -> bool {
    let noncharacter = u32::from(c) & 0xfffe == 0xfffe || matches!(c, '\u{fdd0}'..='\u{fdef}');
    noncharacter
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// The name cut to [`MAX_NAME`] bytes, at the cost of its stem rather than its extension.
fn fit(name: &str) -> String {
    if name.len() <= MAX_NAME {
        return name.to_owned();
    }
    let (stem, extension) = split_extension(name);
    let cut = stem.floor_char_boundary(MAX_NAME - extension.len());
    let stem = stem.get(..cut).unwrap_or_default().trim_end_matches(EDGES);
    format!("{stem}{extension}")
}

/// Stem and extension, the latter with its dot or empty; the stem is never empty.
fn split_extension(name: &str) -> (&str, &str) {
    let double = DOUBLE_EXTENSIONS.iter().find_map(|extension| {
        let at = name.len().checked_sub(extension.len()).filter(|&at| at > 0)?;
        name.get(at..)?.eq_ignore_ascii_case(extension).then_some(at)
    });
    let single = || name.rfind('.').filter(|&at| at > 0 && name.len() - at - 1 <= MAX_EXTENSION);
    double.or_else(single).and_then(|at| name.split_at_checked(at)).unwrap_or((name, ""))
}

/// Whether Windows takes the name for a device, which it does whatever follows the first dot and
/// however many spaces stand before that dot.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ');
    let stem = stem.to_ascii_lowercase();
    if matches!(stem.as_str(), "con" | "prn" | "aux" | "nul" | "conin$" | "conout$") {
        return true;
    }
    let port = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    let mut number = port.unwrap_or_default().chars();
    matches!((number.next(), number.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
}

/// 80 random bits as 16 characters of lowercase base32, which survive any file system's folding.
///
/// # Errors
///
/// When the system has no randomness to give. That is the caller's to map: a name that can be
/// guessed is worse than a finish that is tried again.
pub(crate) fn random_token() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes)?;
    Ok(base32(bytes))
}

fn base32(bytes: [u8; 10]) -> String {
    let bits = bytes.iter().fold(0_u128, |bits, &byte| bits << 8 | u128::from(byte));
    (0..16)
        .rev()
        .map(|group| match (bits >> (5 * group) & 31) as u8 {
            letter @ 0..26 => char::from(b'a' + letter),
            digit => char::from(b'2' + digit - 26),
        })
        .collect()
}

/// A name to try for a finished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) taken: IfTaken,
}

/// What to do when a candidate's name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfTaken {
    /// Try the next candidate; when there is none, refuse.
    Next,
    /// Refuse the upload.
    Refuse,
    /// Put the new file in the place of the old one.
    Replace,
}

/// The names to try for one finished upload, in order, made as they are asked for.
///
/// Yields an error where `random` does. Each name is at most 255 bytes long.
#[derive(Debug)]
pub(crate) struct Candidates<F> {
    stem: String,
    extension: String,
    step: Step,
    random: F,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Plain(IfTaken),
    Numbered(u16),
    Random { left: u8 },
    Done,
}

impl<F> Candidates<F> {
    /// `client_name` is as the client sent it; `random` is [`random_token`] outside tests.
    pub(crate) fn new(
        naming: Naming,
        on_conflict: OnConflict,
        client_name: Option<&str>,
        random: F,
    ) -> Self {
        let (name, naming) = match client_name.and_then(sanitize) {
            Some(name) => (name, naming),
            None => (String::new(), Naming::Random),
        };
        let (stem, extension) = split_extension(&name);
        let random_names = Step::Random { left: RANDOM_TRIES };
        let (stem, step) = match (naming, on_conflict) {
            (Naming::Random, _) => ("", random_names),
            (Naming::RandomSuffix, _) => (stem, random_names),
            (Naming::Increment, _) | (Naming::Keep, OnConflict::Rename) => {
                (stem, Step::Plain(IfTaken::Next))
            }
            (Naming::Keep, OnConflict::Error) => (stem, Step::Plain(IfTaken::Refuse)),
            (Naming::Keep, OnConflict::Overwrite) => (stem, Step::Plain(IfTaken::Replace)),
        };
        Self { stem: stem.to_owned(), extension: extension.to_owned(), step, random }
    }
}

impl<E, F: FnMut() -> Result<String, E>> Iterator for Candidates<F> {
    type Item = Result<Candidate, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { stem, extension, .. } = self;
        let (name, taken, step) = match self.step {
            Step::Plain(taken) => {
                let step = if taken == IfTaken::Next { Step::Numbered(1) } else { Step::Done };
                (format!("{stem}{extension}"), taken, step)
            }
            Step::Numbered(number) => {
                let step = if number < LAST_INCREMENT {
                    Step::Numbered(number + 1)
                } else {
                    Step::Random { left: RANDOM_TRIES }
                };
                (format!("{stem}.{number:04}{extension}"), IfTaken::Next, step)
            }
            Step::Random { left } => {
                // Counted down before the draw, so that a source that keeps failing ends too.
                self.step = if left > 1 { Step::Random { left: left - 1 } } else { Step::Done };
                let dash = if stem.is_empty() { "" } else { "-" };
                let name = match (self.random)() {
                    Ok(token) => format!("{stem}{dash}{token}{extension}"),
                    Err(error) => return Some(Err(error)),
                };
                (name, IfTaken::Next, self.step)
            }
            Step::Done => return None,
        };
        self.step = step;
        Some(Ok(Candidate { name, taken }))
    }
}
