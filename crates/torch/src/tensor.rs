//! Tensors from the pipe to libtorch and back, and a layer's tensors by name.

use std::collections::HashMap;

use indexmap::IndexMap;
use tch::{Kind, TchError, Tensor};

use super::Problem;
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::own::WeightNorm;

/// A layer's parameters and buffers by name.
pub(super) struct Weights(HashMap<String, Tensor>);

impl Weights {
    /// Compute `weight` as torch does before each forward, from a weight norm.
    pub fn normalise(&mut self, norm: &WeightNorm) -> Result<(), Problem> {
        // libtorch takes -1 for one norm over all.
        let dim = norm.dim.unwrap_or(-1);
        let weight = Tensor::f_internal_weight_norm(self.get("weight")?, self.get(&norm.norm)?, dim)?;
        self.0.insert("weight".to_owned(), weight);
        Ok(())
    }

    /// The tensors from the pipe in their own dtypes. `names` maps the layer's names to the module's own.
    pub fn new(tensors: &[(String, TensorData)], names: Option<&IndexMap<String, String>>) -> Result<Weights, Problem> {
        let known = |own: &String| {
            let mut names = names.into_iter().flatten();
            names.find(|(_, name)| *name == own).map_or(own, |(known, _)| known).clone()
        };
        let tensor = |(name, data): &(String, TensorData)| match from_data(data) {
            Ok(tensor) => Ok((known(name), tensor)),
            Err(Problem(text)) => Err(Problem(format!("{name}: {text}"))),
        };
        tensors.iter().map(tensor).collect::<Result<_, _>>().map(Weights)
    }

    /// The weights with floating-point tensors in this dtype.
    pub fn cast(&self, kind: Kind) -> Result<Weights, Problem> {
        let tensors = self.0.iter().map(|(name, tensor)| Ok((name.clone(), cast(tensor, kind)?)));
        tensors.collect::<Result<_, Problem>>().map(Weights)
    }

    /// The weights of a module below this one.
    pub fn below(&self, path: &str) -> Weights {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
        let own = self.0.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?, tensor)));
        Weights(own.map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())).collect())
    }

    /// A tensor that the layer requires.
    pub fn get(&self, name: &str) -> Result<&Tensor, Problem> {
        self.find(name).ok_or_else(|| Problem(format!("the layer's tensor `{name}` is missing")))
    }

    /// An optional tensor.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }
}

/// The dtypes that layers run in.
pub(super) fn compute_kind(dtype: Dtype) -> Result<Kind, Problem> {
    match dtype {
        Dtype::Float64 | Dtype::Float32 | Dtype::Float16 | Dtype::BFloat16 => kind(dtype),
        other => Err(Problem(format!("libtorch's side does not compute in {}", other.name()))),
    }
}

/// A floating-point tensor in this dtype; any other as it is.
pub(super) fn cast(tensor: &Tensor, kind: Kind) -> Result<Tensor, Problem> {
    match tensor.f_kind()? {
        Kind::Double | Kind::Float | Kind::Half | Kind::BFloat16 => Ok(tensor.f_to_dtype(kind, false, false)?),
        Kind::ComplexFloat | Kind::ComplexDouble => {
            let kind = if kind == Kind::Double { Kind::ComplexDouble } else { Kind::ComplexFloat };
            Ok(tensor.f_to_dtype(kind, false, false)?)
        }
        _ => Ok(tensor.shallow_clone()),
    }
}

/// Apply a function as libtorch's kernels do for half precision: in float32, rounded once at the end.
pub(super) fn in_single(
    input: &Tensor,
    function: impl Fn(&Tensor) -> Result<Tensor, TchError>,
) -> Result<Tensor, Problem> {
    match input.f_kind()? {
        kind @ (Kind::Half | Kind::BFloat16) => {
            let single = input.f_to_dtype(Kind::Float, false, false)?;
            Ok(function(&single)?.f_to_dtype(kind, false, false)?)
        }
        _ => Ok(function(input)?),
    }
}

/// An axis's length; `axis` counts from the end when it is negative.
pub(super) fn length(input: &Tensor, axis: i64) -> Result<i64, Problem> {
    let shape = input.size();
    let index = if axis < 0 { axis + shape.len() as i64 } else { axis };
    let found = usize::try_from(index).ok().and_then(|index| shape.get(index).copied());
    found.ok_or_else(|| Problem(format!("an input of shape {shape:?} has no axis {axis}")))
}

pub(super) fn from_data(data: &TensorData) -> Result<Tensor, Problem> {
    let shape: Vec<i64> = data.shape.iter().map(|&axis| axis as i64).collect();
    Ok(Tensor::f_from_data_size(&data.bytes, &shape, kind(data.dtype)?)?)
}

pub(super) fn to_data(tensor: &Tensor) -> Result<TensorData, Problem> {
    // A conjugate and a negative may be marks that the elements are still to be changed.
    let tensor = tensor.f_resolve_conj()?.f_resolve_neg()?.f_contiguous()?;
    let dtype = dtype(tensor.f_kind()?)?;
    let sizes: Result<Vec<usize>, _> = tensor.size().into_iter().map(usize::try_from).collect();
    // Seen in im2col, whose sizes overflow with a huge kernel.
    let shape = sizes.map_err(|_| Problem(format!("libtorch gave an output of shape {:?}", tensor.size())))?;
    let mut bytes = vec![0; tensor.numel() * dtype.size()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(TensorData { dtype, shape, bytes })
}

/// Dtypes that cross the pipe, with libtorch's names.
const KINDS: [(Dtype, Kind); 12] = [
    (Dtype::Float64, Kind::Double),
    (Dtype::Float32, Kind::Float),
    (Dtype::Float16, Kind::Half),
    (Dtype::BFloat16, Kind::BFloat16),
    (Dtype::Int64, Kind::Int64),
    (Dtype::Int32, Kind::Int),
    (Dtype::Int16, Kind::Int16),
    (Dtype::Int8, Kind::Int8),
    (Dtype::UInt8, Kind::Uint8),
    (Dtype::Bool, Kind::Bool),
    (Dtype::Complex64, Kind::ComplexFloat),
    (Dtype::Complex128, Kind::ComplexDouble),
];

pub(super) fn kind(dtype: Dtype) -> Result<Kind, Problem> {
    let found = KINDS.iter().find(|(ours, _)| *ours == dtype);
    found.map(|(_, kind)| *kind).ok_or_else(|| Problem(format!("libtorch's side takes no {} tensors", dtype.name())))
}

pub(super) fn dtype(kind: Kind) -> Result<Dtype, Problem> {
    let found = KINDS.iter().find(|(_, theirs)| *theirs == kind);
    found.map(|(dtype, _)| *dtype).ok_or_else(|| Problem(format!("libtorch's side gives no {kind:?} tensors")))
}
