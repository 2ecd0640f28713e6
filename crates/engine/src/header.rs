//! A tensor as the header of a frame describes it.

use std::io;

use serde::{Deserialize, Serialize};

use t2m_checkpoint::{Dtype, TensorData};

/// A tensor's description; its bytes follow in the payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorHeader {
    /// Parameter name, or empty for inputs and outputs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
}

impl TensorHeader {
    /// Describe a tensor.
    pub fn of(name: &str, tensor: &TensorData) -> TensorHeader {
        TensorHeader { name: name.to_owned(), dtype: tensor.dtype, shape: tensor.shape.clone() }
    }

    /// Bytes of the tensor; `None` where no memory could hold them.
    pub(crate) fn length(&self) -> Option<usize> {
        let elements = self.shape.iter().try_fold(1usize, |product, &axis| product.checked_mul(axis))?;
        elements.checked_mul(self.dtype.size())
    }
}

/// The length of a payload that holds exactly these tensors.
///
/// # Errors
/// The lengths differ, or no memory could hold them.
pub fn payload_length(headers: &[TensorHeader], payload: u64) -> io::Result<usize> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "a frame's payload is not as long as its header says");
    let sum = headers.iter().try_fold(0usize, |sum, header| sum.checked_add(header.length()?)).ok_or_else(bad)?;
    if sum as u64 == payload { Ok(sum) } else { Err(bad()) }
}
