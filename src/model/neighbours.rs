//! A convolution without a bias: `[a, b, …]` may belong to a plain one, from b channels to a, or to a transposed one,
//! from a to b. The norm after it has as many features as it outputs; if a equals b, the rest of the model decides.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde_json::Value;

use super::infer::{CONV, CONV_TRANSPOSE};
use super::{Evidence, Model, Module, ModuleId};
use t2m_checkpoint::Tensor;

/// Confidence from the norm after it.
const BY_NORM: f32 = 0.95;
/// Confidence from all other convolutions of the model. No other rule gives a convolution the same.
const BY_OTHERS: f32 = 0.9;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Transposed,
}

/// Decide doubtful convolutions by their neighbours.
pub(super) fn decide(model: &mut Model, tensors: &[Tensor]) {
    let doubtful: Vec<usize> = (0..model.modules.len()).filter(|&id| is_doubtful(&model.modules[id])).collect();
    if doubtful.is_empty() {
        return;
    }
    let siblings = Siblings::of(model);
    for &id in &doubtful {
        let Some((kind, groups)) = by_norm(model, id, tensors, &siblings) else { continue };
        settle(&mut model.modules[id], kind, BY_NORM);
        if let Some(groups) = groups.filter(|_| kind == Kind::Transposed) {
            Arc::make_mut(&mut model.modules[id].attributes).insert("groups".to_owned(), Value::from(groups));
        }
    }
    drop(siblings);
    // For a transposed one the groups would still be unknown. Where all transposed ones have kernels of even length, as those of
    // vocoders have, they say nothing of the odd ones.
    let odd_transposed = (0..model.modules.len())
        .any(|id| is_certain(&model.modules[id], Kind::Transposed) && !is_even(model, id, tensors));
    let even = !odd_transposed && model.modules.iter().any(|module| is_certain(module, Kind::Transposed));
    if model.modules.iter().any(|module| is_certain(module, Kind::Plain)) && !odd_transposed {
        for id in doubtful {
            if is_doubtful(&model.modules[id]) && !named_so(model, id, even) && !is_even(model, id, tensors) {
                settle(&mut model.modules[id], Kind::Plain, BY_OTHERS);
            }
        }
    }
}

/// Whether a module counts as a plain convolution because the others of its model are plain: likely, but not in the
/// file.
pub(crate) fn by_others(module: &Module) -> bool {
    module.evidence == Evidence::Inferred && module.confidence == BY_OTHERS && CONV.contains(&module.class.as_str())
}

fn classes(kind: Kind) -> &'static [&'static str; 3] {
    if kind == Kind::Plain { &CONV } else { &CONV_TRANSPOSE }
}

fn is_certain(module: &Module, kind: Kind) -> bool {
    module.alternatives.is_empty() && classes(kind).contains(&module.class.as_str())
}

fn is_doubtful(module: &Module) -> bool {
    let one_of = |kind| {
        let classes = classes(kind);
        std::iter::once(&module.class).chain(module.alternatives.iter()).any(|class| classes.contains(&class.as_str()))
    };
    module.evidence == Evidence::Inferred
        && !module.alternatives.is_empty()
        && one_of(Kind::Plain)
        && one_of(Kind::Transposed)
}

