use super::*;

/// A conversation that holds; the tests below change one thing in it.
const GOOD: &str = "\
### A creation
@max-size 10
@disable rufh

POST /files HTTP/1.1
Tus-Resumable: 1.0.0
Upload-Length: 5

HTTP/1.1 201 Created
Location: /files/{a}
Upload-Offset: (absent)

PATCH /files/{a} HTTP/1.1
Tus-Resumable: 1.0.0
Content-Type: application/offset+octet-stream
Upload-Offset: 0

hello

HTTP/1.1 204 No Content
Upload-Offset: 5

(empty)

# a comment
HEAD /files/nothing HTTP/1.1

HTTP/1.1 412 Precondition Failed

GET /files/nothing HTTP/1.1

HTTP/1.1 405 Method Not Allowed

method_not_allowed: ...
";

fn report(text: &str) -> Report {
    let mut report = Report::default();
    run_text("good.http", text, &mut report);
    report
}

/// What is said about the one failure of a text.
fn failure(text: &str) -> Failure {
    let mut report = report(text);
    assert_eq!(report.failures.len(), 1, "{report}");
    report.failures.remove(0)
}

/// The number of the first line that begins so.
fn line_of(text: &str, start: &str) -> usize {
    1 + text.lines().position(|line| line.starts_with(start)).unwrap()
}

fn changed(from: &str, to: &str) -> String {
    let changed = GOOD.replacen(from, to, 1);
    assert_ne!(changed, GOOD, "{from:?} is not there");
    changed
}

#[test]
fn a_conversation_that_holds_is_run_in_both_framings() {
    let report = report(GOOD);
    assert!(report.failures.is_empty(), "{report}");
    assert_eq!((report.files, report.sections, report.exchanges), (1, 1, 8));
}

#[test]
fn every_kind_of_wrong_expectation_fails_and_names_its_request() {
    let table = [
        ("201 Created", "200 OK", "POST", "expected status 200, got 201"),
        ("Location: /files/{a}", "Location: /other/{a}", "POST", "location"),
        ("Location: /files/{a}", "Location: (absent)", "POST", "expected none"),
        ("Upload-Offset: (absent)", "Upload-Offset: (any)", "POST", "got none"),
        ("Upload-Offset: (absent)", "Location: {b}", "POST", "got none"),
        ("Upload-Offset: 5\n", "Upload-Offset: 4\n", "PATCH", "expected \"4\", got \"5\""),
        ("Upload-Offset: 5\n", "Upload-Offset: (date)\n", "PATCH", "expected a date"),
        ("(empty)", "something", "PATCH", "body"),
        ("412 Precondition Failed", "404 Not Found", "HEAD", "expected status 404, got 412"),
        ("method_not_allowed: ...", "not_found: ...", "GET", "body"),
        ("method_not_allowed: ...", "method_not_allowed:", "GET", "body"),
        ("/files/{a} HTTP", "/files/{b} HTTP", "PATCH", "nothing is known as {b}"),
        ("@max-size 10", "@max-size 4", "POST", "got 413"),
    ];
    for (from, to, at, said) in table {
        let text = changed(from, to);
        let failure = failure(&text);
        assert_eq!(failure.line, line_of(&text, at), "{to:?}: {failure}");
        assert_eq!((failure.file.as_str(), failure.section.as_str()), ("good.http", "A creation"));
        assert!(failure.text.contains(said), "{to:?}: {failure}");
    }
}

#[test]
fn a_failure_does_not_stop_the_sections_after_it() {
    let first = changed("201 Created", "200 OK");
    let last = GOOD.replace("### A creation", "### Another one").replace("204 No", "200 No");
    let report = report(&format!("{first}\n{last}"));
    assert_eq!(report.sections, 2);
    assert_eq!(report.failures.len(), 2, "{report}");
}

#[test]
fn a_name_stands_for_the_same_text_ever_after() {
    let text = "
### Names
POST /files HTTP/1.1
Tus-Resumable: 1.0.0
Upload-Length: 5

HTTP/1.1 201
Location: /files/{a}

POST /files HTTP/1.1
Tus-Resumable: 1.0.0
Upload-Length: 5

HTTP/1.1 201
Location: /files/{NAME}
";
    assert!(report(&text.replace("NAME", "b")).failures.is_empty());
    assert_eq!(failure(&text.replace("NAME", "a")).line, 10);
}

#[test]
fn a_header_that_comes_more_often_than_it_is_listed_is_told() {
    let section = "
### Twice
@cors https://a.test

OPTIONS /files HTTP/1.1

HTTP/1.1 204
Vary: Origin
";
    assert!(report(section).failures.is_empty());
    let failure = failure(&format!("{section}Vary: Origin\n"));
    assert!(failure.text.contains("got none"), "{failure}");
}

