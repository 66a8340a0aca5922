//! Runs the transcripts: what a client says, and what it must hear, in plain HTTP.

use std::path::Path;

use tus_tests::transcript;

#[test]
fn every_transcript_of_tus_1_0_0_holds() {
    run("tus1");
}

#[test]
fn every_transcript_of_resumable_uploads_for_http_holds() {
    run("rufh");
}

fn run(dialect: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts").join(dialect);
    let report = transcript::run_folder(&folder);
    assert!(report.files > 0 && report.sections > 0 && report.exchanges > 0, "nothing was run");
    assert!(report.failures.is_empty(), "\n{report}");
    println!("{dialect}: {report}");
}
