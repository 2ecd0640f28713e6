//! Codes of eight bits with scales beside them, as the weights that they stand for: on request, multiplied as they are read.

use std::collections::{BTreeMap, HashMap, HashSet};

use compact_str::{CompactString, format_compact};
use foldhash::fast::RandomState;

use super::error::name_for_message;
use super::made::Made;
use super::strided;
use super::tensor::StorageOffset;
use super::{Checkpoint, Content, Dtype, Error, Sizes, Storage, Tensor, TensorId};

/// The side of a block that DeepSeek and those after it scale, where a configuration says none.
const BLOCK: u64 = 128;
/// What the name of a scale has in the place of `.weight`: scaled checkpoints of ComfyUI, DeepSeek's own format.
const IN_PLACE: [&str; 4] = [".weight_scale_inv", ".weight_scale", ".scale_weight", ".scale"];
/// What the name of a scale has behind that of its codes.
const BEHIND: [&str; 2] = ["_scale_inv", "_scale"];
/// Scales of a layer's inputs, which are for computing with codes: weights have none of it.
const OF_INPUTS: [&str; 7] = [
    ".input_scale",
    ".scale_input",
    ".activation_scale",
    ".input_scale_ub",
    ".output_scale",
    "_input_scale",
    "_activation_scale",
];
/// Marks that formats leave.
const MARKS: [&str; 1] = ["scaled_fp8"];
/// Tensors named in a message.
const NAMED: usize = 4;

/// Whether a tensor's numbers are codes.
fn is_code(dtype: Dtype) -> bool {
    matches!(
        dtype,
        Dtype::Float8E4M3FN | Dtype::Float8E5M2 | Dtype::Float8E4M3FNUZ | Dtype::Float8E5M2FNUZ | Dtype::Int8
    )
}

