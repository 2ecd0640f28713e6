//! How far a conversion is, as figures and in the words that every front end has for it.

use std::borrow::Cow;

use crate::figures::bytes;

/// What is being done, one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Tensors are made and written.
    #[default]
    Writing,
    /// They are read back and compared.
    Comparing,
    /// All is compared, but the source's hash is not known yet.
    Hashing,
}

/// How far it is. Every byte is written and then compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being done.
    pub phase: Phase,
    /// Bytes written and compared.
    pub done: u64,
    /// Twice the bytes of the output; 0 while they are not known.
    pub total: u64,
    /// The tensor at hand; empty while there is none.
    pub tensor: Cow<'a, str>,
}

impl Progress<'_> {
    /// Bytes of this phase that are done, of how many.
    pub fn in_phase(&self) -> (u64, u64) {
        let half = self.total / 2;
        match self.phase {
            Phase::Writing => (self.done.min(half), half),
            Phase::Comparing => (self.done.saturating_sub(half), half),
            Phase::Hashing => (half, half),
        }
    }

    /// Whether bytes are still to be written or compared: the words of a hash have no rate and no share.
    pub fn counts_bytes(&self) -> bool {
        self.phase != Phase::Hashing && self.total > 0
    }

    /// `comparing 1.2 GiB of 5.0 GiB`.
    pub fn words(&self) -> String {
        let (done, of) = self.in_phase();
        let verb = match self.phase {
            Phase::Hashing => return "every tensor is compared; waiting for the source's SHA-256".to_owned(),
            Phase::Writing => "writing",
            Phase::Comparing => "comparing",
        };
        format!("{verb} {} of {}", bytes(done), bytes(of))
    }

    /// The same, for whoever looks at it later.
    pub fn into_owned(self) -> Progress<'static> {
        let Progress { phase, done, total, tensor } = self;
        Progress { phase, done, total, tensor: Cow::Owned(tensor.into_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_counts_the_bytes_of_the_output() {
        let at = |phase, done| Progress { phase, done, total: 4 << 20, tensor: "a.weight".into() };
        assert_eq!(at(Phase::Writing, 1 << 20).words(), "writing 1.0 MiB of 2.0 MiB");
        assert_eq!(at(Phase::Comparing, 3 << 20).words(), "comparing 1.0 MiB of 2.0 MiB");
        assert_eq!(at(Phase::Hashing, 4 << 20).words(), "every tensor is compared; waiting for the source's SHA-256");
        assert_eq!(at(Phase::Comparing, 4 << 20).in_phase(), (2 << 20, 2 << 20));
        let flags = [at(Phase::Writing, 0), at(Phase::Hashing, 0), Progress::default()].map(|now| now.counts_bytes());
        assert_eq!(flags, [true, false, false]);
    }
}
