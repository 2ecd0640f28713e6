//! A checkpoint of layers that are only described: classes, attributes, shapes, no bytes.

use std::path::Path;

use serde_json::Map;

use super::{Checkpoint, Content, Dtype, Format, FoundModule, OwnTensor, Tensor, TensorKind};

/// A module that is described: its path, class and attributes, and names, types and shapes of its tensors.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct DescribedModule {
    /// Dotted path, `""` for the root.
    pub path: String,
    /// Full class path.
    pub class: String,
    /// Hyper-parameters.
    pub attributes: Map<String, serde_json::Value>,
    /// Its own tensors, children's not included.
    pub tensors: Vec<(String, Dtype, Vec<u64>)>,
}

impl Checkpoint {
    /// A checkpoint of described modules, the root first: no tensor has bytes that could be read.
    pub fn described(name: &Path, modules: &[DescribedModule]) -> Checkpoint {
        let mut tensors = Vec::new();
        let mut found = Vec::with_capacity(modules.len());
        for module in modules {
            let own = module.tensors.iter().map(|(name, dtype, shape)| {
                let full = if module.path.is_empty() { name.clone() } else { format!("{}.{name}", module.path) };
                tensors.push(Tensor {
                    name: full.into(),
                    dtype: *dtype,
                    shape: shape.iter().copied().collect(),
                    strides: None,
                    offset: 0,
                    storage: None,
                    requires_grad: false,
                    shared_with: None,
                    problem: Some("is only described".into()),
                });
                let statistic = name.starts_with("running_") || name == "num_batches_tracked";
                let kind = if statistic { TensorKind::Buffer } else { TensorKind::Parameter };
                OwnTensor { name: name.as_str().into(), kind, tensor: Some(tensors.len() - 1) }
            });
            let own = own.collect();
            let (path, class, attributes) = (module.path.clone(), module.class.clone(), module.attributes.clone());
            found.push(FoundModule { path, class, attributes, tensors: own });
        }
        Checkpoint { shards: 0, tensors, ..Checkpoint::new(name, Format::TorchZip, Content::Modules(found)) }
    }
}
