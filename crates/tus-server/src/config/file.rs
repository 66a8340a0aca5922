//! The TOML file: flat keys, each the name of a setting.

use std::path::PathBuf;

use toml::Value;

use super::flags::NO_PAGE;
use super::resolve::{self, Source};
use super::table::{Setting, Shape, TABLE};
use super::{ConfigError, Values};

/// Reads the file at `path`, which `source` named.
pub(super) fn read(path: PathBuf, source: &Source) -> Result<(PathBuf, Values), ConfigError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let reason = format!("cannot be read: {error}; name a readable TOML file");
        resolve::wrong("config", source, &shown, &reason)
    })?;
    let table = text.parse::<toml::Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| {
            1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
        });
        let message = error.message().replace('\n', "; ");
        let reason = format!("is not TOML, see line {line}: {message}");
        resolve::wrong("config", source, &shown, &reason)
    })?;
    let mut values = Values::new();
    for (key, value) in &table {
        let Some(setting) = TABLE.iter().find(|setting| setting.key == key) else {
            if key == NO_PAGE {
                let reason = "has the key no_page, which is a flag only; write show_page = false";
                return Err(resolve::wrong("config", source, &shown, reason));
            }
            let known = TABLE.iter().map(|setting| setting.key.to_owned());
            let nearest = resolve::nearest(key, known);
            let reason = format!("has the unknown key {key:?}; the nearest known key is {nearest}");
            return Err(resolve::wrong("config", source, &shown, &reason));
        };
        let text = plain(setting, value).map_err(|(text, reason)| {
            let source = Source::File(setting.key, path.clone());
            resolve::wrong(key, &source, &text, reason)
        })?;
        values.insert(key.clone(), text);
    }
    Ok((path, values))
}

/// A value as it would be written in a flag, or what stands there and why it cannot be.
fn plain(setting: &Setting, value: &Value) -> Result<String, (String, &'static str)> {
    const SCALAR: &str = "is not a text, number or boolean; write it in quotes as for the flag";
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        Value::Float(number) => Err((number.to_string(), SCALAR)),
        Value::Datetime(time) => Err((time.to_string(), SCALAR)),
        Value::Table(_) => Err(("{ … }".to_owned(), SCALAR)),
        Value::Array(items) => {
            let shown = "[ … ]".to_owned();
            if !matches!(setting.shape, Shape::List(_)) {
                return Err((shown, "is a list; write one value"));
            }
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            let reason = "is not a list of strings; put each item in quotes";
            texts.map(|texts| texts.join(",")).ok_or((shown, reason))
        }
    }
}
