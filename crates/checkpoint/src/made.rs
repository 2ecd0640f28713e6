//! Tensors that are made of others while they are read: parts of a set joined along an axis, and codes multiplied by their
//! scales. Nothing of them is in memory before it is asked for, and no more than is asked for.

use std::ops::Range;

use half::bf16;

use super::{Dtype, Error, Sizes, Tensor, TensorData, float8};

/// How a tensor is made.
#[derive(Debug, Clone)]
pub(crate) enum Made {
    /// Parts one behind the other along an axis.
    Joined {
        /// The axis.
        axis: usize,
        /// The parts, in their order, each of the same type.
        parts: Vec<Tensor>,
    },
    /// Codes times their scales, in float32, rounded to the type that the tensor says.
    Scaled {
        /// Codes of eight bits.
        codes: Box<Tensor>,
        /// Their scales; `None` where the codes are the numbers themselves.
        scales: Option<Box<Tensor>>,
        /// How many codes share a scale, along each axis.
        block: Sizes,
    },
}

impl Made {
    /// The tensors in files that it is made of.
    pub fn sources(&self) -> Vec<&Tensor> {
        match self {
            Made::Joined { parts, .. } => parts.iter().collect(),
            Made::Scaled { codes, scales, .. } => std::iter::once(&**codes).chain(scales.as_deref()).collect(),
        }
    }

    /// The same in a checkpoint that has so many storages in front.
    pub fn moved(self, storages: u32) -> Made {
        let moved = |tensor: Tensor| Tensor { storage: tensor.storage.map(|storage| storage + storages), ..tensor };
        match self {
            Made::Joined { axis, parts } => Made::Joined { axis, parts: parts.into_iter().map(moved).collect() },
            Made::Scaled { codes, scales, block } => Made::Scaled {
                codes: Box::new(moved(*codes)),
                scales: scales.map(|scales| Box::new(moved(*scales))),
                block,
            },
        }
    }
}

/// Reads a tensor that another is made of.
pub(super) trait Source {
    /// Its shape.
    fn shape(&self) -> &[usize];
    /// All of it.
    fn whole(&mut self) -> Result<TensorData, Error>;
    /// The part with these indices along an axis.
    fn slice(&mut self, axis: usize, range: Range<usize>) -> Result<TensorData, Error>;
}

