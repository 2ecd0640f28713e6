//! Bars of blocks, an eighth of a cell exact.

/// A cell filled by so many eighths.
pub const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Counts as bars in so many rows, the highest one filling them; a count that is not 0 is never empty.
pub fn rows(counts: &[u64], height: u16) -> Vec<String> {
    let most = counts.iter().max().copied().unwrap_or(0).max(1);
    let full = u128::from(height) * 8;
    let eighths = |count: u64| match count {
        0 => 0,
        count => ((u128::from(count) * full + u128::from(most) / 2) / u128::from(most)).max(1),
    };
    let cell = |count: u64, below: u128| {
        let filled = eighths(count).saturating_sub(below).min(8);
        EIGHTHS.get(usize::try_from(filled).unwrap_or(0)).copied().unwrap_or(' ')
    };
    (0..height).rev().map(|row| counts.iter().map(|&count| cell(count, u128::from(row) * 8)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_is_full_and_the_smallest_is_seen() {
        assert_eq!(rows(&[0, 1, 500, 1000, 999_999, 1_000_000], 2), ["    ██", " ▁▁▁██"]);
        assert_eq!(rows(&[4, 8, 12, 16], 2), ["  ▄█", "▄███"]);
        assert_eq!(rows(&[u64::MAX, 1], 1), ["█▁"]);
        assert_eq!(rows(&[0, 0], 1), ["  "]);
    }
}
