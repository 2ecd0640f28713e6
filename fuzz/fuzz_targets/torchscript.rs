//! A TorchScript archive: `data.pkl`, code, debug records and constants.

#![no_main]

use libfuzzer_sys::fuzz_target;
use t2m_tui_fuzz::archive::{Record, torch_records, zip};
use t2m_tui_fuzz::{open, parts};

fuzz_target!(|data: &[u8]| {
    let _ = t2m_checkpoint::script::parse(&String::from_utf8_lossy(data));
    let [pickle, code, debug, constants] = parts(data);
    let mut records = torch_records(pickle);
    records.push(Record::stored("x/code/__torch__/nets.py", code));
    records.push(Record::stored("x/code/__torch__/nets.py.debug_pkl", debug));
    records.push(Record::stored("x/constants.pkl", if constants.is_empty() { b"\x80\x02)." } else { constants }));
    open(zip(&records));
});
