//! Which source gives the value of a setting, and errors that name it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::flags::NO_PAGE;
use super::table::{Setting, TABLE};
use super::{ConfigError, Values};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Nowhere: it is the built-in one.
    Default,
    /// In a settings file, under a key.
    File(&'static str, PathBuf),
    /// In this environment variable.
    Environment(String),
    /// On the command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(key, path) => write!(f, "{key} in {}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// The variables of the environment that concern the server.
#[derive(Debug)]
pub(super) struct Environment {
    values: Values,
    config: Option<String>,
    warnings: Vec<String>,
}

/// The name of the variable that names the settings file.
pub(super) const CONFIG_VARIABLE: &str = "TUS_CONFIG";

/// Picks the variables that begin with `TUS_`; an empty one counts as not set.
pub(super) fn environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Environment, ConfigError> {
    let mut found = Environment { values: Values::new(), config: None, warnings: Vec::new() };
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with("TUS_")) else {
            continue;
        };
        let setting = TABLE.iter().find(|setting| setting.variable() == name);
        if setting.is_none() && name != CONFIG_VARIABLE {
            let way_out = match name.strip_prefix("TUS_") {
                Some(flag) if flag.eq_ignore_ascii_case(NO_PAGE) => {
                    "write TUS_SHOW_PAGE=false".to_owned()
                }
                _ => {
                    let nearest = nearest(name, TABLE.iter().map(Setting::variable));
                    format!("the nearest variable is {nearest}")
                }
            };
            found.warnings.push(format!("{name} sets nothing; {way_out}"));
            continue;
        }
        let Some(value) = value.to_str() else {
            return Err(ConfigError(format!("{name}: the value is not UTF-8; set another one")));
        };
        match setting {
            _ if value.is_empty() => {}
            Some(setting) => {
                found.values.insert(setting.key.to_owned(), value.to_owned());
            }
            None => found.config = Some(value.to_owned()),
        }
    }
    found.warnings.sort();
    Ok(found)
}

/// The settings file that the command line or else the environment names, with its source.
pub(super) fn config_path(
    flags: &mut Values,
    environment: &Environment,
) -> Option<(PathBuf, Source)> {
    if let Some(path) = flags.remove("config") {
        return Some((path.into(), Source::Flag));
    }
    let path = environment.config.as_ref()?;
    Some((path.into(), Source::Environment(CONFIG_VARIABLE.to_owned())))
}

/// The winning text of every setting, and its source.
pub(super) struct Given {
    values: BTreeMap<&'static str, (String, Source)>,
    warnings: Vec<String>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The texts are in `describe`, and beside this field as values.
        f.debug_struct("Given").finish_non_exhaustive()
    }
}

impl Given {
    /// Lets the strongest source win for each setting.
    pub(super) fn merge(
        flags: &Values,
        environment: &Environment,
        file: Option<&(PathBuf, Values)>,
    ) -> Self {
        let mut values = BTreeMap::new();
        for setting in TABLE {
            let key = setting.key;
            let in_file = file.and_then(|(path, values)| Some((path, values.get(key)?)));
            let winner = if let Some(text) = flags.get(key) {
                (text.clone(), Source::Flag)
            } else if let Some(text) = environment.values.get(key) {
                (text.clone(), Source::Environment(setting.variable()))
            } else if let Some((path, text)) = in_file {
                (text.clone(), Source::File(key, path.clone()))
            } else {
                (setting.default.to_owned(), Source::Default)
            };
            values.insert(key, winner);
        }
        Self { values, warnings: environment.warnings.clone() }
    }

    /// The text of a setting as it was written.
    pub(super) fn text(&self, key: &str) -> &str {
        self.values.get(key).map_or("", |(text, _)| text)
    }

    /// Where the text of a setting was written.
    pub(super) fn source(&self, key: &str) -> &Source {
        self.values.get(key).map_or(&Source::Default, |(_, source)| source)
    }

    /// Whether any source but the default gives the setting.
    pub(super) fn is_explicit(&self, key: &str) -> bool {
        *self.source(key) != Source::Default
    }

    /// Variables that set nothing.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Reads the text of a setting; the parser's error is what follows the value in the line.
    pub(super) fn read<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        parse(self.text(key)).map_err(|reason| self.wrong(key, &reason))
    }

    /// The line about a wrong value.
    pub(super) fn wrong(&self, key: &str, reason: &str) -> ConfigError {
        wrong(key, self.source(key), self.text(key), reason)
    }

    /// The line about two settings that exclude each other.
    pub(super) fn contradiction(&self, one: &str, other: &str, way_out: &str) -> ConfigError {
        let name = |key: &str| {
            let (flag, text) = (key.replace('_', "-"), self.text(key));
            format!("--{flag} {text:?} (from {})", from(self.source(key)))
        };
        ConfigError(format!("{} contradicts {}: {way_out}", name(one), name(other)))
    }
}

/// The line about a wrong value.
pub(super) fn wrong(key: &str, source: &Source, text: &str, reason: &str) -> ConfigError {
    let flag = key.replace('_', "-");
    ConfigError(format!("--{flag} (from {}): {text:?} {reason}", from(source)))
}

fn from(source: &Source) -> String {
    match source {
        Source::Default => "its default".to_owned(),
        Source::Flag => "the command line".to_owned(),
        Source::File(..) | Source::Environment(_) => source.to_string(),
    }
}

/// The candidate that takes the fewest edits to become `word`.
pub(super) fn nearest(word: &str, candidates: impl Iterator<Item = String>) -> String {
    candidates.min_by_key(|candidate| edits(word, candidate)).unwrap_or_default()
}

/// Levenshtein's distance, one row of its table at a time.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (removed, letter) in from.chars().enumerate() {
        let mut diagonal = removed;
        let mut left = removed + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(to.chars()) {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = removed + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
