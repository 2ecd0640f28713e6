//! The header of a safetensors file: the input is its text, then the separator, then the tensors' bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use t2m_tui_fuzz::{open_as, parts};

fuzz_target!(|data: &[u8]| {
    let [header, tensors] = parts(data);
    let bytes = [&(header.len() as u64).to_le_bytes(), header, tensors].concat();
    open_as("x.safetensors".as_ref(), bytes);
});
