//! libtorch's refusals that reach Rust as panics.
//!
//! tch frees a call's scalars before it reads the call's error, and freeing panics with the error it finds. So any
//! function that takes a scalar panics where it should return an error. The text is still libtorch's.

use std::panic::{self, AssertUnwindSafe};

use tch::TchError;

use super::Problem;

/// Run code that calls libtorch, and turn these panics into errors. Other panics go on.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => match panic.downcast_ref::<String>().and_then(|text| refusal(text)) {
            Some(text) => Err(TchError::Torch(text).into()),
            None => panic::resume_unwind(panic),
        },
    }
}

/// libtorch's text within the panic's, where it is written as a Rust literal.
fn refusal(panic: &str) -> Option<String> {
    let (_, literal) = panic.split_once("on an `Err` value: Torch(\"")?;
    let mut text = String::new();
    let mut letters = literal.strip_suffix("\")")?.chars();
    while let Some(letter) = letters.next() {
        text.push(match letter {
            '\\' => match letters.next()? {
                'n' => '\n',
                't' => '\t',
                other => other,
            },
            other => other,
        });
    }
    Some(text)
}
