//! Rows of `claims.toml`: what the first support matrix said about ops that it did not support.

use std::path::Path;

use serde::Deserialize;

use super::parse_toml;
use crate::assets;

const CLAIMS: (&str, &str) = ("claims.toml", include_str!("../../assets/registry/claims.toml"));

/// One claim.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The ops, as they were written.
    pub claim: String,
    /// How hard they would be, and why.
    pub said: String,
    /// The row of `ops.toml` that runs.
    pub op: Option<String>,
    /// The rows of `blockers.toml` that say what happens.
    #[serde(default)]
    pub blocker: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    claim: Vec<Claim>,
}

/// The built-in claims.
pub fn built_in() -> Vec<Claim> {
    let (name, text) = CLAIMS;
    assets::built_in(name, parse_toml::<File>(Path::new(name), text)).claim
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::registry::{Registry, blockers};

    #[test]
    fn every_claim_is_held_against_a_row() {
        let registry = Registry::load(&[]).unwrap();
        let patterns = blockers::built_in();
        for claim in super::built_in() {
            assert_eq!(claim.op.is_some(), claim.blocker.is_empty(), "{claim:?}");
            assert!(claim.op.iter().all(|op| registry.ops().iter().any(|row| row.torch == *op)), "{claim:?}");
            assert!(claim.blocker.iter().all(|name| patterns.iter().any(|row| row.name == *name)), "{claim:?}");
        }
    }
}
