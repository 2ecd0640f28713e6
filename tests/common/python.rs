//! Classes of Python texts.

use t2m_tui::source::{Blocker, ClassSource, Sources};

/// The class `Net` of a text.
pub fn net(text: &str) -> ClassSource {
    let mut sources = Sources::default();
    sources.add_text("m", "m.py", "from a test", text);
    sources.class("m.Net").unwrap()
}

/// A blocker in a line: `5:16 .item() breaks: x.item()`.
pub fn describe(blocker: &Blocker) -> String {
    let Blocker { pattern, severity, line, column, text, .. } = blocker;
    format!("{line}:{column} {pattern} {}: {text}", severity.name())
}
