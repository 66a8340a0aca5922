//! Clients that leave after their last byte, at the worst moment: the bytes are there, the record
//! is not, the application was not told (F1). Nothing of that may be cancelled.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tus_core::Reply;

use super::{Subject, uploads, watched_uploads};
use crate::{
    client::Client, harness::App, payload::pattern, store::Call, upload::Framing, waiting::within,
};

const LENGTH: usize = 200_000;

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Fin,
    Reset,
}

impl Way {
    const ALL: [Self; 2] = [Self::Fin, Self::Reset];

    /// Leaves, and makes sure that the server has had the chance to notice.
    async fn take(self, mut client: Client, server: &crate::Server) {
        match self {
            Self::Fin => {
                client.finish().await;
                drop(client);
            }
            Self::Reset => client.abort(),
        }
        // Both travelled before these, to a server whose other connections are alive.
        for _ in 0..5 {
            let hello = crate::Head::plain("GET", "/hello");
            server.request(&hello, b"").await.expect(200);
        }
    }
}

/// Leaves while a call of the store is held, and sees that the exchange goes on all the same.
async fn leave_during(subject: Subject, call: Call, framing: Framing) {
    for way in Way::ALL {
        let (store, tus) = watched_uploads();
        let announced = watch::Sender::new(0);
        let tus = tus.on_finish({
            let announced = announced.clone();
            move |_| {
                announced.send_modify(|count| *count += 1);
                async { Ok(Reply::new()) }
            }
        });
        let server = subject.start(App::new(tus));
        let bytes = pattern(LENGTH, 1);
        let upload = server.create(LENGTH).await;
        let held = store.hold(call);
        let mut client = upload.begin_patch(0, framing, LENGTH).await;
        client.send_body(&bytes).await;
        client.end_body(&[]).await;
        held.reached().await;
        way.take(client, &server).await;
        assert_eq!(*announced.borrow(), 0, "{way:?}: {call:?} was not held");
        held.release();
        // Without any further request: it is the exchange itself that goes on.
        let mut told = announced.subscribe();
        let told = within("on_finish", told.wait_for(|count| *count > 0));
        drop(told.await.expect("a hook"));
        upload.verify(&bytes).await;
        assert_eq!(*announced.borrow(), 1, "{way:?}");
    }
}

pub(super) async fn a_client_that_leaves_while_its_bytes_are_synced_cancels_nothing(
    subject: Subject,
) {
    leave_during(subject, Call::Sync, Framing::Sized).await;
}

pub(super) async fn a_client_that_leaves_while_its_upload_is_placed_cancels_nothing(
    subject: Subject,
) {
    leave_during(subject, Call::Finish, Framing::Sized).await;
}

pub(super) async fn a_client_that_leaves_while_its_upload_is_recorded_cancels_nothing(
    subject: Subject,
) {
    leave_during(subject, Call::Update, Framing::Sized).await;
}

pub(super) async fn a_client_that_leaves_a_chunked_body_behind_cancels_nothing(subject: Subject) {
    leave_during(subject, Call::Sync, Framing::Chunked).await;
}

pub(super) async fn a_client_that_leaves_during_on_finish_is_announced_exactly_once(
    subject: Subject,
) {
    for way in Way::ALL {
        let (begun, ended) = (watch::Sender::new(0), watch::Sender::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let tus = uploads().on_finish({
            let (begun, ended, gate) = (begun.clone(), ended.clone(), Arc::clone(&gate));
            move |_| {
                let (begun, ended, gate) = (begun.clone(), ended.clone(), Arc::clone(&gate));
                async move {
                    begun.send_modify(|count| *count += 1);
                    gate.acquire().await.expect("an open gate").forget();
                    ended.send_modify(|count| *count += 1);
                    let reply = Reply::new();
                    let name = http::HeaderName::from_static("x-told");
                    Ok(reply.with_header(name, http::HeaderValue::from_static("once")))
                }
            }
        });
        let server = subject.start(App::new(tus));
        let bytes = pattern(LENGTH, 1);
        let upload = server.create(LENGTH).await;
        let mut client = upload.begin_patch(0, Framing::Sized, LENGTH).await;
        client.send_body(&bytes).await;
        let mut watching = begun.subscribe();
        drop(within("on_finish", watching.wait_for(|count| *count > 0)).await.expect("a hook"));
        way.take(client, &server).await;
        gate.add_permits(10);
        let mut watching = ended.subscribe();
        drop(within("on_finish", watching.wait_for(|count| *count > 0)).await.expect("a hook"));
        upload.verify(&bytes).await;
        let asked = upload.patch(LENGTH as u64, b"").await.expect(204);
        assert_eq!(asked.header("x-told"), Some("once"), "{way:?}: {asked:?}");
        assert_eq!((*begun.borrow(), *ended.borrow()), (1, 1), "{way:?}");
    }
}