#[test]
fn what_is_no_transcript_is_refused_with_its_line() {
    let table = [
        ("### A creation", "###", "###", "a title"),
        ("@max-size 10", "@max-size ten", "@", "ten"),
        ("@max-size 10", "@colour red", "@", "no setting @colour"),
        ("POST /files HTTP/1.1", "POST /files", "POST", "neither a request line"),
        ("# a comment", "@download", "@download", "before the first exchange"),
        ("# a comment", "@advance a lot", "@adv", "a lot"),
        ("HTTP/1.1 204 No Content", "", "PATCH", "no response"),
        ("HTTP/1.1 412 Precondition Failed", "HTTP/1.1 4 Oh", "HEAD", "no response"),
        ("Upload-Length: 5", "Upload-Length 5", "Upload-Length 5", "not a header line"),
        ("hello\n", "@colour red\n", "@colour", "a body knows no @colour"),
        ("hello\n", "@body-base64 ?\n", "@body", "symbol"),
        ("hello\n", "hello\n@break\n", "PATCH", "Content-Length must say more"),
        ("hello\n", "hello\n@trailer A: b\n", "PATCH", "only a chunked body"),
        ("Upload-Offset: 0\n", "Upload-Offset: 0\nContent-Length: 9\n", "PATCH", "5 bytes"),
    ];
    for (from, to, at, said) in table {
        let text = changed(from, to);
        let failure = failure(&text);
        assert_eq!(failure.line, line_of(&text, at), "{to:?}: {failure}");
        assert!(failure.text.contains(said), "{to:?}: {failure}");
    }
}

#[test]
fn an_empty_file_and_a_section_without_an_exchange_are_failures() {
    assert!(failure("").text.contains("no section"));
    assert!(failure("# only a comment\n").text.contains("no section"));
    assert!(failure("### Nothing\n").text.contains("no exchange"));
    assert!(failure("### A\n### B\n").text.contains("no exchange"));
    assert_eq!(failure(&format!("{GOOD}\n{GOOD}")).text, "  another section has this title\n");
}

#[test]
fn bodies_can_hold_any_byte_and_break_off() {
    let text = "
### Bytes
@download

POST /files HTTP/1.1
Tus-Resumable: 1.0.0
Upload-Length: 9
Content-Type: application/offset+octet-stream
Transfer-Encoding: chunked

a
b
@body-repeat xy 2
@body-base64 AP8=

HTTP/1.1 201
Location: /files/{a}
Upload-Offset: 9

GET /files/{a} HTTP/1.1

HTTP/1.1 200

@body-base64 YQpieHl4eQD/

PATCH /files/{a} HTTP/1.1
Tus-Resumable: 1.0.0
Content-Type: application/offset+octet-stream
Upload-Offset: 9
Transfer-Encoding: chunked

@break

HTTP/1.1 400

body_broken: ...
";
    let held = report(text);
    assert!(held.failures.is_empty(), "{held}");
    let other = text.replace("AP8=", "AP4=");
    assert_eq!(failure(&other).line, line_of(&other, "GET"));
}

/// A conversation with interim responses, a problem document, and two requests at once.
const RUFH: &str = "\
### Interim responses
@interim auto

POST /files HTTP/1.1
Upload-Draft-Interop-Version: 8
Upload-Complete: ?0

hello
@pause 2s
abc

HTTP/1.1 104 Upload Resumption Supported
Location: /files/{a}

HTTP/1.1 104 Upload Resumption Supported
Upload-Offset: 8

HTTP/1.1 201 Created
Location: /files/{a}

@overlap
PATCH /files/{a} HTTP/1.1
Upload-Complete: ?1
Upload-Offset: 8
Content-Type: application/partial-upload
Content-Length: 9

def
@stall

HTTP/1.1 503 Service Unavailable

{\"code\": \"preempted\", \"expected-offset\": \"(absent)\"}

HEAD /files/{a} HTTP/1.1

HTTP/1.1 204 No Content
Upload-Offset: 11
";

#[test]
fn what_comes_before_a_response_is_compared_too() {
    let held = report(RUFH);
    assert!(held.failures.is_empty(), "{held}");
    let table = [
        ("Location: /files/{a}", "Location: (absent)", "POST", "expected none"),
        ("Upload-Offset: 8\n\nHTTP/1.1 201", "Upload-Offset: 5\n\nHTTP/1.1 201", "POST", "\"8\""),
        ("HTTP/1.1 104", "HTTP/1.1 103", "POST", "expected 103, got 104"),
        ("HTTP/1.1 201", "HTTP/1.1 104\n\nHTTP/1.1 201", "POST", "no 104 came"),
        ("@pause 2s", "@pause 100ms", "POST", "no 104 came"),
        ("@interim auto", "@interim off", "POST", "no 104 came"),
        ("Upload-Offset: 8\n\nHTTP/1.1 201", "\nHTTP/1.1 201", "POST", ""),
        ("POST /files HTTP/1.1", "POST /files HTTP/1.0", "POST", "no 104 came"),
        ("preempted", "locked", "PATCH", "code: expected \"locked\""),
        ("\"(absent)\"", "11", "PATCH", "expected-offset: expected 11"),
        ("\nHEAD", "\n@overlap\nHEAD", "HEAD", "no exchange follows that overlaps it"),
        ("Length: 9\n\ndef\n@stall", "Length: 3\n\ndef", "PATCH", "nothing overlaps"),
    ];
    for (from, to, at, said) in table {
        let text = RUFH.replacen(from, to, 1);
        if said.is_empty() {
            assert!(report(&text).failures.is_empty(), "what is not named does not matter");
            continue;
        }
        let failure = failure(&text);
        assert_eq!(failure.line, line_of(&text, at), "{to:?}: {failure}");
        assert!(failure.text.contains(said), "{to:?}: {failure}");
    }
    let extra =
        RUFH.replacen("HTTP/1.1 104 Upload Resumption Supported\nUpload-Offset: 8\n\n", "", 1);
    assert!(failure(&extra).text.contains("not expected: 104"), "{extra}");
}
