//! All faults of a scenario, one after another: at every call that it makes to a store, on every
//! ground.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Instant,
};

use tus_core::{Policy, conformance::Fault, store::StoreErrorKind};
use tus_tests::rig::Application;

use super::{
    ground::{Ground, KINDS, Kind},
    run::Run,
};

/// What happens to one call, and what comes of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blow {
    pub(crate) fault: Fault,
    pub(crate) then: Then,
}

/// What comes of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The process lives on. A call that has stalled ends after a while.
    GoesOn,
    /// The process dies: at the call, or else once it has answered.
    Dies,
    /// The client does not wait for a call that has stalled.
    ClientLeaves,
    /// The process is told to stop while a call has stalled, and is killed when its time is up.
    Stops,
}

impl Blow {
    const fn fails(kind: StoreErrorKind, then: Then) -> Self {
        Self { fault: Fault::Fail(kind), then }
    }

    const fn stalls(then: Then) -> Self {
        Self { fault: Fault::Stall, then }
    }

    const fn kills(fault: Fault) -> Self {
        Self { fault, then: Then::Dies }
    }

    /// Whether the process does not outlive it.
    pub(crate) fn dies(self) -> bool {
        matches!(self.then, Then::Dies | Then::Stops)
    }

    /// Whether it dies before it could answer.
    fn is_sudden(self) -> bool {
        matches!(self.fault, Fault::Crash | Fault::CrashAfter) || self.then == Then::Stops
    }
}

const BLOWS: [Blow; 9] = [
    Blow::fails(StoreErrorKind::Other, Then::GoesOn),
    Blow::fails(StoreErrorKind::Other, Then::Dies),
    Blow::fails(StoreErrorKind::Full, Then::Dies),
    Blow::fails(StoreErrorKind::Unavailable, Then::GoesOn),
    Blow::kills(Fault::Crash),
    Blow::kills(Fault::CrashAfter),
    Blow::stalls(Then::GoesOn),
    Blow::stalls(Then::ClientLeaves),
    Blow::stalls(Then::Stops),
];

/// Which faults a scenario is to bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bears {
    /// All of them.
    Everything,
    /// All but the sudden death of the process.
    NoSuddenDeath,
}

/// Runs a scenario under every fault at every call.
pub(crate) fn matrix(scenario: impl AsyncFn(&mut Run)) {
    matrix_of(&Policy::default(), Application::default, Bears::Everything, scenario);
}

/// The same under a policy, with an application, for some of the faults.
#[allow(clippy::needless_pass_by_value, reason = "a closure reads better than a pointer to one")]
pub(crate) fn matrix_of(
    policy: &Policy,
    application: impl Fn() -> Application,
    bears: Bears,
    scenario: impl AsyncFn(&mut Run),
) {
    let began = Instant::now();
    let mut broken: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut runs, mut missed) = (0, 0);
    for kind in KINDS {
        let once = |blow| attempt(kind.ground(policy, application()), blow, &scenario);
        let undisturbed = once(None);
        if let Err(said) = undisturbed.ran {
            panic!("without any fault, {kind:?}: {said}");
        }
        let blows = BLOWS.iter().filter(|blow| is_wanted(**blow, kind, bears));
        for blow in blows {
            for n in 1..=undisturbed.calls.len() {
                runs += 1;
                let Attempt { ran, struck, .. } = once(Some((n, *blow)));
                missed += usize::from(!struck);
                if let Err(said) = ran {
                    let name = undisturbed.calls[n - 1];
                    let which = format!("call {n} {name}, {blow:?}, {kind:?}");
                    broken.entry(said).or_default().push(which);
                }
            }
        }
    }
    let mut report = String::new();
    for (said, which) in &broken {
        let _infallible = writeln!(report, "\n{said}\n  in {} runs, as in", which.len());
        for which in which.iter().take(6) {
            let _infallible = writeln!(report, "    {which}");
        }
    }
    assert!(broken.is_empty(), "of {runs} runs:\n{report}");
    // On a disk, threads decide which of two calls comes first, and with it how many there are.
    assert!(runs > 0 && missed * 20 <= runs, "{missed} of {runs} faults were never reached");
    let thread = thread::current();
    let name = thread.name().unwrap_or_default();
    println!("faults: {name}: {runs} runs in {:.1?}", began.elapsed());
}

/// How a full disk and one that is not there are told apart is the same on every ground.
fn is_wanted(blow: Blow, kind: Kind, bears: Bears) -> bool {
    let told_apart =
        matches!(blow.fault, Fault::Fail(StoreErrorKind::Full | StoreErrorKind::Unavailable));
    let on_disk = matches!(kind, Kind::Disk(_));
    let too_sudden = bears == Bears::NoSuddenDeath && blow.is_sudden();
    !(on_disk && told_apart || too_sudden)
}

/// How a run went.
struct Attempt {
    calls: Vec<&'static str>,
    ran: Result<(), String>,
    struck: bool,
}

fn attempt(
    ground: Ground,
    blow: Option<(usize, Blow)>,
    scenario: &impl AsyncFn(&mut Run),
) -> Attempt {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let in_memory = matches!(ground, Ground::Memory(_));
    let (mut calls, mut struck) = (Vec::new(), false);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut run = Run::new(ground, blow).await;
            scenario(&mut run).await;
            run.has_kept_house().await;
            (calls, struck) = (run.calls(), run.is_struck());
            if blow.is_some() && in_memory {
                assert!(struck, "the fault was never reached");
            }
        });
    }));
    let ran = ran.map_err(|panic| text(&*panic));
    Attempt { calls, ran, struck }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
