//! What a process takes, as the system keeps books about it (Linux).

use std::{fs, time::Duration};

/// How many bytes of memory it holds.
pub fn resident(process: u32) -> u64 {
    field(process, "VmRSS:") * 1024
}

/// How many it held at the most since it was started, or since [`forget_peak`].
pub fn peak(process: u32) -> u64 {
    field(process, "VmHWM:") * 1024
}

/// Has the peak begin anew.
pub fn forget_peak(process: u32) {
    // proc(5): 5 resets the peak resident set size.
    fs::write(format!("/proc/{process}/clear_refs"), "5").expect("a process of ours");
}

/// How many threads it has.
pub fn threads(process: u32) -> u64 {
    field(process, "Threads:")
}

/// How many descriptors it has open.
pub fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors").count()
}

/// How long its threads have been running on a processor, to a hundredth of a second.
pub fn processor_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a live process");
    // After the name, which may hold anything, the 12th and 13th are user and system time.
    let (_, numbers) = stat.rsplit_once(')').expect("a name");
    let ticks = numbers.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(|ticks| ticks.parse::<u64>().expect("a number of ticks"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

fn field(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a live process");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
    line.split_whitespace().next().and_then(|value| value.parse().ok()).expect("a number")
}
