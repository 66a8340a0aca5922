//! What this process takes of the machine (Linux).

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How many bytes of memory the process holds.
pub fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: u64 = kib.expect("VmRSS in kB").trim().parse().expect("a number");
    kib * 1024
}

/// Looks at [`resident`] all the time, from a thread of its own.
#[derive(Debug)]
pub struct Peak {
    start: u64,
    done: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Peak {
    /// Begins to look.
    pub fn watch() -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                let mut peak = resident();
                while !done.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(2));
                    peak = peak.max(resident());
                }
                peak
            }
        });
        Self { start: resident(), done, thread }
    }

    /// By how many bytes it was at most above the beginning.
    pub fn growth(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        let peak = self.thread.join().expect("the sampler");
        peak.saturating_sub(self.start)
    }
}
