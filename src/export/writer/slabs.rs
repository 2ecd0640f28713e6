//! An entry's bytes piece by piece, in their order: the largest tensor is never held with a copy of itself.

use super::Error;
use crate::export::state_dict::Entry;
use crate::plan::weights::{Fold, Layout};
use t2m_checkpoint::{Checkpoint, TensorData, TensorReader, spare};

/// How large pieces are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Bytes of a piece, unless a single index along its axis has more.
    pub piece: usize,
    /// Tensors of less are moved at once, unless nothing but their name changes.
    pub small: usize,
}

/// What the writer takes.
pub(super) const SIZES: Sizes = Sizes { piece: 256 << 10, small: 2 << 20 };

/// How an entry is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Elements keep their order: any run of them.
    Runs,
    /// Axis 0 of every source is axis 0 of the result, index by index.
    Rows,
    /// The only source is cut along the axis that becomes the first.
    Along(usize),
    /// Not at all.
    Whole,
}

/// Make the tensor of an entry and hand it over in pieces, each flat or with its own length of axis 0.
///
/// # Errors
/// A source cannot be read or does not fit the move, or `take` says so.
pub(super) fn each(
    checkpoint: &Checkpoint,
    entry: &Entry,
    sizes: Sizes,
    mut take: impl FnMut(TensorData) -> Result<(), Error>,
) -> Result<(), Error> {
    let fault = |error| Error::Move { name: entry.name.to_string(), error };
    let readers: Result<Vec<TensorReader<'_>>, _> = entry.from.iter().map(|&id| checkpoint.reader(id)).collect();
    let mut readers = readers.map_err(Error::Read)?;
    let size = entry.dtype.size();
    let steps = |count: usize, bytes: usize| {
        let step = if bytes <= sizes.piece { count } else { (sizes.piece / (bytes / count.max(1)).max(1)).max(1) };
        (0..count).step_by(step.max(1)).map(move |from| from..count.min(from.saturating_add(step)))
    };
    let elements = entry.elements();
    match (cut(entry, &readers, sizes), readers.as_mut_slice()) {
        (Cut::Runs, [reader]) => {
            let first = match entry.step.fold {
                Fold::Part { index, .. } => index * elements,
                _ => 0,
            };
            for run in steps(elements, elements * size) {
                take(reader.run(first + run.start..first + run.end).map_err(Error::Read)?)?;
            }
        }
        (Cut::Rows, readers) => {
            let rows = entry.shape.first().copied().unwrap_or(1);
            for range in steps(rows, elements * size) {
                let parts: Result<Vec<TensorData>, _> =
                    readers.iter_mut().map(|reader| reader.slice(0, range.clone())).collect();
                let parts = parts.map_err(Error::Read)?;
                let made = entry.step.apply(&parts.iter().collect::<Vec<_>>()).map_err(fault)?;
                parts.into_iter().for_each(|part| spare::give_back(part.bytes));
                take(made)?;
            }
        }
        (Cut::Along(axis), [reader]) => {
            let length = reader.shape().get(axis).copied().unwrap_or(1);
            for range in steps(length, elements * size) {
                let part = reader.slice(axis, range).map_err(Error::Read)?;
                let made = entry.step.apply(&[&part]).map_err(fault)?;
                spare::give_back(part.bytes);
                take(made)?;
            }
        }
        (_, readers) => {
            let whole: Result<Vec<TensorData>, _> = readers.iter_mut().map(TensorReader::whole).collect();
            let whole = whole.map_err(Error::Read)?;
            let made = entry.step.apply(&whole.iter().collect::<Vec<_>>()).map_err(fault)?;
            whole.into_iter().for_each(|part| spare::give_back(part.bytes));
            take(made)?;
        }
    }
    Ok(())
}

