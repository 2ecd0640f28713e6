//! Functions that rows of ops call and that MLX has not as one: each becomes steps, by the shapes of its arguments.

use serde_json::{Map, Value, json};
use tree_sitter::Node;

use super::plain::{Form, dtype_name};
use super::{Argument, Lower, Lowered};
use t2m_checkpoint::Dtype;
use t2m_engine::program::Operand;

/// The arguments of a helper, in order.
type Given = Vec<Argument>;

impl<'t> Lower<'t> {
    /// Call a helper; `None` where there is none of that name.
    pub(super) fn helper(&mut self, node: Node<'t>, name: &str, given: &Given) -> Lowered<Option<Argument>> {
        let made = match (name, given.as_slice()) {
            ("is_float", [array]) => self.dtype_of(array).map(|dtype| Argument::Plain(is_float(dtype).into())),
            ("is_bool", [array]) => {
                Some(Argument::Plain(self.dtype_of(array).is_some_and(|dtype| dtype == Dtype::Bool).into()))
            }
            ("positive", [Argument::Infinite(number)]) => Some(Argument::Plain((*number > 0.0).into())),
            ("positive", [Argument::Plain(number)]) => {
                number.as_f64().map(|number| Argument::Plain((number > 0.0).into()))
            }
            ("is_infinite", [number]) => Some(Argument::Plain(matches!(number, Argument::Infinite(_)).into())),
            ("broadcast", [Argument::Plain(shapes)]) => broadcast(shapes).map(Argument::Plain),
            ("array", [Argument::Plain(Value::Array(items))]) => {
                let numbers = items.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>();
                numbers.map(|numbers| Argument::Array(Operand::indices(numbers)))
            }
            ("given", [Argument::Array(Operand::List(items))]) => Some(Argument::Array(Operand::List(items.clone()))),
            ("sum", [Argument::Array(Operand::List(items))]) => self.added(items),
            ("differences", [Argument::Array(x), Argument::Plain(axis), Argument::Plain(times)]) => {
                self.differences(x, axis, times)
            }
            ("chained", [Argument::Array(Operand::List(items))]) => self.chained(items),
            ("flatnonzero", [Argument::Array(x)]) => {
                Some(Argument::Array(self.called("flatnonzero", vec![x.clone()], json!({}))))
            }
            ("numbered", [Argument::Plain(shape)]) => self.numbered(shape),
            ("lgamma", [Argument::Array(x)]) => Some(Argument::Array(self.lgamma(x))),
            ("digamma", [Argument::Array(x)]) => Some(Argument::Array(self.digamma(x))),
            ("polygamma", [Argument::Plain(n), Argument::Array(x)]) => self.polygamma(n, x).map(Argument::Array),
            ("permutation", [Argument::Array(pivots), Argument::Plain(rows), Argument::Plain(count)]) => {
                self.permutation(pivots, rows, count).map(Argument::Array)
            }
            ("cut", [Argument::Array(x), rest @ ..]) => self.cut(x, rest),
            ("cropped", [Argument::Array(x), Argument::Plain(shape), Argument::Plain(axis), ..]) => {
                self.cropped(x, shape, axis.as_i64().unwrap_or(-1))
            }
            ("rolled", [Argument::Array(x), Argument::Plain(shifts), Argument::Plain(axes)]) => {
                self.rolled(x, shifts, axes)
            }
            ("padded", [x @ Argument::Array(_), Argument::Plain(widths), Argument::Plain(mode), value]) => {
                self.padded(x, widths, mode.as_str().unwrap_or_default(), value)
            }
            ("windows", [x @ Argument::Array(_), rest @ ..]) => self.windows(x, rest),
            ("averaged", [x @ Argument::Array(_), Argument::Plain(first), Argument::Plain(sizes)]) => {
                self.averaged(x, first, sizes)
            }
            ("largest", [x @ Argument::Array(_), Argument::Plain(first), Argument::Plain(sizes)]) => {
                self.largest(x, first, sizes)
            }
            ("resized", [x @ Argument::Array(_), rest @ ..]) => self.resized(x, rest),
            ("sampled", [input, Argument::Array(x), Argument::Array(Operand::List(places)), rest @ ..]) => {
                self.sampled(input, x, places, rest)
            }
            ("recurrent", [Argument::Plain(kind), rest @ ..]) => {
                self.recurrent(kind.as_str().unwrap_or_default(), rest)
            }
            _ => return Ok(None),
        };
        made.map(Some).ok_or_else(|| self.error(node, "it is not worked out for these arguments"))
    }

