//! Where the elements of a strided tensor are in its storage. All sizes are in elements, all arithmetic is checked.

use std::ops::Range;

use smallvec::SmallVec;

/// Reading a run of elements by itself takes as long as reading on for so many bytes, more or less.
const RUN_COST: u64 = 1 << 10;

/// Sizes or strides. Checkpoints of a hundred thousand tensors are no rarity, so up to four axes are kept in place.
pub type Sizes = SmallVec<[u64; 4]>;

/// Product of the sizes; `None` where it does not fit 64 bits.
pub fn elements(shape: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size))
}

/// Strides of a row-major tensor without gaps; saturating where they do not fit.
pub fn contiguous_strides(shape: &[u64]) -> Sizes {
    let mut strides = Sizes::from_elem(1, shape.len());
    let mut step = 1u64;
    for (stride, size) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step = step.saturating_mul((*size).max(1));
    }
    strides
}

/// The strides, unless they are [`contiguous_strides`] anyway: as a [`Tensor`](super::Tensor) keeps them.
pub(super) fn odd_strides(shape: &[u64], strides: Sizes) -> Option<Box<Sizes>> {
    (strides != contiguous_strides(shape)).then(|| Box::new(strides))
}

/// A strided view of a storage.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a> {
    /// Sizes.
    pub shape: &'a [u64],
    /// Steps along each axis.
    pub strides: &'a [u64],
    /// First element.
    pub offset: u64,
}