/// A name that suggests enlarging is a doubt that the other convolutions do not remove: its own, or its list's. Where no kernel
/// of odd length enlarges, what the module is a part of says nothing.
fn named_so(model: &Model, id: usize, odd_alone: bool) -> bool {
    let path = model.modules[id].path.to_ascii_lowercase();
    let own = || path.rsplit('.').find(|part| !part.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or_default();
    let (within, words): (_, &[&str]) = if odd_alone {
        (own(), &["up", "deconv", "transpose"])
    } else {
        (&*path, &["up", "deconv", "transpose", "decode", "dec."])
    };
    words.iter().any(|word| within.contains(word))
}

/// Kernels of even length enlarge more often than not: a stride of 2 with a kernel of 2 or 4.
fn is_even(model: &Model, id: usize, tensors: &[Tensor]) -> bool {
    let weight = model.modules[id].tensor("weight").and_then(|id| tensors.get(id));
    weight.and_then(|weight| weight.shape.get(2..)).is_some_and(|kernel| kernel.iter().all(|length| length % 2 == 0))
}

fn settle(module: &mut Module, kind: Kind, confidence: f32) {
    let alternatives = std::mem::take(&mut module.alternatives);
    let mut all = std::iter::once(&module.class).chain(alternatives.iter());
    let found = all.find(|class| classes(kind).contains(&class.as_str()));
    module.class = found.cloned().unwrap_or_default();
    module.confidence = confidence;
    if kind == Kind::Transposed {
        // These were read the other way round.
        let attributes = Arc::make_mut(&mut module.attributes);
        attributes.shift_remove("in_channels");
        attributes.shift_remove("out_channels");
    }
}

/// What the features of the following norm say, and the groups of a transposed one.
fn by_norm(model: &Model, id: usize, tensors: &[Tensor], siblings: &Siblings) -> Option<(Kind, Option<u64>)> {
    let module = model.modules.get(id)?;
    let weight = tensors.get(module.tensor("weight")?)?;
    let (&a, &b) = (weight.shape.first()?, weight.shape.get(1)?);
    let (norm, behind) = norm_of(model, id, siblings)?;
    let mean = tensors.get(norm.tensor("running_mean")?).filter(|mean| mean.shape.len() == 1)?;
    let features = *mean.shape.first()?;
    match (features == a, features == b) {
        _ if b == 0 => None,
        (true, false) => Some((Kind::Plain, None)),
        (false, true) if behind => Some((Kind::Transposed, Some(1))),
        _ => None,
    }
}

/// Modules by parent and name: a list may have a million members, and each would search all others.
struct Siblings {
    state: RandomState,
    /// The first module of each hash.
    first: HashMap<u64, u32, RandomState>,
}

impl Siblings {
    fn of(model: &Model) -> Siblings {
        let mut siblings = Siblings { state: RandomState::default(), first: HashMap::default() };
        for (id, module) in model.modules.iter().enumerate() {
            if let (Some(parent), Ok(id)) = (module.parent, u32::try_from(id)) {
                siblings.first.entry(siblings.state.hash_one((parent, module.name.as_str()))).or_insert(id);
            }
        }
        siblings
    }

    fn find<'m>(&self, model: &'m Model, parent: ModuleId, name: &str) -> Option<&'m Module> {
        let found = model.modules.get(*self.first.get(&self.state.hash_one((parent, name)))? as usize)?;
        // Two names with one hash are practically impossible; then neither is found.
        (found.parent == Some(parent) && found.name == name).then_some(found)
    }
}

/// The norm of a convolution: the one with a matching name or the next number, which also works in files sorted by
/// name; or else the next module with tensors. A norm with a matching name may come before the convolution: then it is
/// returned with `false`.
fn norm_of<'m>(model: &'m Model, id: usize, siblings: &Siblings) -> Option<(&'m Module, bool)> {
    const NAMES: [[&str; 2]; 5] = [
        ["conv", "bn"],
        ["conv", "norm"],
        ["conv", "batch_norm"],
        ["convolution", "normalization"],
        ["conv", "batchnorm"],
    ];
    let module = model.modules.get(id)?;
    let parent = module.parent?;
    let sibling = |name: &str| siblings.find(model, parent, name);
    if let Ok(number) = module.name.parse::<u32>() {
        return Some((sibling(&(number.saturating_add(1)).to_string())?, true));
    }
    let named = NAMES.iter().filter(|[conv, _]| module.name.contains(conv));
    let mut named = named.filter_map(|[conv, norm]| sibling(&module.name.replacen(conv, norm, 1)));
    if let Some(norm) = named.next() {
        return Some((norm, false));
    }
    let next = model.modules.get(module.end..)?.iter().find(|next| !next.tensors.is_empty())?;
    (next.depth.abs_diff(module.depth) <= 1).then_some((next, true))
}

#[cfg(test)]
mod tests {
    use crate::model::infer::tests::model;

