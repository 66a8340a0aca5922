//! Where the frameworks differ: every place in which two servers may say different things.

use super::{
    judge::Heard,
    request::{Exchange, Request},
    talk::Answer,
};

/// Two answers to one request.
pub(crate) struct Case<'c> {
    pub(crate) exchange: &'c Exchange,
    /// Which of its requests.
    pub(crate) at: usize,
    /// What differs first.
    pub(crate) difference: &'c str,
    /// What the left one said to the request before it.
    pub(crate) before: Option<&'c Heard>,
    pub(crate) left: (&'static str, &'c Heard),
    pub(crate) right: (&'static str, &'c Heard),
}

impl Case<'_> {
    fn with_actix(&self) -> bool {
        self.right.0 == "actix"
    }

    fn request(&self) -> &Request {
        &self.exchange.requests[self.at]
    }

    /// Whether the request carries a mark that begins so.
    fn marked(&self, mark: &str) -> bool {
        self.request().marks.iter().any(|found| found.starts_with(mark))
    }

    fn answers(&self) -> Option<(&Answer, &Answer)> {
        Some((self.left.1.as_ref().ok()?, self.right.1.as_ref().ok()?))
    }

    /// Whether a parser has given up on a request that was meant to be wrong, before any code of
    /// ours saw it.
    fn unread(&self, heard: &Heard) -> bool {
        let wrong =
            ["framing: ", "line: ", "chunks: ", "target: ", "version: ", "host", "method: "];
        let of_the_parser = |answer: &Answer| {
            matches!(answer.status, 400 | 431) && answer.header("tus-resumable").is_none()
        };
        wrong.iter().any(|mark| self.marked(mark)) && heard.as_ref().map_or(true, of_the_parser)
    }

    /// Whether actix-web itself refuses what hyper takes, and ends the connection.
    fn actix_refuses(&self) -> bool {
        let refused = |heard: &Heard| {
            let refusal = |answer: &Answer| {
                let of_the_parser = matches!(answer.status, 400 | 431) && answer.body.is_empty();
                of_the_parser && answer.header("tus-resumable").is_none()
            };
            heard.as_ref().is_ok_and(refusal)
        };
        self.with_actix() && refused(self.right.1) && !refused(self.left.1)
    }
}

