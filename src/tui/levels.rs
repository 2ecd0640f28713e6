//! Which node stands for many: for a chart of fewer columns than nodes, the worst of each stretch, found in as many steps as
//! there are columns.

/// The worst of each stretch of 1, 2, 4, … nodes, each by its place; `None` where none of them has a value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Levels {
    levels: Vec<Vec<Option<u32>>>,
}

impl Levels {
    /// For so many nodes, of which none has a value.
    pub fn new(length: usize) -> Levels {
        let mut levels = vec![vec![None; length]];
        let mut left = length;
        while left > 1 {
            left = left.div_ceil(2);
            levels.push(vec![None; left]);
        }
        Levels { levels }
    }

    /// A node has a value now, or another one; `worse` says whether the first of two is.
    pub fn note(&mut self, at: usize, worse: impl Fn(u32, u32) -> bool) {
        let mut here = at;
        let mut worst = u32::try_from(at).ok();
        for level in 0..self.levels.len() {
            if level > 0 {
                let below = |side: usize| {
                    self.levels.get(level - 1).and_then(|nodes| nodes.get(here * 2 + side)).copied().flatten()
                };
                worst = match (below(0), below(1)) {
                    (Some(left), Some(right)) => Some(if worse(right, left) { right } else { left }),
                    (left, right) => left.or(right),
                };
            }
            if let Some(cell) = self.levels.get_mut(level).and_then(|nodes| nodes.get_mut(here)) {
                *cell = worst;
            }
            here /= 2;
        }
    }

    /// The worst of each of at most `columns` stretches that are alike long, in order, and how many nodes one has.
    pub fn stretches(&self, columns: usize) -> (&[Option<u32>], usize) {
        let level = self.levels.iter().position(|nodes| nodes.len() <= columns.max(1));
        let level = level.unwrap_or(self.levels.len().saturating_sub(1));
        (self.levels.get(level).map_or(&[], Vec::as_slice), 1 << level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stretch_has_its_worst() {
        let values = [1.0, 5.0, 2.0, 7.0, 3.0, 9.0, 4.0];
        let worse = |a: u32, b: u32| values[a as usize] > values[b as usize];
        let mut levels = Levels::new(values.len());
        assert_eq!(levels.stretches(3), (&[None, None][..], 4));
        for at in [0, 1, 3, 2, 5] {
            levels.note(at, worse);
        }
        assert_eq!(levels.stretches(80), (&[Some(0), Some(1), Some(2), Some(3), None, Some(5), None][..], 1));
        assert_eq!(levels.stretches(4), (&[Some(1), Some(3), Some(5), None][..], 2));
        assert_eq!(levels.stretches(2), (&[Some(3), Some(5)][..], 4));
        assert_eq!(levels.stretches(0), (&[Some(5)][..], 8));
        assert_eq!(Levels::new(0).stretches(9), (&[][..], 1));
    }
}
