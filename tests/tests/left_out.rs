//! Says what `cargo test` alone leaves to the full command, where the harness would keep it quiet.

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!(
        "\nnote: `cargo test` leaves these to `tests/run`: formatting, lints, docs, licences, and the \
         real clients\n      (curl, tuspy, tus-js-client, Uppy and the upload page in Chromium)\n"
    );
}
