//! The tensors for both sides: weights from the file, moved as the writer moves them, and inputs.

use crate::model::ModuleId;
use crate::open::Opened;
use crate::plan::{Input, Plan, random, weights};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::{Dtype, Tensor, TensorData};

/// An input as MLX takes it; `None` where that is what torch takes.
pub(super) fn mlx_input(data: &TensorData, input: &Input) -> Result<Option<TensorData>, String> {
    let moved = match &input.to_mlx {
        Some(axes) => Some(weights::permute(data, axes).map_err(|error| error.to_string())?),
        None => None,
    };
    if data.dtype != Dtype::Int64 {
        return Ok(moved);
    }
    // MLX indexes with 32-bit integers.
    Ok(moved.as_ref().unwrap_or(data).cast(Dtype::Int32).or(moved))
}

/// A module's tensors for both sides, in the trial's dtype.
pub(super) struct Weights {
    pub torch: Vec<(String, TensorData)>,
    pub mlx: Vec<(String, TensorData)>,
}

impl Weights {
    /// Read the tensors that the plan moves (or draw them by a seed), round them to `dtype`, and move them as the writer
    /// would.
    pub fn read(
        opened: &Opened,
        module: ModuleId,
        plan: &Plan,
        dtype: Dtype,
        seed: Option<u64>,
    ) -> Result<Weights, String> {
        let mut read = Weights { torch: Vec::new(), mlx: Vec::new() };
        for movement in &plan.weights {
            for name in &movement.from {
                if !read.torch.iter().any(|(known, _)| known == name) {
                    read.torch.push((name.clone(), read_tensor(opened, module, name, dtype, seed)?));
                }
            }
            let source = |name: &String| read.torch.iter().find(|(known, _)| known == name).map(|(_, data)| data);
            let sources: Vec<&TensorData> = movement.from.iter().filter_map(source).collect();
            let moved = movement.apply(&sources).map_err(|error| error.to_string())?;
            let moved = if moved.dtype == dtype { moved } else { moved.cast(dtype).unwrap_or(moved) };
            read.mlx.push((movement.to.clone(), moved));
        }
        Ok(read)
    }

    /// A weight that is all zeros, as zero-initialised layers have: then the output is the same wherever the weight
    /// goes.
    pub fn zero(&self) -> Option<&str> {
        // Zero may have its sign bit set, in the last byte.
        let is_nothing = |number: &[u8]| {
            number.split_last().is_some_and(|(last, rest)| last & 0x7f == 0 && rest.iter().all(|&byte| byte == 0))
        };
        let is_zero =
            |data: &TensorData| !data.bytes.is_empty() && data.bytes.chunks_exact(data.dtype.size()).all(is_nothing);
        let weights = self.torch.iter().filter(|(name, _)| name.ends_with("weight"));
        weights.filter(|(_, data)| is_zero(data)).map(|(name, _)| name.as_str()).next()
    }
}

fn read_tensor(
    opened: &Opened,
    module: ModuleId,
    name: &str,
    dtype: Dtype,
    seed: Option<u64>,
) -> Result<TensorData, String> {
    let id = opened.model.tensor(module, name).ok_or_else(|| format!("the file holds no `{}`", quoted(name)))?;
    let data = match seed {
        Some(seed) => random_tensor(&opened.checkpoint.tensors[id], name, seed)?,
        None => opened.checkpoint.read(id).map_err(|error| error.to_string())?,
    };
    let from = data.dtype;
    if from == dtype {
        return Ok(data);
    }
    data.cast(dtype).ok_or_else(|| format!("`{}` is {}, which cannot be computed with", quoted(name), from.name()))
}

/// Random elements in place of a tensor of the file.
fn random_tensor(tensor: &Tensor, name: &str, seed: u64) -> Result<TensorData, String> {
    let shape: Option<Vec<usize>> = tensor.shape.iter().map(|&axis| usize::try_from(axis).ok()).collect();
    let shape = shape.ok_or_else(|| format!("`{}` is larger than this machine can address", quoted(name)))?;
    Ok(random::tensor(name, &shape, seed))
}
