//! Where each path of a model is: a plan asks for modules by their paths, and a stack may have a hundred thousand layers.

use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;

use super::{Module, ModuleId};

/// An index of paths, made when one is asked for first.
#[derive(Debug, Default)]
pub struct Places {
    state: RandomState,
    /// Hashes of paths and their modules, in order.
    known: OnceLock<Vec<(u64, u32)>>,
    /// Modules that were compared with a path.
    looks: AtomicU64,
}

impl Clone for Places {
    /// What is cloned may change: its index is made anew.
    fn clone(&self) -> Places {
        Places::default()
    }
}

impl Places {
    /// The first module of a range with that path.
    pub(super) fn find(&self, modules: &[Module], range: Range<ModuleId>, path: &str) -> Option<ModuleId> {
        // A few are faster looked through.
        const FEW: usize = 16;
        let is = |id: &ModuleId| {
            self.looks.fetch_add(1, Ordering::Relaxed);
            modules.get(*id).is_some_and(|module| module.path == path)
        };
        if range.len() <= FEW {
            return range.into_iter().find(is);
        }
        let known = self.known.get_or_init(|| self.index(modules));
        let hash = self.state.hash_one(path);
        let first = known.partition_point(|(known, id)| (*known, *id as ModuleId) < (hash, range.start));
        let alike = known.iter().skip(first).take_while(|(known, _)| *known == hash).map(|(_, id)| *id as ModuleId);
        alike.take_while(|id| *id < range.end).find(is)
    }

    fn index(&self, modules: &[Module]) -> Vec<(u64, u32)> {
        let mut known: Vec<(u64, u32)> =
            modules.iter().zip(0..).map(|(module, id)| (self.state.hash_one(module.path.as_str()), id)).collect();
        known.sort_unstable();
        known
    }

    /// Modules that were compared with a path so far: what finding them has cost.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Model;
    use super::super::infer::tests::model_of;

    /// A stack of so many layers of two modules each.
    fn stack(layers: usize) -> Model {
        let names: Vec<String> =
            (0..layers).flat_map(|at| ["fc", "norm"].map(|part| format!("layers.{at}.{part}.weight"))).collect();
        let tensors: Vec<(&str, &[u64])> = names.iter().map(|name| (name.as_str(), [4u64].as_slice())).collect();
        model_of(&tensors)
    }

    #[test]
    fn each_of_many_layers_is_found_at_once() {
        let layers = 20_000;
        let model = stack(layers);
        let before = model.places.looks();
        for at in (0..layers).rev() {
            let path = format!("layers.{at}.norm");
            let found = model.place(0, &path).and_then(|id| model.modules.get(id));
            assert_eq!(found.map(|module| module.path.as_str()), Some(path.as_str()));
            assert!(model.tensor(0, &format!("layers.{at}.fc.weight")).is_some());
            assert!(model.tensor(0, &format!("layers.{at}.gone.weight")).is_none());
        }
        // Looking from the first on would be the square of it.
        let looks = model.places.looks() - before;
        assert!(looks as usize <= 3 * layers, "{looks} looks for {layers} layers");
    }

    #[test]
    fn only_what_is_below_a_module_is_found_there() {
        let model = stack(30);
        let layer = |at: usize| model.find(&format!("layers.{at}"));
        let second = layer(1).and_then(|id| model.place(id, "layers.1.fc"));
        assert_eq!(second, layer(1).map(|id| id + 1));
        let outside = layer(1).and_then(|id| model.place(id, "layers.2.fc"));
        assert_eq!(outside, None);
        assert_eq!(model.find("layers.30"), None);
        assert_eq!(model.find(""), Some(0));
    }
}
