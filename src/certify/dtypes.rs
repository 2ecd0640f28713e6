//! Certifying the dtype table: casts of numbers at the edges, in both engines.

use super::ops::job;
use crate::registry::Registry;
use crate::verify::Job;

/// A row of the dtype table that can be run.
#[derive(Debug, Clone)]
pub struct DtypeSample {
    /// torch's name.
    pub torch: String,
    /// The cast in both.
    pub job: Job,
}

/// The casts of all rows that have one, in file order.
///
/// # Errors
/// The first example that cannot be understood.
pub fn dtypes(registry: &Registry) -> Result<Vec<DtypeSample>, String> {
    let rows = registry.dtypes.iter().filter_map(|row| {
        let (torch, mlx) = row.torch_example.as_ref().zip(row.mlx_example.as_ref())?;
        let job = job(&row.inputs, torch, mlx, Some("copy"));
        let fault = |reason| format!("the row of {}: {reason}", row.torch);
        Some(job.map(|job| DtypeSample { torch: row.torch.clone(), job }).map_err(fault))
    });
    rows.collect()
}
