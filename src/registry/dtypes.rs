//! Rows of `dtypes.toml`.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use super::{Error, parse_toml};
use t2m_checkpoint::Dtype;

/// What one of torch's dtypes becomes in MLX.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DtypeRow {
    /// torch's name without `torch.`.
    pub torch: String,
    /// The dtype of `mlx.core` that takes its numbers; `none` if there is none.
    pub mlx: String,
    /// Whether MLX's is the same dtype.
    pub same: bool,
    /// What is lost in the conversion, or that nothing is.
    pub lost: String,
    /// Inputs of the examples by name, as for ops.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// The cast in torch.
    pub torch_example: Option<String>,
    /// The cast in MLX.
    pub mlx_example: Option<String>,
    /// The cast in MLX that one would write without knowing what is lost; a run has to catch it.
    pub naive_example: Option<String>,
    /// Why there is no example.
    pub unmeasured: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    dtype: Vec<DtypeRow>,
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<DtypeRow>, Error> {
    let rows = parse_toml::<File>(path, text)?.dtype;
    let mut seen = HashSet::new();
    for row in &rows {
        let fault =
            |message: &str| Error::Row { path: path.to_owned(), row: row.torch.clone(), message: message.to_owned() };
        if Dtype::from_name(&row.torch).is_none_or(|dtype| dtype.name() != row.torch) {
            return Err(fault("torch has no dtype of that name"));
        }
        if !seen.insert(row.torch.as_str()) {
            return Err(fault("there are two rows of it; keep one"));
        }
        if row.torch_example.is_some() != row.mlx_example.is_some() {
            return Err(fault("torch_example and mlx_example go together"));
        }
        if row.naive_example.is_some() && row.torch_example.is_none() {
            return Err(fault("naive_example needs a torch_example to be held against"));
        }
        if row.torch_example.is_some() == row.unmeasured.is_some() {
            return Err(fault("there have to be examples, or `unmeasured` with the reason"));
        }
        if row.same && row.mlx != row.torch && (row.torch.as_str(), row.mlx.as_str()) != ("bool", "bool_") {
            return Err(fault("the same dtype has the same name"));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::Registry;
    use super::*;

    #[test]
    fn every_dtype_that_a_file_may_hold_has_a_row() {
        let rows = Registry::load(&[]).unwrap().dtypes;
        for name in [
            "float64",
            "float32",
            "float16",
            "bfloat16",
            "int64",
            "int32",
            "int16",
            "int8",
            "uint64",
            "uint32",
            "uint16",
            "uint8",
            "bool",
            "complex32",
            "complex64",
            "complex128",
            "float8_e4m3fn",
            "float8_e5m2",
            "float8_e4m3fnuz",
            "float8_e5m2fnuz",
            "float8_e8m0fnu",
            "qint8",
            "quint8",
            "qint32",
        ] {
            assert!(rows.iter().any(|row| row.torch == name), "{name}");
        }
        assert!(rows.iter().all(|row| !row.lost.is_empty()));
    }

    #[test]
    fn faults_name_the_row() {
        let message = |text: &str| parse(Path::new("mine.toml"), text).unwrap_err().to_string();
        let row =
            "[[dtype]]\ntorch = \"float99\"\nmlx = \"none\"\nsame = false\nlost = \"All.\"\nunmeasured = \"No.\"\n";
        assert!(message(row).contains("float99"));
        let known = row.replace("float99", "int8");
        assert!(message(&known.repeat(2)).contains("two rows"));
        assert!(message(&known.replace("unmeasured", "torch_example")).contains("go together"));
        assert!(message(&known.replace("same = false", "same = true")).contains("same name"));
    }
}
