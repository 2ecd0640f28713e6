//! Words that are looked for in names, letter by letter: the letters of a word stand in a name in that order, not far apart. The
//! tree's search, the filter and the search within lists all match by it.

use std::ops::Range;

use nucleo_matcher::{Config, Utf32Str, Utf32String};

/// Share of a word's own score that a name must reach, in tenths: letters that are strewn over a long path by chance stay below
/// it, and those that begin its parts (`stg.1.blk.5` in `stages.1.blocks.5`) above.
const LEAST: u32 = 6;
/// Letters of a text that are looked for: nobody types more, and what is pasted may be long.
const LONGEST: usize = 200;

/// Words, each of which has to be in one of the names. Case counts for a word with an upper-case letter.
#[derive(Debug, Clone, Default)]
pub struct Words {
    text: String,
    words: Vec<Word>,
}

#[derive(Debug, Clone)]
struct Word {
    letters: Utf32String,
    ignore_case: bool,
    /// The fewest points of a match.
    least: u32,
}

/// What the matching needs again and again. One is enough for a thread.
#[derive(Debug)]
pub struct Matcher {
    inner: nucleo_matcher::Matcher,
    letters: Vec<char>,
}

impl Default for Matcher {
    fn default() -> Matcher {
        let mut config = Config::DEFAULT;
        config.normalize = false;
        Matcher { inner: nucleo_matcher::Matcher::new(config), letters: Vec::new() }
    }
}

/// How well names fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// They do, the more points the better.
    Close(u32),
    /// The letters are there, strewn: longer words may still fit.
    Strewn,
}

/// Names that one thread goes through while the user waits for the next letter to show.
const PART: usize = 8_192;

/// The answers to `count` questions in their order, long lists of them in as many parts as there are cores.
pub fn in_parts<T: Send>(count: usize, answer: impl Fn(Range<usize>) -> Vec<T> + Sync) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let parts = (count / PART).clamp(1, cores);
    if parts == 1 {
        return answer(0..count);
    }
    let size = count.div_ceil(parts);
    std::thread::scope(|scope| {
        let part = |from: usize| from..(from + size).min(count);
        let ranges: Vec<Range<usize>> = (0..parts).map(|at| part((at * size).min(count))).collect();
        let answer = &answer;
        let running: Vec<_> =
            ranges.into_iter().map(|range| (range.clone(), scope.spawn(move || answer(range)))).collect();
        // A thread that panicked is asked again here, where the panic is told as any other.
        running.into_iter().flat_map(|(range, thread)| thread.join().unwrap_or_else(|_| answer(range))).collect()
    })
}

impl Words {
    /// The words of a text.
    pub fn of(text: &str) -> Words {
        let text: String = text.chars().take(LONGEST).collect();
        let mut matcher = Matcher::default();
        let words = text.split_whitespace().map(|word| Word::of(word, &mut matcher)).collect();
        Words { text, words }
    }

    /// One word, whatever is in it.
    pub fn one(word: &str) -> Words {
        let text: String = word.chars().take(LONGEST).collect();
        let words = vec![Word::of(&text, &mut Matcher::default())];
        Words { text, words }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| word.letters.is_empty())
    }

    /// Whether names that do not even have the letters of `before` cannot fit these words either.
    pub fn narrows(&self, before: &Words) -> bool {
        !before.is_empty() && self.text.starts_with(&before.text)
    }

    /// How well all words fit, each the name that it fits best; `None` where the letters of one are in none of the names.
    pub fn fit(&self, names: &[&str], matcher: &mut Matcher) -> Option<Fit> {
        let (mut points, mut close) = (0, true);
        for word in &self.words {
            let best = names.iter().filter_map(|name| matcher.points(word, name)).max()?;
            points += best;
            close &= best >= word.least;
        }
        Some(if close { Fit::Close(points) } else { Fit::Strewn })
    }

    /// Whether all words fit.
    pub fn fits(&self, names: &[&str], matcher: &mut Matcher) -> bool {
        matches!(self.fit(names, matcher), Some(Fit::Close(_)))
    }

    /// The places of the letters that match, counted in characters and in order: for each word in the name that it fits best.
    pub fn places(&self, names: &[&str], matcher: &mut Matcher) -> Vec<Vec<u32>> {
        let mut places = vec![Vec::new(); names.len()];
        for word in &self.words {
            let fits = names.iter().map(|name| matcher.points(word, name)).enumerate();
            let fits = fits.filter_map(|(at, points)| Some((points?, at)));
            // Of two that fit as well it is the first: the path.
            let best = fits.max_by_key(|(points, at)| (*points, std::cmp::Reverse(*at)));
            let Some((_, at)) = best.filter(|(points, _)| *points >= word.least) else { continue };
            if let (Some(name), Some(own)) = (names.get(at), places.get_mut(at)) {
                matcher.mark(word, name, own);
            }
        }
        for own in &mut places {
            own.sort_unstable();
            own.dedup();
        }
        places
    }
}

