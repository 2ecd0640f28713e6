//! Which architectures a state dict may be: those of whose sketch it has most.

use super::asset::{Asset, Tree};

/// Less of a sketch is chance, or a relative.
const LEAST: f64 = 0.4;
/// Bits of the table of a file's hashes, as a power of two: a few hits by chance do no harm, and it stays in the cache.
const TABLE: u32 = 20;

/// Trees that may fit, the likeliest first: those of whose sketch the file has most, and of these the ones with as many
/// tensors.
pub fn candidates<'t>(asset: &Asset, tensors: impl Iterator<Item = (&'t str, &'t [u64])>) -> Vec<&Tree> {
    let mut known = vec![0u64; 1 << (TABLE - 6)];
    let place = |hash: u32| ((hash >> (32 - TABLE + 6)) as usize, 1u64 << ((hash >> (32 - TABLE)) & 63));
    let mut count = 0usize;
    for (name, shape) in tensors {
        count += 1;
        // Of a long name the last three parts: that is what most of a tree is known by. Short ones may be a tree's whole names
        // behind a prefix.
        let mut ends = suffixes(name);
        let is_long = name.bytes().filter(|byte| *byte == b'.').nth(2).is_some();
        let (longest, others) = if is_long { (ends.last(), None) } else { (ends.next(), Some(ends)) };
        for suffix in longest.into_iter().chain(others.into_iter().flatten()) {
            let (word, bit) = place(hash(suffix, shape));
            known[word] |= bit;
        }
    }
    let is_known = |hash: u32| {
        let (word, bit) = place(hash);
        known[word] & bit != 0
    };
    let mut near: Vec<(usize, f64)> = Vec::new();
    for (number, sketch) in asset.sketches().enumerate() {
        let (mut all, mut hits) = (0u32, 0u32);
        for number in sketch {
            all += 1;
            hits += u32::from(is_known(number));
        }
        let share = f64::from(hits) / f64::from(all.max(1));
        if share >= LEAST {
            near.push((number, share));
        }
    }
    if near.is_empty() {
        return Vec::new();
    }
    let trees = asset.trees();
    let near = near.into_iter().filter_map(|(number, share)| Some((share, trees.get(number)?)));
    let mut found: Vec<(f64, usize, &Tree)> =
        near.map(|(share, tree)| (share, tree.tensors.abs_diff(count), tree)).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found.into_iter().map(|(_, _, tree)| tree).collect()
}

/// The last part of a name, the last two, and the last three: a tree inside of another has its short names behind others.
pub fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    let dots = name.as_bytes().iter().enumerate().rev().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at + 1);
    dots.chain(std::iter::once(0)).take(3).filter_map(|start| name.get(start..))
}

/// FNV-1a, 32 bits, of `name 64x3x7x7`, as `make.py` has it.
fn hash(name: &str, shape: &[u64]) -> u32 {
    let step = |value: u32, byte: u8| (value ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let mut value = name.bytes().fold(0x811c_9dc5, step);
    let mut between = b' ';
    for size in shape {
        value = step(value, between);
        // Digits as they would be written, without a text for each.
        let mut power = 1u64;
        while size / power >= 10 {
            power *= 10;
        }
        while power > 0 {
            value = step(value, b'0' + (size / power % 10) as u8);
            power /= 10;
        }
        between = b'x';
    }
    if shape.is_empty() { step(value, between) } else { value }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "the built-in asset is no input")]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_by_their_last_parts() {
        assert!(suffixes("a.b.c.d").eq(["d", "c.d", "b.c.d"]));
        assert!(suffixes("conv1.weight").eq(["weight", "conv1.weight"]));
        assert!(suffixes("weight").eq(["weight"]));
        // What make.py's `fnv` gives for "conv1.weight 64x3x7x7", "logit_scale " and "a 0x1007x10".
        assert_eq!(hash("conv1.weight", &[64, 3, 7, 7]), 0xd6dcc0b);
        assert_eq!(hash("logit_scale", &[]), 0x342b67bf);
        assert_eq!(hash("a", &[0, 1007, 10]), 0xd8f19009);
    }

    #[test]
    fn a_tree_is_found_by_its_own_tensors_under_a_prefix_too() {
        let asset = Asset::get();
        let tree = asset.trees().iter().find(|tree| tree.names.iter().any(|name| name == "resnet18")).unwrap();
        let block = asset.block(tree.block).unwrap();
        let mut tensors = Vec::new();
        super::super::fit::list(block.module(tree.root).unwrap(), "backbone.", &mut tensors);
        let found =
            candidates(asset, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.unwrap_or_default())));
        let place = found.iter().position(|found| std::ptr::eq(*found, tree)).unwrap();
        assert!(place < 12, "{place}");
    }
}