    /// Class and alternatives of a module.
    fn said(tensors: &[(&str, &[u64])], path: &str) -> (String, usize) {
        let model = model(tensors, &[]);
        let module = model.modules.iter().find(|module| module.path == path);
        module.map(|module| (module.short_class().to_owned(), module.alternatives.len())).unwrap_or_default()
    }

    #[test]
    fn the_norm_behind_a_convolution_tells_which_it_is() {
        let plain: [(&str, &[u64]); 3] =
            [("conv1.weight", &[64, 3, 7, 7]), ("bn1.running_mean", &[64]), ("bn1.running_var", &[64])];
        assert_eq!(said(&plain, "conv1"), ("Conv2d".to_owned(), 0));
        let transposed: [(&str, &[u64]); 3] =
            [("main.0.weight", &[100, 512, 4, 4]), ("main.1.running_mean", &[512]), ("main.1.running_var", &[512])];
        assert_eq!(said(&transposed, "main.0"), ("ConvTranspose2d".to_owned(), 0));
    }

    #[test]
    fn names_pair_them_in_files_sorted_by_name() {
        let sorted: [(&str, &[u64]); 5] = [
            ("bn1.running_mean", &[8]),
            ("bn1.running_var", &[8]),
            ("conv1.weight", &[16, 8, 3, 3]),
            ("fc.running_mean", &[16]),
            ("fc.running_var", &[16]),
        ];
        // The norm may be in front of it.
        assert_eq!(said(&sorted, "conv1"), ("Conv2d".to_owned(), 1));
        let behind = [("bn1.running_mean", [16].as_slice()), ("bn1.running_var", &[16]), sorted[2]];
        assert_eq!(said(&behind, "conv1"), ("Conv2d".to_owned(), 0));
        let numbered: [(&str, &[u64]); 4] = [
            ("a.0.weight", &[16, 8, 3, 3]),
            ("a.10.weight", &[8, 8]),
            ("a.1.running_mean", &[16]),
            ("a.1.running_var", &[16]),
        ];
        assert_eq!(said(&numbered, "a.0"), ("Conv2d".to_owned(), 0));
    }

    #[test]
    fn a_square_one_is_decided_by_the_others_or_not_at_all() {
        let mut tensors: Vec<(&str, &[u64])> =
            vec![("c.weight", &[8, 8, 3, 3]), ("d.running_mean", &[8]), ("d.running_var", &[8])];
        assert_eq!(said(&tensors, "c"), ("Conv2d".to_owned(), 1));
        tensors.extend([("e.weight", [16, 8, 3, 3].as_slice()), ("f.running_mean", &[16]), ("f.running_var", &[16])]);
        assert_eq!(said(&tensors, "c"), ("Conv2d".to_owned(), 0));
        tensors.extend([("g.weight", [16, 8, 3, 3].as_slice()), ("h.running_mean", &[8]), ("h.running_var", &[8])]);
        assert_eq!(said(&tensors, "c"), ("Conv2d".to_owned(), 1));
    }

    #[test]
    fn a_name_that_enlarges_stays_doubtful() {
        let tensors: [(&str, &[u64]); 4] = [
            ("e.weight", &[16, 8, 3, 3]),
            ("f.running_mean", &[16]),
            ("f.running_var", &[16]),
            ("up.0.weight", &[16, 16, 2, 2]),
        ];
        assert_eq!(said(&tensors, "up.0").1, 1);
        // So does a kernel of even length, whatever its name.
        let even = ("net.0.weight", [16, 16, 4, 4].as_slice());
        assert_eq!(said(&[tensors[0], tensors[1], tensors[2], even], "net.0").1, 1);
    }

    #[test]
    fn a_bias_that_no_plain_one_has_makes_groups() {
        let grouped: [(&str, &[u64]); 4] =
            [("a.weight", &[4, 4, 3, 3]), ("a.bias", &[8]), ("c.weight", &[8, 3, 3, 3]), ("c.bias", &[8])];
        assert_eq!(said(&grouped, "a"), ("ConvTranspose2d".to_owned(), 0));
        assert_eq!(said(&grouped, "c"), ("Conv2d".to_owned(), 0));
    }
}
