//! What reading source may cost, counted in steps and never in time: the same text gives the same answer on every machine.
//!
//! Everything that walks through source takes its steps from one [`Budget`]. Where it is spent, walking ends, and
//! [`Budget::warnings`] tells what was left out. Files that people write need a small part of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Steps of one opening: a node that is visited, a name that is looked up. One takes some 50 to 100 ns. Models of torchvision,
/// timm and transformers take 50,000 to a million, with the source of every class in them.
pub const STEPS: u64 = 12_000_000;
/// Steps of the parser in one opening. One takes some 100 ns, and the tree some 50 bytes; a byte of a model file takes about
/// half of one, and the same models take 20,000 to 300,000.
pub const PARSING: u64 = 4_000_000;
/// Steps of the parser for one file. The longest model file of transformers takes some 120,000.
const PARSING_FILE: u64 = 2_000_000;
/// Bytes that the parser and the trees of one opening may hold. Of a model file's text a tree takes some 30 times as much, of
/// tables of numbers 75; the largest of torch's own, half a megabyte of a table, takes 37 MB, the models named above up to 20.
pub const HEAP: u64 = 56 << 20;
/// Bytes for one file.
const HEAP_FILE: u64 = 48 << 20;
/// A syntax error lets the parser try several readings, and keeps every token: it counts for more.
const ERROR_WEIGHT: u64 = 4;
/// Names in a warning.
const NAMED: usize = 3;
/// Characters of a name in a warning.
const NAME_LIMIT: usize = 200;

/// What was left out of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A file that was not parsed.
    File,
    /// A class, of which blockers and ops were not looked for.
    Class,
    /// The rest of what constructors build.
    Constructors,
    /// Files of a folder.
    Folder,
    /// Places where a file may be.
    Places,
    /// Blockers and ops of a class beyond those that are kept.
    Findings,
    /// Whether blockers are reached at inference.
    Reach,
}

impl Part {
    const ALL: [Part; 7] =
        [Part::File, Part::Class, Part::Constructors, Part::Folder, Part::Places, Part::Findings, Part::Reach];

    /// What to say of these.
    fn sentence(self, names: &str) -> String {
        match self {
            Part::File => format!(
                "Source that was not read, since parsing it would take too many steps or too much memory: {names}. Name the file that defines the model with --source."
            ),
            Part::Class => format!(
                "Blockers and ops were not looked for in all of the source: it is longer or deeper than is looked through. Left out: {names}."
            ),
            Part::Constructors => format!(
                "What constructors build was not followed to the end, since it takes too long, and is left as names and shapes suggest: {names}."
            ),
            Part::Folder => format!(
                "Not all files of a source folder were searched for classes: {names}. Name the file that defines the model, or the folder it is in."
            ),
            Part::Places => format!(
                "Source was looked for in too many places; where it was not: {names}. Name the file that defines the model with --source."
            ),
            Part::Reach => format!(
                "Whether blockers are reached at inference was not found out, since following the forwards takes too long: all of them count. The model's class: {names}."
            ),
            Part::Findings => format!("Only the first blockers and ops are listed of {names}."),
        }
    }
}

/// Steps that are left, and what was left out for want of them.
#[derive(Debug)]
pub struct Budget {
    steps: AtomicU64,
    /// What the part that runs must leave to the others.
    floor: AtomicU64,
    parsing: AtomicU64,
    /// Bytes that trees hold.
    held: AtomicU64,
    given: (u64, u64),
    left_out: Mutex<Vec<(Part, String)>>,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::new(STEPS, PARSING)
    }
}

impl Budget {
    /// This many steps, and this many of the parser.
    pub fn new(steps: u64, parsing: u64) -> Budget {
        Budget {
            steps: AtomicU64::new(steps),
            floor: AtomicU64::new(0),
            parsing: AtomicU64::new(parsing),
            held: AtomicU64::new(0),
            given: (steps, parsing),
            left_out: Mutex::default(),
        }
    }

    /// Take steps; whether there were any left.
    pub(super) fn burn(&self, steps: usize) -> bool {
        // One thread reads source at a time: were it two, a few steps would go uncounted.
        let (left, floor) = (self.steps.load(Ordering::Relaxed), self.floor.load(Ordering::Relaxed));
        self.steps.store(left.saturating_sub(steps as u64).max(floor.min(left)), Ordering::Relaxed);
        left > floor
    }

