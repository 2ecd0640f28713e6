//! Any op of torch by its name and overload, on values that are held: what a graph's node calls. `cpp/dispatch.cpp` is the
//! other side.
//!
//! The schema that libtorch has of the op says what its arguments are, so this side is complete by construction.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::time::Instant;

use serde_json::{Value as Json, json};
use tch::{Kind, Tensor};

use super::{Problem, tensor};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::graph::{Argument, Op, Outcome, Place, Run};
use t2m_engine::protocol::TensorHeader;

/// An op and its arguments on the other side.
#[repr(C)]
struct RawCall {
    _private: [u8; 0],
}

/// A value on the other side.
#[repr(C)]
struct RawValue {
    _private: [u8; 0],
}

#[allow(unsafe_code, reason = "the other side is C++")]
unsafe extern "C" {
    fn t2m_free(text: *mut c_char);
    fn t2m_find(name: *const c_char, overload: *const c_char, call: *mut *mut RawCall) -> *mut c_char;
    fn t2m_end(call: *mut RawCall);
    fn t2m_arguments(call: *const RawCall) -> usize;
    fn t2m_argument(call: *const RawCall, at: usize) -> *const c_char;
    fn t2m_writes(call: *const RawCall, at: usize) -> bool;
    fn t2m_none() -> *mut RawValue;
    fn t2m_bool(value: bool) -> *mut RawValue;
    fn t2m_int(value: i64) -> *mut RawValue;
    fn t2m_float(value: f64) -> *mut RawValue;
    fn t2m_text(value: *const c_char) -> *mut RawValue;
    fn t2m_tensor(value: *const c_void) -> *mut RawValue;
    fn t2m_dtype(value: i8) -> *mut RawValue;
    fn t2m_device() -> *mut RawValue;
    fn t2m_layout() -> *mut RawValue;
    fn t2m_memory_format() -> *mut RawValue;
    fn t2m_list() -> *mut RawValue;
    fn t2m_list_push(list: *mut RawValue, item: *const RawValue);
    fn t2m_value_end(value: *mut RawValue);
    fn t2m_push(call: *mut RawCall, value: *const RawValue) -> *mut c_char;
    fn t2m_call(call: *mut RawCall) -> *mut c_char;
    fn t2m_results(call: *const RawCall) -> usize;
    fn t2m_result_kind(call: *const RawCall, at: usize) -> c_int;
    fn t2m_result_tensor(call: *const RawCall, at: usize) -> *mut c_void;
    fn t2m_result_int(call: *const RawCall, at: usize, number: *mut i64) -> *mut c_char;
    fn t2m_result_float(call: *const RawCall, at: usize, number: *mut f64) -> *mut c_char;
    fn t2m_result_bool(call: *const RawCall, at: usize, value: *mut bool) -> *mut c_char;
    fn t2m_place(tensor: *const c_void, storage: *mut u64, offset: *mut i64, strides: *mut i64) -> bool;
    fn t2m_default_dtype(is_double: bool);
}

/// The values of a graph, by the caller's numbers.
#[derive(Debug, Default)]
pub(super) struct Held(HashMap<u64, Tensor>);

impl Held {
    /// Hold a tensor.
    pub fn hold(&mut self, value: u64, data: &TensorData) -> Result<(), Problem> {
        self.0.insert(value, tensor::from_data(data)?);
        Ok(())
    }

    /// Let one go.
    pub fn release(&mut self, value: u64) {
        self.0.remove(&value);
    }

    fn get(&self, value: u64) -> Result<&Tensor, Problem> {
        self.0.get(&value).ok_or_else(|| Problem(format!("no value {value} is held")))
    }

    /// The values that a run takes, as results.
    pub fn nothing(&mut self, run: &Run) -> Result<Vec<Outcome>, Problem> {
        let kind = tensor::compute_kind(run.compute)?;
        let mut taken = Vec::with_capacity(run.takes.len());
        for value in &run.takes {
            let held = self.get(*value)?;
            let cast = tensor::cast(held, kind)?;
            // Whole numbers are no others in another precision; but what a node writes into one run's is not the other's.
            let is_shared = !run.gives.is_empty() && !held.is_floating_point() && cast.data_ptr() == held.data_ptr();
            taken.push(Found::Tensor(if is_shared { copy(&cast)? } else { cast }));
        }
        self.finish(run, taken)
    }

