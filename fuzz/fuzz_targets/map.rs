//! A key map, by which the tensors of a sound MLX file go back.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use t2m_checkpoint::{Bytes, Checkpoint};
use t2m_tui::export::reverse::Reversal;
use t2m_tui::export::state_dict::key_map;
use t2m_tui::export::writer::Source;
use t2m_tui_fuzz::within_bound;

/// Three tensors of float32: `a` [2, 3], `b` [6], `c` [2, 1, 2, 3], of which `b` is tied to `t`.
static MLX: LazyLock<Checkpoint> = LazyLock::new(|| {
    let header = br#"{"__metadata__":{"format":"mlx","tied":"{\"t\":\"b\"}"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"F32","shape":[6],"data_offsets":[24,48]},"c":{"dtype":"F32","shape":[2,1,2,3],"data_offsets":[48,96]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend((0..24).flat_map(|at| (at as f32).to_le_bytes()));
    Checkpoint::from_bytes(Path::new("mlx.safetensors"), Bytes::Owned(bytes)).expect("a sound file")
});

fuzz_target!(|data: &[u8]| {
    LazyLock::force(&MLX);
    within_bound(data.len(), || {
        let map = match key_map::parse(Path::new("map.json"), data) {
            Ok(map) => map,
            Err(error) => return assert!(error.to_string().len() < 1_000),
        };
        let Ok(reversal) = Reversal::by_map(&MLX, &map) else { return };
        for at in 0..reversal.count() {
            let _ = reversal.each(at, &mut |made| {
                assert_eq!(made.shape, reversal.tensor(at).shape);
                Ok(())
            });
        }
    });
});
