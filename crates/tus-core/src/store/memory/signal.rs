use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::sync::{Mutex, lock};

/// Something that happens once. Whoever waits for it hears it, also afterwards.
///
/// Wakers are foreign code: none is woken or dropped under the mutex.
#[derive(Default)]
pub(super) struct Signal(Mutex<State>);

#[derive(Default)]
struct State {
    given: bool,
    waiting: Vec<(u64, Waker)>,
    /// How many have waited, which numbers the next one.
    count: u64,
}

impl Signal {
    /// It happens now; again is no more than once.
    pub(super) fn give(&self) {
        let waiting = {
            let mut state = lock(&self.0);
            state.given = true;
            mem::take(&mut state.waiting)
        };
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    /// Waits for it. What is dropped before leaves nothing behind.
    pub(super) fn heard(&self) -> Heard<'_> {
        Heard { signal: self, number: None }
    }
}

/// Waits for a [`Signal`].
pub(super) struct Heard<'s> {
    signal: &'s Signal,
    /// Under which number its waker waits.
    number: Option<u64>,
}

impl Future for Heard<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = lock(&self.signal.0);
        if state.given {
            return Poll::Ready(());
        }
        let known = self.number;
        let place = state.waiting.iter_mut().find(|(number, _)| Some(*number) == known);
        let replaced = match place {
            Some((_, old)) => Some(mem::replace(old, waker)),
            None => {
                state.count += 1;
                self.number = Some(state.count);
                let number = state.count;
                state.waiting.push((number, waker));
                None
            }
        };
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Heard<'_> {
    fn drop(&mut self) {
        let Some(mine) = self.number else { return };
        let mut state = lock(&self.signal.0);
        let place = state.waiting.iter().position(|(number, _)| *number == mine);
        let removed = place.map(|place| state.waiting.swap_remove(place));
        drop(state);
        drop(removed);
    }
}