    /// Call an op. What it writes into is the held value itself, unless nothing of the run is held afterwards.
    pub fn op(&mut self, op: &Op, run: &Run) -> Result<(Vec<Outcome>, f64), Problem> {
        let kind = tensor::compute_kind(run.compute)?;
        let mut call = Call::find(op)?;
        let mut taken = Vec::with_capacity(run.takes.len());
        for value in &run.takes {
            taken.push(tensor::cast(self.get(*value)?, kind)?);
        }
        if run.gives.is_empty() && call.writes() {
            // The values are others' as well.
            for (tensor, value) in taken.iter_mut().zip(&run.takes) {
                if self.get(*value)?.f_kind()? == tensor.f_kind()? {
                    *tensor = copy(tensor)?;
                }
            }
        }
        for name in call.names() {
            let given = op.arguments.iter().find(|(known, _)| *known == name);
            let value = given.map(|(_, argument)| Value::new(argument, &taken, kind)).transpose()?;
            call.push(value.as_ref())?;
        }
        let known = call.names();
        if let Some((name, _)) = op.arguments.iter().find(|(name, _)| !known.contains(name)) {
            return Err(Problem(format!("libtorch's {} has no argument `{name}`", op.name)));
        }
        set_default(kind);
        let begun = Instant::now();
        let called = call.run();
        let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
        set_default(Kind::Float);
        called?;
        let found = call.results()?;
        Ok((self.finish(run, found)?, milliseconds))
    }

    /// Hold what was found, and describe it.
    fn finish(&mut self, run: &Run, found: Vec<Found>) -> Result<Vec<Outcome>, Problem> {
        let mut outcomes = Vec::with_capacity(found.len());
        for (at, found) in found.into_iter().enumerate() {
            outcomes.push(match found {
                Found::Nothing => Outcome::Nothing,
                Found::Number(number) => Outcome::Number(number),
                Found::Tensor(tensor) => {
                    let data = if run.returns { Some(tensor::to_data(&tensor)?) } else { None };
                    let header = match &data {
                        Some(data) => TensorHeader::of("", data),
                        None => header(&tensor)?,
                    };
                    let place = place(&tensor);
                    if let Some(value) = run.gives.get(at) {
                        self.0.insert(*value, tensor);
                    }
                    Outcome::Tensor { header, place, data }
                }
            });
        }
        Ok(outcomes)
    }
}

/// The same numbers in memory of their own.
fn copy(tensor: &Tensor) -> Result<Tensor, Problem> {
    let mut own = tensor.f_empty_like()?;
    own.f_copy_(tensor)?;
    Ok(own)
}

/// What tensors made from nothing have, where the op is not told.
#[allow(unsafe_code)]
fn set_default(kind: Kind) {
    // SAFETY: sets a global of libtorch's; this program has one thread that computes.
    unsafe { t2m_default_dtype(kind == Kind::Double) }
}

/// A result of a call.
enum Found {
    Nothing,
    Number(Json),
    Tensor(Tensor),
}

fn header(tensor: &Tensor) -> Result<TensorHeader, Problem> {
    let shape = tensor.size().into_iter().map(usize::try_from).collect::<Result<_, _>>();
    let shape = shape.map_err(|_| Problem(format!("libtorch gave an output of shape {:?}", tensor.size())))?;
    Ok(TensorHeader { name: String::new(), dtype: tensor::dtype(tensor.f_kind()?)?, shape })
}

#[allow(unsafe_code)]
fn place(tensor: &Tensor) -> Option<Place> {
    let (mut storage, mut offset, mut strides) = (0, 0, vec![0; tensor.dim()]);
    // SAFETY: the tensor lives, and `strides` has room for one number an axis.
    let has_place = unsafe { t2m_place(tensor.as_ptr().cast(), &mut storage, &mut offset, strides.as_mut_ptr()) };
    has_place.then_some(Place { storage, offset, strides })
}

/// The words that a function of the other side gave, if it failed.
#[allow(unsafe_code)]
fn check(words: *mut c_char) -> Result<(), Problem> {
    if words.is_null() {
        return Ok(());
    }
    // SAFETY: a text that the other side allocated and ended with a zero; it is freed once, after it was copied.
    let text = unsafe {
        let text = CStr::from_ptr(words).to_string_lossy().into_owned();
        t2m_free(words);
        text
    };
    Err(Problem::from(tch::TchError::Torch(text)))
}

/// An op of the dispatcher, with the arguments pushed so far.
struct Call(*mut RawCall);

impl Drop for Call {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: made by t2m_find, ended once.
        unsafe { t2m_end(self.0) }
    }
}

#[allow(unsafe_code)]
impl Call {
    fn find(op: &Op) -> Result<Call, Problem> {
        let text = |text: &str| CString::new(text).map_err(|_| Problem("an op's name has a zero byte".to_owned()));
        let (name, overload) = (text(&op.name)?, text(&op.overload)?);
        let mut call = ptr::null_mut();
        // SAFETY: both texts end with a zero and outlive the call, which writes one pointer.
        let failed = unsafe { t2m_find(name.as_ptr(), overload.as_ptr(), &mut call) };
        check(failed)?;
        Ok(Call(call))
    }

