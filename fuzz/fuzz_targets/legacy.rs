//! The stream of torch before 1.6 and the tar archives before 0.1.10: the input is the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use t2m_tui_fuzz::open_as;

fuzz_target!(|data: &[u8]| open_as("x.pth".as_ref(), data.to_vec()));
