use std::time::Duration;

use tus_core::Origins;
use tus_fs::Reserve;

use super::*;

#[test]
fn sizes_are_bytes_or_have_a_unit() {
    for (text, bytes) in [
        ("1", 1),
        ("1_000_000", 1_000_000),
        ("500MB", 500_000_000),
        ("10GiB", 10 << 30),
        ("10 gib", 10 << 30),
        ("7kb", 7_000),
        ("3B", 3),
        ("2TiB", 2 << 40),
        ("8191PiB", 8191 << 50),
    ] {
        assert_eq!(size_limit(text), Ok(Some(bytes)), "{text}");
    }
    assert_eq!(size_limit("0"), Ok(None));
    assert_eq!(size_limit("0GiB"), Ok(None));
}

#[test]
fn a_reserve_is_a_size_a_percentage_or_the_smaller_of_both() {
    let share = |percent, at_most| Ok(Reserve::Share { percent, at_most });
    for (text, expected) in [
        ("2GiB", Ok(Reserve::Bytes(2 << 30))),
        ("1_000", Ok(Reserve::Bytes(1000))),
        ("5%", share(5, u64::MAX)),
        ("99 %", share(99, u64::MAX)),
        ("5%,1GiB", share(5, 1 << 30)),
        ("1GiB, 5%", share(5, 1 << 30)),
        ("none", Ok(Reserve::None)),
        ("0", Ok(Reserve::None)),
        ("0%", Ok(Reserve::None)),
        ("5%,0", Ok(Reserve::None)),
    ] {
        assert_eq!(reserve(text), expected, "{text}");
    }
    for text in [
        "", ",", "%", "100%", "-5%", "5.5%", "5%%", "1G", "5%,", "5%,5%", "1GB,2GB", "none,5%",
        "5%,none", "1,2,3", "8192PiB", "many",
    ] {
        assert!(reserve(text).unwrap_err().starts_with("is not room to leave; "), "{text}");
    }
}

#[test]
fn what_is_no_size_is_refused() {
    for text in ["", "_", "GiB", "10XB", "10G", "-1", "1.5GiB", "10GiBs", "1 0", "١"] {
        assert!(size_limit(text).unwrap_err().starts_with("is not a size; "), "{text}");
    }
    for text in ["8192PiB", "99999999999999999999", "9223372036854775808"] {
        assert!(size_limit(text).unwrap_err().starts_with("is too large; "), "{text}");
    }
}

#[test]
fn counts_and_head_sizes_have_bounds() {
    assert_eq!(count("1"), Ok(1_u32));
    assert_eq!(count("1000000"), Ok(1_000_000_usize));
    assert_eq!(count_limit("0"), Ok(None));
    assert_eq!(count_limit("7"), Ok(Some(7)));
    for text in ["", "0", "-1", "1000001", "1.5", "ten", "99999999999"] {
        let refused = count::<usize>(text).unwrap_err();
        assert_eq!(refused, "is not a number of them; write one from 1 to 1000000", "{text}");
    }
    assert_eq!(head_size("8KiB"), Ok(8 << 10));
    assert_eq!(head_size("1MiB"), Ok(1 << 20));
    for text in ["8191", "1048577", "0"] {
        let refused = head_size(text).unwrap_err();
        assert_eq!(refused, "is out of bounds; write a size from 8KiB to 1MiB", "{text}");
    }
}

#[test]
fn field_sizes_have_bounds() {
    assert_eq!(field_size("1"), Ok(1));
    assert_eq!(field_size("1MiB"), Ok(1 << 20));
    for text in ["0", "1048577"] {
        let refused = field_size(text).unwrap_err();
        assert_eq!(refused, "is out of bounds; write a size from 1 byte to 1MiB", "{text}");
    }
}

