//! A tree of which something beside the file knows more: classes, hyper-parameters, and the modules without tensors, which a
//! state dict does not show.

use std::collections::HashMap;
use std::sync::Arc;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use serde_json::{Map, Value};

use super::tree::{close, count_parameters};
use super::{Evidence, Model, Module, ModuleId};
use t2m_checkpoint::{OwnTensor, Tensor, TensorId, TensorKind};

/// What is known of a module.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its path.
    pub path: CompactString,
    /// Full path of its class.
    pub class: CompactString,
    /// Other classes that it may have.
    pub alternatives: Arc<[CompactString]>,
    /// Its hyper-parameters.
    pub attributes: Arc<Map<String, Value>>,
}

impl Model {
    /// Give modules what is known of them, by this evidence, and add those that the file does not show. Children come in
    /// the order in which they are told; others of the file follow. Modules that the file or the source names stay.
    pub fn describe(&mut self, known: Vec<Known>, evidence: Evidence, tensors: &[Tensor]) {
        let mut here: HashMap<CompactString, Module, RandomState> = HashMap::default();
        let mut children: HashMap<CompactString, Vec<CompactString>, RandomState> = HashMap::default();
        for Known { path, .. } in &known {
            if !path.is_empty() {
                children.entry(parent(path).into()).or_default().push(path.clone());
            }
        }
        let mut told: HashMap<CompactString, Known, RandomState> =
            known.into_iter().map(|known| (known.path.clone(), known)).collect();
        // Names are not split at every dot: whose child a module is the tree says, not its path.
        let paths: Vec<CompactString> = self.modules.iter().map(|module| module.path.clone()).collect();
        for module in std::mem::take(&mut self.modules) {
            if let Some(parent) = module.parent.filter(|_| !told.contains_key(&module.path)) {
                children.entry(paths.get(parent).cloned().unwrap_or_default()).or_default().push(module.path.clone());
            }
            here.insert(module.path.clone(), module);
        }
        let mut modules: Vec<Module> = Vec::with_capacity(here.len() + told.len());
        let mut ahead: Vec<(CompactString, usize, Option<ModuleId>)> = vec![(CompactString::default(), 0, None)];
        while let Some((path, depth, parent)) = ahead.pop() {
            let name = path.rsplit('.').next().unwrap_or_default().into();
            let mut module = here.remove(&path).unwrap_or_else(|| Module::at(path.clone(), name, depth, parent));
            (module.depth, module.parent, module.end) = (depth, parent, 0);
            if let Some(told) = told.remove(&path).filter(|_| module.evidence == Evidence::Inferred) {
                module.class = told.class;
                module.attributes = told.attributes;
                module.confidence = 1.0 / (1 + told.alternatives.len()) as f32;
                module.alternatives = told.alternatives;
                module.evidence = evidence;
            }
            let id = modules.len();
            let below = children.remove(&path).unwrap_or_default();
            ahead.extend(below.into_iter().rev().map(|child| (child, depth + 1, Some(id))));
            modules.push(module);
        }
        let (warnings, is_renamed) = (std::mem::take(&mut self.warnings), self.is_renamed);
        *self = Model { modules, warnings, is_renamed, ..Model::default() };
        close(self);
        count_parameters(self, tensors);
    }

    /// Give modules the tensors that they have under second names, which the file leaves out: the whole name, and the tensor.
    pub fn tie(&mut self, ties: &[(String, TensorId)], tensors: &[Tensor]) {
        let mut changed = false;
        for (name, tensor) in ties {
            let Some((path, own)) = name.rsplit_once('.') else { continue };
            let Some(module) = self.find(path).and_then(|id| self.modules.get_mut(id)) else { continue };
            if module.tensor(own).is_none() {
                module.tensors.push(OwnTensor { name: own.into(), kind: TensorKind::Parameter, tensor: Some(*tensor) });
                changed = true;
            }
        }
        if changed {
            count_parameters(self, tensors);
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::infer::tests::tensors_of;

    #[test]
    fn no_module_is_lost_whatever_its_name() {
        let deep = format!("{}weight", "deep.".repeat(90));
        let tensors =
            tensors_of(&[("a.conv.weight", &[4, 3, 3, 3]), (&deep, &[2]), ("a..odd.weight", &[3]), (".", &[1])]);
        let (mut model, _) = crate::model::tree::from_names(&tensors, &[]);
        let before: Vec<CompactString> = model.modules.iter().map(|module| module.path.clone()).collect();
        let known = |path: &str| Known {
            path: path.into(),
            class: "m.Net".into(),
            alternatives: Arc::default(),
            attributes: Arc::default(),
        };
        model.describe(vec![known(""), known("a"), known("a.conv"), known("a.act")], Evidence::Architecture, &tensors);
        let after: Vec<&CompactString> = model.modules.iter().map(|module| &module.path).collect();
        assert!(before.iter().all(|path| after.contains(&path)), "{before:?} {after:?}");
        assert_eq!(after.len(), before.len() + 1);
        let held: usize = model.modules.iter().map(|module| module.tensors.len()).sum();
        assert_eq!(held, tensors.len());
    }

    #[test]
    fn modules_are_told_added_and_kept() {
        let tensors = tensors_of(&[("a.conv.weight", &[4, 3, 3, 3]), ("z.weight", &[2, 4]), ("extra.weight", &[5])]);
        let checkpoint_names: Vec<(String, Option<i64>)> = Vec::new();
        let (mut model, _) = crate::model::tree::from_names(&tensors, &checkpoint_names);
        let known = |path: &str, class: &str| Known {
            path: path.into(),
            class: class.into(),
            alternatives: Arc::default(),
            attributes: Arc::default(),
        };
        model.describe(
            vec![
                known("", "m.Net"),
                known("z", "nn.Linear"),
                known("a", "nn.Sequential"),
                known("a.conv", "nn.Conv2d"),
                known("a.act", "nn.ReLU"),
            ],
            Evidence::Architecture,
            &tensors,
        );
        let seen: Vec<_> =
            model.modules.iter().map(|m| (m.path.as_str(), m.class.as_str(), m.depth, m.parent, m.end)).collect();
        assert_eq!(
            seen,
            [
                ("", "m.Net", 0, None, 6),
                ("z", "nn.Linear", 1, Some(0), 2),
                ("a", "nn.Sequential", 1, Some(0), 5),
                ("a.conv", "nn.Conv2d", 2, Some(2), 4),
                ("a.act", "nn.ReLU", 2, Some(2), 5),
                ("extra", "", 1, Some(0), 6),
            ]
        );
        assert_eq!(model.parameters(), 4 * 27 + 8 + 5);
        let evidence: Vec<&str> = model.modules.iter().map(|module| module.evidence.name()).collect();
        assert_eq!(evidence, ["architecture"; 5].into_iter().chain(["inferred"]).collect::<Vec<_>>());
    }
}
