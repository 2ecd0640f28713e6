//! Functions on bits, and the conjugate, which mlx-rs does not bind.

use mlx_rs::{Array, Stream};
use mlx_sys::{mlx_array, mlx_stream};

use super::{Problem, Result};
use t2m_engine::program::MlxOp as Op;

type Binary = unsafe extern "C" fn(*mut mlx_array, mlx_array, mlx_array, mlx_stream) -> i32;
type Unary = unsafe extern "C" fn(*mut mlx_array, mlx_array, mlx_stream) -> i32;

/// A function of two arrays of whole numbers.
#[allow(unsafe_code)]
pub(super) fn bits(op: Op, a: &Array, b: &Array) -> Result<Array> {
    let function: Binary = match op {
        Op::BitwiseAnd => mlx_sys::mlx_bitwise_and,
        Op::BitwiseOr => mlx_sys::mlx_bitwise_or,
        Op::BitwiseXor => mlx_sys::mlx_bitwise_xor,
        Op::LeftShift => mlx_sys::mlx_left_shift,
        Op::RightShift => mlx_sys::mlx_right_shift,
        _ => return Err(Problem("that is no function on bits".to_owned())),
    };
    if a.dtype().is_float() || b.dtype().is_float() {
        return Err(Problem("whole numbers are expected".to_owned()));
    }
    let stream = Stream::thread_local_or_default();
    // SAFETY: both arrays and the stream outlive the call, which makes a new array where the result points.
    called(|result| unsafe { function(result, a.as_ptr(), b.as_ptr(), stream.as_ptr()) })
}

/// Every bit turned.
pub(super) fn inverted(x: &Array) -> Result<Array> {
    if x.dtype().is_float() {
        return Err(Problem("whole numbers are expected".to_owned()));
    }
    unary(mlx_sys::mlx_bitwise_invert, x)
}

/// The conjugate of complex numbers; others are their own.
pub(super) fn conjugate(x: &Array) -> Result<Array> {
    unary(mlx_sys::mlx_conjugate, x)
}

#[allow(unsafe_code)]
fn unary(function: Unary, x: &Array) -> Result<Array> {
    let stream = Stream::thread_local_or_default();
    // SAFETY: the array and the stream outlive the call, which makes a new array where the result points.
    called(|result| unsafe { function(result, x.as_ptr(), stream.as_ptr()) })
}

/// Call a function of mlx-c that gives one array.
#[allow(unsafe_code)]
fn called(function: impl FnOnce(*mut mlx_array) -> i32) -> Result<Array> {
    // SAFETY: an empty handle, which the function fills; from_ptr owns it from then on, and frees it also where it failed.
    unsafe {
        let mut handle = mlx_sys::mlx_array_new();
        let status = function(&mut handle);
        let array = Array::from_ptr(handle);
        if status == 0 { Ok(array) } else { Err(Problem("MLX refused it".to_owned())) }
    }
}
