//! What may have been meant.

/// The nearest of these words, if it is near: at most a third of the letters are wrong, missing, too many or changed places.
pub(super) fn nearest<'a>(typed: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let most = (typed.chars().count() / 3).max(1);
    let near = words.into_iter().map(|word| (distance(&typed, &word.to_lowercase()), word));
    // What begins alike is as good as a slip.
    let near = near.map(|(far, word)| {
        let begins = typed.chars().count() > 1 && word.to_lowercase().starts_with(&typed);
        (if begins { far.min(1) } else { far }, word)
    });
    near.filter(|(far, _)| *far <= most).min_by_key(|(far, _)| *far).map(|(_, word)| word)
}

/// Letters that have to be changed, added, left out or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(40).collect();
    let mut rows: [Vec<usize>; 2] = [vec![0; right.len() + 1], (0..=right.len()).collect()];
    let mut before = None;
    for (at, letter) in left.chars().take(40).enumerate() {
        let mut row = vec![at + 1];
        for (column, &other) in right.iter().enumerate() {
            let get = |row: &Vec<usize>, column: usize| row.get(column).copied().unwrap_or(0);
            let mut least = (get(&rows[1], column) + usize::from(letter != other))
                .min(get(&rows[1], column + 1) + 1)
                .min(get(&row, column) + 1);
            let swapped = column > 0 && before == Some(other) && right.get(column - 1) == Some(&letter);
            if swapped {
                least = least.min(get(&rows[0], column - 1) + 1);
            }
            row.push(least);
        }
        rows = [std::mem::take(&mut rows[1]), row];
        before = Some(letter);
    }
    rows[1].last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_seen_through() {
        let words = ["status", "stale", "class", "path", "params"];
        assert_eq!(nearest("statsu", words), Some("status"));
        assert_eq!(nearest("clas", words), Some("class"));
        assert_eq!(nearest("pramas", words), Some("params"));
        assert_eq!(nearest("st", words), Some("status"));
        assert_eq!(nearest("wrong", words), None);
        assert_eq!((distance("statsu", "status"), distance("", "abc"), distance("abc", "abc")), (1, 3, 0));
    }
}