#[test]
fn durations_have_a_unit() {
    for (text, milliseconds) in
        [("500ms", 500), ("30s", 30_000), ("24h", 86_400_000), ("7d", 604_800_000), ("0", 0)]
    {
        assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    for text in ["", "30", "s", "-5s", "5 parsecs", "1.5.2h"] {
        assert!(duration(text).unwrap_err().starts_with("is not a duration; "), "{text}");
    }
    assert!(duration("200y").unwrap_err().starts_with("is more than a hundred years; "));
    assert!(positive_duration("0s").unwrap_err().starts_with("leaves no time at all; "));
    assert_eq!(lifetime("0s"), Ok(None));
}

#[test]
fn hosts_are_addresses_or_names_alone() {
    for (text, read) in
        [("0.0.0.0", "0.0.0.0"), ("localhost", "localhost"), ("::1", "::1"), ("[::1]", "::1")]
    {
        assert_eq!(host(text).as_deref(), Ok(read));
    }
    for text in ["", "127.0.0.1:80", "http://x", "a b", "[::1]:80", "::g"] {
        assert!(host(text).is_err(), "{text}");
    }
}

#[test]
fn a_port_that_kubernetes_set_is_explained() {
    assert!(port("tcp://10.0.0.7:1080").unwrap_err().contains("enableServiceLinks"));
    assert!(port("65536").unwrap_err().starts_with("is not a port; write a number"));
    assert_eq!(port("0"), Ok(0));
}

#[test]
fn base_paths_have_a_slash_at_both_ends() {
    for text in ["/files/", "/files"] {
        assert_eq!(base_path(text).as_deref(), Ok("/files/"));
    }
    assert_eq!(base_path("/a/b~c.d").as_deref(), Ok("/a/b~c.d/"));
    for text in ["", "files", "/", "//", "/a//b", "/a/../b", "/{id}", "/a?b", "/ä", "/healthz/"] {
        assert!(base_path(text).is_err(), "{text}");
    }
}

#[test]
fn public_urls_are_absolute_and_plain() {
    assert_eq!(url_or_none("none"), Ok(None));
    for (text, read) in [
        ("https://a.org", "https://a.org"),
        ("https://a.org/", "https://a.org"),
        ("http://a.org:81/x/", "http://a.org:81/x"),
    ] {
        assert_eq!(url_or_none(text), Ok(Some(read.to_owned())));
    }
    for text in ["", "a.org", "ftp://a.org", "https://", "https://a.org/?q", "https://u@a.org"] {
        assert!(url_or_none(text).is_err(), "{text}");
    }
}

#[test]
fn log_filters_are_levels_or_directives() {
    for text in ["info", "OFF", "info,tus_core=debug", "tus_core::engine=trace"] {
        assert_eq!(log_filter(text).as_deref(), Ok(text));
    }
    for text in ["", "verbose", "a=b=c", "info,x=loud"] {
        assert!(log_filter(text).is_err(), "{text}");
    }
}

#[test]
fn origins_are_a_list_or_all_or_none() {
    let listed = origins("https://Example.org, https://*.example.org:8443").unwrap();
    let Origins::List(patterns) = &listed else { panic!("{listed:?}") };
    let [one, other] = patterns.as_slice() else { panic!("{listed:?}") };
    assert!(one.matches("https://example.org") && !one.matches("https://a.example.org"));
    assert!(other.matches("https://a.example.org:8443"));
    assert_eq!(origins("*"), Ok(Origins::Any));
    assert_eq!(origins("none"), Ok(Origins::Off));
    for text in
        ["", ",", "example.org", "https://a.org/", "https://*", "none,https://a.org", "*,http://a"]
    {
        assert!(origins(text).unwrap_err().contains("; write "), "{text}");
    }
}

#[test]
fn proxies_are_addresses_networks_and_the_unix_socket() {
    let listed = proxies("10.1.2.3/8, 2001:db8::/32,unix").unwrap();
    let is_trusted = |peer: Option<&str>| {
        let peer = peer.map(|address| address.parse().unwrap());
        listed.iter().any(|proxy| proxy.covers(peer))
    };
    for inside in [Some("10.255.0.1"), Some("2001:db8:1::1"), None] {
        assert!(is_trusted(inside), "{inside:?}");
    }
    for outside in [Some("11.0.0.1"), Some("2001:db9::1")] {
        assert!(!is_trusted(outside), "{outside:?}");
    }
    assert_eq!(proxies("none"), Ok(Vec::new()));
    for text in ["", ",", "10.0.0.0/33", "proxy.local", "10.0.0.1:80", "none,unix"] {
        assert!(proxies(text).unwrap_err().contains("; write "), "{text}");
    }
}
