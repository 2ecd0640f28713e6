//! Rows of `idioms.toml`: what several lines of a forward compute together, in which variant, and what MLX's own function does.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::assets;

/// One idiom in one variant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idiom {
    /// Which it is.
    pub kind: Kind,
    /// What it is called: `RoPE`.
    pub name: String,
    /// Which of several ways to compute it: `halves`.
    pub variant: String,
    /// The call of MLX that computes it.
    pub mlx: String,
    /// What MLX's own function does with it; tried with mlx 0.32.2 (`check_idioms.py`).
    pub text: String,
}

/// The idioms that are recognised, each variant for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Rotary embedding: the first half of a head with the second.
    RopeHalves,
    /// Rotary embedding: each even number with the odd one behind it.
    RopePairs,
    /// The same, and the result has the even ones first.
    RopePairsToHalves,
    /// An activation of the first half, times the second.
    GateFirst,
    /// An activation of the second half, times the first.
    GateSecond,
    /// An activation of the even numbers, times the odd ones.
    GateEven,
    /// An activation of the odd numbers, times the even ones.
    GateOdd,
    /// An activation of one projection, times another.
    GateApart,
    /// Keys and values repeated, each head after itself.
    RepeatEach,
    /// Keys and values repeated, all heads after one another.
    RepeatWhole,
    /// A bias that falls with the distance.
    Alibi,
    /// Scores of attention, scaled after the product, softmax in their dtype.
    ScoresAfter,
    /// The same, softmax in float32.
    ScoresAfterUpcast,
    /// Scores of a query that was scaled before, softmax in their dtype.
    ScoresBefore,
    /// The same, softmax in float32.
    ScoresBeforeUpcast,
    /// Experts are chosen by a softmax over all.
    RouterSoftmaxFirst,
    /// The same, and what was chosen is brought to a sum of 1.
    RouterSoftmaxFirstNormalised,
    /// A softmax over the experts that were chosen.
    RouterSoftmaxLast,
    /// Each expert has a sigmoid of its own.
    RouterSigmoid,
    /// A root mean square norm that adds one to its weight.
    NormPlusOne,
    /// A root mean square norm.
    Norm,
    /// GELU by a hyperbolic tangent, written out.
    GeluTanh,
    /// GELU by the error function, written out.
    GeluErf,
    /// GELU by a logistic function, written out.
    GeluSigmoid,
}

static BUILT_IN: LazyLock<Vec<Idiom>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        idiom: Vec<Idiom>,
    }
    let file: Result<File, toml::de::Error> = toml::from_str(include_str!("../../assets/registry/idioms.toml"));
    assets::built_in("idioms.toml", file).idiom
});

/// The built-in rows, in the order in which they are listed.
pub fn built_in() -> &'static [Idiom] {
    &BUILT_IN
}

impl Kind {
    /// Its row.
    pub fn row(self) -> Option<&'static Idiom> {
        BUILT_IN.iter().find(|row| row.kind == self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_variant_has_one_row() {
        let kinds = "rope-halves rope-pairs rope-pairs-to-halves gate-first gate-second gate-even gate-odd gate-apart repeat-each \
                     repeat-whole alibi scores-after scores-after-upcast scores-before scores-before-upcast router-softmax-first \
                     router-softmax-first-normalised router-softmax-last router-sigmoid norm-plus-one norm gelu-tanh gelu-erf \
                     gelu-sigmoid";
        let kinds: Vec<Kind> = kinds
            .split_whitespace()
            .map(|name| serde_json::from_value(serde_json::Value::from(name)).unwrap())
            .collect();
        assert_eq!(kinds.len(), built_in().len());
        for kind in kinds {
            let row = kind.row().unwrap();
            let texts = [&row.name, &row.variant, &row.mlx, &row.text];
            assert!(texts.iter().all(|text| !text.trim().is_empty()), "{kind:?}");
            assert_eq!(built_in().iter().filter(|other| other.kind == kind).count(), 1, "{kind:?}");
        }
    }
}
