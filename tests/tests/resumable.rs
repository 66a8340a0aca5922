//! Any handler becomes resumable: the applications of `examples/resumable` and
//! `examples/resumable-actix`, which know nothing of it, asked in whole and in pieces.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

#[path = "resumable/applications.rs"]
mod applications;
#[path = "resumable/cases.rs"]
mod cases;
#[path = "resumable/engine.rs"]
mod engine;
#[path = "resumable/finish.rs"]
mod finish;

use applications::{Actix, Axum};

/// A test of each case for each framework.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        mod axum {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                crate::cases::$case(&crate::Axum).await;
            })*
        }
        mod actix {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                crate::cases::$case(&crate::Actix).await;
            })*
        }
    };
}

cases![
    a_request_without_upload_complete_reaches_the_application_as_it_was_sent,
    a_request_in_one_piece_is_answered_by_the_handler,
    a_form_that_is_cut_is_completed_by_a_second_request,
    a_text_in_three_pieces_is_answered_as_in_one,
    a_large_file_is_streamed_to_the_disk_by_the_handler,
    a_creation_that_is_cut_can_be_continued_where_its_url_is_known,
    credentials_are_those_of_the_request_that_completes,
    an_answer_that_was_lost_is_given_again_without_asking_the_handler,
    what_the_handler_refuses_stays_refused,
    after_a_server_error_an_empty_request_asks_the_handler_again,
    a_large_answer_reaches_its_client_and_its_head_is_repeated,
    a_client_that_leaves_before_the_answer_finds_it_later,
    the_upload_can_be_continued_and_completed_in_tus,
    options_tell_the_limits,
    what_is_answered_leaves_no_bytes_and_is_forgotten,
    a_handler_that_panics_can_be_asked_again,
    a_restart_in_the_middle_loses_nothing,
    a_chunked_body_that_is_cut_completes_nothing,
    a_refusal_of_who_asks_is_not_the_last_word,
    what_is_repeated_has_no_cookies_and_no_inspection_shows_it,
    conditions_are_those_of_the_first_request,
    what_comes_in_parts_is_never_left_to_a_resource_that_knows_of_one,
    what_is_not_ours_is_passed_on,
];
