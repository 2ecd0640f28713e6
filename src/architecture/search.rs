//! Which architectures a state dict may be: those of whose sketch it has most.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::asset::{Asset, Tree};

/// Less of a sketch is chance, or a relative.
const LEAST: f64 = 0.4;

/// Trees that may fit, the likeliest first: those of whose sketch the file has most, and of these the ones with as many
/// tensors.
pub fn candidates<'t>(asset: &Asset, tensors: impl Iterator<Item = (&'t str, &'t [u64])>) -> Vec<&Tree> {
    let mut known: HashSet<u32, RandomState> = HashSet::default();
    let mut count = 0usize;
    for (name, shape) in tensors {
        count += 1;
        known.extend(suffixes(name).map(|suffix| hash(suffix, shape)));
    }
    let mut found: Vec<(f64, usize, &Tree)> = Vec::new();
    for (tree, sketch) in asset.trees() {
        let (mut all, mut hits) = (0u32, 0u32);
        for number in sketch {
            all += 1;
            hits += u32::from(known.contains(&number));
        }
        let share = f64::from(hits) / f64::from(all.max(1));
        if share >= LEAST {
            found.push((share, tree.tensors.abs_diff(count), tree));
        }
    }
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
        value = size.to_string().bytes().fold(value, step);
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
        // FNV-1a of "foobar", from the function's test vectors; and of "a " and "a 2x3" by make.py's `fnv`.
        assert_eq!(
            "foobar"
                .bytes()
                .fold(0x811c_9dc5_u32, |value, byte| { (value ^ u32::from(byte)).wrapping_mul(0x0100_0193) }),
            0xbf9c_f968
        );
        assert_ne!(hash("a", &[]), hash("a", &[2]));
        assert_ne!(hash("a", &[2, 3]), hash("a", &[23]));
    }

    #[test]
    fn a_tree_is_found_by_its_own_tensors_under_a_prefix_too() {
        let asset = Asset::get();
        let (tree, _) = asset.trees().find(|(tree, _)| tree.names.iter().any(|name| name == "resnet18")).unwrap();
        let block = asset.block(tree.block).unwrap();
        let mut tensors = Vec::new();
        super::super::fit::list(block.module(tree.root).unwrap(), "backbone.", &mut tensors);
        let found =
            candidates(asset, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.unwrap_or_default())));
        let place = found.iter().position(|found| std::ptr::eq(*found, tree)).unwrap();
        assert!(place < 12, "{place}");
    }
}
