//! One list of cases for every framework.
//!
//! A case starts a server with the uploads it needs, speaks to it as clients do, and asserts what
//! a client sees, or what the application's hooks and store do.

mod bodies;
mod broken;
mod crowds;
mod flat_memory;
mod heads;
mod hooks;
mod http2;
mod keep_alive;
mod leaving;
mod mount;
mod preemption;
mod refused;
mod stopping;
mod trailers;

use std::{
    future::Future,
    pin::Pin,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use tokio::{runtime, time::timeout};
use tus_core::{MemoryStore, Policy, Tus, TusBuilder};

use crate::{
    harness::{App, Harness, Server},
    store::Watched,
};

/// What a case is run with.
type Subject = &'static dyn Harness;
type Running = Pin<Box<dyn Future<Output = ()>>>;

struct Case {
    name: &'static str,
    run: fn(Subject) -> Running,
}

/// Expands to a test for each case of the suite, for a [`Harness`](crate::Harness) that is named
/// by its path from the crate's root: `tus_testkit::adapter_suite!(crate::Axum);`
#[macro_export]
macro_rules! adapter_suite {
    ($harness:path) => {
        $crate::each_case! { [$crate::cases_as_tests] $harness }
    };
}

/// The list: hands all cases, in their groups, to a macro.
#[doc(hidden)]
#[macro_export]
macro_rules! each_case {
    ([$($then:tt)+] $($with:tt)*) => {
        $($then)+! { [$($with)*]
            mount {
                both_forms_of_the_mount_create_an_upload
                nested_under_a_prefix_the_location_is_the_whole_path_and_works
                ids_that_cannot_exist_are_not_found_in_the_words_of_tus
                paths_deeper_than_an_upload_are_not_found_in_the_words_of_tus
                an_id_in_percent_encoding_names_no_upload
                other_routes_of_the_application_are_untouched
                a_query_is_no_part_of_the_location
                the_absolute_form_of_a_target_works
            }
            heads {
                repeated_response_headers_survive
                a_204_has_neither_a_body_nor_a_content_length
                a_head_is_answered_without_a_body
                a_missing_version_is_412_for_every_method
                a_wrong_checksum_is_460
                a_refusal_is_a_short_text
                discovery_needs_no_version_and_tells_what_this_adapter_can
                a_browser_of_another_origin_is_let_in
                http_1_0_is_served_without_interim_responses
                bytes_beyond_ascii_in_a_foreign_header_do_no_harm
            }
            bodies {
                bodies_of_every_size_and_framing_arrive_whole
                a_body_that_dribbles_by_single_bytes_arrives_whole
                a_creation_brings_its_first_bytes
                a_request_that_expects_100_hears_it_and_then_its_answer
                an_expectation_that_is_refused_hears_the_refusal
                a_body_longer_than_the_upload_leaves_nothing
            }
            trailers {
                a_checksum_in_a_trailer_is_verified_where_it_is_offered
                a_connection_stays_in_step_after_trailers
            }
            broken {
                a_fin_in_mid_body_keeps_what_arrived
                a_reset_in_mid_body_keeps_what_arrived
                a_broken_body_with_a_checksum_leaves_the_offset_where_it_was
                a_broken_creation_keeps_what_arrived
                a_chunk_that_is_no_chunk_keeps_what_was_right
            }
            leaving {
                a_client_that_leaves_while_its_bytes_are_synced_cancels_nothing
                a_client_that_leaves_while_its_upload_is_placed_cancels_nothing
                a_client_that_leaves_while_its_upload_is_recorded_cancels_nothing
                a_client_that_leaves_during_on_finish_is_announced_exactly_once
                a_client_that_leaves_a_chunked_body_behind_cancels_nothing
            }
            preemption {
                a_head_preempts_a_stalled_patch_and_tells_its_bytes
                a_patch_preempts_a_stalled_patch_and_goes_on
                a_delete_preempts_a_stalled_patch
                a_dribbling_patch_is_preempted_and_nothing_that_was_told_is_lost
                of_two_patches_at_one_offset_one_wins
                a_hopeless_request_does_not_disturb_the_holder
            }
            stopping {
                a_body_that_pauses_too_long_is_ended_and_its_bytes_are_kept
                a_drain_keeps_what_arrived_and_sends_clients_away
                a_drain_waits_for_a_commit_under_way
            }
            hooks {
                authorize_sees_what_the_application_attached_and_the_method_that_counts
                hooks_know_who_is_at_the_other_end
                the_reply_of_on_finish_arrives_and_is_repeated
                a_refusal_of_on_finish_arrives_and_is_repeated
                a_finish_that_fails_is_tried_again_without_being_asked
                a_finish_that_panics_is_tried_again_without_being_asked
                a_refused_creation_is_answered_in_the_applications_words
            }
            refused {
                a_refusal_reaches_a_client_that_is_still_sending
                a_refusal_reaches_a_client_that_was_told_to_continue
                the_body_of_a_refused_request_is_never_taken_for_a_request
                a_refused_request_changes_nothing
            }
            keep_alive {
                a_connection_serves_one_request_after_another
                pipelined_requests_are_answered_in_their_order
            }
            crowds {
                fifty_uploads_at_once_arrive_whole
                two_hundred_cut_connections_lose_nothing_that_was_told
            }
            flat_memory {
                a_large_body_passes_through_little_memory
                a_store_that_stalls_holds_the_client_back
            }
            http2 {
                an_upload_works_over_http2
                a_stream_that_is_reset_in_mid_body_keeps_what_arrived
                a_client_that_leaves_http2_during_the_commit_cancels_nothing
                a_body_that_never_begins_over_http2_is_not_waited_for
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! cases_as_tests {
    ([$harness:path] $($group:ident { $($case:ident)* })*) => {
        $(
            mod $group {
                $(
                    #[test]
                    fn $case() {
                        let name = concat!(stringify!($group), "::", stringify!($case));
                        $crate::run(&$harness, name);
                    }
                )*
            }
        )*
    };
}

macro_rules! table_of_cases {
    ([] $($group:ident { $($case:ident)* })*) => {
        const CASES: &[Case] = &[
            $($(Case {
                name: concat!(stringify!($group), "::", stringify!($case)),
                run: |subject| Box::pin($group::$case(subject)),
            },)*)*
        ];
    };
}

each_case! { [table_of_cases] }

/// Measured memory is that of the whole process: such a case runs while no other does.
static ALONE: RwLock<()> = RwLock::new(());

/// Runs one case of the suite.
///
/// # Panics
///
/// If the case fails, or there is none of this name.
pub fn run(subject: &'static dyn Harness, name: &str) {
    let case = CASES.iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("no case {name}"));
    // A case that failed leaves nothing behind that others depend on.
    let (_shared, _alone);
    if name.starts_with("flat_memory::") {
        _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    } else {
        _shared = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let ended = timeout(Duration::from_secs(120), (case.run)(subject)).await;
        assert!(ended.is_ok(), "{name} does not end");
    });
}

/// Uploads in memory that can be downloaded.
fn uploads() -> TusBuilder {
    Tus::builder().store(MemoryStore::new()).policy(policy())
}

/// As [`uploads`], with a view into the store.
fn watched_uploads() -> (Watched<MemoryStore>, TusBuilder) {
    let store = Watched::new(MemoryStore::new());
    let tus = Tus::builder().store(store.clone()).policy(policy());
    (store, tus)
}

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.download = true;
    policy
}

fn start(subject: Subject) -> Server {
    subject.start(App::new(uploads()))
}
