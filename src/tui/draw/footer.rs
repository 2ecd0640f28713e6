//! The bottom line: keys on the left, from the table; on the right what a run would do, or something to say.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::text;
use crate::compare::WeightSource;
use crate::tui::action::Command;
use crate::tui::keymap::Mode;
use crate::tui::layout::Layout;
use crate::tui::state::{State, View};
use t2m_checkpoint::escape::{escape, sentence};

/// Columns between two keys.
const GAP: usize = 2;

/// Draw it.
pub fn draw(state: &State, view: &View, area: Rect, buffer: &mut Buffer, layout: &mut Layout) {
    let columns = usize::from(area.width);
    let mut left = area.x + 1;
    if let (Mode::Find, Some(find)) = (view.mode, &view.find) {
        let line = prompt(state, &find.text, find.matches.len(), columns / 2);
        text::put(buffer, left, area.y, columns, &line);
        left += line.width() as u16 + 3;
    }
    let notice = notice(state, view, columns * 3 / 4);
    let taken = notice.as_ref().map_or(0, |line| line.width() + 2);
    let mut keys: Vec<(Line, Command)> = state
        .keymap
        .of(view.mode)
        .filter_map(|binding| {
            let word = Span::styled(format!(" {}", binding.footer.as_ref()?), state.theme.muted());
            let key = Span::styled(binding.keys.first()?.clone(), state.theme.key());
            Some((Line::from(vec![key, word]), binding.command))
        })
        .collect();
    let total = |keys: &[(Line, Command)]| keys.iter().map(|(line, _)| line.width() + GAP).sum::<usize>();
    let room = columns.saturating_sub(usize::from(left - area.x) + taken);
    // Where not all fit, help and quit (the last two) stay longest.
    while total(&keys) > room + GAP && !keys.is_empty() {
        keys.remove(keys.len().saturating_sub(3));
    }
    let used = usize::from(left - area.x) + total(&keys);
    let right = notice.or_else(|| Some(settings(state)).filter(|line| used + line.width() < columns));
    if let Some(right) = right {
        let x = area.right().saturating_sub(right.width() as u16 + 1);
        text::put(buffer, x, area.y, right.width(), &right);
    }
    for (line, command) in keys {
        let width = line.width() as u16;
        text::put(buffer, left, area.y, usize::from(width), &line);
        layout.keys.push((Rect::new(left, area.y, width, 1), command));
        left += width + GAP as u16;
    }
}

/// What is searched for, with a cursor, and how many modules match.
fn prompt(state: &State, words: &str, matches: usize, room: usize) -> Line<'static> {
    let theme = &state.theme;
    let words = sentence(words);
    // The end of a long search is what is being typed.
    let hidden = text::width(&words).saturating_sub(room.max(8));
    let shown: String = words.chars().skip(hidden).collect();
    let count = match matches {
        _ if words.trim().is_empty() => String::new(),
        0 => "  no match".to_owned(),
        1 => "  1 match".to_owned(),
        count => format!("  {count} matches"),
    };
    Line::from(vec![
        Span::styled("/", theme.key()),
        Span::styled(shown, theme.text()),
        Span::styled(" ", theme.text().add_modifier(Modifier::REVERSED)),
        Span::styled(count, theme.muted()),
    ])
}

/// Something to say: a notice, or where we are among the matches of a search.
fn notice(state: &State, view: &View, room: usize) -> Option<Line<'static>> {
    let theme = &state.theme;
    if let Some(notice) = &state.notice {
        return Some(Line::from(Span::styled(text::clip(&sentence(notice), room), theme.notice())));
    }
    let find = view.find.as_ref().filter(|_| view.mode == Mode::Main)?;
    let at = find.matches.binary_search(&view.tree.selected).map_or("-".to_owned(), |at| (at + 1).to_string());
    let words = format!("/{}  {at} of {}", escape(&find.text), find.matches.len());
    Some(Line::from(Span::styled(text::clip(&words, room), theme.found().remove_modifier(Modifier::UNDERLINED))))
}

/// What a run does.
fn settings(state: &State) -> Line<'static> {
    let trials = &state.trials;
    let dtypes = trials.dtypes.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(" ");
    let weights = if trials.weights == WeightSource::Random { " · random weights" } else { "" };
    let words = format!("{dtypes} · {} trials · seed {}{weights}", trials.count, trials.seed);
    Line::from(Span::styled(words, state.theme.muted()))
}
