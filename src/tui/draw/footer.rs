//! The bottom line: keys on the left, from the table; on the right what a run would do, or something to say.

use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use crate::compare::WeightSource;
use crate::tui::action::Command;
use crate::tui::canvas::Canvas;
use crate::tui::state::State;
use crate::tui::text;
use t2m_checkpoint::escape::sentence;

/// Columns between two keys.
const GAP: usize = 2;

/// Draw it.
pub fn draw(state: &State, canvas: &mut Canvas<'_>, area: Rect) {
    let columns = usize::from(area.width);
    let mut left = area.x + 1;
    if let Some(line) = state.panels.current().and_then(|panel| panel.prompt(canvas, columns / 2)) {
        text::put(canvas.buffer, left, area.y, columns, &line);
        left += line.width() as u16 + 3;
    }
    // What makes a run another one than the usual must not give way to keys.
    let unusual = || Some(settings(state)).filter(|_| state.trials.is_unusual());
    let notice = notice(state, canvas, columns * 3 / 4).or_else(unusual);
    let taken = notice.as_ref().map_or(0, |line| line.width() + 2);
    let mut keys: Vec<(Line, Command)> = state
        .keymap
        .of(state.panels.open)
        .filter(|binding| canvas.view.has_graph || !binding.command.is_of_graph())
        .filter_map(|binding| {
            let word = Span::styled(format!(" {}", binding.footer.as_ref()?), state.theme.muted());
            let key = Span::styled(binding.keys.first()?.clone(), state.theme.key());
            Some((Line::from(vec![key, word]), binding.command))
        })
        .collect();
    let total = |keys: &[(Line, Command)]| keys.iter().map(|(line, _)| line.width() + GAP).sum::<usize>();
    let room = columns.saturating_sub(usize::from(left - area.x) + taken);
    // Where not all keys fit, help and quit (the last two) stay longest.
    while total(&keys) > room + GAP && !keys.is_empty() {
        keys.remove(keys.len().saturating_sub(3));
    }
    let used = usize::from(left - area.x) + total(&keys);
    let right = notice.or_else(|| Some(settings(state)).filter(|line| used + line.width() < columns));
    if let Some(right) = right {
        let x = area.right().saturating_sub(right.width() as u16 + 1);
        text::put(canvas.buffer, x, area.y, right.width(), &right);
    }
    for (line, command) in keys {
        let width = line.width() as u16;
        text::put(canvas.buffer, left, area.y, usize::from(width), &line);
        canvas.areas.keys.push((Rect::new(left, area.y, width, 1), command));
        left += width + GAP as u16;
    }
}

/// The message on the right: a notice, or where we are among the matches of a search.
fn notice(state: &State, canvas: &Canvas<'_>, room: usize) -> Option<Line<'static>> {
    let theme = &state.theme;
    if let Some(notice) = &state.notice {
        return Some(Line::from(Span::styled(text::clip(&sentence(notice), room), theme.notice())));
    }
    let find = state.panels.open.is_none().then_some(&state.panels.find)?;
    let words = text::clip(&find.place(&canvas.view.tree)?, room);
    Some(Line::from(Span::styled(words, theme.found().remove_modifier(Modifier::UNDERLINED))))
}

/// What a run does.
fn settings(state: &State) -> Line<'static> {
    let trials = &state.trials;
    let dtypes = trials.dtypes.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(" ");
    let weights = if trials.weights == WeightSource::Random { " · random weights" } else { "" };
    let twins = if trials.naive { " · plain renames" } else { "" };
    let words = format!("{dtypes} · {} trials · seed {}{weights}{twins}", trials.count, trials.seed);
    Line::from(Span::styled(words, state.theme.muted()))
}
