//! The command line, built from the table of settings.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, Error};

use super::resolve::CONFIG_VARIABLE;
use super::table::{Setting, Shape, TABLE};
use super::{ConfigError, Values};

/// What the command line says.
#[derive(Debug)]
pub(super) enum Asked {
    /// These flags, by key.
    Values(Values),
    /// Print help or version.
    Text(String),
}

const PRECEDENCE: &str = "\
Every setting is a flag, an environment variable and a key of the TOML file, where - is _.
A flag is stronger than a variable, a variable than the file, the file than the default.
Sizes are bytes or have a unit: 500MB, 10GiB. Durations have a unit: 500ms, 30s, 24h, 7d.";

/// The flag that is the negation of `--show-page`.
pub(super) const NO_PAGE: &str = "no_page";

/// Reads the arguments, the program's name first.
pub(super) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Asked, ConfigError> {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    Ok(Asked::Text(error.render().to_string()))
                }
                _ => Err(ConfigError(one_line(&error))),
            };
        }
    };
    let keys = TABLE.iter().map(|setting| setting.key).chain(["config"]);
    let mut values: Values =
        keys.filter_map(|key| Some((key.to_owned(), text(&matches, key)?))).collect();
    if matches.get_flag(NO_PAGE) {
        values.insert("show_page".to_owned(), "false".to_owned());
    }
    Ok(Asked::Values(values))
}

fn text(matches: &ArgMatches, key: &str) -> Option<String> {
    let items: Vec<&str> = matches.get_many::<String>(key)?.map(String::as_str).collect();
    Some(items.join(","))
}

fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("PATH")
        .help(format!("Read settings from this TOML file [env: {CONFIG_VARIABLE}]"));
    let no_page = Arg::new(NO_PAGE)
        .long("no-page")
        .help_heading("Browsers")
        .help("The same as --show-page=false")
        .action(ArgAction::SetTrue)
        .conflicts_with("show_page");
    Command::new("tus-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Receives resumable uploads (tus) and stores them as files.")
        .after_help(PRECEDENCE)
        .next_line_help(true)
        .arg(config)
        .args(TABLE.iter().map(arg))
        .arg(no_page)
}

fn arg(setting: &Setting) -> Arg {
    let help = setting.help.trim().trim_end_matches('.');
    let help = format!("{help} [env: {}] [default: {}]", setting.variable(), setting.default);
    let arg = Arg::new(setting.key)
        .long(setting.flag())
        .help_heading(setting.section)
        .help(help)
        .allow_negative_numbers(true);
    match setting.shape {
        Shape::One(value) => arg.value_name(value),
        Shape::List(item) => arg.value_name(item).action(ArgAction::Append),
        Shape::Switch => arg
            .value_name("true|false")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
    }
}

/// A refusal of the command line in one line; the library writes a paragraph.
fn one_line(error: &Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    let flag = context(ContextKind::InvalidArg).unwrap_or("the command line");
    let name = flag.split([' ', '=', '[']).next().unwrap_or(flag);
    match error.kind() {
        ErrorKind::UnknownArgument => match context(ContextKind::SuggestedArg) {
            Some(near) => format!("{name}: there is no such flag; the nearest one is {near}"),
            None if name.starts_with('-') => {
                format!("{name}: there is no such flag; --help lists all of them")
            }
            None => format!(
                "{name:?} belongs to no flag; --help lists all of them, and a switch takes its \
                 value after =, as in --show-page=false"
            ),
        },
        ErrorKind::ArgumentConflict => match context(ContextKind::PriorArg) {
            Some(prior) if prior != flag => {
                let prior = prior.split([' ', '=', '[']).next().unwrap_or(prior);
                format!("{name} contradicts {prior}; leave one of them out")
            }
            _ => format!("{name} is given more than once; leave one of them out"),
        },
        ErrorKind::InvalidValue | ErrorKind::NoEquals => {
            format!("{name} has no value; write it after the flag")
        }
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8; write another one".to_owned(),
        _ => {
            let rendered = error.render().to_string();
            let first = rendered.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        }
    }
}
