//! A TorchScript archive: `data.pkl`, code, debug records and constants.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use t2m_checkpoint::{Bytes, Checkpoint};
use t2m_tui_fuzz::archive::{Record, torch_records, zip};
use t2m_tui_fuzz::{open, parts};

fuzz_target!(|data: &[u8]| {
    let _ = t2m_checkpoint::script::parse(&String::from_utf8_lossy(data));
    let [pickle, code, debug, constants] = parts(data);
    let mut records = torch_records(pickle);
    records.push(Record::stored("x/code/__torch__/nets.py", code));
    records.push(Record::stored("x/code/__torch__/nets.py.debug_pkl", debug));
    records.push(Record::stored("x/constants.pkl", if constants.is_empty() { b"\x80\x02)." } else { constants }));
    let bytes = zip(&records);
    open(bytes.clone());
    // The graph of its code: what it takes is bounded by steps, not by the file's length.
    if let Ok(checkpoint) = Checkpoint::from_bytes(Path::new("x.pt"), Bytes::Owned(bytes)) {
        let _ = t2m_tui::script::outline(&checkpoint);
    }
});