    fn dtype_of(&self, array: &Argument) -> Option<Dtype> {
        match array {
            Argument::Array(Operand::Name(name)) => Some(self.forms.get(name)?.dtype),
            Argument::Plain(Value::Bool(_)) => Some(Dtype::Bool),
            Argument::Plain(Value::Number(number)) => Some(if number.is_f64() { Dtype::Float32 } else { Dtype::Int64 }),
            Argument::Infinite(_) => Some(Dtype::Float32),
            _ => None,
        }
    }

    pub(super) fn shape_of(&self, array: &Argument) -> Option<Vec<usize>> {
        let Argument::Array(Operand::Name(name)) = array else { return None };
        Some(self.forms.get(name)?.shape.clone())
    }

    pub(super) fn called(&mut self, call: &str, inputs: Vec<Operand>, args: Value) -> Operand {
        let args = if let Value::Object(args) = args { args } else { Map::new() };
        self.step(call, inputs, args)
    }

    /// The sum of several arrays.
    fn added(&mut self, items: &[Operand]) -> Option<Argument> {
        let (first, rest) = items.split_first()?;
        let mut sum = first.clone();
        for item in rest {
            sum = self.called("mx.add", vec![sum, item.clone()], json!({}));
        }
        Some(Argument::Array(sum))
    }

    /// Each element less the one before it along an axis, so many times.
    fn differences(&mut self, x: &Operand, axis: &Value, times: &Value) -> Option<Argument> {
        let mut left = x.clone();
        for _ in 0..times.as_u64()? {
            let mut part = |start: Value, stop: Value| {
                let plain = [axis.clone(), start, stop, 1.into()].map(Argument::Plain);
                self.cut(&left, &plain)
            };
            let (Some(Argument::Array(after)), Some(Argument::Array(before))) =
                (part(1.into(), Value::Null), part(Value::Null, (-1).into()))
            else {
                return None;
            };
            left = self.called("mx.subtract", vec![after, before], json!({}));
        }
        Some(Argument::Array(left))
    }

    /// The product of several matrices, from the left.
    fn chained(&mut self, items: &[Operand]) -> Option<Argument> {
        let (first, rest) = items.split_first()?;
        let mut product = first.clone();
        for item in rest {
            product = self.called("mx.matmul", vec![product, item.clone()], json!({}));
        }
        Some(Argument::Array(product))
    }

    /// The places of an array of this shape, counted from 0.
    pub(super) fn numbered(&mut self, shape: &Value) -> Option<Argument> {
        let sizes: Vec<usize> = serde_json::from_value(shape.clone()).ok()?;
        let count: usize = sizes.iter().product();
        let numbers = self.called("mx.arange", vec![], json!({"stop": count, "dtype": "int32"}));
        let shaped = self.called("mx.reshape", vec![numbers], json!({"shape": sizes}));
        if let Operand::Name(name) = &shaped {
            self.forms.insert(name.clone(), Form { dtype: Dtype::Int32, shape: sizes });
        }
        Some(Argument::Array(shaped))
    }

    /// `x[:, start:stop:step]` along one axis.
    pub(super) fn cut(&mut self, x: &Operand, rest: &[Argument]) -> Option<Argument> {
        let number = |at: usize| match rest.get(at)? {
            Argument::Plain(value) => Some(value.clone()),
            _ => None,
        };
        let (axis, start, stop, step) = (number(0)?.as_u64()?, number(1)?, number(2)?, number(3)?);
        let before = vec![Value::Null; usize::try_from(axis).ok()?];
        let list = |last: Value| -> Value { before.iter().cloned().chain([last]).collect::<Vec<_>>().into() };
        let strides: Vec<Value> = before.iter().map(|_| 1.into()).chain([step]).collect();
        let args = json!({"starts": list(start), "stops": list(stop), "strides": strides});
        Some(Argument::Array(self.called("slice", vec![x.clone()], args)))
    }

    /// `x[:a, :b]` to a shape, in all axes but one.
    fn cropped(&mut self, x: &Operand, shape: &Value, but: i64) -> Option<Argument> {
        let shape = shape.as_array()?;
        let stops: Vec<Value> =
            (0i64..).zip(shape).map(|(axis, size)| if axis == but { Value::Null } else { size.clone() }).collect();
        if let Operand::Name(name) = x
            && let Some(form) = self.forms.get(name)
            && form.shape.iter().zip(&stops).all(|(size, stop)| stop.is_null() || stop.as_u64() == Some(*size as u64))
        {
            return Some(Argument::Array(x.clone()));
        }
        let args = json!({"starts": vec![Value::Null; stops.len()], "strides": vec![1; stops.len()], "stops": stops});
        Some(Argument::Array(self.called("slice", vec![x.clone()], args)))
    }

