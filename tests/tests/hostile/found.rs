//! Requests that once broke something, each with its name.

use super::{
    fail,
    request::{Delivery, Exchange, Request},
    round::Round,
    watch_for_panics,
};

/// Sends these bytes, one exchange each, to all servers; the first creates the upload of this id.
fn hold(id: &str, exchanges: &[&[u8]]) {
    watch_for_panics();
    let mut round = Round::start(0);
    for bytes in exchanges {
        let mut request = Request::new("", "").about(id);
        request.method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default().to_vec();
        request.raw = Some(bytes.to_vec());
        request.mark("found");
        let exchange = Exchange { requests: vec![request], delivery: Delivery::Whole };
        if let Err(failure) = round.step(&exchange) {
            fail(&round.tell(&failure, &exchange));
        }
    }
    if let Err(failure) = round.end() {
        fail(&failure);
    }
}

#[test]
fn an_overridden_head_is_answered_as_the_post_that_it_is() {
    hold(
        "a",
        &[
            b"POST /files HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nX-Id: a\r\n\
              Upload-Length: 5\r\n\r\n",
            // Of an answer without a length, and without an end, a client waits for more.
            b"POST /files/a HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\n\
              X-HTTP-Method-Override: HEAD\r\n\r\n",
            b"POST /files/b HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\n\
              X-HTTP-Method-Override: HEAD\r\n\r\n",
        ],
    );
}
