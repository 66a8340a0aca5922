//! Requests that once broke something, each with its name.

use super::{
    request::{Delivery, Exchange, Request},
    round::Round,
    watch_for_panics,
};

/// An id, and a request for the upload of this id as it goes over the wire.
type Sent<'s> = (&'s str, &'s str);

/// Sends these to all servers, each of the groups in one breath.
fn hold(groups: &[&[Sent<'_>]]) {
    watch_for_panics();
    let mut round = Round::start(0);
    for group in groups {
        let requests = group.iter().map(|(id, text)| {
            let mut request = Request::new("", "").about(id);
            request.method = text.split(' ').next().unwrap_or_default().into();
            request.raw = Some(text.as_bytes().to_vec());
            request.mark("found");
            request
        });
        let delivery = if group.len() > 1 { Delivery::Alone } else { Delivery::Whole };
        let exchange = Exchange { requests: requests.collect(), delivery };
        if let Err(failure) = round.step(&exchange) {
            panic!("{}", round.tell(&failure, &exchange));
        }
    }
    if let Err(failure) = round.end() {
        panic!("{failure}");
    }
}

#[test]
fn an_overridden_head_is_answered_as_the_post_that_it_is() {
    let head = |id: &str| {
        format!(
            "POST /files/{id} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\n\
             X-HTTP-Method-Override: HEAD\r\n\r\n"
        )
    };
    let create = "POST /files HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nX-Id: a\r\n\
                  Upload-Length: 5\r\n\r\n";
    // Of an answer without a length, and without an end, a client waits for more.
    hold(&[&[("a", create)], &[("a", &head("a"))], &[("a", &head("b"))]]);
}

#[test]
fn a_final_that_loses_a_part_in_the_same_breath_is_gone_and_remembered() {
    let part = "POST /files HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nX-Id: part\r\n\
                Upload-Concat: partial\r\nUpload-Length: 5\r\n\r\n";
    let whole = "POST /files HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nX-Id: whole\r\n\
                 Upload-Concat: final;/files/part\r\n\r\n";
    let end = "DELETE /files/part HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\n\r\n";
    hold(&[&[("part", part)], &[("whole", whole), ("part", end)]]);
}
