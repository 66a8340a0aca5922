//! Keeps the process small.

/// Has the C library keep two pools of free memory instead of eight a core, and give back what
/// is free at the end of them.
///
/// A frame is often received on one thread and freed on another, and each pool holds on to what
/// was freed into it: with the default a single fast upload leaves three times the memory behind.
/// And the default learns from the first large buffer that is freed to keep the next ones.
///
/// Call it before any thread is started.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "the C library offers no other way in, short of the environment")]
pub(crate) fn bound() {
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 2),
        // Both are the defaults, and hold because they are set.
        (libc::M_MMAP_THRESHOLD, 128 * 1024),
        (libc::M_TRIM_THRESHOLD, 128 * 1024),
    ] {
        // SAFETY: mallopt changes a number of the allocator; no memory is passed, and no other
        // thread runs yet. A failure (0) leaves the default, which is larger and works.
        let _done = unsafe { libc::mallopt(parameter, value) };
    }
}

/// Other C libraries have no such pools.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn bound() {}
