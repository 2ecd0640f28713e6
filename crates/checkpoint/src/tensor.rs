//! Tensors: their description in a file, and their bytes once read.

use compact_str::CompactString;

use super::strided::{self, Sizes};

/// Index of a tensor in [`Checkpoint::tensors`](super::Checkpoint::tensors).
pub type TensorId = usize;

/// A tensor as the file describes it. Its bytes stay on disk.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// Full name (`layer1.0.conv1.weight`).
    pub name: CompactString,
    /// Element type.
    pub dtype: Dtype,
    /// Logical shape.
    pub shape: Sizes,
    /// Step between elements along each axis, in elements; `None` where they lie one behind the other, row by row.
    pub strides: Option<Box<Sizes>>,
    /// First element, in elements from the storage's beginning.
    pub offset: u64,
    /// Index in [`Checkpoint::storages`](super::Checkpoint::storages); `None` where the file holds no bytes for it.
    pub storage: Option<u32>,
    /// Whether autograd would have tracked it.
    pub requires_grad: bool,
    /// The first tensor with the same storage, offset, shape, strides and dtype (tied weights), if that is another one.
    pub shared_with: Option<TensorId>,
    /// Why its bytes cannot be read, in a sentence.
    pub problem: Option<Box<str>>,
}

/// A run of bytes in a file that tensors view.
#[derive(Debug, Clone)]
pub struct Storage {
    /// Index in the checkpoint's list of files.
    pub file: u32,
    /// First byte. For a zip record this is the local header's offset until the record is read.
    pub offset: StorageOffset,
    /// Length in bytes.
    pub bytes: u64,
    /// Whether elements are stored most significant byte first.
    pub big_endian: bool,
}

/// Where a storage begins. A zip record's data begins after its local header, which is read when the bytes are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageOffset {
    /// The first data byte.
    Data(u64),
    /// A zip local header in front of the data.
    ZipLocalHeader(u64),
    /// A `torch.save` archive of its own, which holds one tensor and nothing else.
    Archive(u64),
    /// Nowhere by itself: it is made of other tensors as it is read. Which, by its number in the checkpoint.
    Made(u32),
}

/// Element types, with the names PyTorch gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Dtype {
    Float64,
    Float32,
    Float16,
    #[serde(rename = "bfloat16")]
    BFloat16,
    Int64,
    Int32,
    Int16,
    Int8,
    #[serde(rename = "uint64")]
    UInt64,
    #[serde(rename = "uint32")]
    UInt32,
    #[serde(rename = "uint16")]
    UInt16,
    #[serde(rename = "uint8")]
    UInt8,
    Bool,
    Complex32,
    Complex64,
    Complex128,
    #[serde(rename = "float8_e4m3fn")]
    Float8E4M3FN,
    #[serde(rename = "float8_e5m2")]
    Float8E5M2,
    #[serde(rename = "float8_e4m3fnuz")]
    Float8E4M3FNUZ,
    #[serde(rename = "float8_e5m2fnuz")]
    Float8E5M2FNUZ,
    #[serde(rename = "float8_e8m0fnu")]
    Float8E8M0FNU,
    QInt8,
    QUInt8,
    QInt32,
    /// A type that is not read; the tensor's problem names it.
    Unknown,
}

/// The problem of a lazy module's tensor.
pub(super) const UNINITIALISED: &str = "was never initialised (a lazy module): it has no shape";

impl Tensor {
    /// Whether it belongs to a lazy module that never ran: its shape is not known.
    pub fn is_uninitialised(&self) -> bool {
        self.problem.as_deref() == Some(UNINITIALISED)
    }
}