impl Strided<'_> {
    /// The elements of the storage that the view can touch: from the first to one past the last; empty for a tensor
    /// without elements.
    ///
    /// # Errors
    /// In words: shape and strides differ in length, or a number does not fit 64 bits.
    pub fn reach(&self) -> Result<Range<u64>, String> {
        if self.shape.len() != self.strides.len() {
            return Err(format!("has {} sizes but {} strides", self.shape.len(), self.strides.len()));
        }
        let count = elements(self.shape).ok_or("has more elements than 64 bits can count")?;
        if count == 0 {
            return Ok(self.offset..self.offset);
        }
        let mut last = self.offset;
        for (&size, &stride) in self.shape.iter().zip(self.strides) {
            let step = (size - 1).checked_mul(stride).and_then(|step| last.checked_add(step));
            last = step.ok_or("reaches further than 64 bits can count")?;
        }
        let end = last.checked_add(1).ok_or("reaches further than 64 bits can count")?;
        Ok(self.offset..end)
    }

    /// Whether the elements lie row-major without gaps. Axes of size 1 may have any stride.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1u64;
        for (&size, &stride) in self.shape.iter().zip(self.strides).rev() {
            if size != 1 && stride != expected {
                return size == 0 || self.shape.contains(&0);
            }
            expected = expected.saturating_mul(size);
        }
        true
    }

    /// The axes in front of those whose elements lie in one run, row-major without gaps, and how many elements a run has.
    fn runs_below(&self) -> (usize, u64) {
        let mut length = 1u64;
        for (axis, (&size, &stride)) in self.shape.iter().zip(self.strides).enumerate().rev() {
            if size != 1 && stride != length {
                return (axis + 1, length);
            }
            length = length.saturating_mul(size);
        }
        (0, length)
    }

    /// The runs of elements that lie together, in row-major order.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<u64>> {
        let (outer, length) = self.runs_below();
        let (shape, strides) = (self.shape.get(..outer).unwrap_or_default(), self.strides);
        let count = if length == 0 { 0 } else { elements(shape).unwrap_or(0) };
        (0..count).map(move |number| {
            let (mut rest, mut begin) = (number, self.offset);
            for (&size, &stride) in shape.iter().zip(strides).rev() {
                begin = begin.saturating_add((rest % size).saturating_mul(stride));
                rest /= size;
            }
            begin..begin.saturating_add(length)
        })
    }

    /// Whether its runs, of elements of `size` bytes, lie so far apart that each is better read by itself.
    pub(super) fn is_sparse(&self, size: u64) -> bool {
        self.span(size) > self.cost_of_runs()
    }

    fn cost_of_runs(&self) -> u64 {
        let (outer, _) = self.runs_below();
        elements(self.shape.get(..outer).unwrap_or_default()).unwrap_or(u64::MAX).saturating_mul(RUN_COST)
    }

    fn span(&self, size: u64) -> u64 {
        self.reach().map_or(u64::MAX, |reach| (reach.end - reach.start).saturating_mul(size))
    }

    /// What reading it takes, as so many bytes that lie together would: those of its elements, or what lies between them.
    pub(super) fn bytes_to_read(&self, size: u64) -> u64 {
        let own = elements(self.shape).unwrap_or(u64::MAX).saturating_mul(size);
        if self.is_contiguous() { own } else { own.max(self.span(size).min(self.cost_of_runs())) }
    }

    /// Copy the elements into row-major order. `source` holds the bytes of `reach`, an element has `size` bytes, the result
    /// `length`. `None` where the memory cannot be had or the source is too short.
    pub(super) fn gather(&self, source: &[u8], reach: &Range<u64>, size: usize, length: u64) -> Option<Vec<u8>> {
        let length = usize::try_from(length).ok()?;
        let mut gathered = Vec::new();
        gathered.try_reserve_exact(length).ok()?;
        let Some(((&inner, outer), (&step, outer_strides))) = self.shape.split_last().zip(self.strides.split_last())
        else {
            gathered.extend_from_slice(source.get(..size)?);
            return Some(gathered);
        };
        let (inner, step) = (usize::try_from(inner).ok()?, usize::try_from(step).ok()?);
        let mut index = vec![0u64; outer.len()];
        let mut position = usize::try_from(self.offset.checked_sub(reach.start)?).ok()?;
        loop {
            if step == 1 {
                let start = position.checked_mul(size)?;
                gathered.extend_from_slice(source.get(start..start.checked_add(inner.checked_mul(size)?)?)?);
            } else {
                for element in 0..inner {
                    let start = (position + element * step).checked_mul(size)?;
                    gathered.extend_from_slice(source.get(start..start + size)?);
                }
            }
            // Count up like an odometer, the last axis fastest.
            let mut axis = outer.len();
            loop {
                if axis == 0 {
                    return (gathered.len() == length).then_some(gathered);
                }
                axis -= 1;
                let (place, stride) = (index.get_mut(axis)?, usize::try_from(*outer_strides.get(axis)?).ok()?);
                *place += 1;
                if *place < *outer.get(axis)? {
                    position += stride;
                    break;
                }
                position -= stride * usize::try_from(*place - 1).ok()?;
                *place = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn naive(view: &Strided<'_>, source: &[u16]) -> Vec<u8> {
        let count = elements(view.shape).unwrap();
        let mut out = Vec::new();
        for flat in 0..count {
            let (mut rest, mut position) = (flat, view.offset);
            for (size, stride) in view.shape.iter().zip(view.strides).rev() {
                position += rest % size * stride;
                rest /= size;
            }
            out.extend(source[position as usize].to_le_bytes());
        }
        out
    }

    proptest! {
        #[test]
        fn gather_is_what_indexing_gives(axes in prop::collection::vec((1u64..5, 0u64..7), 0..5), offset in 0u64..9) {
            let (shape, strides): (Vec<u64>, Vec<u64>) = axes.into_iter().unzip();
            let view = Strided { shape: &shape, strides: &strides, offset };
            let reach = view.reach().unwrap();
            let storage: Vec<u16> = (0..reach.end as u16).collect();
            let bytes: Vec<u8> = storage.iter().flat_map(|value| value.to_le_bytes()).collect();
            let expected = naive(&view, &storage);
            let span = &bytes[reach.start as usize * 2..];
            prop_assert_eq!(view.gather(span, &reach, 2, expected.len() as u64).unwrap(), expected.clone());
            let runs = view.runs().flat_map(|run| &bytes[run.start as usize * 2..run.end as usize * 2]);
            prop_assert_eq!(runs.copied().collect::<Vec<u8>>(), expected.clone());
            if view.is_contiguous() {
                prop_assert_eq!(&span[..expected.len()], &expected[..]);
            }
        }

        #[test]
        fn reach_never_panics(shape in prop::collection::vec(any::<u64>(), 0..6), strides in prop::collection::vec(any::<u64>(), 0..6), offset in any::<u64>()) {
            let view = Strided { shape: &shape, strides: &strides, offset };
            let _ = (view.reach(), view.is_contiguous(), contiguous_strides(&shape));
        }
    }

    #[test]
    fn elements_far_apart_cost_no_more_than_their_number() {
        let view = |shape: &'static [u64], strides: &'static [u64]| Strided { shape, strides, offset: 0 };
        let column = view(&[1000, 2], &[1_000_000, 1]);
        assert!(column.is_sparse(4) && column.bytes_to_read(4) == 1000 * RUN_COST);
        assert_eq!(column.runs().last(), Some(999_000_000..999_000_002));
        let transposed = view(&[300, 200], &[1, 300]);
        assert!(!transposed.is_sparse(4) && transposed.bytes_to_read(4) == 240_000);
        let slice = view(&[100, 10], &[20, 1]);
        assert!(!slice.is_sparse(4) && slice.bytes_to_read(4) == (99 * 20 + 10) * 4);
        let expanded = view(&[1 << 20, 1 << 20], &[0, 0]);
        assert!(!expanded.is_sparse(4) && expanded.bytes_to_read(4) == 1 << 42);
        assert_eq!(view(&[7, 0], &[9, 9]).runs().count(), 0);
    }

    #[test]
    fn petabytes_and_overflows() {
        let expanded = Strided { shape: &[1 << 25, 1 << 25], strides: &[0, 0], offset: 3 };
        assert_eq!(expanded.reach(), Ok(3..4));
        let overflow = Strided { shape: &[1 << 33, 1 << 33], strides: &[0, 0], offset: 0 };
        assert!(overflow.reach().unwrap_err().contains("64 bits"));
        let empty = Strided { shape: &[u64::MAX, 0, u64::MAX], strides: &[1, 1, 1], offset: 7 };
        assert_eq!(empty.reach(), Ok(7..7));
    }
}