/// Make every scaled tensor what it stands for, in this type, and leave the scales out.
///
/// # Errors
/// There is none, a scale does not fit its codes, or is not there where others are.
pub(super) fn dequantize(checkpoint: &mut Checkpoint, to: Dtype) -> Result<(), Error> {
    let path = checkpoint.path.clone();
    let fail = |what: String| Error::Format { path: path.clone(), what };
    if !matches!(checkpoint.content, Content::StateDict { .. }) {
        return Err(fail("holds modules; --dequantize is for the weights of a state dict".to_owned()));
    }
    let names: HashMap<CompactString, TensorId, RandomState> =
        checkpoint.tensors.iter().enumerate().map(|(id, tensor)| (tensor.name.clone(), id)).collect();
    let sides = sides(checkpoint);
    let mut scaled: Vec<(TensorId, Option<TensorId>, Sizes)> = Vec::new();
    let mut left_out: HashSet<TensorId> = HashSet::new();
    let mut plain: Vec<TensorId> = Vec::new();
    let mut blocks: BTreeMap<String, usize> = BTreeMap::new();
    for (id, tensor) in checkpoint.tensors.iter().enumerate().filter(|(_, tensor)| is_code(tensor.dtype)) {
        let Some(scale) = scale_of(&tensor.name, &names) else {
            // Whole numbers of one byte need not be codes.
            plain.extend((tensor.dtype != Dtype::Int8).then_some(id));
            continue;
        };
        let shown = name_for_message(&tensor.name);
        let zero = zero_points(&tensor.name).into_iter().find(|name| names.contains_key(name.as_str()));
        if let Some(zero) = zero {
            let zero = name_for_message(&zero);
            return Err(fail(format!("`{shown}` has zero points (`{zero}`), which --dequantize does not apply")));
        }
        let Some(scales) = checkpoint.tensors.get(scale) else { continue };
        let Some(block) = block(&tensor.shape, &scales.shape, sides) else {
            let (codes, scales) = (tensor.shape.as_slice(), scales.shape.as_slice());
            return Err(fail(format!("`{shown}` has shape {codes:?}, which scales of shape {scales:?} do not fit")));
        };
        *blocks.entry(words(&tensor.shape, &block)).or_default() += 1;
        left_out.insert(scale);
        scaled.push((id, Some(scale), block));
    }
    if scaled.is_empty() && plain.is_empty() {
        return Err(fail("has no weights in codes of eight bits with their scales; leave --dequantize out".to_owned()));
    }
    if let Some(&id) = plain.first().filter(|_| !scaled.is_empty()) {
        let name = checkpoint.tensors.get(id).map(|tensor| name_for_message(&tensor.name)).unwrap_or_default();
        return Err(fail(format!(
            "`{name}` holds codes of eight bits and has no scale, where others do; --key or another file has to give it"
        )));
    }
    if scaled.is_empty() {
        *blocks.entry("no scale: the codes are the weights".to_owned()).or_default() += plain.len();
        scaled.extend(plain.into_iter().map(|id| (id, None, Sizes::new())));
    }
    let inputs: Vec<TensorId> = of_inputs(checkpoint);
    left_out.extend(&inputs);
    let codes: BTreeMap<&str, usize> = scaled.iter().fold(BTreeMap::new(), |mut codes, (id, ..)| {
        let dtype = checkpoint.tensors.get(*id).map_or(Dtype::Unknown, |tensor| tensor.dtype);
        *codes.entry(dtype.name()).or_default() += 1;
        codes
    });
    let listed = |counts: Vec<String>| counts.join(", ");
    let mut said = format!(
        "Dequantized to {}: {} tensors of codes ({}), by their scales: {}.",
        to.name(),
        scaled.len(),
        listed(codes.keys().map(|name| (*name).to_owned()).collect()),
        listed(blocks.iter().map(|(words, count)| format!("{count} with {words}")).collect()),
    );
    if !inputs.is_empty() {
        let names = inputs.iter().take(NAMED).filter_map(|id| checkpoint.tensors.get(*id));
        let mut names: Vec<String> = names.map(|tensor| format!("`{}`", name_for_message(&tensor.name))).collect();
        names.extend((inputs.len() > NAMED).then(|| "…".to_owned()));
        said += &format!(" Left out: {} scales of activations ({}).", inputs.len(), names.join(", "));
    }
    checkpoint.warnings.push(said);
    for (id, scale, block) in scaled {
        let scales = scale.and_then(|scale| checkpoint.tensors.get(scale).cloned()).map(Box::new);
        let Some(tensor) = checkpoint.tensors.get_mut(id) else { continue };
        let codes = Tensor { shared_with: None, ..tensor.clone() };
        let storage = codes.storage.and_then(|storage| checkpoint.storages.get(storage as usize));
        // One without bytes stays what it is.
        let Some(storage) = storage.filter(|_| codes.problem.is_none()) else { continue };
        let bytes = tensor.elements().saturating_mul(to.size() as u64);
        let offset = StorageOffset::Made(checkpoint.made.len() as u32);
        let made = Storage { file: storage.file, offset, bytes, big_endian: false };
        (tensor.dtype, tensor.strides, tensor.offset) = (to, None, 0);
        tensor.storage = Some(checkpoint.storages.len() as u32);
        checkpoint.storages.push(made);
        checkpoint.made.push(Made::Scaled { codes: Box::new(codes), scales, block });
    }
    checkpoint.keep_tensors(|id, _| !left_out.contains(&id));
    Ok(())
}

/// Where the scale of a tensor of codes is.
fn scale_of(name: &str, names: &HashMap<CompactString, TensorId, RandomState>) -> Option<TensorId> {
    let behind = BEHIND.iter().find_map(|end| names.get(format_compact!("{name}{end}").as_str()));
    let stem = name.strip_suffix(".weight");
    let in_place = || IN_PLACE.iter().find_map(|end| names.get(format_compact!("{}{end}", stem?).as_str()));
    behind.or_else(in_place).copied()
}

fn zero_points(name: &str) -> [String; 2] {
    let stem = name.strip_suffix(".weight").unwrap_or(name);
    [format!("{name}_zero_point"), format!("{stem}.zero_point")]
}

