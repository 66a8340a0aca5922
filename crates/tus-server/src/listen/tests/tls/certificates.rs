//! Which certificates and keys are taken, refused and replaced.

use super::*;

const RSA: &str = include_str!("../keys/rsa.pem");
const EC: &str = include_str!("../keys/ec.pem");

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn keys_of_every_form_are_taken_and_one_file_may_hold_all() {
    assert!(RSA.contains("-----BEGIN RSA PRIVATE KEY-----"));
    assert!(EC.contains("-----BEGIN EC PRIVATE KEY-----"));
    let home = Home::new();
    let made = fs::read_to_string(home.key()).unwrap();
    assert!(made.contains("-----BEGIN PRIVATE KEY-----"));
    let all = format!("{}{made}", fs::read_to_string(home.certificate()).unwrap());
    for text in [RSA, EC, &all] {
        fs::write(home.certificate(), text).unwrap();
        fs::write(home.key(), text).unwrap();
        let (server, _tls) = start(&home, hello(), patient()).await;
        ask(&mut connect(&home, &server, &[]).await, "hello").await;
    }
}

#[tokio::test]
async fn the_chain_is_shown_whole() {
    let home = Home::new();
    let chain = format!("{}{RSA}{EC}", fs::read_to_string(home.certificate()).unwrap());
    fs::write(home.certificate(), chain).unwrap();
    let (server, _tls) = start(&home, hello(), patient()).await;
    let stream = connect(&home, &server, &[]).await;
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_used_is_named_with_its_file_and_a_way_out() {
    const SECTION: &str = "-----BEGIN X-----\nAAAA\n-----END X-----\n";
    let pem = |name: &str| SECTION.replace('X', name);
    let good = Home::new();
    let certificate = fs::read_to_string(good.certificate()).unwrap();
    let key = fs::read_to_string(good.key()).unwrap();
    let cut = &certificate[..certificate.len() / 2];
    let large = "#".repeat((1 << 20) + 1);
    let rows: [(&str, &str, &str, &str); 11] = [
        ("", &key, "tls_cert", "holds no certificate"),
        (&key, &key, "tls_cert", "holds no certificate"),
        (cut, &key, "tls_cert", "is not PEM"),
        (&pem("CERTIFICATE"), &key, "tls_cert", "begins with what is no certificate"),
        (&large, &key, "tls_cert", "has more than 1 MiB"),
        (&certificate, "", "tls_key", "holds no private key"),
        (&certificate, &certificate, "tls_key", "holds no private key"),
        (&certificate, &pem("ENCRYPTED PRIVATE KEY"), "tls_key", "without a passphrase"),
        (&certificate, &key[..key.len() / 2], "tls_key", "is not PEM"),
        (&certificate, &pem("PRIVATE KEY"), "tls_key", "cannot be used"),
        (&certificate, RSA, "tls_key", "is not the key of the first certificate in"),
    ];
    let home = Home::new();
    let check = async |setting: &str, reason: &str| {
        let error = home.load().await.unwrap_err();
        let path = if setting == "tls_cert" { home.certificate() } else { home.key() };
        assert_eq!((error.setting, &error.path), (setting, &path), "{reason}: {error}");
        assert!(error.reason.contains(reason) && error.reason.contains("; "), "{error}");
        assert!(error.to_string().starts_with(&format!("{} ", path.display())), "{error}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    };
    for (certificate, key, setting, reason) in rows {
        fs::write(home.certificate(), certificate).unwrap();
        fs::write(home.key(), key).unwrap();
        check(setting, reason).await;
    }
    fs::write(home.certificate(), &certificate).unwrap();
    fs::remove_file(home.key()).unwrap();
    check("tls_key", "cannot be read").await;
    fs::remove_file(home.certificate()).unwrap();
    check("tls_cert", "cannot be read").await;
}

#[tokio::test]
async fn new_connections_get_the_new_certificate_and_old_ones_go_on() {
    let home = Home::new();
    let (server, tls) = start(&home, hello(), patient()).await;
    let (known, unknown) = (home.client(&[]), home.client(&[]));
    let mut old = join(&known, &server).await.unwrap();
    ask(&mut old, "hello").await;
    // A known client is greeted with less, and stays known.
    let mut again = join(&known, &server).await.unwrap();
    assert_eq!(again.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    ask(&mut again, "hello").await;

    home.renew();
    assert_eq!(shown(&join(&unknown, &server).await.unwrap()), shown(&old), "not told yet");
    tls.reload().await.unwrap();
    let mut new = connect(&home, &server, &[]).await;
    assert_ne!(shown(&new), shown(&old));
    assert_eq!(shown(&new), CertificateDer::from_pem_file(home.certificate()).unwrap());
    ask(&mut new, "hello").await;
    ask(&mut old, "hello").await;
    // Nobody stays with the old one by being known.
    let stale = join(&known, &server).await.unwrap_err();
    assert!(stale.to_string().contains("invalid peer certificate"), "{stale}");
}

#[tokio::test]
async fn a_reload_that_fails_keeps_what_was() {
    let home = Home::new();
    let (server, tls) = start(&home, hello(), patient()).await;
    let client = home.client(&[]);
    let before = shown(&join(&client, &server).await.unwrap());
    fs::write(home.key(), RSA).unwrap();
    assert_eq!(tls.reload().await.unwrap_err().setting, "tls_key");
    fs::write(home.certificate(), "no certificate").unwrap();
    assert_eq!(tls.reload().await.unwrap_err().setting, "tls_cert");
    let mut stream = join(&client, &server).await.unwrap();
    assert_eq!(shown(&stream), before);
    ask(&mut stream, "hello").await;
}
