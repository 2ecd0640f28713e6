//! A conversation with an engine that says anything at any time: the client's waits end by the clock, its answers are those
//! that were asked for, and its memory is what has arrived.

#![no_main]

use libfuzzer_sys::fuzz_target;
use t2m_tui_fuzz::conversation::{MEMORY, MEMORY_RATIO, play};
use t2m_tui_fuzz::peak_of;

fuzz_target!(|data: &[u8]| {
    let (played, peak) = peak_of(|| play(data));
    assert!(peak <= MEMORY + MEMORY_RATIO * (played.heard + data.len()), "{peak} bytes for {} heard", played.heard);
});
