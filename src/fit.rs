//! Text that fits: clipped, wrapped and aligned by the columns it takes on a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text, or its beginning and an ellipsis where it takes more than `columns`.
pub fn clip(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut clipped = String::new();
    let mut taken = 0;
    for character in text.chars() {
        let wide = character.width().unwrap_or(0);
        if taken + wide + 1 > columns {
            break;
        }
        taken += wide;
        clipped.push(character);
    }
    if columns > 0 {
        clipped.push('…');
    }
    clipped
}

/// Text padded with spaces to a number of columns.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The text in rows of at most `columns`, broken at spaces where that is possible.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    rows(text, columns, columns)
}

/// The text in rows, of which the first has `first` columns.
fn rows(text: &str, first: usize, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut rows = Vec::new();
    for paragraph in text.split('\n') {
        let mut row = String::new();
        for word in paragraph.split_whitespace() {
            let room = if rows.is_empty() { first.max(1) } else { columns };
            let gap = usize::from(!row.is_empty());
            let begun = !row.is_empty() || (room < columns && word.width() <= columns);
            if begun && row.width() + gap + word.width() > room {
                rows.push(std::mem::take(&mut row));
            }
            if !row.is_empty() {
                row.push(' ');
            }
            for character in word.chars() {
                let room = if rows.is_empty() { first.max(1) } else { columns };
                if row.width() + character.width().unwrap_or(0) > room && !row.is_empty() {
                    rows.push(std::mem::take(&mut row));
                }
                row.push(character);
            }
        }
        rows.push(row);
    }
    rows
}

/// Like [`wrap`], but at most `most` rows; the last one is clipped.
pub fn wrap_to(text: &str, columns: usize, most: usize) -> Vec<String> {
    let mut rows = wrap(text, columns);
    if rows.len() > most {
        let rest = rows.split_off(most.saturating_sub(1)).join(" ");
        rows.push(clip(&rest, columns));
    }
    rows
}

/// The text, or its end behind an ellipsis where it takes more than `columns`: of a path the file and the line stay.
pub fn clip_left(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let (mut from, mut taken) = (text.len(), 1);
    for (at, character) in text.char_indices().rev() {
        taken += character.width().unwrap_or(0);
        if taken > columns {
            break;
        }
        from = at;
    }
    if columns > 0 { format!("…{}", &text[from..]) } else { String::new() }
}

/// The text in rows: the first has `columns - from` columns, those below begin after `hang` of them, which are no more than
/// three quarters.
pub fn hang(text: &str, columns: usize, from: usize, hang: usize) -> Vec<String> {
    let columns = columns.max(4);
    let hang = hang.min(columns * 3 / 4);
    let indented = |(at, row): (usize, String)| if at == 0 { row } else { format!("{}{row}", " ".repeat(hang)) };
    let first = columns.saturating_sub(from);
    rows(text, first, columns - hang).into_iter().enumerate().map(indented).collect()
}

/// A report's text for a terminal of so many columns: lines that are longer are wrapped, and hang below their last column.
/// Without a number of columns every line stays one.
pub fn fit(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return text.to_owned() };
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if line.width() <= columns {
            out.push_str(line);
        } else {
            out.push_str(&fitted(line, columns));
        }
        out.push('\n');
    }
    if !text.ends_with('\n') {
        out.pop();
    }
    out
}

/// One line that is too long, in rows.
fn fitted(line: &str, columns: usize) -> String {
    let indent = line.len() - line.trim_start().len();
    // What stands before the last gap are columns, which stay where they are; behind it are words.
    let gap = line.trim_end().rfind("  ").map_or(indent, |at| at + 2);
    let (head, words) = line.split_at(gap.max(indent));
    let deep = indent + 4;
    let from = head.width();
    if from <= columns / 2 {
        let below = if gap > indent { from } else { deep.min(columns / 2) };
        return format!("{head}{}", hang(words, columns, from, below).join("\n"));
    }
    // The columns leave too little room: the words go below them.
    let mut head = head.trim_end().to_owned();
    if head.width() > columns {
        head = format!("{}{}", " ".repeat(indent), hang(head.trim(), columns, indent, deep).join("\n"));
    }
    format!("{head}\n{}{}", " ".repeat(deep), hang(words, columns, deep, deep).join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_clipped_by_columns_not_by_characters() {
        assert_eq!(clip("conv1", 5), "conv1");
        assert_eq!(clip("conv1", 4), "con…");
        assert_eq!(clip("漢字漢字", 5), "漢字…");
        assert_eq!(clip("漢字漢字", 4), "漢…");
        assert_eq!(clip("abc", 0), "");
    }

    #[test]
    fn long_words_are_broken_and_paragraphs_kept() {
        assert_eq!(wrap("a host value in the graph", 12), ["a host value", "in the graph"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
        assert_eq!(wrap_to("one two three four", 5, 2), ["one", "two …"]);
    }

    #[test]
    fn the_end_of_a_path_stays() {
        assert_eq!(clip_left("models/swin.py:172", 18), "models/swin.py:172");
        assert_eq!(clip_left("models/swin.py:172", 12), "…swin.py:172");
        assert_eq!(clip_left("漢字漢字", 4), "…字");
        assert_eq!(clip_left("abc", 0), "");
    }

    #[test]
    fn rows_below_the_first_hang() {
        assert_eq!(hang("one two three", 11, 4, 6), ["one two", "      three"]);
        assert_eq!(hang("one", 11, 4, 6), ["one"]);
        assert_eq!(hang("abcdefghijkl", 8, 4, 4), ["abcd", "    efgh", "    ijkl"]);
        assert_eq!(hang("", 8, 4, 4), [""]);
        assert_eq!(hang("abcdef gh", 10, 6, 2), ["", "  abcdef", "  gh"], "a word that fits below is not broken");
    }

    #[test]
    fn reports_fit_where_there_is_a_width_and_only_there() {
        let text =
            "a: short\n  name        what the name of this row stands for, in words\nplain words that go on and on\n";
        assert_eq!(fit(text, None), text);
        let fitted = fit(text, Some(28));
        assert_eq!(
            fitted,
            "a: short\n  name        what the name\n              of this row\n              stands for, in\n              words\n\
             plain words that go on and\n    on\n"
        );
        let wide = "  encoder.layers.0.attention.out_proj  different      off by 3";
        assert_eq!(fit(wide, Some(40)), "  encoder.layers.0.attention.out_proj\n      different\n      off by 3");
        assert!(fit(wide, Some(60)).lines().all(|line| line.width() <= 60));
        for columns in 1..90 {
            let words = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(words(&fit(text, Some(columns))), words(text), "nothing is lost at {columns}");
        }
    }
}
