//! How much is done for a report, the first tree and a conversion, in figures that no noise reaches: how often memory is asked for,
//! bytes that are read, calls to the system. What takes time takes some of these; benches/whole has the seconds.
//!
//! Growth is measured between two sizes, so that what the program always does does not count.

use std::path::Path;
use std::sync::Arc;

use crate::generate::{self, Kind, Wanted};
use crate::{alone, memory};
use globset::GlobSet;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use t2m_tui::export::{state_dict, writer};
use t2m_tui::open::{Opened, Options, open};
use t2m_tui::report::{inspect_json, inspect_text};
use t2m_tui::tui::action::Action;
use t2m_tui::tui::document::Document;
use t2m_tui::tui::draw::render;
use t2m_tui::tui::keymap::Keymap;
use t2m_tui::tui::state::State;
use t2m_tui::tui::theme::Theme;
use t2m_tui::tui::update::update;

const FEW: usize = 2_000;
const MANY: usize = 3 * FEW;

/// What a step of the work took.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    /// How often memory was asked for.
    requests: usize,
    /// Bytes that were read from files.
    read: usize,
    /// Calls that read or write.
    calls: usize,
}

impl Work {
    /// What each tensor adds, in thousandths, by the work of two sizes.
    fn growth(few: Work, many: Work) -> Work {
        let each = |of: fn(&Work) -> usize| of(&many).saturating_sub(of(&few)) * 1000 / (MANY - FEW);
        Work { requests: each(|work| work.requests), read: each(|work| work.read), calls: each(|work| work.calls) }
    }
}

/// Bytes that this process has read, and its calls that read or write; where the system counts them.
fn counted() -> [usize; 2] {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().parse::<usize>().ok()).unwrap_or_default()
    };
    [number("rchar:"), number("syscr:") + number("syscw:")]
}

/// What `work` gives, and what it took.
fn work_of<T>(work: impl FnOnce() -> T) -> (T, Work) {
    // Looking takes calls, too: as many as between these.
    let (first, second) = (counted(), counted());
    let (result, requests) = memory::requests_of(work);
    let last = counted();
    let of = |at: usize| (last[at] - second[at]).saturating_sub(second[at] - first[at]);
    (result, Work { requests, read: of(0), calls: of(1) })
}

/// A writer that keeps nothing.
struct Nowhere;

impl std::fmt::Write for Nowhere {
    fn write_str(&mut self, _: &str) -> std::fmt::Result {
        Ok(())
    }
}

fn file(folder: &Path, name: &str, tensors: &[Wanted], torch: bool) -> std::path::PathBuf {
    let path = folder.join(format!("{name}.{}", if torch { "pt" } else { "safetensors" }));
    let write = if torch { generate::torch } else { generate::safetensors };
    write(&path, tensors, Kind::Float32);
    path
}

fn opened(path: &Path) -> Opened {
    open(&Options { checkpoint: path.to_owned(), ..Options::default() }).unwrap()
}

const AREA: Rect = Rect { x: 0, y: 0, width: 120, height: 40 };

/// The screen with the tree of a file, drawn once.
fn first_tree(opened: &Opened) -> State {
    let theme = Theme::load("dark", |_| None).unwrap();
    let mut state = State::new("in".to_owned(), theme, Keymap::built_in().unwrap());
    update(&mut state, Action::Opened(Arc::new(Document::of(opened))));
    frame(&mut state);
    state
}

fn frame(state: &mut State) {
    let mut buffer = Buffer::empty(AREA);
    render(state, AREA, &mut buffer);
    let drawn: String = buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect();
    assert!(drawn.contains("stages"), "{drawn}");
}

/// The steps, by name.
const STEPS: [&str; 6] = ["open", "text", "JSON", "tree", "frame", "convert"];

/// Budgets of a thousand tensors in safetensors, by step; a tensor of 32 bytes is read for itself to be written and to be compared.
const BUDGETS: [[usize; 3]; 6] =
    [[6_700, 125_000, 10], [6_900, 0, 0], [950, 0, 0], [2_200, 0, 0], [20, 0, 0], [36_500, 660_000, 3_800]];
/// The same of torch's archives, which have a directory, and a header before each tensor.
const BUDGETS_OF_TORCH: [[usize; 3]; 6] =
    [[6_700, 225_000, 10], [6_900, 0, 0], [950, 0, 0], [2_200, 0, 0], [20, 0, 0], [36_500, 920_000, 6_300]];

