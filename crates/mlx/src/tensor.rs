//! Tensors from the pipe to MLX and back, and a layer's tensors by name.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::CStr;

use bytemuck::{AnyBitPattern, NoUninit};
use half::{bf16, f16};
use mlx_rs::{Array, ArrayElement, Dtype as MlxDtype, complex64};

use super::Problem;
use t2m_checkpoint::{Dtype, TensorData};

/// A layer's parameters and buffers by name.
pub(super) struct Weights(HashMap<String, Array>);

impl Weights {
    /// The tensors from the pipe in their own dtypes (float64 becomes float32).
    pub fn new(tensors: &[(String, TensorData)]) -> Result<Weights, Problem> {
        let array = |(name, data): &(String, TensorData)| match from_data(data) {
            Ok(array) => Ok((name.clone(), array)),
            Err(Problem(text)) => Err(Problem(format!("{name}: {text}"))),
        };
        tensors.iter().map(array).collect::<Result<_, _>>().map(Weights)
    }

    /// A single tensor.
    pub fn one(name: &str, array: Array) -> Weights {
        Weights(HashMap::from([(name.to_owned(), array)]))
    }

    /// The weights with floating-point tensors in this dtype, evaluated.
    pub fn cast(&self, dtype: MlxDtype) -> Result<Weights, Problem> {
        let arrays = self.0.iter().map(|(name, array)| Ok((name.clone(), cast(array, dtype)?)));
        arrays.collect::<Result<_, Problem>>().map(Weights)
    }

    /// A tensor that the layer requires.
    pub fn get(&self, name: &str) -> Result<&Array, Problem> {
        self.find(name).ok_or_else(|| Problem(format!("the layer's tensor `{name}` is missing")))
    }

    /// A tensor that the layer may have.
    pub fn find(&self, name: &str) -> Option<&Array> {
        self.0.get(name)
    }

    /// All of them.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.0.iter().map(|(name, array)| (name.as_str(), array))
    }

    /// The tensors of the layer under an attribute; for the attribute `""` all of them.
    pub fn below(&self, attribute: &str) -> Weights {
        if attribute.is_empty() {
            return Weights(self.0.clone());
        }
        let own = self.0.iter().filter_map(|(name, array)| {
            let rest = name.strip_prefix(attribute)?.strip_prefix('.')?;
            Some((rest.to_owned(), array.clone()))
        });
        Weights(own.collect())
    }

    /// A vector that the layer requires, with its length checked: MLX would silently broadcast a wrong one.
    pub fn vector(&self, name: &str, length: i32) -> Result<Array, Problem> {
        let array = self.get(name)?;
        if array.shape() == [length] {
            return Ok(array.clone());
        }
        Err(Problem(format!("the shape of `{name}` is {:?}, not [{length}]", array.shape())))
    }

    /// An optional vector of that length, checked like [`Weights::vector`].
    pub fn vector_if(&self, wanted: bool, name: &str, length: i32) -> Result<Option<Array>, Problem> {
        if wanted { self.vector(name, length).map(Some) } else { Ok(None) }
    }
}

/// MLX's version (`0.32.2`).
#[allow(unsafe_code)]
pub(super) fn version() -> String {
    // SAFETY: the string is made by mlx_string_new, filled by mlx_version, read while it lives, and freed once.
    unsafe {
        let mut text = mlx_sys::mlx_string_new();
        let mut version = "unknown".to_owned();
        if mlx_sys::mlx_version(&mut text) == 0 {
            let data = mlx_sys::mlx_string_data(text);
            if !data.is_null() {
                version = CStr::from_ptr(data).to_string_lossy().into_owned();
            }
        }
        mlx_sys::mlx_string_free(text);
        version
    }
}

/// The dtypes that layers run in. float64 is not among them: MLX has it only on the CPU.
pub(super) fn compute_dtype(dtype: Dtype) -> Result<MlxDtype, Problem> {
    match dtype {
        Dtype::Float32 => Ok(MlxDtype::Float32),
        Dtype::Float16 => Ok(MlxDtype::Float16),
        Dtype::BFloat16 => Ok(MlxDtype::Bfloat16),
        other => Err(Problem(format!("MLX's side does not compute in {}", other.name()))),
    }
}

