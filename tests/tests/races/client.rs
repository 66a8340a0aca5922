//! Clients that know nothing of each other, and a history of what they heard.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::mpsc, time::sleep};
use tus_core::Tus;
use tus_tests::rig::{Ask, Frames, Piece, World, crc32};

/// How many bytes the upload has.
pub(crate) const LENGTH: u64 = 24;

/// Random numbers that a seed repeats (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(Arc<Mutex<u64>>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    pub(crate) fn draw(&self, sides: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    /// A time that is mostly nothing, and rarely longer than anybody waits for.
    pub(crate) fn moment(&self) -> Duration {
        let millis = [0, 0, 0, 1, 1, 20, 60, 60, 300, 700];
        match self.draw(100) {
            0 => Duration::from_secs(6),
            n => Duration::from_millis(millis[usize::try_from(n % 10).unwrap()]),
        }
    }
}

/// What a request was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Head,
    /// A PATCH from here on by this writer.
    Patch(u64, u8),
    Delete,
}

/// A request and its answer, by the order in which they were seen.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) what: What,
    pub(crate) status: u16,
    pub(crate) offset: Option<u64>,
    /// The bytes that were durable when it was answered; `None` if there were none.
    pub(crate) durable: Option<Vec<u8>>,
}

/// Everything that was heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    events: Arc<Mutex<Vec<Event>>>,
    ticks: Arc<AtomicU64>,
    /// Terminations that were asked for and not answered.
    unheard: Arc<AtomicU64>,
}

impl History {
    pub(crate) fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether the upload may have been ended by a request whose answer nobody heard.
    pub(crate) fn may_be_ended(&self) -> bool {
        self.unheard.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
}

/// A client at work on `/files/u1`.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) number: u8,
    pub(crate) world: World,
    pub(crate) dice: Dice,
    pub(crate) history: History,
}

/// The byte at a place, by a writer: it shows both.
fn byte(writer: u8, at: u64) -> u8 {
    writer * 50 + u8::try_from(at).unwrap()
}

/// Who wrote a byte, and for which place.
pub(crate) fn origin(byte: u8) -> (u8, u64) {
    (byte / 50, u64::from(byte % 50))
}

/// Adds to the number of a client that brings a wrong digest: nothing of its bytes may ever count.
pub(crate) const WRONG: u8 = 2;

impl Client {
    /// Asks some things, one after another.
    pub(crate) async fn works(self, tus: Tus) {
        let mut known = 0;
        for _ in 0..2 + self.dice.draw(4) {
            sleep(self.dice.moment()).await;
            let event = match self.dice.draw(20) {
                0 => self.ask(&tus, What::Delete, Ask::delete("/files/u1")).await,
                1..8 => self.ask(&tus, What::Head, Ask::head("/files/u1")).await,
                // Rarely one that has no idea where the upload is.
                8 => self.patch(&tus, self.dice.draw(LENGTH)).await,
                _ => self.patch(&tus, known).await,
            };
            known = event.offset.unwrap_or(known);
        }
    }

    async fn patch(&self, tus: &Tus, at: u64) -> Event {
        let proof = self.dice.draw(8);
        let writer = if proof == 0 { self.number + WRONG } else { self.number };
        let length = (1 + self.dice.draw(12)).min(LENGTH.saturating_sub(at));
        let bytes: Vec<u8> = (at..at + length).map(|at| byte(writer, at)).collect();
        let ask = Ask::patch("/files/u1", at);
        let ask = match proof {
            0 => ask.with("upload-checksum", crc32(b"not these bytes")),
            1 => ask.with("upload-checksum", crc32(&bytes)),
            _ => ask,
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        let dice = self.dice.clone();
        tokio::spawn(async move {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                sleep(dice.moment()).await;
                let (frame, more) =
                    rest.split_at(rest.len().min(1 + usize::try_from(dice.draw(6)).unwrap()));
                rest = more;
                let piece = match dice.draw(12) {
                    0 => Piece::Break,
                    _ => Piece::Data(Bytes::copy_from_slice(frame)),
                };
                if sender.send(piece).is_err() {
                    return;
                }
            }
        });
        let ask = ask.body(Frames::chunked([Piece::Later(receiver)]));
        self.ask(tus, What::Patch(at, writer), ask).await
    }

    async fn ask(&self, tus: &Tus, what: What, ask: Ask) -> Event {
        let began = self.history.tick();
        let ends = u64::from(what == What::Delete);
        self.history.unheard.fetch_add(ends, Ordering::SeqCst);
        let answer = ask.send(tus).await;
        self.history.unheard.fetch_sub(ends, Ordering::SeqCst);
        let id = "u1".parse().unwrap();
        let upload = self.world.record(&id).await;
        let durable = upload.and_then(|upload| self.world.bytes.durable(&upload.locator));
        let ended = self.history.tick();
        let (status, offset) = (answer.status, answer.offset());
        let event = Event { began, ended, what, status, offset, durable };
        self.history.events.lock().unwrap().push(event.clone());
        event
    }
}