/// Reads one that is made.
#[derive(Debug)]
pub(super) struct MadeReader<'a, S> {
    made: &'a Made,
    sources: Vec<S>,
    /// All scales, once they were read.
    scales: Option<Vec<f32>>,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl<'a, S: Source> MadeReader<'a, S> {
    /// By readers of what it is made of, in the order of [`Made::sources`].
    pub fn new(made: &'a Made, sources: Vec<S>, dtype: Dtype, shape: &[usize]) -> MadeReader<'a, S> {
        MadeReader { made, sources, scales: None, dtype, shape: shape.to_vec() }
    }

    /// All of it.
    pub fn whole(&mut self) -> Result<TensorData, Error> {
        match self.shape.first() {
            Some(&length) => self.slice(0, 0..length),
            None => self.scalar(),
        }
    }

    /// The part with these indices along an axis, which are there.
    pub fn slice(&mut self, axis: usize, range: Range<usize>) -> Result<TensorData, Error> {
        let mut shape = self.shape.clone();
        if let Some(length) = shape.get_mut(axis) {
            *length = range.len();
        }
        match self.made {
            Made::Joined { axis: along, .. } => {
                let (along, mut end) = (*along, 0);
                let mut parts = Vec::with_capacity(self.sources.len());
                for source in &mut self.sources {
                    let begin = end;
                    end += source.shape().get(along).copied().unwrap_or(0);
                    if axis != along {
                        parts.push(source.slice(axis, range.clone())?);
                        continue;
                    }
                    let inside = range.start.clamp(begin, end) - begin..range.end.clamp(begin, end) - begin;
                    if !inside.is_empty() {
                        parts.push(source.slice(axis, inside)?);
                    }
                }
                Ok(joined(&parts, along, shape, self.dtype))
            }
            Made::Scaled { codes, block, .. } => {
                let codes_dtype = codes.dtype;
                self.read_scales()?;
                let [first, ..] = self.sources.as_mut_slice() else { return self.scalar() };
                let codes = first.slice(axis, range.clone())?;
                let block: Vec<usize> = block.iter().map(|&size| (size as usize).max(1)).collect();
                let grid: Vec<usize> =
                    self.shape.iter().zip(&block).map(|(axis, block)| axis.div_ceil(*block)).collect();
                let begin = (axis, range.start);
                Ok(self.scaled(&codes.bytes, codes_dtype, shape, begin, &block, &grid))
            }
        }
    }

    fn scalar(&mut self) -> Result<TensorData, Error> {
        let Made::Scaled { codes, .. } = self.made else {
            return Ok(TensorData { dtype: self.dtype, shape: Vec::new(), bytes: Vec::new() });
        };
        self.read_scales()?;
        let code = self.sources.first_mut().map(S::whole).transpose()?;
        let bytes = code.map(|code| code.bytes).unwrap_or_default();
        Ok(self.scaled(&bytes, codes.dtype, Vec::new(), (0, 0), &[], &[]))
    }

    fn read_scales(&mut self) -> Result<(), Error> {
        if self.scales.is_none() {
            let read = match self.sources.get_mut(1) {
                Some(source) => source.whole()?,
                None => TensorData::from_f32(&[1], &[1.0]),
            };
            let powers = || read.bytes.iter().filter_map(|&code| float8::value(read.dtype, code)).collect();
            self.scales = Some(read.to_f32().unwrap_or_else(powers));
        }
        Ok(())
    }

    /// Codes of a part of this shape, which begins at an index of an axis, times the scales of their blocks.
    fn scaled(
        &self,
        codes: &[u8],
        from: Dtype,
        shape: Vec<usize>,
        (axis, begin): (usize, usize),
        block: &[usize],
        grid: &[usize],
    ) -> TensorData {
        let scales = self.scales.as_deref().unwrap_or_default();
        let table: Vec<f32> =
            (0..=255u8).map(|code| float8::value(from, code).unwrap_or_else(|| whole_number(from, code))).collect();
        let width = shape.last().copied().unwrap_or(1).max(1);
        let last = shape.len().saturating_sub(1);
        let mut bytes = Vec::with_capacity(codes.len() * self.dtype.size());
        for (row, codes) in codes.chunks(width).enumerate() {
            // Where the row's scales begin: its indices along all axes but the last.
            let (mut rest, mut at, mut step) = (row, 0, grid.last().copied().unwrap_or(1));
            for along in (0..last).rev() {
                let index = rest % shape[along].max(1) + if along == axis { begin } else { 0 };
                rest /= shape[along].max(1);
                at += index / block[along] * step;
                step *= grid[along];
            }
            let first = if axis == last { begin } else { 0 };
            let across = block.last().copied().unwrap_or(1);
            for (column, &code) in codes.iter().enumerate() {
                let scale = scales.get(at + (first + column) / across).copied().unwrap_or(f32::NAN);
                let value = table[usize::from(code)] * scale;
                match self.dtype {
                    Dtype::BFloat16 => bytes.extend_from_slice(&bf16::from_f32(value).to_le_bytes()),
                    _ => bytes.extend_from_slice(&value.to_le_bytes()),
                }
            }
        }
        TensorData { dtype: self.dtype, shape, bytes }
    }
}

fn whole_number(dtype: Dtype, code: u8) -> f32 {
    if dtype == Dtype::Int8 { f32::from(code.cast_signed()) } else { f32::from(code) }
}

/// Parts one behind the other along an axis.
fn joined(parts: &[TensorData], along: usize, shape: Vec<usize>, dtype: Dtype) -> TensorData {
    let outer: usize = shape.iter().take(along).product();
    let mut bytes = Vec::with_capacity(shape.iter().product::<usize>() * dtype.size());
    let lengths: Vec<usize> = parts.iter().map(|part| part.bytes.len().checked_div(outer).unwrap_or(0)).collect();
    for index in 0..outer {
        for (part, length) in parts.iter().zip(&lengths) {
            bytes.extend_from_slice(part.bytes.get(index * length..(index + 1) * length).unwrap_or_default());
        }
    }
    TensorData { dtype, shape, bytes }
}
