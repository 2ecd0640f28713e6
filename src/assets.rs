//! What is built in from `assets/`.

use std::fmt::Display;

/// Unwrap a reading of a built-in asset. The file is part of the program, so a fault in it is a mistake in the
/// repository: the first test that uses it shows the asset's name and the reader's reason.
///
/// # Panics
/// The asset cannot be read, which no input decides.
#[expect(clippy::panic, reason = "an asset that cannot be read is no input; to go on without it would hide the reason")]
pub(crate) fn built_in<Asset>(name: &str, read: Result<Asset, impl Display>) -> Asset {
    read.unwrap_or_else(|reason| panic!("the built-in {name} cannot be read: {reason}"))
}

#[cfg(test)]
mod tests {
    #[test]
    #[should_panic(expected = "the built-in blockers.toml cannot be read: line 3")]
    fn what_is_wrong_with_an_asset_is_said() {
        super::built_in::<()>("blockers.toml", Err("line 3"));
    }
}
