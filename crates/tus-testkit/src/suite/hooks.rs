//! Where the application has its say, through the framework.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use http::{HeaderName, HeaderValue, StatusCode};
use tus_core::{Action, HookError, Rejection, Reply};

use super::{Subject, uploads};
use crate::{
    harness::{App, User},
    head::Head,
    waiting::eventually,
};

const TOLD: HeaderName = HeaderName::from_static("x-told");

pub(super) async fn authorize_sees_what_the_application_attached_and_the_method_that_counts(
    subject: Subject,
) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tus = uploads().authorize({
        let seen = Arc::clone(&seen);
        move |request, intent| {
            let user = request.extensions().get::<User>().map(|user| user.0.clone());
            let method = request.method().to_string();
            let path = request.uri().path().to_owned();
            let mut seen = seen.lock().expect("no panic");
            seen.push((intent.action, method, path, user));
            async { Ok(()) }
        }
    });
    let mut app = App::new(tus);
    app.prefix = "/api/v1";
    let server = subject.start(app);
    let upload = server.create(3).await;
    let overriding = |method: &str| {
        let head = Head::new("POST", &upload.path).with("X-User", "ada");
        head.with("X-HTTP-Method-Override", method)
    };
    let patch = overriding("PATCH")
        .with("Content-Type", "application/offset+octet-stream")
        .with("Upload-Offset", 0)
        .sized(3);
    upload.request(&patch, b"abc").await.expect(204);
    let asked = Head::new("HEAD", &upload.path).with("X-User", "bob");
    upload.request(&asked, b"").await.expect(200);
    upload.request(&overriding("DELETE"), b"").await.expect(204);

    let row = |action, method: &str, path: &str, user: Option<&str>| {
        (action, method.to_owned(), path.to_owned(), user.map(str::to_owned))
    };
    let expected = [
        row(Action::Create, "POST", "/api/v1/files", None),
        row(Action::Append, "PATCH", &upload.path, Some("ada")),
        row(Action::Inspect, "HEAD", &upload.path, Some("bob")),
        row(Action::Terminate, "DELETE", &upload.path, Some("ada")),
    ];
    assert_eq!(*seen.lock().expect("no panic"), expected);
}

pub(super) async fn hooks_know_who_is_at_the_other_end(subject: Subject) {
    let tus = uploads().before_create(|request, new| async move {
        let local = |address: Option<std::net::IpAddr>| address.is_some_and(|a| a.is_loopback());
        match local(request.peer()) && local(request.client()) {
            true => Ok(new),
            false => Err(Rejection::forbidden(format!("{request:?}")).into()),
        }
    });
    let server = subject.start(App::new(tus));
    server.create(3).await;
}

pub(super) async fn the_reply_of_on_finish_arrives_and_is_repeated(subject: Subject) {
    let tus = uploads().on_finish(|finished| async move {
        let text = format!("{{\"length\":{}}}", finished.length);
        let reply = Reply::new().with_status(StatusCode::ACCEPTED);
        let reply = reply.with_header(TOLD, HeaderValue::from_static("yes"));
        Ok(reply.with_body(HeaderValue::from_static("application/json"), text))
    });
    let server = subject.start(App::new(tus));
    let upload = server.create(6).await;
    let half = upload.patch(0, b"abc").await.expect(204);
    assert_eq!(half.header("x-told"), None, "{half:?}");
    let done = upload.patch(3, b"def").await;
    let again = upload.patch(6, b"").await;
    for answer in [done, again] {
        let answer = answer.expect(202);
        assert_eq!(answer.header("x-told"), Some("yes"), "{answer:?}");
        assert_eq!(answer.all("content-type"), ["application/json"]);
        assert_eq!(answer.text(), "{\"length\":6}");
        assert_eq!(answer.offset(), 6);
    }
    let head =
        Head::create("/files", 3).with("Content-Type", "application/offset+octet-stream").sized(3);
    let created = server.request(&head, b"abc").await.expect(202);
    assert_eq!(created.text(), "{\"length\":3}");
    assert!(created.header("location").is_some(), "{created:?}");
}

pub(super) async fn a_refusal_of_on_finish_arrives_and_is_repeated(subject: Subject) {
    let asked = Arc::new(AtomicUsize::new(0));
    let tus = uploads().on_finish({
        let asked = Arc::clone(&asked);
        move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            async {
                let no = Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, "not an image\n");
                Err(no.with_header(TOLD, HeaderValue::from_static("no")).into())
            }
        }
    });
    let server = subject.start(App::new(tus));
    let upload = server.create(3).await;
    let done = upload.patch(0, b"abc").await;
    let again = upload.patch(3, b"").await;
    for answer in [done, again] {
        let answer = answer.expect(422);
        assert_eq!(answer.text(), "not an image\n");
        assert_eq!(answer.header("x-told"), Some("no"), "{answer:?}");
    }
    upload.head().await.expect(422);
    let download = Head::plain("GET", &upload.path);
    upload.request(&download, b"").await.expect(422);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// A finish hook that does not do its work the first time.
async fn fails_first(subject: Subject, first: fn() -> HookError) {
    let asked = Arc::new(AtomicUsize::new(0));
    let tus = uploads().on_finish({
        let asked = Arc::clone(&asked);
        move |_| {
            let before = asked.fetch_add(1, Ordering::SeqCst);
            async move {
                match before {
                    0 => Err(first()),
                    _ => Ok(Reply::new().with_header(TOLD, HeaderValue::from_static("late"))),
                }
            }
        }
    });
    let server = subject.start(App::new(tus));
    let upload = server.create(3).await;
    let answer = upload.patch(0, b"abc").await.expect(503);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    // Nobody asks for the upload meanwhile.
    eventually("a second call of on_finish", async || {
        (asked.load(Ordering::SeqCst) > 1).then_some(())
    })
    .await;
    let told = eventually("the upload to be complete", async || {
        let told = upload.head().await;
        (told.status == 200).then_some(told)
    });
    assert_eq!(told.await.header("x-told"), Some("late"));
    upload.verify(b"abc").await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

pub(super) async fn a_finish_that_fails_is_tried_again_without_being_asked(subject: Subject) {
    fails_first(subject, || std::io::Error::other("the database is away").into()).await;
}

pub(super) async fn a_finish_that_panics_is_tried_again_without_being_asked(subject: Subject) {
    fails_first(subject, || panic!("a hook that panics, as a case of the suite wants")).await;
}

pub(super) async fn a_refused_creation_is_answered_in_the_applications_words(subject: Subject) {
    let tus = uploads().before_create(|_, _| async {
        let no = Rejection::unauthorized("who are you?\n");
        let scheme = HeaderValue::from_static("Bearer");
        Err(no.with_header(http::header::WWW_AUTHENTICATE, scheme).into())
    });
    let server = subject.start(App::new(tus));
    let answer = server.request(&Head::create("/files", 3), b"").await;
    let answer = answer.expect(401);
    assert_eq!(answer.text(), "who are you?\n");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert_eq!(answer.header("tus-resumable"), Some("1.0.0"));
    assert_eq!(answer.header("location"), None);
}
