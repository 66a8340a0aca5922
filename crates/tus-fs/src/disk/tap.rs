//! Where a watcher is let in: nothing at all without the feature `faults`.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    time::SystemTime,
};

use super::watch::{Act, Held, Name, Node, Outcome};
#[cfg(feature = "faults")]
use super::watch::{Answer, Watch};

/// Who watches what is done with one file or directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tap {
    #[cfg(feature = "faults")]
    seen: Option<Seen>,
}

#[cfg(feature = "faults")]
#[derive(Clone, Debug)]
struct Seen {
    watch: std::sync::Arc<dyn Watch>,
    node: Node,
    name: std::sync::Arc<str>,
}

impl Tap {
    /// Does something, again as long as a signal interrupts it.
    pub(super) fn see<'a, T>(
        &self,
        act: impl Fn() -> Act<'a>,
        mut call: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        self.see_some(act, |_| call(), |_| Outcome::Done)
    }

    /// Opens something.
    pub(super) fn see_open<'a, E: Into<io::Error>, F: Into<File>>(
        &self,
        act: impl Fn() -> Act<'a>,
        mut call: impl FnMut() -> Result<F, E>,
    ) -> io::Result<File> {
        let opened = |file: &File| Outcome::Opened(node_of(file.metadata()));
        self.see_some(act, |_| call().map(Into::into).map_err(Into::into), opened)
    }

    /// Makes a file durable.
    pub(super) fn see_sync<'a>(
        &self,
        act: impl Fn() -> Act<'a>,
        file: &File,
        call: impl Fn(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let modified = |_: &()| {
            let modified = file.metadata().and_then(|found| found.modified());
            Outcome::Synced(modified.unwrap_or(SystemTime::UNIX_EPOCH))
        };
        self.see_some(act, |_| call(file), modified)
    }

    /// Writes or reads, at most as much as the call is told.
    pub(super) fn see_count<'a>(
        &self,
        act: impl Fn() -> Act<'a>,
        call: impl FnMut(usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.see_some(act, call, |count| Outcome::Count(*count))
    }

    fn see_some<'a, T>(
        &self,
        act: impl Fn() -> Act<'a>,
        mut call: impl FnMut(usize) -> io::Result<T>,
        outcome: impl Fn(&T) -> Outcome,
    ) -> io::Result<T> {
        loop {
            match self.once(&act, &mut call, &outcome) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

#[cfg(not(feature = "faults"))]
impl Tap {
    fn once<'a, T>(
        &self,
        _act: &impl Fn() -> Act<'a>,
        call: &mut impl FnMut(usize) -> io::Result<T>,
        _outcome: &impl Fn(&T) -> Outcome,
    ) -> io::Result<T> {
        call(usize::MAX)
    }

    pub(super) fn of(&self, _file: &File, _name: &str) -> Self {
        Self {}
    }

    pub(super) fn is_watched(&self) -> bool {
        false
    }

    pub(super) fn node(&self) -> Node {
        Node::default()
    }

    pub(super) fn held(&self) -> Held<'_> {
        Held { node: Node::default(), name: "" }
    }
}

#[cfg(feature = "faults")]
impl Tap {
    /// Has everything watched that will be done with what is opened through this.
    pub(crate) fn new(watch: std::sync::Arc<dyn Watch>) -> Self {
        Self { seen: Some(Seen { watch, node: Node::default(), name: "".into() }) }
    }

    fn once<'a, T>(
        &self,
        act: &impl Fn() -> Act<'a>,
        call: &mut impl FnMut(usize) -> io::Result<T>,
        outcome: &impl Fn(&T) -> Outcome,
    ) -> io::Result<T> {
        let Some(Seen { watch, .. }) = &self.seen else {
            return call(usize::MAX);
        };
        let act = act();
        let result = match watch.before(&act) {
            Answer::GoOn => call(usize::MAX),
            Answer::Short(most) => call(most),
            Answer::Fail(errno) => Err(io::Error::from_raw_os_error(errno)),
        };
        let other = rustix::io::Errno::IO.raw_os_error();
        let told = result.as_ref().map(outcome);
        watch.after(&act, told.map_err(|error| error.raw_os_error().unwrap_or(other)));
        result
    }

    /// The tap of something that was opened through this one.
    pub(super) fn of(&self, file: &File, name: &str) -> Self {
        let seen = self.seen.as_ref().map(|Seen { watch, .. }| Seen {
            watch: watch.clone(),
            node: node_of(file.metadata()),
            name: name.into(),
        });
        Self { seen }
    }

    pub(super) fn is_watched(&self) -> bool {
        self.seen.is_some()
    }

    pub(super) fn node(&self) -> Node {
        self.held().node
    }

    pub(super) fn held(&self) -> Held<'_> {
        match &self.seen {
            Some(Seen { node, name, .. }) => Held { node: *node, name },
            None => Held { node: Node::default(), name: "" },
        }
    }
}

impl Tap {
    /// A name in the directory that this is the tap of.
    pub(super) fn name<'a>(&self, name: &'a str) -> Name<'a> {
        Name { dir: self.node(), name }
    }
}

/// Which file it is; one of which that cannot be learned is none.
pub(super) fn node_of(found: io::Result<Metadata>) -> Node {
    found.map(|found| Node { dev: found.dev(), ino: found.ino() }).unwrap_or_default()
}
