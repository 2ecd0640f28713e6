//! Modules that are alike: the same class and hyper-parameters, tensors with the same names, types and shapes, and the
//! same below them. A model repeats its blocks, a large one thousands of times: what holds for one of them holds for
//! all.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde_json::{Map, Value};

use super::{Model, Module, ModuleId};
use t2m_checkpoint::{OwnTensor, Tensor};

/// For each module the first one that is like it: itself, where none comes before.
pub fn first_of_kind(model: &Model, tensors: &[Tensor]) -> Vec<ModuleId> {
    let mut kinds = Kinds { model, tensors, of: vec![0; model.modules.len()], hashes: Hashes::default() };
    let mut known: HashMap<u64, ModuleId, RandomState> = HashMap::default();
    // Children are compared before their parents, which differ if their children do.
    for id in (0..model.modules.len()).rev() {
        let hash = kinds.hash(id);
        let one = *known.entry(hash).or_insert(id);
        let kind = if one == id || kinds.alike(one, id) { one } else { id };
        if let Some(of) = kinds.of.get_mut(id) {
            *of = kind;
        }
    }
    // So far the last module of a kind represented it.
    let mut first: Vec<Option<ModuleId>> = vec![None; model.modules.len()];
    let kinds = kinds.of.into_iter().enumerate();
    kinds.map(|(id, kind)| first.get_mut(kind).map_or(id, |first| *first.get_or_insert(id))).collect()
}

struct Kinds<'a> {
    model: &'a Model,
    tensors: &'a [Tensor],
    /// A module of each module's kind.
    of: Vec<ModuleId>,
    hashes: Hashes,
}

impl Kinds<'_> {
    fn hash(&mut self, id: ModuleId) -> u64 {
        let Some(module) = self.model.modules.get(id) else { return 0 };
        let mut hasher = self.hashes.state.build_hasher();
        (module.class.as_str(), module.evidence.name(), module.confidence.to_bits()).hash(&mut hasher);
        (module.alternatives.len(), self.hashes.of(&module.attributes)).hash(&mut hasher);
        for own in &module.tensors {
            own.name.hash(&mut hasher);
            if let Some(tensor) = own.tensor.and_then(|id| self.tensors.get(id)) {
                (tensor.dtype, tensor.shape.as_slice()).hash(&mut hasher);
            }
        }
        for child in self.model.children(id) {
            let name = self.model.modules.get(child).map(|child| child.name.as_str());
            (name, self.of.get(child)).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn alike(&self, one: ModuleId, other: ModuleId) -> bool {
        let (Some(a), Some(b)) = (self.model.modules.get(one), self.model.modules.get(other)) else { return false };
        let children = |id| {
            let name = |child: ModuleId| self.model.modules.get(child).map(|child| child.name.as_str());
            self.model.children(id).map(move |child| (name(child), self.of.get(child)))
        };
        same_layer(a, b)
            && a.tensors.len() == b.tensors.len()
            && a.tensors.iter().zip(&b.tensors).all(|(a, b)| self.same_tensor(a, b))
            && children(one).eq(children(other))
    }

    fn same_tensor(&self, a: &OwnTensor, b: &OwnTensor) -> bool {
        let tensor = |own: &OwnTensor| own.tensor.and_then(|id| self.tensors.get(id));
        let described = |tensor: &Tensor| (tensor.dtype, tensor.problem.clone());
        let shapes = |a: &Tensor, b: &Tensor| a.shape == b.shape && described(a) == described(b);
        (&a.name, a.kind) == (&b.name, b.kind)
            && match (tensor(a), tensor(b)) {
                (Some(a), Some(b)) => shapes(a, b),
                (None, None) => true,
                _ => false,
            }
    }
}

/// Whether class and hyper-parameters are the same, and known in the same way.
fn same_layer(a: &Module, b: &Module) -> bool {
    (&a.class, a.evidence, a.confidence.to_bits()) == (&b.class, b.evidence, b.confidence.to_bits())
        && (Arc::ptr_eq(&a.alternatives, &b.alternatives) || a.alternatives == b.alternatives)
        // Also in the same order, since they are shown in that order.
        && (Arc::ptr_eq(&a.attributes, &b.attributes) || a.attributes.iter().eq(b.attributes.iter()))
        && a.open == b.open
}

/// Hashes of hyper-parameters; shared ones are hashed once.
#[derive(Default)]
struct Hashes {
    state: RandomState,
    known: HashMap<*const Map<String, Value>, u64, RandomState>,
}

impl Hashes {
    fn of(&mut self, attributes: &Arc<Map<String, Value>>) -> u64 {
        let compute = || {
            let mut hasher = self.state.build_hasher();
            attributes.iter().for_each(|(name, value)| {
                name.hash(&mut hasher);
                hash_value(value, &mut hasher);
            });
            hasher.finish()
        };
        if Arc::strong_count(attributes) == 1 {
            compute()
        } else {
            *self.known.entry(Arc::as_ptr(attributes)).or_insert_with(compute)
        }
    }
}

/// Numbers and texts, and those in lists; comparing the values finds deeper differences.
fn hash_value(value: &Value, hasher: &mut impl Hasher) {
    match value {
        Value::Number(number) => number.hash(hasher),
        Value::String(text) => text.hash(hasher),
        Value::Bool(flag) => flag.hash(hasher),
        Value::Array(items) => {
            items.len().hash(hasher);
            items.iter().filter_map(Value::as_u64).for_each(|item| item.hash(hasher));
        }
        Value::Object(map) => map.len().hash(hasher),
        Value::Null => 0u8.hash(hasher),
    }
}

#[cfg(test)]
mod tests {
    use super::super::infer::tests::{model_of, tensors_of};
    use super::first_of_kind;

    fn firsts(tensors: &[(&str, &[u64])]) -> Vec<usize> {
        first_of_kind(&model_of(tensors), &tensors_of(tensors))
    }

    #[test]
    fn blocks_are_alike_when_all_below_them_is() {
        let two = |last: &'static str, shape: &'static [u64]| {
            let tensors: [(&str, &[u64]); 4] =
                [("a.0.fc.weight", &[3, 4]), ("a.0.fc.bias", &[3]), ("a.1.fc.weight", shape), (last, &[3])];
            firsts(&tensors)
        };
        // root, a, a.0, a.0.fc, a.1, a.1.fc
        assert_eq!(two("a.1.fc.bias", &[3, 4]), [0, 1, 2, 3, 2, 3]);
        assert_eq!(two("a.1.fc.bias", &[3, 5]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(two("a.1.fc.beta", &[3, 4]), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn the_names_of_children_count_and_a_modules_own_does_not() {
        let tensors: [(&str, &[u64]); 3] = [("a.x.weight", &[3, 4]), ("b.x.weight", &[3, 4]), ("c.y.weight", &[3, 4])];
        // root, a, a.x, b, b.x, c, c.y
        assert_eq!(firsts(&tensors), [0, 1, 2, 1, 2, 5, 2]);
    }
}
