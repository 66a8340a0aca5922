use std::{collections::HashSet, convert::Infallible, iter, path::Component, path::Path};

use proptest::{collection::vec, prelude::*, sample::select};

use super::{folder::*, *};

const SEPARATORS_AND_FORBIDDEN: [char; 9] = ['/', '\\', '<', '>', ':', '"', '|', '?', '*'];

#[test]
fn a_clients_name_becomes_one_safe_component() {
    for (sent, expected) in [
        ("photo.jpg", "photo.jpg"),
        ("Übergröße 写真 🦀.jpeg", "Übergröße 写真 🦀.jpeg"),
        ("C:\\Users\\ann\\a.txt", "a.txt"),
        ("dir/sub\\a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("a<b>c:d\"e|f?g*h.txt", "a_b_c_d_e_f_g_h.txt"),
        ("file.txt:stream", "file.txt_stream"),
        (
            "tab\tline\nnbsp\u{a0}wide\u{3000}nel\u{85}ls\u{2028}.txt",
            "tab line nbsp wide nel ls .txt",
        ),
        ("nul\0byte\u{1b}[31m\u{7f}\u{9b}.txt", "nulbyte[31m.txt"),
        ("invoice\u{202e}gpj.exe", "invoicegpj.exe"),
        ("z\u{200b}w\u{200d}j\u{feff}s\u{ad}h\u{61c}y\u{2066}\u{2069}.txt", "zwjshy.txt"),
        ("tag\u{e0041}\u{e007f}ged\u{fff9}\u{fffb}\u{ffff}\u{fdd0}.txt", "tagged.txt"),
        (".htaccess", "htaccess"),
        (".tus-0123.part", "tus-0123.part"),
        ("\u{200b}. .hidden", "hidden"),
        ("trailing. . .", "trailing"),
        ("trailing.\u{202e}", "trailing"),
        ("???", "___"),
    ] {
        assert_eq!(sanitize(sent).as_deref(), Some(expected), "{sent:?}");
    }
}

#[test]
fn a_name_without_anything_usable_is_none() {
    for sent in
        ["", ".", "..", "...", " ", ". .", "dir/", "C:\\", "a/..", "\u{feff}\0\t", "\u{202e}"]
    {
        assert_eq!(sanitize(sent), None, "{sent:?}");
    }
}

#[test]
fn windows_device_names_are_escaped() {
    for (sent, expected) in [
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("Aux.tar.gz", "_Aux.tar.gz"),
        ("prn .txt", "_prn .txt"),
        ("CONIN$", "_CONIN$"),
        ("conout$.log", "_conout$.log"),
        ("com0", "_com0"),
        ("COM9.x", "_COM9.x"),
        ("lpt1", "_lpt1"),
        ("Com¹.txt", "_Com¹.txt"),
        ("LPT³", "_LPT³"),
        ("n\u{200b}ul", "_nul"),
        ("dir/nul.", "_nul"),
        ("con:x", "con_x"),
        ("console.txt", "console.txt"),
        ("com.txt", "com.txt"),
        ("com10", "com10"),
        ("com⁴", "com⁴"),
        ("conin", "conin"),
        ("my nul.txt", "my nul.txt"),
    ] {
        assert_eq!(sanitize(sent).as_deref(), Some(expected), "{sent:?}");
    }
}

#[test]
fn a_device_name_that_only_the_cut_lays_bare_is_escaped() {
    let spaces = " ".repeat(300);
    assert_eq!(sanitize(&format!("con{spaces}x")).as_deref(), Some("_con"));
    assert_eq!(sanitize(&format!("con{spaces}x.txt")).as_deref(), Some("_con.txt"));
}

