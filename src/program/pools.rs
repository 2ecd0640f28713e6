//! Functions of rows that pool, resize and sample along axes: steps by the shapes of their arguments.

use serde_json::{Value, json};

use super::resize;
use super::windows::{self, Windows};
use super::{Argument, Lower};
use t2m_engine::program::Operand;

/// Most places that a table of an adaptive pool has.
const MOST_PLACES: usize = 1 << 20;

impl Lower<'_> {
    /// Pooling over windows: `windows(x, first axis, kernel, stride, padding, dilation, ceil_mode, mode,
    /// count_include_pad, divisor)`. The mode is `max`, `mean`, `argmax` for the largest and where it is among the input's
    /// places, or `view` for the elements themselves.
    pub(super) fn windows(&mut self, x: &Argument, rest: &[Argument]) -> Option<Argument> {
        let plain: Option<Vec<Value>> = rest
            .iter()
            .map(|argument| if let Argument::Plain(value) = argument { Some(value.clone()) } else { None })
            .collect();
        let plain = plain?;
        let list = |at: usize| serde_json::from_value::<Vec<i64>>(plain.get(at)?.clone()).ok();
        let first = usize::try_from(plain.first()?.as_u64()?).ok()?;
        let shape = self.shape_of(x)?;
        let sizes: Vec<i64> = shape.get(first..)?.iter().map(|&size| size as i64).collect();
        let windows = Windows {
            sizes,
            kernel: list(1)?,
            stride: list(2)?,
            padding: list(3)?,
            dilation: list(4)?,
            ceil_mode: plain.get(5)?.as_bool()?,
        };
        let mode = plain.get(6)?.as_str()?;
        let outputs = windows.outputs()?;
        let Argument::Array(x) = x else { return None };
        let leading = shape.get(..first)?;
        let (pairs, padded_sizes) = windows.pairs(&outputs)?;
        if leading.contains(&0) {
            let behind: &[i64] = if mode == "view" { &windows.kernel } else { &[] };
            let before = leading.iter().map(|&size| size as i64);
            let shape: Vec<i64> = before.chain(outputs.iter().copied()).chain(behind.iter().copied()).collect();
            let mut empty = |dtype: &str| self.called("mx.zeros", vec![], json!({"shape": shape, "dtype": dtype}));
            return Some(Argument::Array(match mode {
                "argmax" => Operand::List(vec![empty("float32"), empty("int32")]),
                _ => empty("float32"),
            }));
        }
        let mut padded = x.clone();
        if pairs.iter().flatten().any(|width| *width > 0) {
            let all: Vec<[i64; 2]> = leading.iter().map(|_| [0, 0]).chain(pairs).collect();
            let value: Value = if mode.ends_with("max") { "-mx.inf".into() } else { 0.into() };
            padded = self.called("mx.pad", vec![padded], json!({"pad_width": all, "constant_values": value}));
        }
        let (view, strides) = windows.view(leading, &padded_sizes, &outputs)?;
        padded = self.called("mx.contiguous", vec![padded], json!({}));
        let strided = self.called("mx.as_strided", vec![padded], json!({"shape": view, "strides": strides}));
        let axes: Vec<i64> = (-(windows.kernel.len() as i64)..0).collect();
        match mode {
            "view" => return Some(Argument::Array(strided)),
            "max" => return Some(Argument::Array(self.called("mx.max", vec![strided], json!({"axis": axes})))),
            "argmax" => {
                let elements: i64 = windows.kernel.iter().product();
                let flat: Vec<i64> =
                    view.iter().copied().take(leading.len() + outputs.len()).chain([elements]).collect();
                let flattened = self.called("mx.reshape", vec![strided], json!({"shape": flat}));
                let places = self.places(&windows, &outputs, &flat)?;
                return Some(self.picked(flattened, places));
            }
            _ => {}
        }
        let counts = windows.counts(&outputs, plain.get(7)?.as_bool()?, plain.get(8)?.as_i64());
        let sum = self.called("mx.sum", vec![strided], json!({"axis": axes}));
        let divisor = match windows::uniform(&counts) {
            Some(count) => Operand::Number(count),
            None => {
                let flat = Operand::numbers(counts);
                self.called("mx.reshape", vec![flat], json!({"shape": outputs}))
            }
        };
        Some(Argument::Array(self.called("mx.divide", vec![sum, divisor], json!({}))))
    }

    /// The mean over as many parts of each axis as asked for, as adaptive pools have them.
    pub(super) fn averaged(&mut self, x: &Argument, first: &Value, sizes: &Value) -> Option<Argument> {
        let shape = self.shape_of(x)?;
        let first = usize::try_from(first.as_u64()?).ok()?;
        let sizes: Vec<usize> = serde_json::from_value(sizes.clone()).ok()?;
        let Argument::Array(x) = x else { return None };
        let mut averaged = x.clone();
        let lengths = shape.get(first..)?;
        if sizes.iter().all(|size| *size == 1) {
            let axes: Vec<usize> = (first..shape.len()).collect();
            return Some(Argument::Array(self.called(
                "mx.mean",
                vec![averaged],
                json!({"axis": axes, "keepdims": true}),
            )));
        }
        for (axis, (&length, &size)) in (first..).zip(lengths.iter().zip(&sizes)) {
            if size == length {
                continue;
            }
            let mut parts = Vec::with_capacity(size);
            for at in 0..size {
                let (start, stop) = (at * length / size, ((at + 1) * length).div_ceil(size));
                let plain = [axis, start, stop, 1].map(|number| Argument::Plain(number.into()));
                let Argument::Array(part) = self.cut(&averaged, &plain)? else { return None };
                parts.push(self.called("mx.mean", vec![part], json!({"axis": axis, "keepdims": true})));
            }
            averaged = self.called("mx.concatenate", vec![Operand::List(parts)], json!({"axis": axis}));
        }
        Some(Argument::Array(averaged))
    }

    /// `resized(x, output_size, scale_factors, mode, align_corners)` over the axes behind the channels.
    pub(super) fn resized(&mut self, x: &Argument, rest: &[Argument]) -> Option<Argument> {
        let plain: Option<Vec<Value>> = rest
            .iter()
            .map(|argument| if let Argument::Plain(value) = argument { Some(value.clone()) } else { None })
            .collect();
        let plain = plain?;
        let shape = self.shape_of(x)?;
        let [size, factors, mode, align] = plain.as_slice() else { return None };
        let (mode, align) = (resize::Mode::named(mode.as_str()?)?, align.as_bool()?);
        let Argument::Array(x) = x else { return None };
        let mut resized = x.clone();
        for (at, &length) in shape.get(2..)?.iter().enumerate() {
            let factor = factors.get(at).and_then(Value::as_f64);
            let wanted = match size.get(at).and_then(Value::as_u64) {
                Some(wanted) => usize::try_from(wanted).ok()?,
                None => (length as f64 * factor?).floor() as usize,
            };
            let axis = at + 2;
            let scale = resize::Scale { length, wanted, factor, align };
            match mode {
                resize::Mode::Nearest | resize::Mode::NearestExact => {
                    let shift = if mode == resize::Mode::Nearest { 0.0 } else { 0.5 };
                    let sources = Operand::indices(scale.nearest(shift));
                    resized = self.called("mx.take", vec![resized, sources], json!({"axis": axis}));
                }
                mode => {
                    let flat = Operand::numbers(scale.weights(mode)?);
                    let matrix = self.called("mx.reshape", vec![flat], json!({"shape": [wanted, length]}));
                    let turned = self.called("mx.transpose", vec![matrix], json!({}));
                    let moved = self.called("mx.moveaxis", vec![resized], json!({"source": axis, "destination": -1}));
                    let product = self.called("mx.matmul", vec![moved, turned], json!({}));
                    resized = self.called("mx.moveaxis", vec![product], json!({"source": -1, "destination": axis}));
                }
            }
        }
        Some(Argument::Array(resized))
    }

    /// For each window the places of its elements, in the shape that the windows have.
    fn places(&mut self, windows: &Windows, outputs: &[i64], flat: &[i64]) -> Option<Operand> {
        let (pairs, sizes) = windows.pairs(outputs)?;
        let Argument::Array(mut numbers) = self.numbered(&json!(windows.sizes))? else { return None };
        if pairs.iter().flatten().any(|width| *width > 0) {
            numbers = self.called("mx.pad", vec![numbers], json!({"pad_width": pairs}));
        }
        let numbers = self.called("mx.contiguous", vec![numbers], json!({}));
        let (view, strides) = windows.view(&[], &sizes, outputs)?;
        let strided = self.called("mx.as_strided", vec![numbers], json!({"shape": view, "strides": strides}));
        let own = flat.get(flat.len() - outputs.len() - 1..)?;
        let shaped = self.called("mx.reshape", vec![strided], json!({"shape": own}));
        Some(self.called("mx.broadcast_to", vec![shaped], json!({"shape": flat})))
    }

    /// The largest element along the last axis, and what stands for it in `places`.
    fn picked(&mut self, values: Operand, places: Operand) -> Argument {
        let args = json!({"axis": -1, "keepdims": true});
        let at = self.called("mx.argmax", vec![values.clone()], args);
        let mut taken = |from: Operand| {
            let one = self.called("mx.take_along_axis", vec![from, at.clone()], json!({"axis": -1}));
            self.called("mx.squeeze", vec![one], json!({"axis": -1}))
        };
        let both = vec![taken(values), taken(places)];
        Argument::Array(Operand::List(both))
    }

    /// The largest element of as many parts of each axis as asked for, and its place, as adaptive pools have them.
    pub(super) fn largest(&mut self, x: &Argument, first: &Value, sizes: &Value) -> Option<Argument> {
        let shape = self.shape_of(x)?;
        let first = usize::try_from(first.as_u64()?).ok()?;
        let sizes: Vec<usize> = serde_json::from_value(sizes.clone()).ok()?;
        let (leading, lengths) = (shape.get(..first)?, shape.get(first..)?);
        let mut cells: Vec<Vec<usize>> = vec![vec![0]];
        for (&length, &size) in lengths.iter().zip(&sizes) {
            let part = |at: usize| (at * length / size)..((at + 1) * length).div_ceil(size);
            let next = cells.iter().flat_map(|cell| {
                (0..size).map(move |at| {
                    cell.iter().flat_map(|&base| part(at).map(move |place| base * length + place)).collect()
                })
            });
            cells = next.collect();
        }
        let wide = cells.iter().map(Vec::len).max().filter(|wide| wide * cells.len() <= MOST_PLACES)?;
        // A part with fewer elements has its first again, which changes neither the largest nor where it comes first.
        let table = cells.iter().flat_map(|cell| {
            let head = cell.first().copied().unwrap_or(0);
            cell.iter().copied().chain(std::iter::repeat(head)).take(wide)
        });
        let table = Operand::indices(table.map(|place| place as i64));
        let Argument::Array(x) = x else { return None };
        let with = |behind: &[usize]| json!(leading.iter().chain(behind).copied().collect::<Vec<_>>());
        let flat = self.called("mx.reshape", vec![x.clone()], json!({"shape": with(&[lengths.iter().product()])}));
        let taken = self.called("mx.take", vec![flat, table.clone()], json!({"axis": -1}));
        let shaped = with(&[cells.len(), wide]);
        let values = self.called("mx.reshape", vec![taken], json!({"shape": shaped}));
        let table = self.called("mx.reshape", vec![table], json!({"shape": [cells.len(), wide]}));
        let places = self.called("mx.broadcast_to", vec![table], json!({"shape": shaped}));
        let Argument::Array(Operand::List(both)) = self.picked(values, places) else { return None };
        let args = json!({"shape": with(&sizes)});
        let both = both.into_iter().map(|one| self.called("mx.reshape", vec![one], args.clone())).collect();
        Some(Argument::Array(Operand::List(both)))
    }

    /// One corner of what lies around the places where a grid samples: `sampled(input, input with its axes in one, lower
    /// places, shares, which corner, places of the output, nearest)`.
    pub(super) fn sampled(
        &mut self,
        input: &Argument,
        x: &Operand,
        places: &[Operand],
        rest: &[Argument],
    ) -> Option<Argument> {
        let shape = self.shape_of(input)?;
        let [
            Argument::Array(Operand::List(shares)),
            Argument::Plain(corner),
            Argument::Plain(count),
            Argument::Plain(nearest),
        ] = rest
        else {
            return None;
        };
        let (corner, nearest) = (serde_json::from_value::<Vec<i64>>(corner.clone()).ok()?, nearest.as_bool()?);
        let (batch, channels, sizes) = (shape.first()?, shape.get(1)?, shape.get(2..)?);
        let (mut weight, mut index): (Option<Operand>, Option<Operand>) = (None, None);
        for (at, &size) in sizes.iter().enumerate() {
            let (low, share, high) = (places.get(at)?.clone(), shares.get(at)?.clone(), *corner.get(at)? == 1);
            let last = Operand::Number(size as f64 - 1.0);
            let place = if high { self.called("mx.add", vec![low, 1.0.into()], json!({})) } else { low };
            let above = self.called("mx.greater_equal", vec![place.clone(), 0.0.into()], json!({}));
            let below = self.called("mx.less_equal", vec![place.clone(), last], json!({}));
            let inside = self.called("mx.logical_and", vec![above, below], json!({}));
            let share = match (nearest, high) {
                (true, _) => Operand::Number(1.0),
                (false, true) => share,
                (false, false) => self.called("mx.subtract", vec![1.0.into(), share], json!({})),
            };
            let own = self.called("mx.where", vec![inside, share, 0.0.into()], json!({}));
            weight = Some(match weight {
                Some(before) => self.called("mx.multiply", vec![before, own], json!({})),
                None => own,
            });
            let held = self.called("mx.clip", vec![place], json!({"a_min": 0, "a_max": size.saturating_sub(1)}));
            let held = self.called("astype", vec![held], json!({"dtype": "int32"}));
            index = Some(match index {
                Some(before) => {
                    let moved = self.called("mx.multiply", vec![before, Operand::Number(size as f64)], json!({}));
                    self.called("mx.add", vec![moved, held], json!({}))
                }
                None => held,
            });
        }
        let index = self.called("mx.expand_dims", vec![index?], json!({"axis": [1]}));
        let wide = json!({"shape": [batch, channels, count]});
        let index = self.called("mx.broadcast_to", vec![index], wide);
        let taken = self.called("mx.take_along_axis", vec![x.clone(), index], json!({"axis": 2}));
        let weight = self.called("mx.expand_dims", vec![weight?], json!({"axis": [1]}));
        Some(Argument::Array(self.called("mx.multiply", vec![taken, weight], json!({}))))
    }
}
