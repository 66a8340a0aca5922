//! How many files and connections may be open at once.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::listen::REFUSED_AT_ONCE;

/// What a connection takes at the most: its socket, the bytes of an upload and their sync points,
/// and a record on its way.
const OF_A_CONNECTION: u64 = 4;

/// What is open beside the connections that are served.
const OF_THE_SERVER: u64 = 128 + REFUSED_AT_ONCE as u64;

/// Asks for as many open files as may be had, and gives back how many that is; `None` is no bound.
pub(crate) fn raise() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let before = limit.current;
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays as it is");
            limit.current = before;
        }
    }
    limit.current
}

/// How many of `connections` so many open files are enough for, at least one.
pub(crate) fn fit(connections: usize, files: Option<u64>) -> usize {
    let Some(files) = files else { return connections };
    let room = files.saturating_sub(OF_THE_SERVER) / OF_A_CONNECTION;
    connections.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_as_many_as_files_are_enough_for() {
        assert_eq!(fit(10_000, None), 10_000);
        assert_eq!(fit(10_000, Some(1 << 20)), 10_000);
        assert_eq!(fit(10_000, Some(1024)), 208);
        assert_eq!(fit(100, Some(1024)), 100);
        assert_eq!(fit(10_000, Some(64)), 1);
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        let files = raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!((files, limit.current), (limit.maximum, limit.maximum));
    }
}