impl Dtype {
    /// PyTorch's name without `torch.`.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Float64 => "float64",
            Dtype::Float32 => "float32",
            Dtype::Float16 => "float16",
            Dtype::BFloat16 => "bfloat16",
            Dtype::Int64 => "int64",
            Dtype::Int32 => "int32",
            Dtype::Int16 => "int16",
            Dtype::Int8 => "int8",
            Dtype::UInt64 => "uint64",
            Dtype::UInt32 => "uint32",
            Dtype::UInt16 => "uint16",
            Dtype::UInt8 => "uint8",
            Dtype::Bool => "bool",
            Dtype::Complex32 => "complex32",
            Dtype::Complex64 => "complex64",
            Dtype::Complex128 => "complex128",
            Dtype::Float8E4M3FN => "float8_e4m3fn",
            Dtype::Float8E5M2 => "float8_e5m2",
            Dtype::Float8E4M3FNUZ => "float8_e4m3fnuz",
            Dtype::Float8E5M2FNUZ => "float8_e5m2fnuz",
            Dtype::Float8E8M0FNU => "float8_e8m0fnu",
            Dtype::QInt8 => "qint8",
            Dtype::QUInt8 => "quint8",
            Dtype::QInt32 => "qint32",
            Dtype::Unknown => "unknown",
        }
    }

    /// The type of that name, with or without `torch.`; other names of the same type (`half`, `float`, `long`) as well.
    pub fn from_name(name: &str) -> Option<Dtype> {
        let name = name.strip_prefix("torch.").unwrap_or(name);
        Some(match name {
            "double" => Dtype::Float64,
            "float" => Dtype::Float32,
            "half" => Dtype::Float16,
            "long" => Dtype::Int64,
            "int" => Dtype::Int32,
            "short" => Dtype::Int16,
            "chalf" => Dtype::Complex32,
            "cfloat" => Dtype::Complex64,
            "cdouble" => Dtype::Complex128,
            _ => *ALL.iter().find(|dtype| dtype.name() == name)?,
        })
    }

    /// Whether layers compute with it: real numbers with a fraction that need no scale.
    pub fn is_real(self) -> bool {
        matches!(self, Dtype::Float64 | Dtype::Float32 | Dtype::Float16 | Dtype::BFloat16)
    }

    /// Whether elements are real or complex numbers with a fraction.
    pub fn is_floating(self) -> bool {
        self.name().contains("float") || self.name().contains("complex")
    }

    /// Bytes of the numbers that a byte order applies to: a complex element is two of them.
    pub(super) fn part_size(self) -> usize {
        match self {
            Dtype::Complex32 | Dtype::Complex64 | Dtype::Complex128 => self.size() / 2,
            _ => self.size(),
        }
    }

    /// Bytes of one element; 1 for an unknown type.
    pub fn size(self) -> usize {
        match self {
            Dtype::Complex128 => 16,
            Dtype::Float64 | Dtype::Int64 | Dtype::UInt64 | Dtype::Complex64 => 8,
            Dtype::Float32 | Dtype::Int32 | Dtype::UInt32 | Dtype::Complex32 | Dtype::QInt32 => 4,
            Dtype::Float16 | Dtype::BFloat16 | Dtype::Int16 | Dtype::UInt16 => 2,
            _ => 1,
        }
    }
}

/// Every type with a name of its own.
const ALL: [Dtype; 24] = [
    Dtype::Float64,
    Dtype::Float32,
    Dtype::Float16,
    Dtype::BFloat16,
    Dtype::Int64,
    Dtype::Int32,
    Dtype::Int16,
    Dtype::Int8,
    Dtype::UInt64,
    Dtype::UInt32,
    Dtype::UInt16,
    Dtype::UInt8,
    Dtype::Bool,
    Dtype::Complex32,
    Dtype::Complex64,
    Dtype::Complex128,
    Dtype::Float8E4M3FN,
    Dtype::Float8E5M2,
    Dtype::Float8E4M3FNUZ,
    Dtype::Float8E5M2FNUZ,
    Dtype::Float8E8M0FNU,
    Dtype::QInt8,
    Dtype::QUInt8,
    Dtype::QInt32,
];

/// A tensor's bytes: row-major, contiguous, little-endian.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorData {
    /// Element type.
    pub dtype: Dtype,
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// `shape.product() * dtype.size()` bytes.
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// Step between elements along each axis, in elements.
    pub fn strides(&self) -> Sizes {
        self.strides.as_deref().cloned().unwrap_or_else(|| strided::contiguous_strides(&self.shape))
    }

    /// Number of elements; the largest number where it does not fit.
    pub fn elements(&self) -> u64 {
        strided::elements(&self.shape).unwrap_or(u64::MAX)
    }
}
