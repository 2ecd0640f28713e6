//! A `torch.export` archive: the program's JSON and the two configurations of its tensors.

#![no_main]

use libfuzzer_sys::fuzz_target;
use t2m_tui_fuzz::archive::{Record, zip};
use t2m_tui_fuzz::{open, parts};

fuzz_target!(|data: &[u8]| {
    let [program, weights, constants, flat] = parts(data);
    let floats = [0u8; 64];
    let mut records = vec![
        Record::stored("x/models/model.json", program),
        Record::stored("x/data/weights/model_weights_config.json", weights),
        Record::stored("x/data/constants/model_constants_config.json", constants),
        Record::stored("x/archive_format", b"pt2"),
        Record::stored("x/archive_version", b"1"),
        Record::stored("x/byteorder", b"little"),
    ];
    records.extend((0..20).map(|at| Record::stored(&format!("x/data/weights/weight_{at}"), &floats)));
    if !flat.is_empty() {
        records = vec![
            Record::stored("serialized_exported_program.json", program),
            Record::stored("serialized_state_dict.pt", &t2m_tui_fuzz::archive::torch(flat)),
            Record::stored("version", b"4"),
        ];
    }
    open(zip(&records));
});
