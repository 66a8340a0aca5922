//! The one table of settings: name, type, default, shape, parser and help of each.
//!
//! A row makes the flag `--max-size`, the variable `TUS_MAX_SIZE`, the key `max_size` and the
//! field `Settings::max_size`. Nothing about a setting is written down a second time.

use std::path::PathBuf;
use std::time::Duration;

use tus_core::{Origins, TrustedProxy};
use tus_fs::Reserve;

use super::ConfigError;
use super::resolve::Given;
use super::values::{
    self, Durability, ExistingFile, ExpireMode, FileNameFormat, Interim, LogFormat,
};
use Shape::{List, One, Switch};

/// What a value of a setting looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value, with its placeholder in the help.
    One(&'static str),
    /// A list, with the placeholder of an item: comma separated, a repeated flag, a TOML array.
    List(&'static str),
    /// True or false; the bare flag means true.
    Switch,
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Setting {
    /// The name in a file and in `Settings`.
    pub(super) key: &'static str,
    /// The heading it stands under in the help.
    pub(super) section: &'static str,
    /// What it is for.
    pub(super) help: &'static str,
    /// The value when no source gives one, written as a user would.
    pub(super) default: &'static str,
    /// What its values look like.
    pub(super) shape: Shape,
}

impl Setting {
    /// The name of the flag, without the dashes in front.
    pub(super) fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// The name of the environment variable.
    pub(super) fn variable(&self) -> String {
        format!("TUS_{}", self.key.to_ascii_uppercase())
    }
}

macro_rules! settings {
    ($($section:literal {$(
        $(#[doc = $help:literal])+
        $key:ident: $type:ty = $default:literal, $shape:expr, $parse:expr;
    )+})+) => {
        /// Everything an operator can set, read and checked.
        #[derive(Debug)]
        pub(crate) struct Settings {
            $($(
                $(#[doc = $help])+
                pub(crate) $key: $type,
            )+)+
            /// The values as they were written, and where.
            pub(super) given: Given,
        }

        /// All settings, in the order of the help.
        pub(super) const TABLE: &[Setting] = &[$($(
            Setting {
                key: stringify!($key),
                section: $section,
                help: concat!($($help),+),
                default: $default,
                shape: $shape,
            },
        )+)+];

        impl Settings {
            /// Reads each value with the parser of its row.
            pub(super) fn read(given: Given) -> Result<Self, ConfigError> {
                Ok(Self {
                    $($($key: given.read(stringify!($key), $parse)?,)+)+
                    given,
                })
            }
        }
    };
}

settings! {
    "Listening" {
        /// Address or host name to listen on.
        host: String = "127.0.0.1", One("ADDRESS"), values::host;
        /// Port to listen on; 0 takes a free one.
        port: u16 = "1080", One("PORT"), values::port;
        /// Unix socket to listen on, instead of host and port.
        unix_sock: Option<PathBuf> = "none", One("PATH"), values::path_or_none;
        /// Certificate to speak TLS with, in PEM, followed by its chain. It is read again on SIGHUP,
        /// and so is its key.
        tls_cert: Option<PathBuf> = "none", One("PATH"), values::path_or_none;
        /// Private key of the certificate, in PEM: PKCS#8, RSA or EC, without a passphrase.
        tls_key: Option<PathBuf> = "none", One("PATH"), values::path_or_none;
        /// Path under which uploads are created and found.
        base_path: String = "/files/", One("PATH"), values::base_path;
        /// URL that clients see in front of the base path.
        public_url: Option<String> = "none", One("URL"), values::url_or_none;
        /// Peers whose Forwarded and X-Forwarded-* headers are believed: IP addresses, CIDR
        /// blocks, or `unix` for whoever connects to the unix socket.
        behind_proxy: Vec<TrustedProxy> = "none", List("PEER"), values::proxies;
    }
    "Storage" {
        /// Directory for uploads in progress and their records.
        upload_dir: PathBuf = "./data/uploads", One("PATH"), values::path;
        /// How long to wait for another process to let go of the upload directory.
        wait_for_dir: Duration = "0s", One("DURATION"), values::duration;
        /// Directory for finished files; `none` leaves them in the upload directory.
        destination_dir: Option<PathBuf> = "./data/files", One("PATH"), values::path_or_none;
        /// Folders below the destination directory, of plain text and of {year}, {month}, {day},
        /// {metadata:KEY} and {id:N} (the first 1 to 8 characters), separated by slashes.
        destination_folders: Option<String> = "none", One("TEMPLATE"), values::text_or_none;
        /// How finished files are named: increment, random-suffix, random or keep.
        file_name_format: FileNameFormat = "increment", One("FORMAT"), FileNameFormat::read;
        /// What to do when the format keep meets a name that is taken: error, overwrite or rename.
        existing_file: ExistingFile = "error", One("POLICY"), ExistingFile::read;
        /// What stored bytes survive: `power` loss, or only the end of the `process`.
        durability: Durability = "power", One("LEVEL"), Durability::read;
        /// Room that new uploads leave on the disks of both directories: a size, a percentage of
        /// the disk, both (the smaller counts), or `none`. An upload whose length would not leave
        /// it is answered 507; those that exist may use it up.
        disk_reserve: Reserve = "5%,1GiB", One("SIZE"), values::reserve;
    }
    "Uploads" {
        /// Largest length of an upload; 0 is unlimited.
        max_size: Option<u64> = "10GiB", One("SIZE"), values::size_limit;
        /// When an unfinished upload expires; 0 is never.
        expire_after: Option<Duration> = "24h", One("DURATION"), values::lifetime;
        /// Count the expiry from the last write (sliding) or from the creation (fixed).
        expire_mode: ExpireMode = "sliding", One("MODE"), ExpireMode::read;
        /// Most uploads that receive bytes at once; one more is answered 503 with Retry-After.
        max_transfers: usize = "10000", One("NUMBER"), values::count;
        /// Most of them from one address, or one /64 of IPv6; 0 is no bound. One more is answered
        /// 429 with Retry-After. A peer of --behind-proxy counts for the client that it names.
        max_transfers_per_address: Option<usize> = "0", One("NUMBER"), values::count_limit;
        /// Most bytes of Upload-Metadata; more are answered 413.
        max_metadata: usize = "4KiB", One("SIZE"), values::field_size;
        /// Most pairs of Upload-Metadata; more are answered 413.
        max_metadata_pairs: usize = "32", One("NUMBER"), values::count;
        /// Most bytes of a key of Upload-Metadata; more are answered 413.
        max_metadata_key: usize = "128", One("SIZE"), values::field_size;
        /// Most bytes of a value of Upload-Metadata, decoded; more are answered 413.
        max_metadata_value: usize = "2KiB", One("SIZE"), values::field_size;
        /// Most parts of a concatenation; more are answered 400.
        max_parts: usize = "1000", One("NUMBER"), values::count;
        /// Refuse to serve the bytes of uploads.
        disable_download: bool = "false", Switch, values::switch;
        /// Refuse to delete uploads.
        disable_termination: bool = "false", Switch, values::switch;
        /// Refuse to join partial uploads.
        disable_concatenation: bool = "false", Switch, values::switch;
    }
    "Protocols" {
        /// Do not speak tus 1.0.0.
        disable_tus: bool = "false", Switch, values::switch;
        /// Do not speak the IETF's draft Resumable Uploads for HTTP.
        disable_rufh: bool = "false", Switch, values::switch;
        /// When 104 (Upload Resumption Supported) is sent: auto (unless the request came through a
        /// proxy), on or off.
        interim: Interim = "auto", One("WHEN"), Interim::read;
        /// Least bytes of an upload by the draft, where its length is known; fewer are answered
        /// 400. 0 is no bound.
        min_size: Option<u64> = "0", One("SIZE"), values::size_limit;
        /// Most bytes of one request of the draft; more are answered 413. 0 is no bound.
        max_append_size: Option<u64> = "0", One("SIZE"), values::size_limit;
        /// Least bytes of one request of the draft, unless it is the last or brings none; fewer are
        /// answered 400. 0 is no bound.
        min_append_size: Option<u64> = "0", One("SIZE"), values::size_limit;
    }
    "Connections" {
        /// Most connections at once, and most requests at once. One more is answered 503 with
        /// Retry-After. Lowered to what the limit of open files lets in.
        max_connections: usize = "10000", One("NUMBER"), values::count;
        /// Most connections at once from one address, or one /64 of IPv6; 0 is no bound. One more
        /// is answered 503 with Retry-After. Peers of --behind-proxy and of the unix socket are
        /// not counted.
        max_connections_per_address: Option<usize> = "0", One("NUMBER"), values::count_limit;
        /// How long to wait for the first byte of a connection, the handshake of TLS included, and
        /// from the first byte of a request's head to its last. Then the connection is closed.
        head_timeout: Duration = "10s", One("DURATION"), values::positive_duration;
        /// How long a connection may be without a request before it is closed.
        keep_alive_timeout: Duration = "60s", One("DURATION"), values::positive_duration;
        /// Age at which a connection is closed once what it was asked is answered; 0 is never.
        max_connection_age: Option<Duration> = "24h", One("DURATION"), values::lifetime;
        /// Largest head of a request, from 8KiB to 1MiB; a larger one is answered 431. The head of
        /// a concatenation names its parts.
        max_head_size: usize = "64KiB", One("SIZE"), values::head_size;
        /// Most fields in the head of a request; more are answered 431.
        max_head_fields: usize = "100", One("NUMBER"), values::count;
        /// Most requests at once on one HTTP/2 connection; more are refused with REFUSED_STREAM.
        http2_max_streams: u32 = "128", One("NUMBER"), values::count;
        /// Most requests that an HTTP/2 client may take back within ten seconds. Then the
        /// connection is closed.
        http2_max_resets: usize = "200", One("NUMBER"), values::count;
    }
    "Browsers" {
        /// Origins that may upload from a browser: `*` for all, patterns such as
        /// https://*.example.org, or `none` to switch CORS off.
        cors_allow_origin: Origins = "*", List("ORIGIN"), values::origins;
        /// Let browsers send cookies and HTTP authentication from those origins.
        cors_allow_credentials: bool = "false", Switch, values::switch;
        /// Serve the upload page at `/`.
        show_page: bool = "true", Switch, values::switch;
    }
    "Timeouts and logs" {
        /// How long a stop waits for requests before it cuts them.
        shutdown_timeout: Duration = "30s", One("DURATION"), values::duration;
        /// How long to wait for the next bytes of a request (then 408, with what arrived kept) or
        /// for a client to take bytes of a response (then the connection is closed).
        network_timeout: Duration = "30s", One("DURATION"), values::positive_duration;
        /// Least bytes a second that a client sends or takes, averaged over the network timeout;
        /// 0 is no bound. A slower body ends as one that pauses does: answered 408, with what
        /// arrived kept. A slower download is cut.
        min_body_rate: Option<u64> = "1KiB", One("SIZE"), values::size_limit;
        /// How log lines are written: text or json.
        log_format: LogFormat = "text", One("FORMAT"), LogFormat::read;
        /// What is logged: a level, or directives such as info,tus_core=debug.
        log_level: String = "info", One("FILTER"), values::log_filter;
    }
}