fn steps(count: usize, torch: bool) -> [Work; 6] {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "in", &generate::blocks(count), torch);
    // What is made once a process is made now.
    drop(first_tree(&opened(&path)));
    let (opened, open) = work_of(|| opened(&path));
    let ((), text) = work_of(|| inspect_text::text(&mut Nowhere, &opened, None).unwrap());
    let report = inspect_json::Report { opened: &opened, check: None };
    let ((), json) = work_of(|| serde_json::to_writer_pretty(std::io::sink(), &report).unwrap());
    let (mut state, tree) = work_of(|| first_tree(&opened));
    let ((), frame) = work_of(|| frame(&mut state));
    let ((), convert) = work_of(|| {
        let map = state_dict::map(&opened, &GlobSet::empty()).unwrap();
        let target = folder.path().join("out.safetensors");
        let options =
            writer::Options { target, force: false, shard_bytes: u64::MAX, strict: false, source: String::new() };
        let tensors = writer::Conversion::new(&opened.checkpoint, &map, None).unwrap();
        writer::write(&tensors, &options, |_| true).unwrap();
    });
    [open, text, json, tree, frame, convert]
}

/// What a thousand more tensors may add to each step: how often memory is asked for, bytes that are read, calls. A budget is what was
/// counted and a quarter.
#[test]
fn a_tensor_adds_no_more_than_its_budget() {
    let _alone = alone();
    let mut over = Vec::new();
    for (torch, budgets) in [(false, BUDGETS), (true, BUDGETS_OF_TORCH)] {
        let (few, many) = (steps(FEW, torch), steps(MANY, torch));
        for (at, step) in STEPS.iter().enumerate() {
            let growth = Work::growth(few[at], many[at]);
            println!("torch {torch} {step}, a thousand tensors: {growth:?}; {FEW}: {:?}", few[at]);
            let found = [growth.requests, growth.read, growth.calls];
            for ((found, most), what) in found.into_iter().zip(budgets[at]).zip(["requests", "bytes", "calls"]) {
                if found > most {
                    over.push(format!("torch {torch} {step}: {found} {what} for a thousand tensors, of {most}"));
                }
            }
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}

/// No tensor is read for a report: files that differ in the sizes of their tensors alone take the same.
#[test]
fn what_is_read_is_by_the_names_and_not_by_the_numbers() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    for torch in [false, true] {
        let sized =
            |length: u64| (0..500).map(|at| (format!("layers.{at}.weight"), vec![length, 64])).collect::<Vec<_>>();
        let [small, large] = [10, 90].map(|length| {
            let path = file(folder.path(), &length.to_string(), &sized(length), torch);
            drop(opened(&path));
            work_of(|| inspect_text::text(&mut Nowhere, &opened(&path), None).unwrap()).1
        });
        println!("torch {torch}: {small:?} {large:?}");
        // Offsets in a header have two digits more each.
        assert!(large.read <= small.read + 4 * 500 && large.calls <= small.calls, "{small:?} {large:?}");
        assert!(cfg!(not(target_os = "linux")) || small.read > 10_000);
    }
}

/// A conversion reads each byte of its input to write it, to hash it and to compare it, and each of its output once; in pieces, not in
/// small parts.
#[test]
fn a_conversion_reads_each_byte_four_times() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let tensors: Vec<Wanted> = (0..8).map(|at| (format!("layers.{at}.weight"), vec![1024, 1024])).collect();
    let path = file(folder.path(), "in", &tensors, false);
    let bytes = path.metadata().unwrap().len() as usize;
    let opened = opened(&path);
    let map = state_dict::map(&opened, &GlobSet::empty()).unwrap();
    let options = |name: &str| writer::Options {
        target: folder.path().join(name),
        force: false,
        shard_bytes: u64::MAX,
        strict: false,
        source: String::new(),
    };
    let convert = |name: &str| {
        let tensors = writer::Conversion::new(&opened.checkpoint, &map, None).unwrap();
        writer::write(&tensors, &options(name), |_| true).unwrap();
    };
    convert("first.safetensors");
    let ((), work) = work_of(|| convert("second.safetensors"));
    println!("{bytes} bytes: {work:?}");
    assert!(work.read <= 4 * bytes + (1 << 20), "{work:?} for {bytes} bytes");
    assert!(work.calls <= 6 * bytes / (256 << 10) + 100, "{work:?} for {bytes} bytes");
    assert!(cfg!(not(target_os = "linux")) || work.read >= 3 * bytes, "{work:?} for {bytes} bytes");
}
