//! Which BLAS computes MLX's matrix products and decompositions.
//!
//! On Linux the set-up puts a library of its own before the wheel's (`setup/blas/blas.c`). It sends each call to an
//! OpenBLAS, or to the wheel's reference BLAS if `T2M_MLX_BLAS=reference` is set. On macOS MLX uses Accelerate, and
//! there is no choice.

#[cfg(not(target_os = "macos"))]
pub(super) use forwarded::{name, select};

/// Reads `T2M_MLX_BLAS`: `openblas` or `reference`. If unset or empty, the set-up's choice applies.
#[cfg(not(target_os = "macos"))]
pub(super) const VARIABLE: &str = "T2M_MLX_BLAS";

#[cfg(not(target_os = "macos"))]
#[allow(unsafe_code)]
mod forwarded {
    use std::ffi::{CStr, CString, c_char};

    unsafe extern "C" {
        fn t2m_blas_use(which: *const c_char) -> *const c_char;
        fn t2m_blas_name() -> *const c_char;
    }

    /// Choose what MLX calls. Must be called once, before MLX computes.
    ///
    /// # Errors
    /// There is no such BLAS, or it cannot be loaded; says why.
    pub fn select(which: &str) -> Result<(), String> {
        let which = CString::new(which).map_err(|error| error.to_string())?;
        // SAFETY: the argument ends with a NUL and is only read during the call. No other thread runs yet.
        match in_words(unsafe { t2m_blas_use(which.as_ptr()) }) {
            Some(why_not) => Err(why_not),
            None => Ok(()),
        }
    }

    /// What MLX calls: `OpenBLAS 0.3.34 Haswell`, `reference (libblas.so.3.10.0)`.
    pub fn name() -> Option<String> {
        // SAFETY: it takes nothing, and returns a string that lives as long as the program.
        in_words(unsafe { t2m_blas_name() })
    }

    fn in_words(text: *const c_char) -> Option<String> {
        if text.is_null() {
            return None;
        }
        // SAFETY: both functions return NULL or a NUL-terminated string of the library's that is not written to
        // meanwhile.
        Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    }
}

/// On macOS there is nothing to choose.
#[cfg(target_os = "macos")]
pub(super) fn name() -> Option<String> {
    None
}
