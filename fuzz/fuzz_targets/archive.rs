//! Zip archives of every kind, and whatever else the detection tells apart: the input is the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use t2m_tui_fuzz::open;

fuzz_target!(|data: &[u8]| open(data.to_vec()));