#[test]
fn a_long_name_loses_bytes_of_its_stem_on_a_char_boundary() {
    let extension = "e".repeat(32);
    for (sent, expected) in [
        ("a".repeat(200), "a".repeat(200)),
        ("a".repeat(201), "a".repeat(200)),
        ("a".repeat(300) + ".txt", "a".repeat(196) + ".txt"),
        ("a".repeat(300) + ".tar.zst", "a".repeat(192) + ".tar.zst"),
        ("é".repeat(150) + ".odt", "é".repeat(98) + ".odt"),
        ("写".repeat(100), "写".repeat(66)),
        ("a".repeat(300) + "." + &extension, "a".repeat(167) + "." + &extension),
        ("a".repeat(300) + ".e" + &extension, "a".repeat(200)),
        ("a".repeat(190) + &".".repeat(50) + "txt", "a".repeat(190) + ".txt"),
        ("nul.".to_owned() + &"a".repeat(300), "_nul.".to_owned() + &"a".repeat(195)),
    ] {
        assert_eq!(sanitize(&sent).as_deref(), Some(expected.as_str()), "{sent:?}");
    }
}

#[test]
fn the_extension_follows_the_last_dot_and_known_double_ones_stay_whole() {
    let long = "a.".to_owned() + &"b".repeat(33);
    for (name, expected) in [
        ("a.txt", ("a", ".txt")),
        ("README", ("README", "")),
        ("a.b.c", ("a.b", ".c")),
        ("a.tar.gz", ("a", ".tar.gz")),
        ("a.TAR.Xz", ("a", ".TAR.Xz")),
        ("a.b.tar.zst", ("a.b", ".tar.zst")),
        ("a.tar.bz2", ("a", ".tar.bz2")),
        ("a.tar.zip", ("a.tar", ".zip")),
        ("tar.gz", ("tar", ".gz")),
        ("gutar.gz", ("gutar", ".gz")),
        (".tar.gz", (".tar", ".gz")),
        (".txt", (".txt", "")),
        ("éé", ("éé", "")),
        ("", ("", "")),
        (&long, (&long, "")),
    ] {
        assert_eq!(split_extension(name), expected, "{name:?}");
    }
}

