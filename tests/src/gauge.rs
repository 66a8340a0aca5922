//! What a process takes, as the system keeps books about it (Linux).

use std::fs;

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

fn field(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a live process");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
    line.split_whitespace().next().and_then(|value| value.parse().ok()).expect("a number")
}
