//! Inputs made of inputs.

use tus_testkit::Random;

/// What parsers look for.
const WORDS: [&str; 48] = [
    "Upload-Length: ",
    "Upload-Offset: ",
    "Upload-Concat: final;",
    "Upload-Checksum: sha1 ",
    "Upload-Metadata: ",
    "Upload-Defer-Length: 1",
    "X-HTTP-Method-Override: ",
    "Trailer: ",
    "Tus-Resumable: 1.0.0\r\n",
    "Forwarded: ",
    "X-Forwarded-Host: ",
    "Range: bytes=",
    "Host: ",
    "Content-Type: application/offset+octet-stream\r\n",
    "\r\n",
    "/files/",
    "../",
    "%2e",
    ";",
    ",",
    "\"",
    "=",
    ":",
    "-",
    "0",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "\u{e9}",
    "final;",
    "partial",
    "sha512 ",
    "AAAA",
    "==",
    "{\"",
    "}",
    "[]",
    "\0",
    "\u{202e}",
    "upload:",
    "Upload-Complete: ?1\r\n",
    "Upload-Complete: ?0\r\n",
    "Upload-Incomplete: ?0\r\n",
    "Upload-Draft-Interop-Version: ",
    "Content-Type: application/partial-upload\r\n",
    "Content-Disposition: inline; filename=",
    "filename*=UTF-8''",
    "?1",
];

/// Draws inputs from seeds.
pub(crate) struct Mutator {
    random: Random,
    seeds: Vec<Vec<u8>>,
}

impl Mutator {
    pub(crate) fn new(seed: u64, seeds: Vec<Vec<u8>>) -> Self {
        Self { random: Random::new(seed), seeds }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound.max(1) as u64)).expect("below a usize")
    }

    fn seed(&mut self) -> Vec<u8> {
        let at = self.below(self.seeds.len());
        self.seeds[at].clone()
    }

    /// The next input: a seed with a few changes.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut input = self.seed();
        for _ in 0..=self.below(6) {
            self.change(&mut input);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let (from, to) = (self.below(input.len() + 1), self.below(input.len() + 1));
        let piece = from.min(to)..from.max(to);
        match self.below(9) {
            0 if from < input.len() => input[from] ^= 1 << self.below(8),
            1 if from < input.len() => input[from] = self.random.draw().to_le_bytes()[0],
            2 => input.insert(from, self.random.draw().to_le_bytes()[0]),
            3 => drop(input.drain(from..(from + self.below(9)).min(input.len()))),
            4 => drop(input.drain(piece)),
            5 => {
                let copy = input[piece].to_vec();
                input.splice(to..to, copy);
            }
            6 => {
                let other = self.seed();
                let cut = self.below(other.len() + 1);
                input.splice(from.., other[cut..].iter().copied());
            }
            _ => {
                let word = WORDS[self.below(WORDS.len())];
                let end =
                    if self.below(2) == 0 { from } else { (from + word.len()).min(input.len()) };
                input.splice(from..end, word.bytes());
            }
        }
    }
}

/// The same failure with fewer bytes.
pub(crate) fn shrink(input: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut least = input.to_vec();
    let mut size = least.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < least.len() {
            let mut less = least.clone();
            less.drain(at..(at + size).min(least.len()));
            if fails(&less) { least = less } else { at += size }
        }
        size /= 2;
    }
    least
}
