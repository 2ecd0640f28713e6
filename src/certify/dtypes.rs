//! Certifying the dtype table: casts of edge cases, in both engines.

use super::ops::job;
use crate::registry::{DtypeRow, Registry};
use crate::verify::Job;

/// A row of the dtype table that can be run.
#[derive(Debug, Clone)]
pub struct DtypeSample {
    /// torch's name.
    pub torch: String,
    /// The cast in both, which has to agree to the bit.
    pub job: Job,
    /// The cast that a run has to catch.
    pub naive: Option<Job>,
}

/// The casts of all rows that have one, in file order.
///
/// # Errors
/// The first example that cannot be understood.
pub fn dtypes(registry: &Registry) -> Result<Vec<DtypeSample>, String> {
    let rows = registry.dtypes.iter().filter_map(|row| {
        let (torch, mlx) = row.torch_example.as_deref().zip(row.mlx_example.as_deref())?;
        Some(sample(row, torch, mlx).map_err(|reason| format!("the row of {}: {reason}", row.torch)))
    });
    rows.collect()
}

fn sample(row: &DtypeRow, torch: &str, mlx: &str) -> Result<DtypeSample, String> {
    let exact = |mlx: &str| job(&row.inputs, torch, mlx, Some("copy"));
    let naive = row.naive_example.as_deref().map(exact).transpose()?;
    Ok(DtypeSample { torch: row.torch.clone(), job: exact(mlx)?, naive })
}
