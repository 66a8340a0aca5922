//! Settings of the server, from four sources: default < file < environment < flag.
//!
//! Only the value that wins is read and checked: what a stronger source overrides may be wrong.

mod file;
mod flags;
mod resolve;
mod table;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;

use tus_core::Origins;

use resolve::Given;
use table::TABLE;

pub(crate) use table::Settings;
pub(crate) use values::{Durability, ExistingFile, ExpireMode, FileNameFormat, Interim, LogFormat};

/// Why the settings cannot be used: one line that names setting, source, value and way out.
#[derive(Debug, thiserror::Error)]
#[error("tus-server: {0}")]
pub(crate) struct ConfigError(String);

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// Run with these settings.
    Run(Box<Settings>),
    /// Print this text (help or version) to standard output and end well.
    Print(String),
}

/// A setting as it is in force, for people to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Described {
    /// The name of its flag.
    pub(crate) name: String,
    /// Its value as it was written.
    pub(crate) value: String,
    /// Where the value came from.
    pub(crate) source: String,
}

/// Reads the settings from the arguments (the program's name first) and the environment.
///
/// # Errors
///
/// The first wrong flag, file, value or contradiction, in the order of the help.
pub(crate) fn load(
    args: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    let mut flags = match flags::read(args)? {
        flags::Asked::Values(values) => values,
        flags::Asked::Text(text) => return Ok(Loaded::Print(text)),
    };
    let environment = resolve::environment(environment)?;
    let file = match resolve::config_path(&mut flags, &environment) {
        Some((path, source)) => Some(file::read(path, &source)?),
        None => None,
    };
    let settings = Settings::read(Given::merge(&flags, &environment, file.as_ref()))?;
    settings.refuse_contradictions()?;
    Ok(Loaded::Run(Box::new(settings)))
}

/// What a source says, by key.
type Values = BTreeMap<String, String>;

impl Settings {
    /// Every setting with its value and where that came from, in the order of the help.
    pub(crate) fn describe(&self) -> Vec<Described> {
        let row = |setting: &table::Setting| Described {
            name: setting.flag(),
            value: self.given.text(setting.key).to_owned(),
            source: self.given.source(setting.key).to_string(),
        };
        TABLE.iter().map(row).collect()
    }

    /// Names in the environment that begin with `TUS_` and set nothing, each as a warning.
    pub(crate) fn warnings(&self) -> &[String] {
        self.given.warnings()
    }

    /// An error about the setting `key` that was found later than here, such as a directory that
    /// cannot be written; `reason` follows the value and ends with the way out.
    pub(crate) fn refuse(&self, key: &str, reason: &str) -> ConfigError {
        self.given.wrong(key, reason)
    }

    fn refuse_contradictions(&self) -> Result<(), ConfigError> {
        let given = &self.given;
        for key in ["host", "port"] {
            if given.is_explicit("unix_sock") && self.unix_sock.is_some() && given.is_explicit(key)
            {
                return Err(given.contradiction(
                    "unix_sock",
                    key,
                    "the server listens on one of them; leave the other out",
                ));
            }
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(match self.tls_cert {
                Some(_) => given.contradiction(
                    "tls_cert",
                    "tls_key",
                    "a certificate needs its key; name its --tls-key or leave --tls-cert out",
                ),
                None => given.contradiction(
                    "tls_key",
                    "tls_cert",
                    "a key needs its certificate; name its --tls-cert or leave --tls-key out",
                ),
            });
        }
        if self.tls_cert.is_some() && self.unix_sock.is_some() {
            return Err(given.contradiction(
                "tls_cert",
                "unix_sock",
                "TLS is for TCP; leave the certificate and its key out, or listen on --host and \
                 --port",
            ));
        }
        if self.disable_tus && self.disable_rufh {
            return Err(given.contradiction(
                "disable_tus",
                "disable_rufh",
                "nothing would be spoken; leave one of them out",
            ));
        }
        if self.max_size.is_some_and(|max| self.min_size.is_some_and(|min| max < min)) {
            return Err(given.contradiction(
                "min_size",
                "max_size",
                "no upload would fit between; lower --min-size or raise --max-size",
            ));
        }
        if self.max_append_size.is_some_and(|max| self.min_append_size.is_some_and(|m| max < m)) {
            return Err(given.contradiction(
                "min_append_size",
                "max_append_size",
                "no request would fit between; lower --min-append-size or raise \
                 --max-append-size",
            ));
        }
        let refuses = self.existing_file == ExistingFile::Error;
        if !refuses && self.file_name_format != FileNameFormat::Keep {
            return Err(given.contradiction(
                "existing_file",
                "file_name_format",
                "a taken name matters only to the format keep; \
                 use --file-name-format keep or leave --existing-file out",
            ));
        }
        if self.destination_folders.is_some() && self.destination_dir.is_none() {
            return Err(given.contradiction(
                "destination_folders",
                "destination_dir",
                "folders need a destination; name a --destination-dir or leave the folders out",
            ));
        }
        if self.destination_dir.is_none() && given.is_explicit("file_name_format") {
            return Err(given.contradiction(
                "file_name_format",
                "destination_dir",
                "names are given in a destination; name a --destination-dir or leave the format out",
            ));
        }
        if self.expire_after.is_none() && given.is_explicit("expire_mode") {
            return Err(given.contradiction(
                "expire_mode",
                "expire_after",
                "nothing expires; set --expire-after or leave the mode out",
            ));
        }
        if self.cors_allow_credentials && self.cors_allow_origin == Origins::Off {
            return Err(given.contradiction(
                "cors_allow_credentials",
                "cors_allow_origin",
                "CORS is off; name the origins that may send them",
            ));
        }
        if self.cors_allow_credentials && self.cors_allow_origin == Origins::Any {
            return Err(given.contradiction(
                "cors_allow_credentials",
                "cors_allow_origin",
                "browsers refuse credentials for every origin; name the origins",
            ));
        }
        Ok(())
    }
}