/// A floating-point tensor in this dtype, any other as it is; evaluated.
pub(super) fn cast(array: &Array, dtype: MlxDtype) -> Result<Array, Problem> {
    let array = if array.dtype().is_float() { array.as_dtype(dtype)? } else { array.clone() };
    array.eval()?;
    Ok(array)
}

pub(super) fn from_data(data: &TensorData) -> Result<Array, Problem> {
    let shape: Result<Vec<i32>, _> = data.shape.iter().map(|&axis| i32::try_from(axis)).collect();
    let elements = data.shape.iter().try_fold(1usize, |product, &axis| product.checked_mul(axis));
    // MLX counts elements in 32 bits when it copies them.
    let (Ok(shape), Some(0..=0x7fff_ffff)) = (shape, elements) else {
        return Err(Problem(format!("a tensor of shape {:?} is too large for MLX", data.shape)));
    };
    let bytes = data.bytes.as_slice();
    Ok(match data.dtype {
        Dtype::Float32 => Array::from_slice(&values::<f32>(bytes), &shape),
        Dtype::Float16 => Array::from_slice(&values::<f16>(bytes), &shape),
        Dtype::BFloat16 => Array::from_slice(&values::<bf16>(bytes), &shape),
        Dtype::Int64 => Array::from_slice(&values::<i64>(bytes), &shape),
        Dtype::Int32 => Array::from_slice(&values::<i32>(bytes), &shape),
        Dtype::Int16 => Array::from_slice(&values::<i16>(bytes), &shape),
        Dtype::Int8 => Array::from_slice(&values::<i8>(bytes), &shape),
        Dtype::UInt64 => Array::from_slice(&values::<u64>(bytes), &shape),
        Dtype::UInt32 => Array::from_slice(&values::<u32>(bytes), &shape),
        Dtype::UInt16 => Array::from_slice(&values::<u16>(bytes), &shape),
        Dtype::UInt8 => Array::from_slice(&values::<u8>(bytes), &shape),
        Dtype::Bool => {
            let values: Vec<bool> = bytes.iter().map(|&byte| byte != 0).collect();
            Array::from_slice(&values, &shape)
        }
        Dtype::Float64 => {
            let values: Vec<f32> = values::<f64>(bytes).iter().map(|&value| value as f32).collect();
            Array::from_slice(&values, &shape)
        }
        Dtype::Complex64 => {
            let values = values::<[f32; 2]>(bytes);
            let values = values.iter().map(|&[real, imaginary]| complex64::new(real, imaginary));
            Array::from_slice(&values.collect::<Vec<_>>(), &shape)
        }
        other => return Err(Problem(format!("MLX's side takes no {} tensors", other.name()))),
    })
}

/// The client's bytes as elements, wherever they lie in memory.
fn values<T: AnyBitPattern>(bytes: &[u8]) -> Cow<'_, [T]> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(values) => Cow::Borrowed(values),
        Err(_) => Cow::Owned(bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()),
    }
}

pub(super) fn to_data(array: &Array) -> Result<TensorData, Problem> {
    let (dtype, bytes) = match array.dtype() {
        MlxDtype::Float32 => (Dtype::Float32, bytes::<f32>(array)?),
        MlxDtype::Float16 => (Dtype::Float16, bytes::<f16>(array)?),
        MlxDtype::Bfloat16 => (Dtype::BFloat16, bytes::<bf16>(array)?),
        MlxDtype::Int64 => (Dtype::Int64, bytes::<i64>(array)?),
        MlxDtype::Int32 => (Dtype::Int32, bytes::<i32>(array)?),
        MlxDtype::Int16 => (Dtype::Int16, bytes::<i16>(array)?),
        MlxDtype::Int8 => (Dtype::Int8, bytes::<i8>(array)?),
        MlxDtype::Uint64 => (Dtype::UInt64, bytes::<u64>(array)?),
        MlxDtype::Uint32 => (Dtype::UInt32, bytes::<u32>(array)?),
        MlxDtype::Uint16 => (Dtype::UInt16, bytes::<u16>(array)?),
        MlxDtype::Bool => {
            let array = array.as_dtype(MlxDtype::Uint8)?;
            return Ok(TensorData { dtype: Dtype::Bool, ..to_data(&array)? });
        }
        MlxDtype::Uint8 => (Dtype::UInt8, bytes::<u8>(array)?),
        MlxDtype::Complex64 => {
            // Each number as two, real and imaginary part.
            let parts = bytes::<f32>(&array.reshape(&[-1])?.contiguous()?.view_dtype(MlxDtype::Float32)?)?;
            (Dtype::Complex64, parts)
        }
        other => return Err(Problem(format!("MLX's side gives no {other:?} tensors"))),
    };
    let shape = array.shape().iter().map(|&axis| axis as usize).collect();
    Ok(TensorData { dtype, shape, bytes })
}