fn cut(entry: &Entry, readers: &[TensorReader<'_>], sizes: Sizes) -> Cut {
    let (fold, layout) = (&entry.step.fold, &entry.step.rule.layout);
    let keeps_order = matches!(layout, Layout::Keep | Layout::Flatten);
    let contiguous = readers.iter().all(TensorReader::is_contiguous);
    if matches!(fold, Fold::One | Fold::Part { .. }) && keeps_order && contiguous {
        return Cut::Runs;
    }
    if entry.elements().saturating_mul(entry.dtype.size()) <= sizes.small {
        return Cut::Whole;
    }
    let by_index = matches!(
        fold,
        Fold::One | Fold::Sum | Fold::Offset(_) | Fold::Standardised { .. } | Fold::WeightNorm { dim: Some(0) }
    );
    // A slice of axis 0 of what is flattened is as many rows of the source, which the shape does not count any more.
    match layout {
        Layout::Keep if by_index => Cut::Rows,
        Layout::Axes { axes, groups: 1 } if by_index && axes.first() == Some(&0) => Cut::Rows,
        Layout::Axes { axes, groups: 1 } if *fold == Fold::One => {
            axes.first().map_or(Cut::Whole, |&axis| Cut::Along(axis))
        }
        _ => Cut::Whole,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::export::state_dict::Known;
    use crate::plan::{Move, Rule};
    use t2m_checkpoint::{Bytes, Dtype};

    const PIECES: Sizes = Sizes { piece: 4096, small: 8192 };

    /// A checkpoint of safetensors with float32 tensors of these shapes.
    fn checkpoint(shapes: &[Vec<usize>]) -> Checkpoint {
        let data: Vec<Vec<u8>> = shapes
            .iter()
            .map(|shape| {
                (0..shape.iter().product::<usize>()).flat_map(|at| (at as f32 * 0.37).sin().to_le_bytes()).collect()
            })
            .collect();
        let view = |at: usize| {
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shapes[at].clone(), &data[at]).unwrap()
        };
        let tensors: Vec<_> = (0..shapes.len()).map(|at| (format!("t{at}"), view(at))).collect();
        let bytes = safetensors::serialize(tensors, None).unwrap();
        Checkpoint::from_bytes(Path::new("x.safetensors"), Bytes::Owned(bytes)).unwrap()
    }

    fn check(shapes: &[Vec<usize>], step: Move) {
        let checkpoint = checkpoint(shapes);
        let id = |at: usize| checkpoint.tensors.iter().position(|tensor| tensor.name == format!("t{at}")).unwrap();
        let from: Vec<usize> = (0..shapes.len()).map(id).collect();
        let whole: Vec<TensorData> = from.iter().map(|&id| checkpoint.read(id).unwrap()).collect();
        let wanted = step.apply(&whole.iter().collect::<Vec<_>>()).unwrap();
        let sizes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        assert_eq!(step.shape(&sizes).unwrap(), wanted.shape);
        let (shape, dtype) = (wanted.shape.as_slice().into(), Dtype::Float32);
        let (step, from) = (step.into(), from.into());
        let entry = Entry { name: "x".into(), module: 0, step, from, shape, dtype, known: Known::Plan };
        let (mut bytes, mut pieces, mut largest) = (Vec::new(), 0, 0);
        each(&checkpoint, &entry, PIECES, |piece| {
            largest = largest.max(piece.bytes.len());
            bytes.extend_from_slice(&piece.bytes);
            pieces += 1;
            Ok(())
        })
        .unwrap();
        assert!(bytes == wanted.bytes, "{entry:?}");
        let one = bytes.len() / entry.shape[0];
        assert!(entry.shape[0] == 1 || pieces > 1, "{entry:?}");
        assert!(largest <= PIECES.piece.max(one), "{pieces} pieces of up to {largest} bytes: {entry:?}");
    }

    #[test]
    fn pieces_of_large_tensors_are_what_the_move_makes_of_the_whole() {
        let large = vec![120, 10, 3, 3];
        check(std::slice::from_ref(&large), Move::keep("w"));
        check(std::slice::from_ref(&large), Move::part("w", "w", 1, 3));
        check(std::slice::from_ref(&large), Move::keep("w").by(Rule::axes("conv2d", &[0, 2, 3, 1])));
        check(std::slice::from_ref(&large), Move::keep("w").by(Rule::axes("conv_transpose2d", &[1, 2, 3, 0])));
        check(&[vec![120, 1, 1, 1], large.clone()], Move::fold(&["g", "v"], "w", Fold::WeightNorm { dim: Some(0) }));
        check(&[large.clone(), large], Move::fold(&["a", "b"], "w", Fold::Sum));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_order_of_axes(axes in Just(vec![0usize, 1, 2]).prop_shuffle(), rows in 20usize..900) {
            check(&[vec![rows, 30_000 / rows, 1]], Move::keep("w").by(Rule::axes("any", &axes)));
        }
    }
}