    fn rolled(&mut self, x: &Operand, shifts: &Value, axes: &Value) -> Option<Argument> {
        let (shifts, axes) = (shifts.as_array()?, axes.as_array()?);
        let mut rolled = x.clone();
        for (at, shift) in shifts.iter().enumerate() {
            let args = match axes.get(at) {
                Some(axis) => json!({"shift": shift, "axis": axis}),
                None => json!({"shift": shift}),
            };
            rolled = self.called("mx.roll", vec![rolled], args);
        }
        Some(Argument::Array(rolled))
    }

    /// Padding with torch's modes; negative widths cut.
    fn padded(&mut self, x: &Argument, widths: &Value, mode: &str, value: &Argument) -> Option<Argument> {
        let shape = self.shape_of(x)?;
        let Argument::Array(mut padded) = x.clone() else { return None };
        let pairs: Vec<[i64; 2]> = serde_json::from_value(widths.clone()).ok()?;
        let mut sizes: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
        let negative = pairs.iter().flatten().any(|width| *width < 0);
        // What repeats elements counts them before any are cut off; what goes round does not.
        let cut_last = negative && matches!(mode, "replicate" | "reflect");
        let whole: Vec<i64> = pairs.iter().zip(&sizes).map(|([low, high], size)| low + size + high).collect();
        let starts: Vec<i64> = pairs.iter().map(|[low, _]| (-low).max(0)).collect();
        let stops: Vec<i64> = pairs.iter().zip(&sizes).map(|([_, high], size)| size + high.min(&0)).collect();
        if negative && !cut_last {
            for ((size, start), stop) in sizes.iter_mut().zip(&starts).zip(&stops) {
                *size = (stop - start).max(0);
            }
            let args = json!({"starts": starts, "stops": stops, "strides": vec![1; sizes.len()]});
            padded = self.called("slice", vec![padded], args);
        }
        let pairs: Vec<[i64; 2]> = pairs.iter().map(|[low, high]| [(*low).max(0), (*high).max(0)]).collect();
        if !negative && pairs.iter().flatten().all(|width| *width == 0) {
            return Some(Argument::Array(padded));
        }
        if mode != "constant" && whole.contains(&0) {
            let dtype = dtype_name(computed(self.dtype_of(x)?));
            return Some(Argument::Array(self.called("mx.zeros", vec![], json!({"shape": whole, "dtype": dtype}))));
        }
        let args = match mode {
            "constant" => {
                let value = match value {
                    Argument::Plain(value) => value.clone(),
                    Argument::Infinite(number) if *number > 0.0 => "mx.inf".into(),
                    Argument::Infinite(_) => "-mx.inf".into(),
                    _ => return None,
                };
                json!({"pad_width": pairs, "constant_values": value})
            }
            "replicate" => json!({"pad_width": pairs, "mode": "edge"}),
            "reflect" => json!({"pad_width": pairs, "mode": "reflect"}),
            "circular" => {
                for (axis, ([low, high], size)) in pairs.iter().zip(&sizes).enumerate() {
                    if (*low, *high) != (0, 0) && *size > 0 {
                        let sources = (-low..size + high).map(|at| at.rem_euclid(*size));
                        let sources = Operand::indices(sources);
                        padded = self.called("mx.take", vec![padded, sources], json!({"axis": axis}));
                    }
                }
                return Some(Argument::Array(padded));
            }
            _ => return None,
        };
        padded = self.called("mx.pad", vec![padded], args);
        if cut_last {
            // In the padded array what is left begins where it did: an axis that is cut in front is not padded there.
            let stops: Vec<i64> = starts.iter().zip(&whole).map(|(start, size)| start + size).collect();
            let args = json!({"starts": starts, "stops": stops, "strides": vec![1; sizes.len()]});
            padded = self.called("slice", vec![padded], args);
        }
        Some(Argument::Array(padded))
    }
}

/// The type that arrays of it have here: MLX computes nothing in float64.
fn computed(dtype: Dtype) -> Dtype {
    if is_float(dtype) { Dtype::Float32 } else { dtype }
}

fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::Float64 | Dtype::Float32 | Dtype::Float16 | Dtype::BFloat16)
}

/// The shape that shapes broadcast to.
fn broadcast(shapes: &Value) -> Option<Value> {
    let shapes: Vec<Vec<usize>> = serde_json::from_value(shapes.clone()).ok()?;
    let rank = shapes.iter().map(Vec::len).max()?;
    let mut all = vec![1; rank];
    for shape in &shapes {
        for (size, &own) in all.iter_mut().rev().zip(shape.iter().rev()) {
            match (*size, own) {
                (1, own) => *size = own,
                (size, own) if own == size || own == 1 => {}
                _ => return None,
            }
        }
    }
    Some(json!(all))
}
