//! Every bound holds on every path that leads to it, and what a bound cut off is kept (P6, P7).

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and its helpers do so too"
)]

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use tokio::sync::mpsc;
use tus_core::{Arrival, Locator, MemoryStore, Policy, Tus, TusBuilder, store::ChunkStore};
use tus_tests::rig::{Answer, Ask, Clock, Frames, Lossy, Manner, Piece};

const MAX: u64 = 10;

/// Where the bound comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Policy,
    Upload,
}

struct House {
    bytes: Lossy,
    tus: Tus,
}

fn house(change: impl FnOnce(&mut Policy), build: impl FnOnce(TusBuilder) -> TusBuilder) -> House {
    let manner = Manner { volatile: false, places: false, is_blind: false };
    let bytes = Lossy::new(Clock::default(), manner);
    let mut policy = Policy::default();
    change(&mut policy);
    let builder = Tus::builder().meta(MemoryStore::new()).chunks(bytes.clone()).policy(policy);
    House { bytes, tus: build(builder).build().unwrap() }
}

fn bounded(source: Source) -> House {
    let of_policy = match source {
        Source::Policy => Some(MAX),
        Source::Upload => None,
    };
    house(
        |policy| policy.max_size = of_policy,
        |builder| match source {
            Source::Policy => builder,
            Source::Upload => builder.before_create(|_, mut new| async move {
                new.max_size = Some(MAX);
                Ok(new)
            }),
        },
    )
}

impl House {
    async fn ask(&self, ask: Ask) -> Answer {
        ask.send(&self.tus).await
    }

    async fn create(&self, ask: Ask) -> String {
        let answer = self.ask(ask).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.location()
    }

    /// The most bytes that any upload has.
    async fn most(&self) -> u64 {
        let mut most = 0;
        for at in self.bytes.locators() {
            most = most.max(self.bytes.stat(&Locator::new(at)).await.unwrap().length);
        }
        most
    }
}

fn chunks(total: u64) -> Frames {
    let piece = |_| Piece::Data(Bytes::from_static(b"x"));
    Frames::chunked((0..total).map(piece))
}

fn whole(total: u64) -> Frames {
    Frames::whole(&vec![b'x'; usize::try_from(total).unwrap()])
}

fn deferred() -> Ask {
    Ask::post().with("upload-defer-length", 1)
}

/// One way in which an upload could become too large.
async fn attempt(house: &House, way: &str, body: fn(u64) -> Frames) -> Answer {
    let beyond = MAX + 1;
    match way {
        "declared" => house.ask(Ask::post().length(beyond)).await,
        "declared, with bytes" => house.ask(Ask::post().length(beyond).body(body(beyond))).await,
        "deferred, with bytes" => house.ask(deferred().body(body(beyond))).await,
        "deferred, sent at once" => {
            let url = house.create(deferred()).await;
            house.ask(Ask::patch(&url, 0).body(body(beyond))).await
        }
        "deferred, sent in two" => {
            let url = house.create(deferred()).await;
            assert_eq!(house.ask(Ask::patch(&url, 0).body(body(6))).await.status, 204);
            house.ask(Ask::patch(&url, 6).body(body(5))).await
        }
        "declared late" => {
            let url = house.create(deferred()).await;
            house.ask(Ask::patch(&url, 0).length(beyond).body(body(beyond))).await
        }
        "declared late, at the end" => {
            let url = house.create(deferred()).await;
            assert_eq!(house.ask(Ask::patch(&url, 0).body(body(6))).await.status, 204);
            house.ask(Ask::patch(&url, 6).length(beyond).body(body(5))).await
        }
        "joined" => {
            let mut parts = Vec::new();
            for length in [6, 5] {
                let part = Ask::post().length(length).with("upload-concat", "partial");
                let url = house.create(part).await;
                assert_eq!(house.ask(Ask::patch(&url, 0).body(body(length))).await.status, 204);
                parts.push(url);
            }
            let list = format!("final;{}", parts.join(" "));
            house.ask(Ask::post().with("upload-concat", &list)).await
        }
        _ => panic!("no way {way:?}"),
    }
}

#[tokio::test]
async fn no_path_leads_beyond_the_largest_upload() {
    let ways = [
        "declared",
        "declared, with bytes",
        "deferred, with bytes",
        "deferred, sent at once",
        "deferred, sent in two",
        "declared late",
        "declared late, at the end",
        "joined",
    ];
    for source in [Source::Policy, Source::Upload] {
        for way in ways {
            for body in [chunks as fn(u64) -> Frames, whole] {
                let house = bounded(source);
                let answer = attempt(&house, way, body).await;
                assert_eq!(answer.status, 413, "{way}, {source:?}: {answer:?}");
                assert!(house.most().await <= MAX, "{way}, {source:?}: {}", house.most().await);
            }
            // Up to the bound, the same ways are open.
            let house = bounded(source);
            let url = house.create(deferred()).await;
            let patch = Ask::patch(&url, 0).length(MAX).body(chunks(MAX));
            assert_eq!(house.ask(patch).await.status, 204);
        }
    }
}

