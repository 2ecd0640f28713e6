//! A theme file. Whatever it says, a refusal is a few lines.

#![no_main]

use libfuzzer_sys::fuzz_target;
use t2m_tui::tui::theme::Theme;
use t2m_tui_fuzz::within_bound;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    within_bound(64 * data.len(), || {
        if let Err(error) = Theme::parse("x.toml", text) {
            assert!(error.to_string().chars().count() < 1000, "{error}");
        }
    });
});