impl Word {
    fn of(word: &str, matcher: &mut Matcher) -> Word {
        let ignore_case = !word.chars().any(char::is_uppercase);
        let folded = if ignore_case { word.to_lowercase() } else { word.to_owned() };
        let mut word = Word { letters: Utf32String::from(folded.as_str()), ignore_case, least: 0 };
        word.least = matcher.points(&word, &folded).unwrap_or(0) * LEAST / 10;
        word
    }
}

impl Matcher {
    fn points(&mut self, word: &Word, name: &str) -> Option<u32> {
        self.inner.config.ignore_case = word.ignore_case;
        let name = Utf32Str::new(name, &mut self.letters);
        self.inner.fuzzy_match(name, word.letters.slice(..)).map(u32::from)
    }

    fn mark(&mut self, word: &Word, name: &str, places: &mut Vec<u32>) {
        self.inner.config.ignore_case = word.ignore_case;
        let name = Utf32Str::new(name, &mut self.letters);
        let _ = self.inner.fuzzy_indices(name, word.letters.slice(..), places);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn fits(text: &str, name: &str) -> bool {
        Words::of(text).fits(&[name], &mut Matcher::default())
    }

    #[test]
    fn letters_may_be_left_out_and_not_be_strewn() {
        assert!(fits("stg.1.blk.5", "stages.1.blocks.5"));
        assert!(fits("l1c2", "layer1.0.conv2"));
        assert!(fits("enc5attnq", "encoder.layers.5.attention.query"));
        assert!(fits("attn", "encoder.attention.0"));
        assert!(fits("conv", "layer1.0.conv1"));
        assert!(!fits("conv", "encoder.layers.0.norm.value"), "strewn");
        assert!(!fits("gamma", "generator.layers.m.a.m.a"), "strewn");
        assert!(!fits("1.conv", "conv.1"), "another order");
    }

    #[test]
    fn case_counts_where_it_is_typed() {
        assert!(fits("conv2d", "Conv2d") && fits("Conv2d", "Conv2d") && !fits("CONV2D", "Conv2d"));
        assert!(fits("größe", "GRÖSSE.Größe"));
    }

    #[test]
    fn each_word_has_its_name_and_the_best_is_first() {
        let mut matcher = Matcher::default();
        let words = Words::of("l2 Conv2d");
        assert!(words.fits(&["layer2.0.conv1", "Conv2d"], &mut matcher));
        assert!(!words.fits(&["layer1.0.conv1", "Conv2d"], &mut matcher));
        assert_eq!(words.places(&["layer2.0", "Conv2d"], &mut matcher), [vec![0, 5], vec![0, 1, 2, 3, 4, 5]]);
        let mut points = |name: &str| match Words::of("conv").fit(&[name], &mut matcher) {
            Some(Fit::Close(points)) => points,
            other => panic!("{name}: {other:?}"),
        };
        assert!(points("layer.conv") > points("layer.c.onv"));
        assert_eq!(Words::of(" ").fit(&["a"], &mut matcher), Some(Fit::Close(0)));
        assert!(Words::of(" ").is_empty() && Words::of("").is_empty());
    }

    proptest! {
        #[test]
        fn a_longer_text_finds_nothing_that_the_shorter_has_not(text in "[a-cA.0 ]{0,6}", more in "[a-c.0 ]{1,3}", name in "[a-cA.0é]{0,12}") {
            let (short, long) = (Words::of(&text), Words::of(&format!("{text}{more}")));
            let mut matcher = Matcher::default();
            prop_assume!(long.narrows(&short));
            if long.fit(&[&name], &mut matcher).is_some() {
                prop_assert!(short.fit(&[&name], &mut matcher).is_some());
            }
        }

        #[test]
        fn any_text_can_be_looked_for_in_any_name(text in "\\PC{0,30}", name in "\\PC{0,60}") {
            let (words, mut matcher) = (Words::of(&text), Matcher::default());
            let places = words.places(&[&name, "Conv2d"], &mut matcher);
            let length = name.chars().count() as u32;
            prop_assert!(places[0].iter().all(|at| *at < length));
            if !text.is_empty() {
                // What is written as it stands is found.
                prop_assert!(Words::one(&name).fits(&[&name], &mut matcher));
            }
        }
    }
}
