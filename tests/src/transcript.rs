//! Transcripts: conversations in plain HTTP, held with the engine and compared line by line.
//!
//! Written for people who know HTTP and no Rust. A `.http` file is a list of sections, each on a
//! server of its own that has nothing stored yet:
//!
//! ```text
//! ### An upload may have as many bytes as allowed, and not one more
//! @max-size 10
//!
//! POST /files HTTP/1.1
//! Tus-Resumable: 1.0.0
//! Upload-Length: 10
//!
//! HTTP/1.1 201 Created
//! Location: /files/{a}
//! Upload-Offset: (absent)
//! ```
//!
//! **Settings** stand before the first request: `@max-size 10` (or `none`), `@min-size 5`,
//! `@max-append-size 5`, `@min-append-size 5`, `@max-metadata 16`, `@max-parts 2`,
//! `@expire fixed 1h` or `sliding 1h`, `@download`, `@remove-used-parts`, `@disable termination`
//! (or `creation-with-upload`, `creation-defer-length`, `checksum`, `concatenation`,
//! `method-override`, `tus`, `rufh`), `@mount /api/files`, `@mount-cut-off` (the framework
//! removes the mount from the path before it hands on the request), `@public-url ..`,
//! `@trust 10.0.0.0/8`, `@cors off` or a list of origins, `@cors-credentials`, `@no-trailers` (the
//! framework does not hand on trailers), `@owners X-User` (an upload belongs to the user whom its
//! creation names in that header, and to nobody else), `@deny DELETE` (the application forbids
//! that method), `@finish reply` (or `reject`, or `fail`: what the application says to an upload
//! that is complete), `@interim auto` (or `on`, or `off`: the connection can send interim
//! responses; with `none`, which is the default, it cannot), `@interim-every 5s`.
//!
//! **Between exchanges**: `@advance 61s` moves the clock, which stands at
//! `Wed, 25 Jun 2014 15:00:00 GMT` when a section begins and moves only so; `@sweep` looks for
//! what has expired; `@drain` begins to stop the server; `@peer 10.0.0.1` is the address from
//! which the requests come from here on; after `@overlap` the next request is still under way
//! while the one after it is made and answered, and only then its own answer is looked at. A line
//! that begins with `#` is a comment.
//!
//! **Requests** come over HTTP/1.1, or over HTTP/1.0 or HTTP/2 where the request line says so.
//!
//! **Bodies** stand after an empty line and end at the next one; the last line's end does not
//! count. `@body-repeat a 1000` and `@body-base64 AP8=` add bytes that cannot be written so, and
//! `@pause 2s` is how long the client waits before the bytes that follow (an empty line ends it
//! all the same). A request without `Transfer-Encoding: chunked` gets its `Content-Length` by
//! itself. After the bytes, `@trailer Name: value` adds a trailer; `@break` ends the body with an
//! error, `@cut` without one but too early, `@stall` not at all.
//!
//! **Expectations**: a header line must match, `(absent)`, `(any)` and `(date)` stand for what
//! they say; a header that stands there twice must come twice; what is not named does not matter.
//! `{a}` stands for something without space, slash and comma: whatever it is the first time, and
//! the same from then on, in requests too. The reason phrase is a comment. A body is compared
//! where one is given: `(empty)`, or a text, which at its end may say `...` for any more. One that
//! begins with `{` is JSON: its members must be there and have these values (`"(absent)"` and
//! `"(any)"` as above), others may.
//!
//! Heads with a status below 200 come before that of the response, without bodies: these interim
//! responses must come in this order, and no others.
//!
//! Every response is also asked what holds for all of them (`respond`), and for all of its dialect
//! (`always`). Every section is run twice: once with bodies in pieces of 64 KiB, once of three
//! bytes, because the answer must not depend on it; nor must an interim response, so that a body
//! that waits for one goes on with three bytes.

mod always;
mod clocked;
mod expect;
mod interim;
mod parse;
mod respond;
mod run;
mod script;
mod server;

use std::{fmt, fs, path::Path};

use run::Framing;

/// What running all transcripts of a folder has shown.
#[derive(Debug, Default)]
pub struct Report {
    /// How many files were read.
    pub files: usize,
    /// How many sections were run.
    pub sections: usize,
    /// How many exchanges were compared, each framing counted.
    pub exchanges: usize,
    /// What did not match.
    pub failures: Vec<Failure>,
}

/// One thing that did not match.
#[derive(Debug)]
pub struct Failure {
    /// The file.
    pub file: String,
    /// The line of the request, or the one that cannot be read.
    pub line: usize,
    /// The section's title.
    pub section: String,
    /// What was expected, and what came.
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n{}", self.file, self.line, self.section, self.text)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "{failure}")?;
        }
        let Self { files, sections, exchanges, failures } = self;
        let failed = failures.len();
        write!(f, "{files} files, {sections} sections, {exchanges} exchanges, {failed} failures")
    }
}

/// Runs every `.http` file of a folder.
///
/// # Panics
///
/// If the folder or a file in it cannot be read.
pub fn run_folder(folder: &Path) -> Report {
    let listed = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = listed
        .map(|entry| entry.unwrap_or_else(|e| panic!("{}: {e}", folder.display())).path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "http"))
        .collect();
    paths.sort();
    let mut report = Report::default();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        run_text(&path.display().to_string(), &text, &mut report);
    }
    report
}

/// Runs the sections of one file, all of them, whatever fails.
pub fn run_text(file: &str, text: &str, report: &mut Report) {
    report.files += 1;
    let mut fail = |line, section: &str, text| {
        let (file, section) = (file.to_owned(), section.to_owned());
        report.failures.push(Failure { file, line, section, text });
    };
    let sections = match parse::parse(text) {
        Ok(sections) => sections,
        Err(error) => return fail(error.line, "(cannot be read)", error.text),
    };
    if sections.is_empty() {
        return fail(1, "(empty)", "  the file has no section\n".to_owned());
    }
    report.sections += sections.len();
    for section in &sections {
        for framing in [Framing::Whole, Framing::Pieces(3)] {
            match run::run(section, framing) {
                Ok(exchanges) => report.exchanges += exchanges,
                Err((line, text)) => {
                    fail(line, &section.title, text);
                    // The other framing would say the same once more.
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
