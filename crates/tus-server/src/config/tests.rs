use super::*;

/// A settings file that is gone with the test.
struct File(tempfile::TempDir);

impl File {
    fn with(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tus.toml"), text).unwrap();
        Self(dir)
    }

    fn path(&self) -> String {
        self.0.path().join("tus.toml").display().to_string()
    }
}

fn ask(args: &[&str], environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    load(
        ["tus-server"].iter().chain(args).map(OsString::from),
        environment.iter().map(|(name, value)| (name.into(), value.into())),
    )
}

fn settings(args: &[&str], environment: &[(&str, &str)]) -> Settings {
    match ask(args, environment) {
        Ok(Loaded::Run(settings)) => *settings,
        other => panic!("{other:?}"),
    }
}

fn refusal(args: &[&str], environment: &[(&str, &str)]) -> String {
    let line = ask(args, environment).unwrap_err().to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

fn printed(args: &[&str]) -> String {
    match ask(args, &[]) {
        Ok(Loaded::Print(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// A legal value for each setting that is not its default.
fn another_value(key: &str) -> &'static str {
    match key {
        "host" => "0.0.0.0",
        "port" => "80",
        "unix_sock" => "/run/tus.sock",
        "tls_cert" | "tls_key" => "/etc/tus/tls.pem",
        "base_path" => "/uploads/",
        "public_url" => "https://example.org",
        "behind_proxy" => "unix",
        "upload_dir" | "destination_dir" => "/srv/tus",
        "wait_for_dir" | "expire_after" | "shutdown_timeout" | "network_timeout"
        | "head_timeout" | "keep_alive_timeout" | "max_connection_age" => "7s",
        "max_transfers"
        | "max_transfers_per_address"
        | "max_metadata"
        | "max_metadata_pairs"
        | "max_metadata_key"
        | "max_metadata_value"
        | "max_parts" => "99",
        "max_connections"
        | "max_connections_per_address"
        | "max_head_fields"
        | "http2_max_streams"
        | "http2_max_resets" => "77",
        "max_head_size" => "32KiB",
        "min_body_rate" | "min_size" | "min_append_size" => "7KiB",
        "max_append_size" => "8MiB",
        "interim" => "on",
        "destination_folders" => "{date}",
        "file_name_format" => "keep",
        "existing_file" => "rename",
        "durability" => "process",
        "disk_reserve" => "2GiB",
        "max_size" => "5MB",
        "expire_mode" => "fixed",
        "disable_download"
        | "disable_termination"
        | "disable_concatenation"
        | "disable_tus"
        | "disable_rufh" => "true",
        "cors_allow_origin" => "https://example.org",
        "cors_allow_credentials" => "true",
        "show_page" => "false",
        "log_format" => "json",
        "log_level" => "debug",
        other => panic!("no value for {other}"),
    }
}

/// What must be set beside a setting so that it contradicts nothing.
fn company(key: &str) -> &'static [(&'static str, &'static str)] {
    match key {
        "tls_cert" => &[("TUS_TLS_KEY", "/etc/tus/key.pem")],
        "tls_key" => &[("TUS_TLS_CERT", "/etc/tus/cert.pem")],
        "existing_file" => &[("TUS_FILE_NAME_FORMAT", "keep")],
        "cors_allow_credentials" => &[("TUS_CORS_ALLOW_ORIGIN", "https://example.org")],
        _ => &[],
    }
}

fn described(settings: &Settings, key: &str) -> (String, String) {
    let name = key.replace('_', "-");
    let row = settings.describe().into_iter().find(|row| row.name == name).unwrap();
    (row.value, row.source)
}

#[test]
fn without_any_source_the_defaults_hold() {
    let settings = settings(&[], &[]);
    assert_eq!((settings.host.as_str(), settings.port), ("127.0.0.1", 1080));
    assert_eq!(settings.unix_sock, None);
    assert_eq!(settings.base_path, "/files/");
    assert_eq!(settings.destination_dir, Some("./data/files".into()));
    assert_eq!(settings.max_size, Some(10 << 30));
    assert_eq!(settings.expire_after, Some(std::time::Duration::from_hours(24)));
    assert_eq!(settings.durability, Durability::Power);
    assert_eq!(settings.disk_reserve, tus_fs::Reserve::default());
    assert_eq!((settings.max_connections, settings.max_connections_per_address), (10_000, None));
    assert_eq!(settings.head_timeout, std::time::Duration::from_secs(10));
    assert_eq!(settings.keep_alive_timeout, std::time::Duration::from_secs(60));
    assert_eq!(settings.max_connection_age, Some(std::time::Duration::from_hours(24)));
    assert_eq!((settings.max_head_size, settings.max_head_fields), (64 << 10, 100));
    assert_eq!((settings.http2_max_streams, settings.http2_max_resets), (128, 200));
    assert_eq!(settings.min_body_rate, Some(1024));
    assert_eq!((settings.max_transfers, settings.max_transfers_per_address), (10_000, None));
    assert_eq!((settings.max_metadata, settings.max_metadata_pairs), (4096, 32));
    assert_eq!((settings.max_metadata_key, settings.max_metadata_value), (128, 2048));
    assert_eq!(settings.max_parts, 1000);
    assert_eq!(settings.cors_allow_origin, Origins::Any);
    assert!(settings.show_page && !settings.disable_download);
    assert!(settings.describe().iter().all(|row| row.source == "default"));
    assert_eq!(settings.describe().len(), TABLE.len());
}

#[test]
fn each_setting_is_taken_from_flag_variable_and_file() {
    for setting in TABLE {
        let (key, value) = (setting.key, another_value(setting.key));
        let flag = format!("--{}={value}", setting.flag());
        let by_flag = settings(&[&flag], company(key));
        assert_eq!(described(&by_flag, key), (value.into(), "command line".into()));

        let variable = setting.variable();
        let mut environment = company(key).to_vec();
        environment.push((&variable, value));
        let by_variable = settings(&[], &environment);
        assert_eq!(described(&by_variable, key), (value.into(), variable.clone()));

        let file = File::with(&format!("{key} = {value:?}"));
        let by_file = settings(&["--config", &file.path()], company(key));
        assert_eq!(described(&by_file, key).0, value);
        assert_eq!(described(&by_file, key).1, format!("{key} in {}", file.path()));
    }
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let file = File::with("port = 1\nlog_level = \"warn\"\nmax_size = 7\n");
    let path = file.path();
    let environment = [("TUS_CONFIG", path.as_str()), ("TUS_PORT", "2"), ("TUS_MAX_SIZE", "8")];
    let settings = settings(&["--port", "3"], &environment);
    assert_eq!(settings.port, 3);
    assert_eq!(settings.max_size, Some(8));
    assert_eq!(settings.log_level, "warn");
}

#[test]
fn the_config_flag_beats_its_variable() {
    let (one, other) = (File::with("port = 1"), File::with("port = 2"));
    let settings = settings(&["--config", &one.path()], &[("TUS_CONFIG", &other.path())]);
    assert_eq!(settings.port, 1);
}

#[test]
fn an_overridden_wrong_value_does_not_matter() {
    let settings = settings(&["--port", "3"], &[("TUS_PORT", "tcp://10.0.0.7:1080")]);
    assert_eq!(settings.port, 3);
}

#[test]
fn a_stronger_source_can_take_back_with_none() {
    let environment = [("TUS_PUBLIC_URL", "https://example.org"), ("TUS_BEHIND_PROXY", "unix")];
    let settings = settings(&["--public-url", "none", "--behind-proxy", "none"], &environment);
    assert_eq!(settings.public_url, None);
    assert_eq!(settings.behind_proxy, []);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let settings = settings(&[], &[("TUS_PORT", ""), ("TUS_CONFIG", "")]);
    assert_eq!(settings.port, 1080);
}

#[test]
fn switches_accept_a_bare_flag_words_and_digits() {
    assert!(settings(&["--disable-download"], &[]).disable_download);
    assert!(!settings(&["--disable-download=false"], &[]).disable_download);
    for (text, is_set) in [("true", true), ("1", true), ("false", false), ("0", false)] {
        let settings = settings(&[], &[("TUS_DISABLE_DOWNLOAD", text)]);
        assert_eq!(settings.disable_download, is_set, "{text}");
    }
    let file = File::with("disable_download = true");
    assert!(settings(&["--config", &file.path()], &[]).disable_download);
}

#[test]
fn no_page_takes_the_page_away() {
    assert!(!settings(&["--no-page"], &[("TUS_SHOW_PAGE", "true")]).show_page);
    assert!(settings(&["--show-page"], &[("TUS_SHOW_PAGE", "0")]).show_page);
}

#[test]
fn lists_are_repeated_flags_commas_or_arrays() {
    let (one, other) = ("https://a.org", "https://*.b.org");
    let both = Origins::List(vec![one.parse().unwrap(), other.parse().unwrap()]);
    let repeated = settings(&["--cors-allow-origin", one, "--cors-allow-origin", other], &[]);
    assert_eq!(repeated.cors_allow_origin, both);
    let commas = settings(&[], &[("TUS_CORS_ALLOW_ORIGIN", "https://a.org, https://*.b.org")]);
    assert_eq!(commas.cors_allow_origin, both);
    let file = File::with("cors_allow_origin = [\"https://a.org\", \"https://*.b.org\"]");
    assert_eq!(settings(&["--config", &file.path()], &[]).cors_allow_origin, both);
}

#[test]
fn a_wrong_value_is_named_with_its_source_and_a_way_out() {
    let reason = "\"10XB\" is not a size; write bytes or a unit, for example 10GiB";
    assert_eq!(
        refusal(&["--max-size", "10XB"], &[]),
        format!("tus-server: --max-size (from the command line): {reason}")
    );
    assert_eq!(
        refusal(&[], &[("TUS_MAX_SIZE", "10XB")]),
        format!("tus-server: --max-size (from TUS_MAX_SIZE): {reason}")
    );
    let file = File::with("max_size = \"10XB\"");
    assert_eq!(
        refusal(&["--config", &file.path()], &[]),
        format!("tus-server: --max-size (from max_size in {}): {reason}", file.path())
    );
}

#[test]
fn every_setting_but_free_text_refuses_nonsense_in_one_line() {
    for setting in TABLE.iter().filter(|setting| {
        !matches!(setting.key, "unix_sock" | "tls_cert" | "tls_key" | "upload_dir")
            && !matches!(setting.key, "destination_dir" | "destination_folders")
    }) {
        let variable = setting.variable();
        let line = refusal(&[], &[(&variable, "\n no: such = thing")]);
        let start = format!(
            "tus-server: --{} (from {variable}): \"\\n no: such = thing\" ",
            setting.flag()
        );
        assert!(line.starts_with(&start) && line.contains(';'), "{line}");
    }
}

#[test]
fn a_wrong_command_line_is_one_line_with_a_way_out() {
    let rows: [(&[&str], &str); 7] = [
        (&["--prt", "3"], "--prt: there is no such flag; the nearest one is --port"),
        (&["-q"], "-q: there is no such flag; --help lists all of them"),
        (&["--port"], "--port has no value; write it after the flag"),
        (&["--port", "--host"], "--port has no value; write it after the flag"),
        (&["--port=1", "--port=2"], "--port is given more than once; leave one of them out"),
        (&["--show-page", "--no-page"], "--show-page contradicts --no-page; leave one of them out"),
        (
            &["--show-page", "false"],
            "\"false\" belongs to no flag; --help lists all of them, and a switch takes its value \
             after =, as in --show-page=false",
        ),
    ];
    for (args, line) in rows {
        assert_eq!(refusal(args, &[]), format!("tus-server: {line}"));
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let file = File::with("max-size = 1");
    assert_eq!(
        refusal(&["--config", &file.path()], &[]),
        format!(
            "tus-server: --config (from the command line): {:?} has the unknown key \"max-size\"; \
             the nearest known key is max_size",
            file.path()
        )
    );
}

#[test]
fn the_flag_without_a_key_is_refused_with_the_key_that_says_the_same() {
    let file = File::with("no_page = true");
    let line = refusal(&["--config", &file.path()], &[]);
    assert!(line.ends_with(" has the key no_page, which is a flag only; write show_page = false"));
    let settings = settings(&[], &[("TUS_NO_PAGE", "true")]);
    assert_eq!(settings.warnings(), ["TUS_NO_PAGE sets nothing; write TUS_SHOW_PAGE=false"]);
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_the_reason() {
    let line = refusal(&[], &[("TUS_CONFIG", "/no/such/file.toml")]);
    assert!(
        line.starts_with("tus-server: --config (from TUS_CONFIG): \"/no/such/file.toml\" cannot")
    );
    let file = File::with("port = 1\nhost = = 2\n");
    let line = refusal(&["--config", &file.path()], &[]);
    assert!(line.contains("is not TOML, see line 2: "), "{line}");
    for (text, reason) in [
        ("port = 1.5", "\"1.5\" is not a text, number or boolean"),
        ("port = [1]", "\"[ … ]\" is a list; write one value"),
        ("cors_allow_origin = [1]", "is not a list of strings; put each item in quotes"),
        ("[port]", "is not a text, number or boolean"),
        ("port = -1", "\"-1\" is not a port"),
    ] {
        let line = refusal(&["--config", &File::with(text).path()], &[]);
        assert!(line.contains(reason), "{line}");
    }
}

#[test]
fn settings_that_exclude_each_other_are_refused_with_both_sources() {
    assert_eq!(
        refusal(&["--unix-sock", "/run/tus.sock"], &[("TUS_PORT", "80")]),
        "tus-server: --unix-sock \"/run/tus.sock\" (from the command line) contradicts --port \
         \"80\" (from TUS_PORT): the server listens on one of them; leave the other out"
    );
    assert_eq!(
        refusal(&["--existing-file", "rename"], &[]),
        "tus-server: --existing-file \"rename\" (from the command line) contradicts \
         --file-name-format \"increment\" (from its default): a taken name matters only to the \
         format keep; use --file-name-format keep or leave --existing-file out"
    );
    assert_eq!(
        refusal(&["--cors-allow-credentials"], &[]),
        "tus-server: --cors-allow-credentials \"true\" (from the command line) contradicts \
         --cors-allow-origin \"*\" (from its default): browsers refuse credentials for every \
         origin; name the origins"
    );
    assert_eq!(
        refusal(&["--destination-dir", "none", "--destination-folders", "{date}"], &[]),
        "tus-server: --destination-folders \"{date}\" (from the command line) contradicts \
         --destination-dir \"none\" (from the command line): folders need a destination; name a \
         --destination-dir or leave the folders out"
    );
    assert_eq!(
        refusal(&["--tls-cert", "a.pem"], &[]),
        "tus-server: --tls-cert \"a.pem\" (from the command line) contradicts --tls-key \"none\" \
         (from its default): a certificate needs its key; name its --tls-key or leave --tls-cert \
         out"
    );
    assert_eq!(
        refusal(&["--tls-cert", "none"], &[("TUS_TLS_KEY", "k.pem"), ("TUS_TLS_CERT", "c.pem")]),
        "tus-server: --tls-key \"k.pem\" (from TUS_TLS_KEY) contradicts --tls-cert \"none\" (from \
         the command line): a key needs its certificate; name its --tls-cert or leave --tls-key \
         out"
    );
    assert_eq!(
        refusal(&["--unix-sock=/s", "--tls-cert=c.pem", "--tls-key=k.pem"], &[]),
        "tus-server: --tls-cert \"c.pem\" (from the command line) contradicts --unix-sock \"/s\" \
         (from the command line): TLS is for TCP; leave the certificate and its key out, or listen \
         on --host and --port"
    );
    for key in ["--host=::1", "--port=1080"] {
        assert!(refusal(&[key, "--unix-sock=/s"], &[]).contains("contradicts"));
    }
}

#[test]
fn settings_that_only_seem_to_exclude_each_other_are_taken() {
    settings(&["--unix-sock", "none", "--port", "80"], &[]);
    settings(&["--existing-file", "rename", "--file-name-format", "keep"], &[]);
    settings(&["--cors-allow-credentials", "--cors-allow-origin", "https://a.org"], &[]);
    settings(&["--cors-allow-credentials=false"], &[]);
}

#[test]
fn a_later_check_refuses_in_the_same_words() {
    let settings = settings(&[], &[("TUS_UPLOAD_DIR", "/proc")]);
    assert_eq!(
        settings.refuse("upload_dir", "cannot be written; name another directory").to_string(),
        "tus-server: --upload-dir (from TUS_UPLOAD_DIR): \"/proc\" cannot be written; name \
         another directory"
    );
}

#[test]
fn variables_that_set_nothing_are_warned_about() {
    let settings = settings(&[], &[("TUS_MAXSIZE", "1"), ("TUSK", "1"), ("HOME", "/root")]);
    assert_eq!(
        settings.warnings(),
        ["TUS_MAXSIZE sets nothing; the nearest variable is TUS_MAX_SIZE"]
    );
}

#[test]
fn help_names_every_flag_variable_default_and_section() {
    let help = printed(&["--help"]);
    for setting in TABLE {
        let (variable, default) = (setting.variable(), setting.default);
        assert!(help.contains(&format!("--{}", setting.flag())), "{}", setting.key);
        assert!(help.contains(&format!("[env: {variable}] [default: {default}]")), "{variable}");
        assert!(help.contains(&format!("\n{}:\n", setting.section)), "{}", setting.section);
    }
    assert!(help.contains("--no-page") && help.contains("[env: TUS_CONFIG]"));
}

#[test]
fn the_readme_lists_the_bounds_with_their_defaults() {
    let readme = include_str!("../../../../README.md");
    let listed: Vec<(&str, &str)> = readme
        .lines()
        .filter_map(|line| {
            let (flag, rest) = line.strip_prefix("| `--")?.split_once("` | ")?;
            Some((flag, rest.split_once(" | ")?.0))
        })
        .collect();
    for (flag, default) in &listed {
        let setting = TABLE.iter().find(|setting| setting.flag() == *flag);
        assert_eq!(setting.map(|setting| setting.default), Some(*default), "--{flag}");
    }
    let bounds = TABLE.iter().filter(|setting| {
        setting.section == "Connections"
            || ["max_", "min_"].iter().any(|start| setting.key.starts_with(start))
    });
    for setting in bounds {
        assert!(listed.iter().any(|(flag, _)| setting.flag() == *flag), "--{}", setting.flag());
    }
}

#[test]
fn version_is_that_of_the_crate() {
    assert_eq!(printed(&["--version"]), concat!("tus-server ", env!("CARGO_PKG_VERSION"), "\n"));
}