/// The file name as it may come: any Unicode, and often what is known to hurt.
fn client_name() -> impl Strategy<Value = String> {
    let nasty = select(vec![
        "con",
        "NUL",
        "com1",
        "LPT²",
        "conin$",
        "aux ",
        ".tar.gz",
        ".TXT",
        ".",
        "..",
        " ",
        "/",
        "\\",
        ":",
        "?",
        "\u{202e}",
        "\u{200b}",
        "\u{feff}",
        "\u{e0041}",
        "\0",
        "\t",
        "\u{a0}",
        "é",
        "写",
        "🦀",
        "_",
        ".tus-",
        "a",
    ]);
    let repeats = prop_oneof![4 => 1..4_usize, 1 => 1..260_usize];
    let piece = prop_oneof![
        6 => (nasty, repeats).prop_map(|(text, n)| text.repeat(n)),
        1 => any::<char>().prop_map(String::from),
        1 => any::<String>(),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Spelled out apart from the code under test: every device, with what Windows ignores cut off.
fn is_windows_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap().trim_end().to_uppercase();
    let ports = ["COM", "LPT"]
        .into_iter()
        .flat_map(|port| "0123456789¹²³".chars().map(move |number| format!("{port}{number}")));
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
        .map(String::from)
        .into_iter()
        .chain(ports)
        .any(|device| device == stem)
}

fn assert_safe(name: &str, longest: usize) {
    assert!(!name.is_empty());
    assert!(name.len() <= longest, "{} bytes: {name:?}", name.len());
    assert!(!name.contains(SEPARATORS_AND_FORBIDDEN), "{name:?}");
    assert!(!name.chars().any(char::is_control), "{name:?}");
    assert!(!name.chars().any(|c| c != ' ' && c.is_whitespace()), "{name:?}");
    let invisible = [
        '\u{200b}'..='\u{200f}',
        '\u{202a}'..='\u{202e}',
        '\u{2060}'..='\u{2069}',
        '\u{fff9}'..='\u{fffb}',
        '\u{e0000}'..='\u{e007f}',
        '\u{feff}'..='\u{feff}',
        '\u{61c}'..='\u{61c}',
        '\u{ad}'..='\u{ad}',
    ];
    let seen = |c| !invisible.iter().any(|range| range.contains(&c));
    assert!(name.chars().all(seen), "{name:?}");
    assert!(!name.starts_with(EDGES) && !name.ends_with(EDGES), "{name:?}");
    assert!(!is_windows_device(name), "{name:?}");
    let components: Vec<_> = Path::new(name).components().collect();
    assert_eq!(components, [Component::Normal(name.as_ref())]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_sanitised_name_is_safe_and_stays_as_it_is(sent in client_name()) {
        if let Some(name) = sanitize(&sent) {
            assert_safe(&name, MAX_NAME);
            prop_assert_eq!(sanitize(&name), Some(name));
        }
    }

    #[test]
    fn a_short_extension_is_kept_whatever_stands_before_it(
        stem in client_name(),
        extension in "[A-Za-z0-9]{1,32}",
    ) {
        let name = sanitize(&format!("{stem}a.{extension}")).unwrap();
        let kept = format!(".{extension}");
        prop_assert!(name.ends_with(&kept), "{:?}", name);
        prop_assert!(split_extension(&name).1.ends_with(&kept), "{:?}", name);
    }

    #[test]
    fn a_letter_is_enough_to_be_usable(before in client_name(), after in "[^/\\\\]{0,300}") {
        let sent = format!("{before}a{after}");
        prop_assert!(sanitize(&sent).is_some(), "{:?}", sent);
    }

    #[test]
    fn every_candidate_is_safe_and_within_255_bytes(
        sent in proptest::option::of(client_name()),
        naming in select(vec![
            Naming::Increment, Naming::RandomSuffix, Naming::Random, Naming::Keep,
        ]),
        on_conflict in select(vec![OnConflict::Error, OnConflict::Overwrite, OnConflict::Rename]),
    ) {
        let all = Candidates::new(naming, on_conflict, sent.as_deref(), random_token);
        let mut seen = HashSet::new();
        for candidate in all.take(20) {
            let Candidate { name, .. } = candidate.unwrap();
            assert_safe(&name, 255);
            prop_assert!(seen.insert(name));
        }
        prop_assert!(!seen.is_empty());
    }
}

/// All candidates, with `r1`, `r2`, ... for the random tokens.
fn candidates(naming: Naming, on_conflict: OnConflict, name: Option<&str>) -> Vec<Candidate> {
    let mut drawn = 0;
    let random = || {
        drawn += 1;
        Ok::<_, Infallible>(format!("r{drawn}"))
    };
    Candidates::new(naming, on_conflict, name, random).map(|Ok(candidate)| candidate).collect()
}

fn next(name: impl Into<String>) -> Candidate {
    Candidate { name: name.into(), taken: IfTaken::Next }
}

#[test]
fn keep_has_one_candidate_and_the_conflict_policy_decides() {
    for (on_conflict, taken) in
        [(OnConflict::Error, IfTaken::Refuse), (OnConflict::Overwrite, IfTaken::Replace)]
    {
        let expected = Candidate { name: "a.txt".to_owned(), taken };
        assert_eq!(candidates(Naming::Keep, on_conflict, Some("d/a.txt")), [expected]);
    }
}

#[test]
fn increments_go_from_the_plain_name_to_9999_and_then_to_random_suffixes() {
    let expected: Vec<_> = iter::once(next("a.tar.gz"))
        .chain((1..=9999).map(|n| next(format!("a.{n:04}.tar.gz"))))
        .chain((1..=16).map(|n| next(format!("a-r{n}.tar.gz"))))
        .collect();
    for (naming, on_conflict) in [
        (Naming::Increment, OnConflict::Error),
        (Naming::Increment, OnConflict::Overwrite),
        (Naming::Increment, OnConflict::Rename),
        (Naming::Keep, OnConflict::Rename),
    ] {
        assert_eq!(candidates(naming, on_conflict, Some("a.tar.gz")), expected);
    }
}

#[test]
fn increments_of_awkward_names_keep_their_escape_and_their_extension() {
    for (sent, first, second) in [
        ("README", "README", "README.0001"),
        ("nul.txt", "_nul.txt", "_nul.0001.txt"),
        ("con", "_con", "_con.0001"),
        ("a.0001.txt", "a.0001.txt", "a.0001.0001.txt"),
    ] {
        let all = candidates(Naming::Increment, OnConflict::Error, Some(sent));
        assert_eq!(all[..2], [next(first), next(second)], "{sent:?}");
    }
}

#[test]
fn random_names_are_drawn_anew_for_each_of_16_tries() {
    let names = |prefix: &str, extension: &str| -> Vec<_> {
        (1..=16).map(|n| next(format!("{prefix}r{n}{extension}"))).collect()
    };
    for on_conflict in [OnConflict::Error, OnConflict::Overwrite, OnConflict::Rename] {
        let all = |naming, name| candidates(naming, on_conflict, Some(name));
        assert_eq!(all(Naming::Random, "a.tar.xz"), names("", ".tar.xz"));
        assert_eq!(all(Naming::Random, "x/a.T*T"), names("", ".T_T"));
        assert_eq!(all(Naming::Random, "README"), names("", ""));
        assert_eq!(all(Naming::RandomSuffix, "a.txt"), names("a-", ".txt"));
        assert_eq!(all(Naming::RandomSuffix, "nul"), names("_nul-", ""));
    }
}

#[test]
fn without_a_usable_name_every_policy_is_random_and_replaces_nothing() {
    let expected: Vec<_> = (1..=16).map(|n| next(format!("r{n}"))).collect();
    for naming in [Naming::Increment, Naming::RandomSuffix, Naming::Random, Naming::Keep] {
        for name in [None, Some(""), Some("..")] {
            assert_eq!(candidates(naming, OnConflict::Overwrite, name), expected);
        }
    }
}

#[test]
fn a_failing_source_of_randomness_is_told_and_ends() {
    let mut drawn = 0;
    let random = || {
        drawn += 1;
        Err("no entropy")
    };
    let all: Vec<_> =
        Candidates::new(Naming::Random, OnConflict::Error, Some("a.txt"), random).collect();
    assert_eq!(all, vec![Err("no entropy"); 16]);
    assert_eq!(drawn, 16);
}

#[test]
fn a_name_without_randomness_draws_none() {
    let random = || -> Result<String, Infallible> { panic!("drawn") };
    let all = Candidates::new(Naming::Increment, OnConflict::Error, Some("a"), random);
    assert_eq!(all.take(10_000).count(), 10_000);
}

#[test]
fn a_token_is_80_bits_of_lowercase_base32() {
    assert_eq!(base32([0; 10]), "aaaaaaaaaaaaaaaa");
    assert_eq!(base32([0xff; 10]), "7777777777777777");
    assert_eq!(base32(*b"0123456789"), "gaytemzugu3doobz");
    let tokens: HashSet<_> = iter::repeat_with(|| random_token().unwrap()).take(1000).collect();
    assert_eq!(tokens.len(), 1000);
    let alphabet: HashSet<_> = tokens.iter().flat_map(|token| token.chars()).collect();
    assert_eq!(alphabet, "abcdefghijklmnopqrstuvwxyz234567".chars().collect());
    assert!(tokens.iter().all(|token| token.len() == 16));
}

#[test]
fn settings_are_written_as_they_are_read() {
    for (text, naming) in [
        ("increment", Naming::Increment),
        ("random-suffix", Naming::RandomSuffix),
        ("random", Naming::Random),
        ("keep", Naming::Keep),
    ] {
        assert_eq!(text.parse(), Ok(naming));
        assert_eq!(naming.to_string(), text);
    }
    for (text, on_conflict) in [
        ("error", OnConflict::Error),
        ("overwrite", OnConflict::Overwrite),
        ("rename", OnConflict::Rename),
    ] {
        assert_eq!(text.parse(), Ok(on_conflict));
        assert_eq!(on_conflict.to_string(), text);
    }
    assert_eq!(Naming::default(), Naming::Increment);
    assert_eq!(OnConflict::default(), OnConflict::Error);
}

#[test]
fn a_wrong_setting_is_named_with_every_right_one() {
    for value in ["", "Keep", " keep", "uuid"] {
        let naming = value.parse::<Naming>().unwrap_err().to_string();
        let on_conflict = value.parse::<OnConflict>().unwrap_err().to_string();
        for word in [&format!("{value:?}"), "increment", "random-suffix", "random", "keep"] {
            assert!(naming.contains(word), "{naming}");
        }
        for word in [&format!("{value:?}"), "error", "overwrite", "rename"] {
            assert!(on_conflict.contains(word), "{on_conflict}");
        }
    }
}

fn expand(template: &str, value: Option<&str>) -> String {
    let template: FolderTemplate = template.parse().unwrap();
    let metadata = |key: &str| value.filter(|_| key == "project" || key == "a/b").map(String::from);
    let folder = template.expand(951_782_400, "0123456789abcdef", value, &metadata);
    folder.to_str().unwrap().to_owned()
}

#[test]
fn a_template_is_expanded_segment_by_segment() {
    for (template, expected) in [
        ("", ""),
        ("incoming", "incoming"),
        ("{year}/{month}/{day}", "2000/02/29"),
        ("{year}-{month}/x{day}y", "2000-02/x29y"),
        ("{id:1}/{id:2}/{id:8}", "0/01/01234567"),
        ("{owner}/in box/{metadata:project}", "ann/in box/ann"),
        ("{metadata:a/b}", "ann"),
        ("{metadata:other}/{owner}{owner}", "_/annann"),
        ("con{owner}", "conann"),
    ] {
        assert_eq!(expand(template, Some("ann")), expected, "{template:?}");
        assert_eq!(template.parse::<FolderTemplate>().unwrap().to_string(), template);
    }
}

#[test]
fn no_value_leads_out_of_its_segment_or_drops_the_text_before_it() {
    for (value, alone, prefixed) in [
        (None, "_", "by-"),
        (Some(""), "_", "by-"),
        (Some(".."), "_", "by-"),
        (Some("../../etc"), "_.._etc", "by-.._.._etc"),
        (Some("/etc"), "_etc", "by-_etc"),
        (Some("C:\\x"), "C__x", "by-C__x"),
        (Some("NUL"), "_NUL", "by-NUL"),
        (Some("\u{202e}\0"), "_", "by-"),
        (Some("{owner}"), "{owner}", "by-{owner}"),
    ] {
        assert_eq!(expand("{owner}", value), alone, "{value:?}");
        assert_eq!(expand("{metadata:project}", value), alone, "{value:?}");
        assert_eq!(expand("by-{metadata:project}", value), prefixed, "{value:?}");
    }
}

#[test]
fn a_wrong_template_is_refused_with_the_piece_and_the_way_out() {
    let many = "a/".repeat(16) + "a";
    let long = "a".repeat(201);
    for (template, piece, way_out) in [
        ("{date:%Y/%m/%d}", "{date:%Y/%m/%d}", "{year}, {month}, {day}"),
        ("a/{Year}", "{Year}", "{year}"),
        ("{}", "{}", "{owner}"),
        ("{year:4}", "{year:4}", "{year}"),
        ("{id}", "{id}", "{id:1} to {id:8}"),
        ("{id:}", "{id:}", "{id:1} to {id:8}"),
        ("{id:0}", "{id:0}", "{id:1} to {id:8}"),
        ("{id:9}", "{id:9}", "{id:1} to {id:8}"),
        ("{id:+3}", "{id:+3}", "{id:1} to {id:8}"),
        ("{id:12}", "{id:12}", "{id:1} to {id:8}"),
        ("{metadata:}", "{metadata:}", "{metadata:KEY}"),
        ("{metadata:a b}", "{metadata:a b}", "without spaces"),
        ("{metadata:a,b}", "{metadata:a,b}", "without spaces and commas"),
        ("x/{owner", "{owner", "{name}"),
        ("x/owner}/y", "owner}", "{name}"),
        ("{{owner}}", "{{owner}}", "{name}"),
        ("{owner}}", "{owner}}", "{name}"),
        ("}{owner}", "}{owner}", "{name}"),
        ("/etc", "/", "relative"),
        ("/", "/", "relative"),
        ("a//b", "/", "single slashes"),
        ("a/", "/", "single slashes"),
        ("..", "..", "leading and trailing dots"),
        ("a/../b", "..", "leading and trailing dots"),
        ("./a", ".", "leading and trailing dots"),
        ("a/.{owner}", ".{owner}", "leading and trailing dots"),
        ("{owner}. ", "{owner}. ", "trailing dots and spaces"),
        ("C:/a", "C:", "characters"),
        ("a\\b", "a\\b", "characters"),
        ("\\\\host", "\\\\host", "characters"),
        ("a/nul", "nul", "NUL"),
        ("com{id:1}", "com{id:1}", "NUL"),
        ("a\u{202e}b", "a\u{202e}b", "invisible"),
        (&many, &many, "16"),
        (&long, &long, "200 bytes"),
    ] {
        let error = template.parse::<FolderTemplate>().expect_err(template);
        assert_eq!(error.piece(), piece, "{template:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("{template:?}")), "{text}");
        assert!(text.contains(way_out), "{text}");
    }
    assert!("a/".repeat(15).parse::<FolderTemplate>().is_err());
    assert_eq!(expand(&("a/".repeat(15) + "a"), None).split('/').count(), 16);
}

proptest! {
    #[test]
    fn an_expanded_folder_never_leaves_the_destination(
        seconds: u64,
        id in client_name(),
        owner in proptest::option::of(client_name()),
        value in proptest::option::of(client_name()),
    ) {
        let template = "{owner}/{metadata:k}{id:8}/p{owner}.{metadata:k}/{year}/{id:3}-{day}";
        let template: FolderTemplate = template.parse().unwrap();
        let folder = template.expand(seconds, &id, owner.as_deref(), &|_| value.clone());
        let segments: Vec<_> = folder.components().collect();
        prop_assert_eq!(segments.len(), 5);
        for segment in segments {
            prop_assert!(matches!(segment, Component::Normal(_)), "{:?}", segment);
            assert_safe(segment.as_os_str().to_str().unwrap(), MAX_NAME);
        }
        let third = folder.iter().nth(2).unwrap().to_str().unwrap();
        prop_assert!(third.starts_with('p') || third.starts_with("_p"), "{:?}", third);
    }

    #[test]
    fn parsing_any_template_gives_a_folder_inside_or_a_refusal(template in ".{0,80}") {
        if let Ok(parsed) = template.parse::<FolderTemplate>() {
            let folder = parsed.expand(0, "id", Some("../x"), &|_| Some("/".to_owned()));
            prop_assert!(folder.components().all(|part| matches!(part, Component::Normal(_))));
            prop_assert!(folder.components().count() <= FolderTemplate::MAX_SEGMENTS);
        }
    }
}

#[test]
fn dates_are_right_at_the_edges_of_the_calendar() {
    for (seconds, expected) in [
        (0, (1970, 1, 1)),
        (86_399, (1970, 1, 1)),
        (86_400, (1970, 1, 2)),
        (951_782_400, (2000, 2, 29)),
        (1_709_164_800, (2024, 2, 29)),
        (1_709_251_200, (2024, 3, 1)),
        (4_107_542_399, (2100, 2, 28)),
        (4_107_542_400, (2100, 3, 1)),
        (253_402_300_799, (9999, 12, 31)),
        (253_402_300_800, (10_000, 1, 1)),
    ] {
        assert_eq!(utc_date(seconds), expected, "{seconds}");
    }
    let (year, month, day) = utc_date(u64::MAX);
    assert!(year > 500_000_000_000 && (1..=12).contains(&month) && (1..=31).contains(&day));
}

#[test]
fn every_day_of_900_years_follows_the_day_before_it() {
    let (mut year, mut month, mut day) = (1970, 1, 1);
    for days in 0..900 * 366_u64 {
        assert_eq!(utc_date(days * 86_400), (year, month, day));
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let last = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        (year, month, day) = match (month, day) {
            (12, 31) => (year + 1, 1, 1),
            (_, day) if day == last => (year, month + 1, 1),
            _ => (year, month, day + 1),
        };
    }
}