fn bytes<T: ArrayElement + NoUninit>(array: &Array) -> Result<Vec<u8>, Problem> {
    if array.size() == 0 {
        return Ok(Vec::new());
    }
    let array = array.contiguous()?;
    let values = array.try_as_slice::<T>();
    let values = values.map_err(|error| Problem(format!("MLX's output cannot be read: {error}")))?;
    Ok(bytemuck::cast_slice(values).to_vec())
}

/// Types that both know, as the pipe and as MLX name them.
const DTYPES: [(Dtype, MlxDtype); 13] = [
    (Dtype::Float32, MlxDtype::Float32),
    (Dtype::Float16, MlxDtype::Float16),
    (Dtype::BFloat16, MlxDtype::Bfloat16),
    (Dtype::Int64, MlxDtype::Int64),
    (Dtype::Int32, MlxDtype::Int32),
    (Dtype::Int16, MlxDtype::Int16),
    (Dtype::Int8, MlxDtype::Int8),
    (Dtype::UInt64, MlxDtype::Uint64),
    (Dtype::UInt32, MlxDtype::Uint32),
    (Dtype::UInt16, MlxDtype::Uint16),
    (Dtype::UInt8, MlxDtype::Uint8),
    (Dtype::Bool, MlxDtype::Bool),
    (Dtype::Complex64, MlxDtype::Complex64),
];

/// MLX's type for one of torch's.
pub(super) fn dtype_of(dtype: Dtype) -> Result<MlxDtype, Problem> {
    let found = DTYPES.iter().find(|(torch, _)| *torch == dtype);
    found.map(|(_, mlx)| *mlx).ok_or_else(|| Problem(format!("MLX has no {} arrays", dtype.name())))
}

/// Torch's type for one of MLX's.
pub(super) fn dtype_in_torch(dtype: MlxDtype) -> Result<Dtype, Problem> {
    let found = DTYPES.iter().find(|(_, mlx)| *mlx == dtype);
    found.map(|(torch, _)| *torch).ok_or_else(|| Problem(format!("MLX's side gives no {dtype:?} tensors")))
}

/// The dtype of that name in `mlx.core`.
pub(super) fn dtype(name: &str) -> Result<mlx_rs::Dtype, Problem> {
    Ok(match name {
        "float32" => mlx_rs::Dtype::Float32,
        "float16" => mlx_rs::Dtype::Float16,
        "bfloat16" => mlx_rs::Dtype::Bfloat16,
        "int32" => mlx_rs::Dtype::Int32,
        "int64" => mlx_rs::Dtype::Int64,
        "int16" => mlx_rs::Dtype::Int16,
        "int8" => mlx_rs::Dtype::Int8,
        "uint8" => mlx_rs::Dtype::Uint8,
        "uint16" => mlx_rs::Dtype::Uint16,
        "uint32" => mlx_rs::Dtype::Uint32,
        "uint64" => mlx_rs::Dtype::Uint64,
        "complex64" => mlx_rs::Dtype::Complex64,
        "bool_" => mlx_rs::Dtype::Bool,
        other => return Err(Problem(format!("mlx.core has no dtype `{other}` that is used here"))),
    })
}
