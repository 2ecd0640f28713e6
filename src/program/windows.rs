//! The arithmetic of pooling windows, as torch has it.

/// Windows over axes: sizes, and what the pool is told, one number an axis.
#[derive(Debug)]
pub(super) struct Windows {
    /// Sizes of the axes.
    pub sizes: Vec<i64>,
    /// Sizes of a window.
    pub kernel: Vec<i64>,
    /// From one window to the next.
    pub stride: Vec<i64>,
    /// Around the input, on both sides.
    pub padding: Vec<i64>,
    /// From one element of a window to the next.
    pub dilation: Vec<i64>,
    /// Whether a last window may reach beyond the end.
    pub ceil_mode: bool,
}

impl Windows {
    fn axes(&self) -> impl Iterator<Item = [i64; 5]> {
        (0..self.sizes.len()).filter_map(|axis| {
            let at = |list: &[i64]| list.get(axis).copied();
            Some([at(&self.sizes)?, at(&self.kernel)?, at(&self.stride)?, at(&self.padding)?, at(&self.dilation)?])
        })
    }

    /// How many windows there are along each axis (`pooling_output_shape` of ATen/native/Pool.h). `None` where a number makes
    /// no sense.
    pub fn outputs(&self) -> Option<Vec<i64>> {
        let all: Option<Vec<i64>> = self
            .axes()
            .map(|[size, kernel, stride, padding, dilation]| {
                if stride < 1 || kernel < 1 || dilation < 1 || padding < 0 {
                    return None;
                }
                let span = size + 2 * padding - dilation * (kernel - 1) - 1;
                if span < 0 {
                    return None;
                }
                let mut windows = if self.ceil_mode { (span + stride - 1) / stride } else { span / stride } + 1;
                // The last window begins within the input or the padding before it.
                if self.ceil_mode && (windows - 1) * stride >= size + padding {
                    windows -= 1;
                }
                Some(windows)
            })
            .collect();
        all.filter(|all| all.len() == self.kernel.len() && all.len() == self.sizes.len())
    }

    /// How far to pad each axis on both sides, and what it measures then.
    pub fn pairs(&self, outputs: &[i64]) -> Option<(Vec<[i64; 2]>, Vec<i64>)> {
        let all = self.axes().zip(outputs).map(|([size, kernel, stride, padding, dilation], windows)| {
            let reach = (windows - 1) * stride + dilation * (kernel - 1) + 1;
            let high = (reach - size - padding).max(0);
            ([padding, high], size + padding + high)
        });
        Some(all.unzip())
    }

    /// Shape and strides of all windows as a view of the padded array: leading axes, windows, elements of a window.
    pub fn view(&self, leading: &[usize], padded: &[i64], outputs: &[i64]) -> Option<(Vec<i64>, Vec<i64>)> {
        let mut own: Vec<i64> = vec![1; padded.len()];
        for axis in (0..padded.len().checked_sub(1)?).rev() {
            own[axis] = own[axis + 1] * padded[axis + 1];
        }
        let mut step: i64 = padded.iter().product();
        let mut before = vec![0; leading.len()];
        for (at, size) in leading.iter().enumerate().rev() {
            before[at] = step;
            step *= *size as i64;
        }
        let shape =
            leading.iter().map(|&size| size as i64).chain(outputs.iter().copied()).chain(self.kernel.iter().copied());
        let strides = before
            .into_iter()
            .chain(own.iter().zip(&self.stride).map(|(own, stride)| own * stride))
            .chain(own.iter().zip(&self.dilation).map(|(own, dilation)| own * dilation));
        Some((shape.collect(), strides.collect()))
    }

    /// What the sum of each window is divided by.
    pub fn counts(&self, outputs: &[i64], with_padding: bool, divisor: Option<i64>) -> Vec<f64> {
        let mut counts = vec![1.0];
        for ([size, kernel, stride, padding, _], &windows) in self.axes().zip(outputs) {
            let own: Vec<f64> = (0..windows)
                .map(|window| {
                    let start = window * stride - padding;
                    let stop = (start + kernel).min(size + padding);
                    let count = if with_padding { stop - start } else { stop.min(size) - start.max(0) };
                    count as f64
                })
                .collect();
            counts = counts.iter().flat_map(|count| own.iter().map(move |own| count * own)).collect();
        }
        match divisor {
            Some(divisor) => vec![divisor as f64; counts.len()],
            None => counts,
        }
    }
}

/// The number that all are, if they are the same.
pub(super) fn uniform(counts: &[f64]) -> Option<f64> {
    let first = *counts.first()?;
    counts.iter().all(|count| *count == first).then_some(first)
}