/// A difference that comes from a framework's own reading of HTTP.
pub(crate) struct Difference {
    pub(crate) name: &'static str,
    pub(crate) why: &'static str,
    pub(crate) explains: fn(&Case<'_>) -> bool,
}

/// Those that take a coincidence, and need not come about in a million requests.
pub(crate) const RARE: [&str; 3] =
    ["names of 64 KiB", "the end of HTTP/1.0", "before what cannot be read"];

pub(crate) const ALL: &[Difference] = &[
    Difference {
        name: "trailers",
        why: "actix-web shows none, so checksum-trailer is not offered there",
        explains: |case| {
            let Some((left, right)) = case.answers() else { return false };
            let offered = |answer: &Answer| {
                let extensions = answer.header("tus-extension")?;
                Some(extensions.replace("checksum-trailer,", ""))
            };
            let discovery = offered(left).is_some() && offered(left) == offered(right);
            let refused = right.body.starts_with(b"not_offered: this server does not offer check");
            case.with_actix() && (discovery || refused || case.marked("trailers"))
        },
    },
    Difference {
        name: "Host twice",
        why: "actix-web refuses a second Host, as RFC 9112 (section 3.2) asks; hyper lets it be",
        explains: |case| case.marked("host") && case.actix_refuses(),
    },
    Difference {
        name: "HTTP/1.0 without a length",
        why: "actix-web refuses a POST of HTTP/1.0 that has no Content-Length",
        explains: |case| case.marked("version: 1.0") && case.actix_refuses(),
    },
    Difference {
        name: "letters of a method",
        why: "actix-web (http 0.2) knows fewer letters that a method may have",
        explains: |case| case.marked("method: unknown") && case.actix_refuses(),
    },
    Difference {
        name: "letters of a target",
        why: "hyper takes UTF-8 in a target, actix-web (http 0.2) does not",
        explains: |case| case.marked("target: byte") && case.actix_refuses(),
    },
    Difference {
        name: "many lines",
        why: "actix-web takes 96 header lines, hyper 100",
        explains: |case| {
            let lines = case.request().lines.len();
            (97..=100).contains(&lines) && case.actix_refuses()
        },
    },
    Difference {
        name: "a large head",
        why: "actix-web takes heads of 128 KiB, hyper of about 400 KiB, by how they came in",
        explains: |case| {
            let refused = |heard: &Heard| {
                let refusal = |answer: &Answer| {
                    answer.status == 431 && answer.header("tus-resumable").is_none()
                };
                heard.as_ref().is_ok_and(refusal)
            };
            let is_huge = case.marked("line: huge");
            is_huge && (case.actix_refuses() || refused(case.left.1) != refused(case.right.1))
        },
    },
    Difference {
        name: "the name of a refusal",
        why: "of a request that cannot be read for two reasons, a parser may say either, or nothing",
        explains: |case| case.unread(case.left.1) && case.unread(case.right.1),
    },
    Difference {
        name: "two framings",
        why: "of Content-Length beside Transfer-Encoding actix-web refuses both, hyper goes by the \
              latter and then ends the connection; RFC 9112 (section 6.3) allows both",
        explains: |case| case.marked("framing: both") && case.actix_refuses(),
    },
    Difference {
        name: "other codings",
        why: "actix-web refuses every coding but chunked, hyper only those that do not end in it",
        explains: |case| case.marked("framing: other coding") && case.actix_refuses(),
    },
    Difference {
        name: "broken chunks",
        why: "hyper lets us answer when a chunk cannot be read; actix-web ends the connection",
        explains: |case| case.with_actix() && case.marked("chunks: ") && case.right.1.is_err(),
    },
    Difference {
        name: "a length twice",
        why: "actix-web refuses the same Content-Length twice, hyper takes it as one; RFC 9110 \
              (section 8.6) allows both",
        explains: |case| case.marked("framing: same length twice") && case.actix_refuses(),
    },
    Difference {
        name: "names of 64 KiB",
        why: "actix-http panics on a header name of that size (see `KNOWN_PANIC`), hyper says 431",
        explains: |case| {
            // With it goes what else was asked on the connection.
            let mut lines = case.exchange.requests.iter().flat_map(|request| &request.lines);
            let large = lines.any(|line| line.name.len() >= 1 << 16);
            case.with_actix() && large && case.right.1.is_err()
        },
    },
    Difference {
        name: "CONNECT",
        why: "actix-web ends the connection after it, whatever the answer",
        explains: |case| {
            let Some((left, right)) = case.answers() else { return false };
            let connect = case.request().method == b"CONNECT";
            case.with_actix() && connect && left.status == right.status && right.closes()
        },
    },
    Difference {
        name: "extensions of chunks",
        why: "hyper breaks off a body with more than 16 KiB of them, actix-web skips them",
        explains: |case| case.with_actix() && case.marked("chunks: long extension"),
    },
    Difference {
        name: "upgrades",
        why: "actix-web repeats a Connection: upgrade that nobody takes up",
        explains: |case| {
            let Some((left, right)) = case.answers() else { return false };
            let upgrade = right.header("connection").is_some_and(|value| value == "upgrade");
            case.with_actix() && case.marked("connection") && upgrade && left.status == right.status
        },
    },
    Difference {
        name: "the end of HTTP/1.0",
        why: "such a connection ends with the answer; hyper says so where the body was not wanted, \
              actix-web does not",
        explains: |case| {
            let Some((left, right)) = case.answers() else { return false };
            let connection = case.difference == "header connection" && left.closes();
            let old = case.marked("version: 1.0") && left.status == right.status;
            case.with_actix() && old && connection
        },
    },
    Difference {
        name: "outside the mount",
        why: "the 404 of what is not ours to answer is the framework's; hyper may end the connection \
              rather than read a body that nobody wants",
        explains: |case| {
            let theirs = |heard: &Heard| {
                let unknown = |answer: &Answer| {
                    answer.status == 404 && answer.header("tus-resumable").is_none()
                };
                heard.as_ref().is_ok_and(unknown)
            };
            let closed = case.left.1.is_err() && case.before.is_some_and(theirs);
            closed || (theirs(case.left.1) && theirs(case.right.1))
        },
    },
    Difference {
        name: "the connection of a pipeline",
        why: "actix-web closes, or not, by what it has read of the requests behind the one that it \
              answers",
        explains: |case| {
            let connection = case.difference == "header connection";
            // Hyper ends a connection after it has said so; actix-web goes on answering.
            let closed = |heard: &Heard| heard.as_ref().is_ok_and(Answer::closes);
            let ended = case.left.1.is_err() && case.before.is_some_and(closed);
            case.with_actix() && case.exchange.requests.len() > 1 && (connection || ended)
        },
    },
    Difference {
        name: "before what cannot be read",
        why: "actix-web ends the connection where it cannot read a request, though it owes answers to \
              those before it",
        explains: |case| {
            let unreadable = ["framing: ", "line: ", "chunks: ", "target: ", "version: ", "host"];
            let behind = case.exchange.requests.iter().skip(case.at);
            let mut marks = behind.flat_map(|request| &request.marks);
            let is_behind = marks.any(|mark| unreadable.iter().any(|what| mark.starts_with(what)));
            case.with_actix() && is_behind && case.left.1.is_ok() && case.right.1.is_err()
        },
    },
    Difference {
        name: "an escaped mount",
        why: "actix-web decodes %69 before it looks for a route; the others compare the text",
        explains: |case| {
            let escaped = case.request().target.starts_with(b"/f%69les");
            let unknown = |heard: &Heard| heard.as_ref().is_ok_and(|answer| answer.status == 404);
            case.with_actix() && escaped && unknown(case.left.1)
        },
    },
];
