//! What the numbers of a tensor are like: smallest, largest, mean, spread, zeros, what is no number, and a histogram, in one pass
//! over its bytes. A piece of the tensor is in memory at a time, whatever its size.

mod histogram;
mod numbers;

use std::ops::Range;

use t2m_checkpoint::{Checkpoint, Dtype, Error as ReadError, TensorId, TensorReader, spare};

pub use histogram::Histogram;

/// Bytes of a piece, unless a single index along the axis that is cut has more.
const PIECE: usize = 1 << 20;
/// Numbers whose sums are taken together, so that few are added to a sum that is much larger.
const BLOCK: usize = 4096;

/// What is said of a tensor's numbers. A complex element is two numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Statistics {
    /// How many numbers there are.
    pub count: u64,
    /// Not a number.
    pub nan: u64,
    /// Plus infinity.
    pub infinite: u64,
    /// Minus infinity.
    pub minus_infinite: u64,
    /// Zero, of either sign.
    pub zeros: u64,
    /// Smallest and largest of those that are finite; `None` where none is.
    pub range: Option<(f64, f64)>,
    /// Mean of those that are finite; 0 where none is.
    mean: f64,
    /// Sum of their squared distances from the mean.
    squares: f64,
    /// How many of those that are finite lie where.
    pub histogram: Histogram,
}

impl Statistics {
    /// Of numbers at hand.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Statistics {
        let mut all = Statistics::default();
        let mut block = Vec::with_capacity(BLOCK);
        for number in numbers {
            block.push(number);
            if block.len() == BLOCK {
                all.add(&block);
                block.clear();
            }
        }
        all.add(&block);
        all
    }

    /// How many are finite.
    pub fn finite(&self) -> u64 {
        self.count - self.nan - self.infinite - self.minus_infinite
    }

    /// Mean of those that are finite; `None` where none is.
    pub fn mean(&self) -> Option<f64> {
        (self.finite() > 0).then_some(self.mean)
    }

    /// Standard deviation of those that are finite, of the whole and not of a sample (divided by their number); `None` where none is.
    pub fn deviation(&self) -> Option<f64> {
        let finite = self.finite();
        (finite > 0).then(|| (self.squares / finite as f64).sqrt())
    }

    /// Share of the zeros, 0 to 1; `None` of no numbers.
    pub fn zero_share(&self) -> Option<f64> {
        (self.count > 0).then(|| self.zeros as f64 / self.count as f64)
    }

    /// Take more numbers in.
    fn add(&mut self, numbers: &[f64]) {
        for block in numbers.chunks(BLOCK) {
            self.add_block(block);
        }
    }

    /// A block's own mean and squares are joined with those so far by the parallel formula of Chan and others.
    fn add_block(&mut self, block: &[f64]) {
        let before = self.finite() as f64;
        let (mut sum, mut finite) = (0.0, 0u64);
        self.count += block.len() as u64;
        for &number in block {
            if !number.is_finite() {
                let kind = match number {
                    _ if number.is_nan() => &mut self.nan,
                    f64::INFINITY => &mut self.infinite,
                    _ => &mut self.minus_infinite,
                };
                *kind += 1;
                continue;
            }
            finite += 1;
            sum += number;
            self.zeros += u64::from(number == 0.0);
            let (least, most) = self.range.unwrap_or((number, number));
            self.range = Some((least.min(number), most.max(number)));
            self.histogram.add(number);
        }
        if finite == 0 {
            return;
        }
        let own = finite as f64;
        let mean = sum / own;
        let apart = |number: &f64| (number - mean) * (number - mean);
        let squares: f64 = block.iter().filter(|number| number.is_finite()).map(apart).sum();
        let between = mean - self.mean;
        let all = before + own;
        self.squares += squares + between * between * (before * own / all);
        self.mean += between * (own / all);
    }
}

/// Why there are no statistics.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The type has no numbers that can be read.
    #[error("its type, {}, has no numbers that can be read", .0.name())]
    NoNumbers(Dtype),
    /// There is no such tensor.
    #[error("the checkpoint has no such tensor")]
    Missing,
}

/// The statistics of one tensor. `go_on` is asked before each piece, with the share that is done, 0 to 1; `None` where it says no.
///
/// # Errors
/// The bytes cannot be read, or are no numbers.
pub fn of_tensor(
    checkpoint: &Checkpoint,
    id: TensorId,
    mut go_on: impl FnMut(f64) -> bool,
) -> Result<Option<Statistics>, Error> {
    let tensor = checkpoint.tensors.get(id).ok_or(Error::Missing)?;
    if !numbers::are_read(tensor.dtype) {
        return Err(Error::NoNumbers(tensor.dtype));
    }
    let mut reader = checkpoint.reader(id)?;
    let cut = Cut::of(&reader, &tensor.strides());
    let (length, bytes) = cut.length(&reader, tensor.dtype.size());
    let step = (PIECE / bytes.max(1)).max(1);
    let (mut all, mut values) = (Statistics::default(), Vec::new());
    for from in (0..length).step_by(step) {
        if !go_on(from as f64 / length as f64) {
            return Ok(None);
        }
        let piece = cut.read(&mut reader, from..length.min(from.saturating_add(step)))?;
        for part in piece.bytes.chunks(BLOCK * piece.dtype.size()) {
            values.clear();
            numbers::read(piece.dtype, part, &mut values);
            all.add(&values);
        }
        spare::give_back(piece.bytes);
    }
    Ok(Some(all))
}

/// How a tensor is cut into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Elements lie in order: any run of them.
    Runs,
    /// Along the axis whose step is the longest: a piece of it touches least of the file.
    Along(usize),
    /// A single element.
    Whole,
}

impl Cut {
    fn of(reader: &TensorReader<'_>, strides: &[u64]) -> Cut {
        if reader.is_contiguous() {
            return Cut::Runs;
        }
        let axes = 0..reader.shape().len();
        // Of equal steps the first axis.
        let longest = axes.rev().max_by_key(|&axis| strides.get(axis).copied().unwrap_or(0));
        longest.map_or(Cut::Whole, Cut::Along)
    }

    /// How many indices there are to cut between, and the bytes of one.
    fn length(self, reader: &TensorReader<'_>, size: usize) -> (usize, usize) {
        let elements: usize = reader.shape().iter().product();
        match self {
            Cut::Runs => (elements, size),
            Cut::Whole => (1, size),
            Cut::Along(axis) => {
                let length = reader.shape().get(axis).copied().unwrap_or(0);
                (if elements == 0 { 0 } else { length }, elements / length.max(1) * size)
            }
        }
    }

    fn read(self, reader: &mut TensorReader<'_>, range: Range<usize>) -> Result<t2m_checkpoint::TensorData, ReadError> {
        match self {
            Cut::Runs => reader.run(range),
            Cut::Along(axis) => reader.slice(axis, range),
            Cut::Whole => reader.whole(),
        }
    }
}

#[cfg(test)]
mod tests;
