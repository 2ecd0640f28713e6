//! What plain renames would have given: the sum over layers that were run beside them.

use super::Layer;
use crate::compare::Verdict;

/// Layers that were run beside what a plain rename would give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Renamed {
    /// All of them, those of which a rename is all that is needed, too.
    pub layers: usize,
    /// Those that a plain rename gets wrong: something is computed, and it is not right.
    pub wrong: usize,
    /// Those that MLX refuses after a plain rename: a name or a shape does not fit.
    pub refused: usize,
}

impl Renamed {
    /// Over these layers.
    pub fn of<'a>(layers: impl Iterator<Item = &'a Layer>) -> Renamed {
        let mut sum = Renamed::default();
        for layer in layers {
            sum.layers += 1;
            // Of several renames the one that nobody notices is the worse.
            let wrong = |verdict: Verdict| verdict.is_bad() && verdict != Verdict::Failed;
            let is = |bad: &dyn Fn(Verdict) -> bool| layer.twins.iter().any(|twin| bad(twin.verdict));
            if is(&wrong) {
                sum.wrong += 1;
            } else if is(&|verdict| verdict == Verdict::Failed) {
                sum.refused += 1;
            }
        }
        sum
    }

    /// `plain rename: 12 of 54 layers would be wrong, 3 would not load`; `None` where none was run.
    pub fn words(self) -> Option<String> {
        let Renamed { layers, wrong, refused } = self;
        let noun = if layers == 1 { "layer" } else { "layers" };
        let refusal = if refused > 0 { format!(", {refused} would not load") } else { String::new() };
        match (layers, wrong) {
            (0, _) => None,
            (_, 0) if refused == 0 => Some(format!("plain rename: right for all {layers} {noun}")),
            _ => Some(format!("plain rename: {wrong} of {layers} {noun} would be wrong{refusal}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_and_what_would_not_load_are_told_apart() {
        let words = |layers, wrong, refused| Renamed { layers, wrong, refused }.words();
        assert_eq!(words(54, 12, 3).as_deref(), Some("plain rename: 12 of 54 layers would be wrong, 3 would not load"));
        assert_eq!(words(1, 1, 0).as_deref(), Some("plain rename: 1 of 1 layer would be wrong"));
        assert_eq!(words(9, 0, 0).as_deref(), Some("plain rename: right for all 9 layers"));
        assert_eq!(words(0, 0, 0), None);
    }
}
