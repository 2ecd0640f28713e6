//! Python source: classes, blockers, ops, constructors and colours, and what is left out where steps run short. The last part
//! is the name of a class in the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use t2m_tui::source::budget::{Budget, PARSING};
use t2m_tui::source::{Sources, constructors, highlight};
use t2m_tui_fuzz::{parts, within_bound};

fuzz_target!(|data: &[u8]| {
    let [text, name] = parts(data);
    let (Ok(text), Ok(name)) = (std::str::from_utf8(text), std::str::from_utf8(name)) else { return };
    within_bound(64 * data.len(), || {
        let (class, all) = (format!("net.{name}"), read(text, name, Budget::default()));
        // With few steps the answer is the same, or it is said that something was left out.
        for steps in [0, 200, 5_000] {
            let (told, answer) = read(text, name, Budget::new(steps, PARSING));
            assert!(!told.is_empty() || answer == all.1, "{steps} steps changed {class} in silence");
        }
        let _ = highlight::python(text, 1..60, true);
    });
});

/// What was left out, and what was found.
fn read(text: &str, name: &str, budget: Budget) -> (Vec<String>, String) {
    let mut sources = Sources::within(budget);
    sources.add_text("net", "net.py", "fuzzed", text);
    let class = format!("net.{name}");
    let found = sources.class(&class);
    let named = constructors::Root { class: &class, ..constructors::Root::default() };
    let guessed = constructors::Root { names: ["conv1", "fc"].into(), ..constructors::Root::default() };
    let built = [named, guessed].map(|root| constructors::modules(&sources, &root));
    (sources.budget().warnings(), format!("{found:?} {built:?}"))
}
