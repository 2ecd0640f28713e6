//! Which of the words that are known somebody may have meant by one that is not.

/// Words are compared by this many of their letters.
const LONGEST: usize = 40;

/// The nearest of these words, if it is near: at most a third of the letters are wrong, missing, too many or changed places.
/// Of those that are as near the first is taken.
pub fn nearest<'a>(typed: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |word: &str| word.to_lowercase().chars().take(LONGEST).collect::<String>();
    let typed = letters(typed);
    let length = typed.chars().count();
    let far = |word: &str| {
        let word = letters(word);
        let slips = strsim::damerau_levenshtein(&typed, &word);
        // What begins alike is as good as a slip.
        if length > 1 && word.starts_with(&typed) { slips.min(1) } else { slips }
    };
    let near = words.into_iter().map(|word| (far(word), word)).filter(|(far, _)| *far <= (length / 3).max(1));
    near.min_by_key(|(far, _)| *far).map(|(_, word)| word)
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
        assert_eq!(nearest("", words), None);
    }
}
