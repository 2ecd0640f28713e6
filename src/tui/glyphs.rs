//! The signs on screen, and what replaces them where the terminal has only ASCII.
//!
//! Everything is drawn with these signs; [`to_ascii`] then replaces them in the finished buffer.

use ratatui::buffer::Buffer;
use unicode_width::UnicodeWidthStr;

use crate::compare::Verdict;
use crate::graph::run::NodeVerdict;
use crate::session::{Mark, Note};
use crate::triage::Status;

/// Frames of a spinner, one for each tick.
pub const SPINNER: [char; 8] = ['⣾', '⣽', '⣻', '⢿', '⡿', '⣟', '⣯', '⣷'];
/// A blocker.
pub const FLAG: char = '⚑';
/// An unfolded module.
pub const OPEN: char = '▾';
/// A folded one.
pub const CLOSED: char = '▸';
/// The mark beside a selection.
pub const MARK: char = '▌';
/// The full part of a bar.
pub const BAR: char = '▰';
/// The empty part.
pub const BAR_EMPTY: char = '▱';

/// The sign of a status.
pub fn status(status: Status) -> char {
    match status {
        Status::Direct => '●',
        Status::Recipe => '◐',
        Status::Incomplete => '○',
        Status::Unsupported => '✗',
        Status::Container => '▢',
        Status::Custom => '◇',
        Status::Unknown => '?',
    }
}

/// The sign of a verdict.
pub fn verdict(verdict: Verdict) -> char {
    match verdict {
        Verdict::Exact => '=',
        Verdict::Ok => '✓',
        Verdict::Drift => '≈',
        Verdict::Broken => '✗',
        Verdict::Failed => '!',
        Verdict::NotRun => '·',
    }
}

/// The sign of a verdict of a graph's node.
pub fn node_verdict(of: NodeVerdict) -> char {
    match of {
        NodeVerdict::Compared(of) => verdict(of),
        NodeVerdict::Given => '·',
        NodeVerdict::NotANumber => 'N',
        NodeVerdict::Infinite { .. } => '∞',
        NodeVerdict::Refused => '?',
    }
}

/// The sign of a mark, or of a note without one.
pub fn note(note: &Note) -> char {
    note.mark.as_ref().map_or('¶', mark)
}

/// The sign of a mark.
pub fn mark(mark: &Mark) -> char {
    match mark {
        Mark::Todo => '☐',
        Mark::Done => '☑',
        Mark::Skip => '⊘',
        Mark::Own(_) => '★',
    }
}

/// Replace everything that is not ASCII.
pub fn to_ascii(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if cell.symbol().is_ascii() {
            continue;
        }
        let ascii = match cell.symbol().width() {
            0 | 1 => cell.symbol().chars().next().map_or("?", ascii),
            _ => "??",
        };
        cell.set_symbol(ascii);
    }
}

fn ascii(sign: char) -> &'static str {
    match sign {
        '●' => "@",
        '◐' => "%",
        '○' => "o",
        '◇' => "&",
        '▢' => "#",
        '✗' => "x",
        '✓' => "+",
        '≈' => "~",
        '·' | '∙' => ".",
        '⚑' => "^",
        '☐' => "T",
        '☑' => "D",
        '⊘' => "S",
        '★' => "*",
        '¶' => "N",
        '▾' => "v",
        '▸' => ">",
        '▌' => ">",
        '▰' | '┃' => "#",
        '▱' => ".",
        '▲' => "^",
        '→' | '›' => ">",
        '←' => "<",
        '↔' => "-",
        '↑' => "^",
        '↓' => "v",
        '×' => "x",
        '…' => "~",
        '—' | '–' => "-",
        '≤' => "<",
        '≥' => ">",
        '∞' => "i",
        '─' | '┄' | '╌' => "-",
        '│' | '┆' | '┊' => "|",
        '╭' | '╮' | '╰' | '╯' | '├' | '┤' | '┬' | '┴' | '┼' | '└' | '┘' | '┌' | '┐' => "+",
        '⣾' | '⡿' => "|",
        '⣽' | '⣟' => "/",
        '⣻' | '⣯' => "-",
        '⢿' | '⣷' => "\\",
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_and_every_verdict_has_a_sign_of_its_own_in_ascii_too() {
        let distinct = |mut signs: Vec<String>| {
            let count = signs.len();
            signs.sort();
            signs.dedup();
            signs.len() == count
        };
        let plain = |sign: char| if sign.is_ascii() { sign.to_string() } else { ascii(sign).to_owned() };
        assert!(distinct(Status::ALL.map(|at| plain(status(at))).to_vec()));
        assert!(distinct(Verdict::ALL.map(|at| plain(verdict(at))).to_vec()));
        assert!(!Status::ALL.iter().any(|at| plain(status(*at)) == "?" && *at != Status::Unknown));
    }
}
