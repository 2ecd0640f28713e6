//! Texts that are not shown, variables of the environment, small files.

use std::path::Path;

/// The longest file of a token or a profile that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Gives a variable of the environment.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A small text file; `None` where there is none.
pub(crate) fn text_of(path: &Path) -> Option<String> {
    let about = std::fs::metadata(path).ok().filter(|about| about.is_file())?;
    if about.len() > LONGEST_FILE { None } else { std::fs::read_to_string(path).ok() }
}
