//! Precision and recall over model code of our own in which every place was labelled by hand.
//!
//! A label stands at the end of its line: `# op: torch.cat, x.view` names each torch function and tensor method that is called
//! there, `# blocker: .item()` each blocker by its pattern, and `# none` marks a line that looks like one and has neither. What
//! is found on a line without that label is wrong, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use t2m_tui::source::Sources;
use t2m_tui::source::python::Module;

const FILES: [(&str, &str); 4] = [
    ("vision", include_str!("../common/source/labelled/vision.py")),
    ("language", include_str!("../common/source/labelled/language.py")),
    ("habits", include_str!("../common/source/labelled/habits.py")),
    ("sound", include_str!("../common/source/labelled/sound.py")),
];

/// How often each name stands on each line: `op torch.cat`, `blocker .item()`.
type Places = BTreeMap<(&'static str, usize, String), usize>;

/// The labels, and the number of lines that are labelled to have nothing.
fn labels() -> (Places, usize) {
    let (mut places, mut none) = (Places::new(), 0);
    for (file, text) in FILES {
        for (line, text) in (1..).zip(text.lines()) {
            for label in text.split("# ").skip(1) {
                none += usize::from(label.trim() == "none");
                let Some((kind, names)) = label.split_once(": ") else { continue };
                if matches!(kind, "op" | "blocker") {
                    for name in names.split(", ") {
                        *places.entry((file, line, format!("{kind} {}", name.trim()))).or_default() += 1;
                    }
                }
            }
        }
    }
    (places, none)
}

/// What is found in the classes of the files; a method that two classes reach counts once.
fn found() -> Places {
    let mut all = Places::new();
    for (file, text) in FILES {
        let mut sources = Sources::default();
        sources.add_text(file, &format!("{file}.py"), "from a test", text);
        let module = Module::parse(text.into()).unwrap();
        for (name, _) in module.bases() {
            let source = sources.class(&format!("{file}.{name}")).unwrap();
            let mut own = Places::new();
            for op in source.ops.iter().filter(|op| !op.operator) {
                *own.entry((file, op.line, format!("op {}", op.name))).or_default() += 1;
            }
            let blockers = source.blockers.iter();
            let distinct: BTreeSet<_> = blockers.map(|it| (it.line, it.column, &it.text, &it.pattern)).collect();
            for (line, _, _, pattern) in distinct {
                *own.entry((file, line, format!("blocker {pattern}"))).or_default() += 1;
            }
            for (place, count) in own {
                let known = all.entry(place).or_default();
                *known = count.max(*known);
            }
        }
    }
    all
}

#[test]
fn precision_and_recall_are_at_least_097() {
    let ((labels, none), found) = (labels(), found());
    let mut table = String::from("\n          labelled  found  right  precision  recall\n");
    let mut enough = true;
    let mut sites = none;
    for kind in ["op", "blocker", ""] {
        let of = |places: &Places| {
            places.iter().filter(|((.., name), _)| name.starts_with(kind)).map(|(_, count)| count).sum::<usize>()
        };
        let right: usize = labels
            .iter()
            .filter(|((.., name), _)| name.starts_with(kind))
            .map(|(place, count)| found.get(place).map_or(0, |found| *found.min(count)))
            .sum();
        let (labelled, found) = (of(&labels), of(&found));
        let (precision, recall) = (right as f64 / found as f64, right as f64 / labelled as f64);
        enough &= precision >= 0.97 && recall >= 0.97;
        let name = if kind.is_empty() { "all" } else { kind };
        writeln!(table, "{name:<9} {labelled:>8}  {found:>5}  {right:>5}  {precision:>9.4}  {recall:>6.4}").unwrap();
        sites = none + labelled;
    }
    writeln!(table, "lines that only look like one: {none}\n").unwrap();
    for (place, count) in &found {
        let labelled = labels.get(place).copied().unwrap_or(0);
        if *count > labelled {
            writeln!(table, "found, not labelled: {place:?}").unwrap();
        }
    }
    for (place, count) in &labels {
        if *count > found.get(place).copied().unwrap_or(0) {
            writeln!(table, "labelled, not found: {place:?}").unwrap();
        }
    }
    println!("{table}");
    assert!(sites >= 200, "{sites} places");
    assert!(enough, "{table}");
}
