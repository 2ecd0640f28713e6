//! The pickle machine and everything that is built of it: the input is `data.pkl` of a sound archive.

#![no_main]

use libfuzzer_sys::fuzz_target;
use t2m_tui_fuzz::{archive, open};

fuzz_target!(|data: &[u8]| open(archive::torch(data)));
