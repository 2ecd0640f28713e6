//! Python source: classes, blockers, ops and constructors. The last part is the name of a class in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use t2m_tui::source::{Sources, constructors};
use t2m_tui_fuzz::{parts, within_bound};

fuzz_target!(|data: &[u8]| {
    let [text, name] = parts(data);
    let (Ok(text), Ok(name)) = (std::str::from_utf8(text), std::str::from_utf8(name)) else { return };
    within_bound(64 * data.len(), || {
        let mut sources = Sources::default();
        sources.add_text("net", "net.py", "fuzzed", text);
        let _ = sources.class(&format!("net.{name}"));
        let root = constructors::Root { names: ["conv1", "fc"].into(), ..constructors::Root::default() };
        let _ = constructors::modules(&sources, &root);
    });
});
