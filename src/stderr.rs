//! Standard error: progress and messages. That nobody takes them, since it is a pipe that is closed or a disk that is full, is no
//! reason to end: `eprintln!` would panic.

use std::io::{self, IsTerminal, Write};

/// Say a line; `t2m-tui: ` stands in front.
pub fn line(text: &str) {
    raw(&format!("t2m-tui: {text}\n"));
}

/// Say these characters.
pub fn raw(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Write over the line that the cursor is on, on a terminal; an empty text clears it. Elsewhere nothing is written.
pub fn rewrite(text: &str) {
    if is_terminal() {
        raw(&format!("\r\x1b[K{text}"));
    }
}

/// Whether somebody sees it while it is written.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}
