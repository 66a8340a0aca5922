use std::{
    future::Future as _,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use super::signal::Signal;

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counter() -> (Arc<Counter>, Waker) {
    let counter = Arc::<Counter>::default();
    (counter.clone(), counter.into())
}

#[test]
fn everybody_who_listens_is_woken_once_and_hears_it_for_ever() {
    let signal = Signal::default();
    let (woken, waker) = counter();
    let mut context = Context::from_waker(&waker);
    let mut listeners = [pin!(signal.heard()), pin!(signal.heard()), pin!(signal.heard())];
    for listener in &mut listeners {
        assert_eq!(listener.as_mut().poll(&mut context), Poll::Pending);
    }
    signal.give();
    signal.give();
    assert_eq!(woken.0.load(Ordering::SeqCst), 3);
    for listener in &mut listeners {
        assert_eq!(listener.as_mut().poll(&mut context), Poll::Ready(()));
    }
    assert_eq!(pin!(signal.heard()).poll(&mut context), Poll::Ready(()));
}

#[test]
fn a_listener_that_moves_to_another_task_is_woken_there() {
    let signal = Signal::default();
    let ((old, old_waker), (new, new_waker)) = (counter(), counter());
    let mut listener = pin!(signal.heard());
    assert!(listener.as_mut().poll(&mut Context::from_waker(&old_waker)).is_pending());
    assert!(listener.as_mut().poll(&mut Context::from_waker(&new_waker)).is_pending());
    signal.give();
    assert_eq!((old.0.load(Ordering::SeqCst), new.0.load(Ordering::SeqCst)), (0, 1));
}

#[test]
fn whoever_stops_listening_leaves_nothing_behind() {
    let signal = Signal::default();
    let (counted, waker) = counter();
    let before = Arc::strong_count(&counted);
    for _ in 0..3 {
        let mut listener = Box::pin(signal.heard());
        assert!(listener.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(Arc::strong_count(&counted), before + 1);
        drop(listener);
        assert_eq!(Arc::strong_count(&counted), before);
    }
}
