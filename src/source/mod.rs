//! Python source as text: finding a class's `forward` and what in it blocks a conversion.
//!
//! Source is read, parsed with tree-sitter and shown; it is never imported or run.

mod arguments;
mod autograd;
mod bindings;
pub mod blockers;
pub mod budget;
pub mod builders;
mod by_name;
mod checks;
mod class_paths;
pub mod constructors;
mod evaluate;
mod files;
mod folders;
mod held;
pub mod highlight;
pub mod idioms;
mod imports;
pub mod inference;
mod interpreter;
pub mod listing;
mod literals;
pub mod locate;
mod masks;
mod names;
pub mod norms;
pub mod ops;
pub mod python;
mod reach;
mod reading;
mod surroundings;
mod syntax;
mod tensors;
mod texts;
mod versions;

use std::ops::Range;
use std::sync::Arc;

pub use crate::registry::blockers::Severity;
pub use budget::Budget;
pub use idioms::IdiomUse;
pub use inference::Reach;
pub use listing::{Called, Listing};
pub use locate::{Roots, Sources};
pub use ops::OpUse;

/// A class found in source text.
#[derive(Debug, Clone)]
pub struct ClassSource {
    /// The path to show: as found, or `demo/…` for built-in text. Where `forward` is inherited, the base's file.
    pub file: String,
    /// Where the text came from, in words (`from --source`).
    pub origin: String,
    /// Whether it can be trusted to be what made the weights, in words.
    pub trust: String,
    /// The whole file.
    pub text: Arc<str>,
    /// 1-based line of the `class` statement.
    pub class_line: usize,
    /// 1-based lines of `forward`, end excluded; `None` where the class has none of its own.
    pub forward: Option<Range<usize>>,
    /// The class of torch whose forward it inherits and nothing of which it changes, as its file names it (`torch.nn.Conv2d`).
    pub stands_for: Option<String>,
    /// What stands in the way, by line.
    pub blockers: Vec<Blocker>,
    /// What stands in the way in files of bases that `forward` reaches into: the file, and the blocker in it.
    pub inherited: Vec<(String, Blocker)>,
    /// Lines in `forward` (1-based) that mention `self.<name>`, with that name: links to child modules.
    pub mentions: Vec<(usize, String)>,
    /// The methods and functions that `forward` calls, and those that these call, in the order of the calls, each once.
    pub called: Vec<Called>,
    /// Lines of the constructor in the same file that mention `self.<name>`: where child modules are built.
    pub builds: Vec<(usize, String)>,
    /// The torch ops of `forward` and of the methods it uses, one for each place where one is written.
    pub ops: Vec<OpUse>,
    /// What several lines of them compute together.
    pub idioms: Vec<IdiomUse>,
    /// What is no op by itself (`x[0]`, `x.shape`) and counts axes: told where channels are last and the axis is another one.
    pub counted: Vec<OpUse>,
    /// What it computes, if it is a norm.
    pub norm: Option<norms::Norm>,
}

impl ClassSource {
    /// Leave out everything that was found in the text.
    fn forget_findings(&mut self) {
        self.keep(0);
        // Of a class that was read in part it is not known that it changes nothing.
        self.stands_for = None;
        (self.mentions, self.builds, self.called) = (Vec::new(), Vec::new(), Vec::new());
        (self.idioms, self.norm) = (Vec::new(), None);
    }

    /// Keep at most this many blockers; returns whether any were dropped.
    fn keep_blockers(&mut self, room: usize) -> bool {
        let before = self.blockers.len() + self.inherited.len();
        self.blockers.truncate(room);
        self.inherited.truncate(room - self.blockers.len());
        before > room
    }

    /// Keep at most this many findings; returns whether any were dropped.
    fn keep(&mut self, room: usize) -> bool {
        let before = self.blockers.len() + self.inherited.len() + self.ops.len();
        self.counted.truncate(room);
        self.blockers.truncate(room);
        self.inherited.truncate(room - self.blockers.len());
        self.ops.truncate(room - self.blockers.len() - self.inherited.len());
        before > room
    }

    /// Whether anything was found in it.
    pub fn has_findings(&self) -> bool {
        let found = [
            self.blockers.is_empty(),
            self.inherited.is_empty(),
            self.ops.is_empty(),
            self.counted.is_empty(),
            self.idioms.is_empty(),
        ];
        found.contains(&false)
    }

    /// Its ops, and behind them what is no op by itself and counts axes.
    pub fn uses(&self) -> impl Iterator<Item = &OpUse> {
        self.ops.iter().chain(&self.counted)
    }

    /// Every blocker with the file that it is in: its own, then those in files of bases.
    pub fn all_blockers(&self) -> impl Iterator<Item = (&str, &Blocker)> {
        let own = self.blockers.iter().map(|blocker| (self.file.as_str(), blocker));
        own.chain(self.inherited.iter().map(|(file, blocker)| (file.as_str(), blocker)))
    }
}

/// A construct in source that stops or silently changes a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// The registry's name of the pattern (`.item()`).
    pub pattern: String,
    /// How bad it is.
    pub severity: Severity,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// The construct as written, on one line.
    pub text: String,
    /// What happens.
    pub explanation: String,
    /// What to write instead.
    pub hint: String,
    /// The byte of the file that it begins at; `None` for what stands in a class's body and counts wherever that is.
    pub at: Option<usize>,
}
