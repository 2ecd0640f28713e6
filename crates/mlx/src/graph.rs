//! The values of a graph that is run node by node, and programs on them.

use std::collections::HashMap;
use std::time::Instant;

use mlx_rs::Array;
use mlx_rs::transforms::eval;

use super::tensor::{self, Weights};
use super::{Problem, program};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::graph::{Outcome, Run};
use t2m_engine::program::Program;
use t2m_engine::protocol::TensorHeader;

/// The values of a graph, by the caller's numbers.
#[derive(Default)]
pub(super) struct Held(HashMap<u64, Array>);

impl Held {
    /// Hold an array.
    pub fn hold(&mut self, value: u64, data: &TensorData) -> Result<(), Problem> {
        self.0.insert(value, tensor::from_data(data)?);
        Ok(())
    }

    /// Let one go.
    pub fn release(&mut self, value: u64) {
        self.0.remove(&value);
    }

    /// The values that a run takes, floating-point ones in its type.
    fn taken(&self, run: &Run) -> Result<Vec<Array>, Problem> {
        let dtype = tensor::compute_dtype(run.compute)?;
        let taken = run.takes.iter().map(|value| {
            let array = self.0.get(value).ok_or_else(|| Problem(format!("no value {value} is held")))?;
            tensor::cast(array, dtype)
        });
        taken.collect()
    }

    /// The values themselves, as results.
    pub fn nothing(&mut self, run: &Run) -> Result<Vec<Outcome>, Problem> {
        let taken = self.taken(run)?;
        self.finish(run, taken)
    }

    /// Run a program; its results are given these types.
    pub fn program(
        &mut self,
        program: &Program,
        dtypes: &[Option<Dtype>],
        run: &Run,
    ) -> Result<(Vec<Outcome>, f64), Problem> {
        let weights = Weights::new(&[])?;
        let forward = program::program(program, &weights)?;
        let taken = self.taken(run)?;
        let begun = Instant::now();
        let mut results = forward(&weights, &taken)?;
        for (result, dtype) in results.iter_mut().zip(dtypes) {
            if let Some(dtype) = dtype {
                *result = result.as_dtype(tensor::dtype_of(*dtype)?)?;
            }
        }
        eval(&results)?;
        let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
        Ok((self.finish(run, results)?, milliseconds))
    }

    /// Hold results, and describe them.
    fn finish(&mut self, run: &Run, results: Vec<Array>) -> Result<Vec<Outcome>, Problem> {
        let mut outcomes = Vec::with_capacity(results.len());
        for (at, array) in results.into_iter().enumerate() {
            let data = if run.returns { Some(tensor::to_data(&array)?) } else { None };
            let header = match &data {
                Some(data) => TensorHeader::of("", data),
                None => TensorHeader {
                    name: String::new(),
                    dtype: tensor::dtype_in_torch(array.dtype())?,
                    shape: array.shape().iter().map(|&axis| axis as usize).collect(),
                },
            };
            if let Some(value) = run.gives.get(at) {
                self.0.insert(*value, array);
            }
            outcomes.push(Outcome::Tensor { header, place: None, data });
        }
        Ok(outcomes)
    }
}
