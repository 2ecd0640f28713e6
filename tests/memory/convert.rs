//! How much memory a conversion takes: the largest tensor and a fixed amount, whatever the file's size.

use std::path::Path;

use crate::generate::{self, Kind, Wanted};
use crate::{alone, memory};
use globset::GlobSet;
use t2m_tui::export::{state_dict, writer};
use t2m_tui::open::{Options, open};

const MIB: usize = 1 << 20;
/// What is allowed beyond the largest tensor.
const BEYOND: usize = 300 * MIB;

/// Bytes of the largest tensor, and the peak of the conversion.
fn peak(tensors: &[Wanted], cast: Option<t2m_checkpoint::Dtype>) -> (usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    let (input, target) = (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    generate::safetensors(&input, tensors, Kind::Float32);
    let ((), peak) = memory::peak_of(|| {
        let opened = open(&Options { checkpoint: input, ..Options::default() }).unwrap();
        let map = state_dict::map(&opened, &GlobSet::empty()).unwrap();
        assert_eq!(map.entries.len(), tensors.len());
        let source = "in".to_owned();
        let options =
            writer::Options { target: target.clone(), force: false, shard_bytes: u64::MAX, strict: false, source };
        let tensors = writer::Conversion::new(&opened.checkpoint, &map, cast).unwrap();
        writer::write(&tensors, &options, |_| true).unwrap();
    });
    assert!(Path::new(&target).exists());
    (tensors.iter().map(|(_, shape)| shape.iter().product::<u64>() as usize * 4).max().unwrap(), peak)
}

#[test]
fn the_peak_is_the_largest_tensor_and_a_fixed_amount() {
    let _alone = alone();
    let named = |name: &str, shape: &[u64]| (name.to_owned(), shape.to_vec());
    let plain = [named("embed_tokens.weight", &[16_000, 2_048])];
    let convolution = [named("conv.weight", &[2_048, 1_024, 3, 3]), named("conv.bias", &[2_048])];
    let transposed = [named("deconv.weight", &[2_048, 1_024, 3, 3]), named("deconv.bias", &[1_024])];
    let many: Vec<Wanted> = (0..40).map(|layer| named(&format!("fc{layer}.weight"), &[1_024, 1_023])).collect();
    for (name, tensors, cast) in [
        ("a large table", plain.as_slice(), None),
        ("the same, cast", &plain, Some(t2m_checkpoint::Dtype::BFloat16)),
        ("a large convolution", &convolution, None),
        ("a large transposed convolution", &transposed, None),
        ("many matrices", &many, None),
    ] {
        let (largest, peak) = peak(tensors, cast);
        println!("{name}: largest tensor {} MiB, peak {} MiB", largest / MIB, peak / MIB);
        assert!(peak <= largest + BEYOND, "{name}: largest tensor {} MiB, peak {} MiB", largest / MIB, peak / MIB);
        // Only what is laid out from its other end has to be held.
        assert!(name.contains("transposed") || peak < 64 * MIB, "{name}: peak {} MiB", peak / MIB);
    }
}