    /// Whether no step is left to the part that runs.
    pub(super) fn is_spent(&self) -> bool {
        self.steps.load(Ordering::Relaxed) <= self.floor.load(Ordering::Relaxed)
    }

    /// Do something with no more than this share of what is left, so that one class does not take everything.
    pub(super) fn share<T>(&self, divisor: u64, work: impl FnOnce() -> T) -> T {
        let (left, before) = (self.steps.load(Ordering::Relaxed), self.floor.load(Ordering::Relaxed));
        let share = left.saturating_sub(before) / divisor.max(1);
        self.floor.store(left.saturating_sub(share).max(before), Ordering::Relaxed);
        let result = work();
        self.floor.store(before, Ordering::Relaxed);
        result
    }

    /// An allowance for one file.
    pub(super) fn file(&self) -> Parsing<'_> {
        let room = HEAP_FILE.min(HEAP.saturating_sub(self.held.load(Ordering::Relaxed)));
        Parsing { budget: self, left: PARSING_FILE.min(self.parsing.load(Ordering::Relaxed)), room }
    }

    /// A tree of so many bytes is kept from now on.
    pub(super) fn hold(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that trees hold.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Note that something was left out, by the name of a file, class or folder.
    pub(super) fn leave_out(&self, part: Part, name: &str) {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        let mut characters = name.chars();
        let mut short: String = characters.by_ref().take(NAME_LIMIT).collect();
        if characters.next().is_some() {
            short.push('…');
        }
        // The same file may be asked for again; of many only the first are named.
        let told: Vec<&str> =
            left_out.iter().filter(|(other, _)| *other == part).take(NAMED).map(|(_, name)| name.as_str()).collect();
        if !told.contains(&short.as_str()) {
            let name = if told.len() < NAMED { short } else { String::new() };
            left_out.push((part, name));
        }
    }

    /// Steps that were taken, and steps of the parser.
    pub fn taken(&self) -> (u64, u64) {
        let [steps, parsing] = [&self.steps, &self.parsing].map(|left| left.load(Ordering::Relaxed));
        (self.given.0.saturating_sub(steps), self.given.1.saturating_sub(parsing))
    }

    /// A sentence for each kind of thing that was left out, with its name.
    pub fn warnings(&self) -> Vec<String> {
        let left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        let sentences = Part::ALL.into_iter().filter_map(|part| {
            let names: Vec<&str> =
                left_out.iter().filter(|(other, _)| *other == part).map(|(_, name)| name.as_str()).collect();
            let named: Vec<&str> = names.iter().copied().take(NAMED).collect();
            let more = names.len().saturating_sub(NAMED);
            let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
            (!names.is_empty()).then(|| part.sentence(&format!("{}{and_more}", named.join(", "))))
        });
        sentences.collect()
    }
}

/// The steps of one file's parser.
pub(super) struct Parsing<'a> {
    budget: &'a Budget,
    left: u64,
    /// Bytes.
    room: u64,
}

impl Parsing<'_> {
    /// Take steps; whether there were enough.
    pub(super) fn burn(&mut self, steps: u64, error: bool) -> bool {
        let steps = if error { steps * ERROR_WEIGHT } else { steps };
        let parsing = self.budget.parsing.load(Ordering::Relaxed);
        self.budget.parsing.store(parsing.saturating_sub(steps), Ordering::Relaxed);
        let enough = self.left >= steps;
        self.left = self.left.saturating_sub(steps);
        enough
    }

    /// Whether the parser may hold so many bytes.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        bytes <= self.room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_leaves_the_rest() {
        let budget = Budget::new(100, 100);
        let taken = budget.share(4, || (0..1000).take_while(|_| budget.burn(1)).count());
        assert_eq!(taken, 25);
        assert!(!budget.is_spent());
        assert_eq!((0..1000).take_while(|_| budget.burn(1)).count(), 75);
        assert!(budget.is_spent());
    }

    #[test]
    fn what_was_left_out_is_named_once_and_counted() {
        let budget = Budget::default();
        assert_eq!(budget.warnings(), Vec::<String>::new());
        for name in ["a.py", "b.py", "a.py", "c.py", "d.py", "e.py"] {
            budget.leave_out(Part::File, name);
        }
        budget.leave_out(Part::Class, &"é".repeat(10_000));
        let warnings = budget.warnings();
        assert!(warnings[0].contains("a.py, b.py, c.py and 2 more"), "{}", warnings[0]);
        assert!(warnings[1].chars().count() < 500);
    }
}