#[tokio::test]
async fn what_fits_of_a_deferred_body_is_kept() {
    let house = bounded(Source::Policy);
    let url = house.create(deferred()).await;
    assert_eq!(house.ask(Ask::patch(&url, 0).body(chunks(MAX + 5))).await.status, 413);
    assert_eq!(house.ask(Ask::head(&url)).await.offset(), Some(MAX));
    // The client may yet declare that this is all.
    let rest = Ask::patch(&url, MAX).length(MAX).body(Frames::whole(b""));
    assert_eq!(house.ask(rest).await.status, 204);
}

/// A body that says something each second.
fn dribble(seconds: u64, each: usize) -> Frames {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // Once nobody reads any more, there is nobody to tell.
            let _gone = sender.send(Piece::Data(Bytes::from(vec![b'x'; each])));
        }
    });
    Frames::chunked([Piece::Later(receiver)])
}

#[tokio::test(start_paused = true)]
async fn a_body_below_the_minimum_rate_is_cut_and_its_bytes_are_kept() {
    let house = house(|policy| policy.min_rate = 100, |builder| builder);
    let url = house.create(Ask::post().length(1 << 20)).await;
    let began = tokio::time::Instant::now();
    let answer = house.ask(Ask::patch(&url, 0).body(dribble(1000, 99))).await;
    assert_eq!(answer.status, 408, "{answer:?}");
    let took = began.elapsed().as_secs();
    assert!((30..=32).contains(&took), "cut after {took} s");
    let kept = house.ask(Ask::head(&url)).await.offset().unwrap();
    assert_eq!(kept, 99 * 30);

    // As much as that rate, and a burst that pays for a pause, are fast enough.
    let answer = house.ask(Ask::patch(&url, kept).body(dribble(100, 101))).await;
    assert_eq!(answer.status, 204, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn transfers_are_bounded_in_all_per_owner_and_per_address() {
    type Bound = fn(&mut Policy);
    let bounds: [(Bound, u16); 3] = [
        (|policy| policy.max_transfers = 1, 503),
        (|policy| policy.max_transfers_per_owner = Some(1), 429),
        (|policy| policy.max_transfers_per_address = Some(1), 429),
    ];
    for (bound, status) in bounds {
        let house = house(bound, |builder| {
            builder.before_create(|_, mut new| async move {
                new.owner = Some("ann".to_owned());
                Ok(new)
            })
        });
        let (one, other) =
            (house.create(Ask::post().length(8)).await, house.create(Ask::post().length(8)).await);
        let (sender, receiver) = mpsc::unbounded_channel();
        let held = tokio::spawn({
            let (tus, url) = (house.tus.clone(), one.clone());
            let body = Frames::chunked([Piece::Later(receiver)]);
            async move { from_home(Ask::patch(&url, 0).body(body), &tus).await }
        });
        sender.send(Piece::Data(Bytes::from_static(b"abcd"))).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;

        let patch = || Ask::patch(&other, 0).body(whole(8));
        let refused = from_home(patch(), &house.tus).await;
        assert_eq!((refused.status, refused.retry_after()), (status, Some(5)), "{refused:?}");
        let creation = Ask::post().length(8).body(whole(8));
        assert_eq!(from_home(creation, &house.tus).await.status, status);
        // Asking is free, and so is a creation without bytes.
        assert_eq!(from_home(Ask::head(&other), &house.tus).await.status, 200);
        assert_eq!(from_home(Ask::post().length(8), &house.tus).await.status, 201);
        // Whoever comes back to the upload that is held need not wait for their own ghost.
        let again = from_home(Ask::patch(&one, 4).body(whole(4)), &house.tus).await;
        assert_eq!(again.status, 204, "{again:?}");
        drop(sender);
        assert_eq!(held.await.unwrap().status, 423);
        assert_eq!(from_home(patch(), &house.tus).await.status, 204);
    }
}

async fn from_home(ask: Ask, tus: &Tus) -> Answer {
    let home: IpAddr = [192, 0, 2, 7].into();
    ask.send_as(tus, Arrival::at("/files").with_peer(Some(home))).await
}

/// A proxy that does not say for whom it asks, and a unix socket, ask for everybody.
#[tokio::test(start_paused = true)]
async fn trusted_proxies_and_unix_sockets_are_not_counted() {
    let proxy: IpAddr = [192, 0, 2, 7].into();
    for peer in [Some(proxy), None] {
        let house = house(
            |policy| {
                policy.max_transfers_per_address = Some(1);
                policy.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
            },
            |builder| builder,
        );
        let url = house.create(Ask::post().length(8)).await;
        let (_sender, receiver) = mpsc::unbounded_channel();
        let arrival = Arrival::at("/files").with_peer(peer);
        let held = tokio::spawn({
            let (tus, arrival) = (house.tus.clone(), arrival.clone());
            let body = Frames::chunked([Piece::Later(receiver)]);
            async move { Ask::patch(&url, 0).body(body).send_as(&tus, arrival).await }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        let creation = Ask::post().length(8).body(whole(8));
        assert_eq!(creation.send_as(&house.tus, arrival).await.status, 201, "{peer:?}");
        held.abort();
    }
}
