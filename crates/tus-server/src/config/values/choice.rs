//! Settings that are one word out of a few.

use super::Parsed;

macro_rules! choice {
    (
        $(#[doc = $help:literal])+
        $name:ident, $noun:literal {
            $($(#[doc = $variant_help:literal])+ $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[doc = $help])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[doc = $variant_help])+ $variant,)+
        }

        impl $name {
            /// Reads the word.
            pub(crate) fn read(text: &str) -> Parsed<Self> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!(
                        "is not {}; write one of {}",
                        $noun,
                        [$($word),+].join(", "),
                    )),
                }
            }
        }
    };
}

choice! {
    /// How finished files are named.
    FileNameFormat, "a file name format" {
        /// The client's name, with a number where it is taken: name.0001.ext.
        Increment = "increment",
        /// The client's name and a random part: name.f3a9.ext.
        RandomSuffix = "random-suffix",
        /// A random name with the client's extension.
        Random = "random",
        /// The client's name as it is.
        Keep = "keep",
    }
}

choice! {
    /// What to do when a kept name is taken.
    ExistingFile, "a policy for existing files" {
        /// Refuse the upload.
        Error = "error",
        /// Replace the file.
        Overwrite = "overwrite",
        /// Store under another name.
        Rename = "rename",
    }
}

choice! {
    /// What the expiry of an upload is counted from.
    ExpireMode, "an expiry mode" {
        /// The last write.
        Sliding = "sliding",
        /// The creation.
        Fixed = "fixed",
    }
}

choice! {
    /// What stored bytes survive.
    Durability, "a durability level" {
        /// A power loss.
        Power = "power",
        /// The end of the process, not of the machine.
        Process = "process",
    }
}

choice! {
    /// When interim responses are sent.
    Interim, "a choice of when" {
        /// Unless the request came through a proxy.
        Auto = "auto",
        /// Always.
        On = "on",
        /// Never.
        Off = "off",
    }
}

choice! {
    /// How log lines are written.
    LogFormat, "a log format" {
        /// For people.
        Text = "text",
        /// For machines, one object a line.
        Json = "json",
    }
}
