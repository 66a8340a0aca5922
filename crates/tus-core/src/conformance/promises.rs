//! The sentences of the contracts that cases try, word for word.

macro_rules! promises {
    ($($module:ident { $($name:ident = $text:literal;)+ })+) => {$(
        pub(super) mod $module {
            $(pub(in crate::conformance) const $name: &str = $text;)+

            #[cfg(test)]
            pub(super) const ALL: &[&str] = &[$($name),+];
        }
    )+};
}

promises! {
    meta {
        CREATE = "Of two creations of one id exactly one succeeds.";
        CREATE_TAKEN = "AlreadyExists if the id is taken; nothing is changed then.";
        LOAD = "NotFound, or Corrupt when it cannot be read back.";
        UPDATE = "It succeeds only if the stored revision is still the one given.";
        UPDATE_REFUSED = "Conflict if the revision moved on, NotFound if the record is gone; \
            nothing is changed in either case.";
        KEPT = "What a successful call wrote survives the loss of the process at the next \
            instruction";
        REMOVE = "Forgets a record; forgetting an unknown one succeeds.";
        DUE = "The next records whose due_at is at or before now, oldest first, at most limit, \
            after the one given.";
    }
    chunks {
        CREATE = "Makes an empty object.";
        CREATE_TAKEN = "AlreadyExists if the id is taken";
        STAT = "It never goes down except by truncate";
        STAT_MISSING = "NotFound if there is no such object.";
        MORE = "A store that reports more than it keeps makes clients skip bytes that nobody has.";
        POSITIONAL = "Writes are positional: the same bytes written again at the same offset \
            change nothing.";
        ENDED = "A write that was begun has ended when the call returns or its writer is dropped: \
            nothing may land after the engine has let go of the upload.";
        OPTIONAL = "A store that cannot do an optional verb says so in its Capabilities and \
            answers Unsupported.";
        OPEN = "NotFound; Conflict if offset is not the stored length.";
        TRUNCATE = "Cuts an object to length bytes, durably; a shorter one is left as it is.";
        FINISH = "The bytes are whole: puts them where they belong, durably, and says where that \
            is.";
        FINISH_AGAIN = "Safe to repeat after a crash at any point: a second call finds what the \
            first one did.";
        FINISH_OLD = "The bytes stay readable under the old locator until remove of it";
        FINISH_TAKEN = "AlreadyExists if the name is taken and may not be replaced: the upload is \
            refused for good, and its bytes stay where they are.";
        CONCAT = "Replaces what an object holds by the bytes of others, in this order, durably, \
            and returns their sum; the others stay as they are.";
        CONCAT_AGAIN = "Safe to repeat after a crash at any point.";
        CONCAT_MISSING = "NotFound if any is missing";
        READ = "Reads a range of bytes; the end may lie beyond what is stored.";
        READ_MISSING = "NotFound if there is no such object, or an application has moved it away";
        REMOVE = "Removes an object; removing an unknown one succeeds.";
        UNRECORDED = "those without a byte, in the order of their ids, at most limit, after the one \
            given";
        WRITE = "Accepts the next bytes, perhaps into a buffer.";
        SYNC = "Makes everything accepted durable, and returns the object's length.";
        DROPPED = "Dropping it without sync is a crash: it may lose what was not synced, and \
            nothing else.";
        MODIFIED = "When the last byte was written, by the store's clock.";
    }
    locker {
        ONE = "At most one lease of an id is held at any time.";
        FENCE = "The number that a lease carries grows with every grant of its id.";
        ENDS = "A lease ends by Lease::release, by being dropped, or (where processes can die) by \
            a time-to-live; never because somebody else wants it.";
        WAIT = "Conflict when it was not granted within the time";
        PREEMPTED = "Returns when somebody else asks for the upload; pending as long as nobody \
            does.";
    }
}

#[cfg(test)]
mod tests {
    /// The text of a file's doc comments, without line breaks, links and markup.
    fn prose(source: &str) -> String {
        let lines = source.lines().filter_map(|line| line.trim().strip_prefix("///"));
        let words = lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
        let mut text = String::new();
        for (n, piece) in words.split("](").enumerate() {
            let after = if n == 0 { piece } else { piece.split_once(')').unwrap().1 };
            text.push_str(after);
        }
        text.replace(['[', ']', '*', '`'], "")
    }

    #[test]
    fn promises_are_quoted_as_the_traits_make_them() {
        let contracts = [
            (super::meta::ALL, include_str!("../store/meta.rs")),
            (super::chunks::ALL, include_str!("../store/chunks.rs")),
            (super::locker::ALL, include_str!("../store/lock.rs")),
        ];
        for (promises, source) in contracts {
            let text = prose(source);
            for promise in promises {
                assert!(text.contains(promise), "no longer in the contract: {promise}");
            }
        }
    }
}