/// Scales of layers' inputs, and marks of the format.
fn of_inputs(checkpoint: &Checkpoint) -> Vec<TensorId> {
    let is_one = |name: &str| OF_INPUTS.iter().any(|end| name.ends_with(end)) || MARKS.contains(&name);
    let all = checkpoint.tensors.iter().enumerate();
    all.filter(|(_, tensor)| is_one(&tensor.name)).map(|(id, _)| id).collect()
}

/// The sides of a block that the configuration says.
fn sides(checkpoint: &Checkpoint) -> Option<[u64; 2]> {
    let sides = checkpoint.config()?.get("quantization_config")?.get("weight_block_size")?;
    Some([sides.get(0)?.as_u64()?, sides.get(1)?.as_u64()?]).filter(|sides| sides.iter().all(|side| *side > 0))
}

/// How many codes share a scale along each axis, by the two shapes; the last block of an axis may be short. `None` where they
/// do not go together.
fn block(codes: &[u64], scales: &[u64], sides: Option<[u64; 2]>) -> Option<Sizes> {
    if strided::elements(scales) == Some(1) {
        return Some(codes.iter().map(|&axis| axis.max(1)).collect());
    }
    let rank = codes.len();
    // One for each row, as a vector.
    let padded: Sizes = match scales {
        [rows] if rank > 1 && codes.first() == Some(rows) => {
            std::iter::once(*rows).chain(std::iter::repeat_n(1, rank - 1)).collect()
        }
        _ => scales.into(),
    };
    if padded.len() != rank {
        return None;
    }
    let along = |(axis, (&length, &count)): (usize, (&u64, &u64))| {
        if count == 1 {
            return Some(length.max(1));
        }
        if count == length {
            return Some(1);
        }
        let side = sides.and_then(|sides| sides.get((axis + 2).checked_sub(rank)?).copied());
        let known = side.into_iter().chain([BLOCK]).find(|side| length.div_ceil(*side) == count);
        known.or_else(|| (count > 0 && length.is_multiple_of(count)).then(|| length / count))
    };
    codes.iter().zip(&padded).enumerate().map(along).collect()
}

/// What shares a scale, in words.
fn words(shape: &[u64], block: &[u64]) -> String {
    match (shape, block) {
        _ if shape.iter().zip(block).all(|(axis, block)| axis <= block) => "one scale".to_owned(),
        ([_, rest @ ..], [1, others @ ..]) if rest.iter().zip(others).all(|(axis, block)| axis <= block) => {
            "one scale a row".to_owned()
        }
        _ => {
            let sides: Vec<String> = block.iter().map(ToString::to_string).collect();
            format!("a scale for each block of {}", sides.join("×"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(codes: &[u64], scales: &[u64], sides: Option<[u64; 2]>) -> Option<Vec<u64>> {
        block(codes, scales, sides).map(|block| block.to_vec())
    }

    #[test]
    fn a_block_follows_from_the_shapes() {
        // Ragged ends are short blocks.
        assert_eq!(found(&[576, 7168], &[5, 56], None), Some(vec![128, 128]));
        assert_eq!(found(&[200, 130], &[2, 2], None), Some(vec![128, 128]));
        assert_eq!(found(&[200, 130], &[4, 3], Some([64, 64])), Some(vec![64, 64]));
        assert_eq!(found(&[8, 256, 128], &[8, 2, 1], None), Some(vec![1, 128, 128]));
        for whole in [[].as_slice(), &[1], &[1, 1]] {
            assert_eq!(found(&[8, 16], whole, None), Some(vec![8, 16]));
        }
        for rows in [[8].as_slice(), &[8, 1]] {
            assert_eq!(found(&[8, 16], rows, None), Some(vec![1, 16]));
        }
        // Groups along the inputs.
        assert_eq!(found(&[8, 64], &[8, 2], None), Some(vec![1, 32]));
        for wrong in [[5, 2].as_slice(), &[7], &[8, 1, 1]] {
            assert_eq!(found(&[8, 16], wrong, None), None, "{wrong:?}");
        }
    }
}