    fn names(&self) -> Vec<String> {
        // SAFETY: the op lives as long as this, and each index is below the number of arguments.
        let name = |at| unsafe { CStr::from_ptr(t2m_argument(self.0, at)).to_string_lossy().into_owned() };
        // SAFETY: as above.
        (0..unsafe { t2m_arguments(self.0) }).map(name).collect()
    }

    /// Whether it writes into one of its arguments.
    fn writes(&self) -> bool {
        // SAFETY: as in `names`.
        (0..unsafe { t2m_arguments(self.0) }).any(|at| unsafe { t2m_writes(self.0, at) })
    }

    fn push(&mut self, value: Option<&Value>) -> Result<(), Problem> {
        // SAFETY: the value lives; the other side copies it.
        check(unsafe { t2m_push(self.0, value.map_or(ptr::null(), |value| value.0)) })
    }

    fn run(&mut self) -> Result<(), Problem> {
        // SAFETY: all arguments are pushed.
        check(unsafe { t2m_call(self.0) })
    }

    fn results(&self) -> Result<Vec<Found>, Problem> {
        // SAFETY: the op was called; each index is below the number of results, and each result is asked for what it is. A
        // tensor is a new handle, which `from_ptr` owns.
        unsafe {
            let count = t2m_results(self.0);
            let mut results = Vec::with_capacity(count);
            for at in 0..count {
                let (mut int, mut float, mut is_so) = (0, 0.0, false);
                results.push(match t2m_result_kind(self.0, at) {
                    1 => Found::Tensor(Tensor::from_ptr(t2m_result_tensor(self.0, at).cast())),
                    2 => {
                        check(t2m_result_int(self.0, at, &mut int))?;
                        Found::Number(json!(int))
                    }
                    3 => {
                        check(t2m_result_float(self.0, at, &mut float))?;
                        Found::Number(json!(float))
                    }
                    4 => {
                        check(t2m_result_bool(self.0, at, &mut is_so))?;
                        Found::Number(json!(is_so))
                    }
                    _ => Found::Nothing,
                });
            }
            Ok(results)
        }
    }
}

/// An argument on the other side.
struct Value(*mut RawValue);

impl Drop for Value {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: made by one of the other side's functions, ended once.
        unsafe { t2m_value_end(self.0) }
    }
}

#[allow(unsafe_code)]
impl Value {
    fn new(argument: &Argument, taken: &[Tensor], compute: Kind) -> Result<Value, Problem> {
        // SAFETY: each function makes a value of its own; texts and tensors outlive the call.
        Ok(Value(unsafe {
            match argument {
                Argument::None => t2m_none(),
                Argument::Bool(is_so) => t2m_bool(*is_so),
                Argument::Int(number) => t2m_int(*number),
                Argument::Float(number) => t2m_float(*number),
                Argument::Text(text) => {
                    let text = CString::new(text.as_str());
                    let text = text.map_err(|_| Problem("a text has a zero byte".to_owned()))?;
                    t2m_text(text.as_ptr())
                }
                Argument::Value(at) => {
                    let tensor = taken.get(*at).ok_or_else(|| Problem(format!("the run takes no value {at}")))?;
                    t2m_tensor(tensor.as_ptr().cast())
                }
                Argument::List(items) => {
                    let list = Value(t2m_list());
                    for item in items {
                        let item = Value::new(item, taken, compute)?;
                        t2m_list_push(list.0, item.0);
                    }
                    return Ok(list);
                }
                Argument::Dtype(dtype) => t2m_dtype(scalar_type(*dtype, compute)?),
                Argument::Device => t2m_device(),
                Argument::Layout => t2m_layout(),
                Argument::MemoryFormat => t2m_memory_format(),
            }
        }))
    }
}

/// Torch's number of a type (c10/core/ScalarType.h); floating point is what the run computes in.
fn scalar_type(dtype: Dtype, compute: Kind) -> Result<i8, Problem> {
    let is_double = compute == Kind::Double;
    Ok(match dtype {
        Dtype::UInt8 => 0,
        Dtype::Int8 => 1,
        Dtype::Int16 => 2,
        Dtype::Int32 => 3,
        Dtype::Int64 => 4,
        Dtype::Bool => 11,
        Dtype::Float64 | Dtype::Float32 | Dtype::Float16 | Dtype::BFloat16 => match compute {
            Kind::Double => 7,
            Kind::Half => 5,
            Kind::BFloat16 => 15,
            _ => 6,
        },
        Dtype::Complex32 | Dtype::Complex64 | Dtype::Complex128 => {
            if is_double {
                10
            } else {
                9
            }
        }
        other => return Err(Problem(format!("libtorch's side computes nothing in {}", other.name()))),
    })
}
