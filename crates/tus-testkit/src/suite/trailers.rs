//! What follows a body in chunks.

use super::{Subject, start};
use crate::{
    harness::Server,
    head::Head,
    payload::{pattern, sha1},
    response::Response,
    upload::Upload,
};

async fn patch(
    upload: &Upload,
    bytes: &[u8],
    declared: bool,
    trailers: &[(&str, &str)],
) -> Response {
    let mut client = crate::Client::connect(upload.addr).await;
    let head = upload.patch_head(0).chunked();
    let head = match declared {
        true => head.with("Trailer", "Upload-Checksum"),
        false => head,
    };
    client.send_head(&head).await;
    client.send_body(bytes).await;
    client.end_body(trailers).await;
    client.read_response().await
}

pub(super) async fn a_checksum_in_a_trailer_is_verified_where_it_is_offered(subject: Subject) {
    let server = start(subject);
    let bytes = pattern(100_000, 1);
    let (right, wrong) = (sha1(&bytes), sha1(b"something else"));
    if subject.abilities().trailers {
        verified(&server, &bytes, &right, &wrong).await;
    } else {
        refused(&server, &bytes, &right).await;
    }
}

async fn verified(server: &Server, bytes: &[u8], right: &str, wrong: &str) {
    for declared in [true, false] {
        let upload = server.create(bytes.len()).await;
        let answer = patch(&upload, bytes, declared, &[("Upload-Checksum", wrong)]).await;
        answer.expect(460);
        assert_eq!(upload.offset().await, 0, "declared: {declared}");
        let answer = patch(&upload, bytes, declared, &[("Upload-Checksum", right)]).await;
        answer.expect(204);
        upload.verify(bytes).await;
    }
    let upload = server.create(bytes.len()).await;
    let promised = patch(&upload, bytes, true, &[]).await;
    promised.expect(400);
    assert_eq!(upload.offset().await, 0, "a promise that was not kept");
}

/// Where trailers are not seen they are not offered, and counting on one is refused.
async fn refused(server: &Server, bytes: &[u8], right: &str) {
    let upload = server.create(bytes.len()).await;
    let answer = patch(&upload, bytes, true, &[("Upload-Checksum", right)]).await;
    let text = answer.expect(400);
    assert!(text.text().contains("checksum-trailer"), "{text:?}");
    assert_eq!(upload.offset().await, 0);
    assert_eq!(upload.resume(bytes).await, 0);
}

pub(super) async fn a_connection_stays_in_step_after_trailers(subject: Subject) {
    let server = start(subject);
    let upload = server.create(6).await;
    let mut client = server.connect().await;
    client.send_head(&upload.patch_head(0).chunked()).await;
    client.send_body(b"abc").await;
    client.end_body(&[("X-One", "1"), ("X-Two", "2")]).await;
    client.read_response().await.expect(204);
    let asked = client.request(&Head::new("HEAD", &upload.path), b"").await;
    assert_eq!(asked.expect(200).offset(), 3);
}
