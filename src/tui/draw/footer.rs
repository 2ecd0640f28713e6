//! The bottom line. First what is being typed and the state that must not be overlooked: what runs and how long yet, what a run
//! uses besides the usual, what is hidden. Then the keys, which give way when the room ends; on the right something to say, or
//! what a run does. What is to be said and is too long stands in rows of its own above it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};
use t2m_checkpoint::Dtype;
use t2m_engine::Device;

use crate::compare::WeightSource;
use crate::tui::action::Command;
use crate::tui::canvas::{Canvas, spinner};
use crate::tui::panels::keep::Where;
use crate::tui::panels::{Name, Panel};
use crate::tui::state::State;
use crate::tui::text;
use t2m_checkpoint::escape::sentence;

/// Columns between two keys.
const GAP: usize = 2;
/// Columns of the last two keys, help and quit.
const LAST: usize = 18;
/// Most rows of a message above the line.
const MESSAGE: u16 = 3;

/// Draw it.
pub fn draw(state: &State, canvas: &mut Canvas<'_>, area: Rect) {
    let columns = usize::from(area.width);
    let mut left = 1;
    let prompt = |panel: &dyn Panel| match panel.seek().and_then(|seek| seek.prompt(canvas, columns / 2)) {
        Some(line) => Some(line),
        None => panel.prompt(canvas, columns / 2),
    };
    if let Some(line) = state.panels.current().and_then(prompt) {
        text::put(canvas.buffer, area.x + 1, area.y, columns.saturating_sub(1), &line);
        left += line.width() + 3;
    }
    if state.asks_where() {
        left +=
            ask(state, canvas, Rect { x: area.x + left as u16, width: area.width.saturating_sub(left as u16), ..area })
                + 3;
    }
    let mut keys = keys(state, canvas);
    // Help and quit, the last two, stay longest.
    let least = total(keys.get(keys.len().saturating_sub(2)..).unwrap_or_default());
    let state_line =
        in_force(state, canvas, columns.saturating_sub(left + least + 1), columns.saturating_sub(left + 1));
    if state_line.width() > 0 {
        text::put(canvas.buffer, area.x + left as u16, area.y, columns.saturating_sub(left + 1), &state_line);
        left += state_line.width() + 3;
    }
    let room = columns.saturating_sub(left);
    let notice = message(state, canvas);
    let inline = notice.as_ref().filter(|line| line.width() + least + GAP < room);
    if let (Some(line), None) = (&notice, inline) {
        above(state, canvas.buffer, area, line);
    }
    let taken = inline.map_or(0, |line| line.width() + 2);
    while total(&keys) > (room + GAP).saturating_sub(taken + 1) && !keys.is_empty() {
        keys.remove(keys.len().saturating_sub(3));
    }
    let used = left + total(&keys);
    let right = inline.cloned().or_else(|| Some(settings(state)).filter(|line| used + line.width() < columns));
    if let Some(right) = right {
        let x = area.right().saturating_sub(right.width() as u16 + 1);
        text::put(canvas.buffer, x, area.y, right.width(), &right);
    }
    let mut x = area.x + left as u16;
    for (line, command) in keys {
        let width = line.width() as u16;
        text::put(canvas.buffer, x, area.y, usize::from(width), &line);
        canvas.areas.keys.push((Rect::new(x, area.y, width, 1).intersection(area), command));
        x += width + GAP as u16;
    }
}

/// Ask where what is done here is kept, with the keys that answer, in the longest words that fit. Returns how many columns that took.
fn ask(state: &State, canvas: &mut Canvas<'_>, area: Rect) -> usize {
    let theme = &state.theme;
    let words = |form: usize| {
        let question = ["Where is what you do here to be kept?", "Keep where?", "Keep?"][form];
        let answers = [
            ["in the state folder", "state folder", "state"],
            ["beside the file", "beside the file", "beside"],
            ["nowhere", "nowhere", "no"],
        ];
        let key =
            |at: Where| state.keymap.keys_of(Some(Name::Keep), Command::Keep(at)).first().cloned().unwrap_or_default();
        let mut spans = vec![Span::styled(question, theme.notice())];
        let mut places = Vec::new();
        let mut taken = text::width(question);
        for (at, words) in Where::ALL.into_iter().zip(answers) {
            let (key, words) = (key(at), format!(" {}", words[form]));
            let columns = text::width(&key) + text::width(&words);
            places.push((taken + GAP, columns, at));
            spans.extend([
                Span::raw(" ".repeat(GAP)),
                Span::styled(key, theme.key()),
                Span::styled(words, theme.text()),
            ]);
            taken += GAP + columns;
        }
        (Line::from(spans), places)
    };
    // The last keys stay beside it.
    let room = usize::from(area.width).saturating_sub(LAST);
    let (line, places) = (0..2).map(words).find(|(line, _)| line.width() <= room).unwrap_or_else(|| words(2));
    text::put(canvas.buffer, area.x, area.y, usize::from(area.width), &line);
    for (from, columns, at) in places {
        let place = Rect { x: area.x + from as u16, width: columns as u16, ..area };
        canvas.areas.keys.push((place.intersection(area), Command::Keep(at)));
    }
    line.width()
}

/// The keys of the open panel or of the panes that have a word for this line.
fn keys(state: &State, canvas: &Canvas<'_>) -> Vec<(Line<'static>, Command)> {
    let bindings = state.keymap.of(state.panels.mode());
    let bindings = bindings.filter(|binding| canvas.view.has_graph || !binding.command.is_of_graph());
    let key = |binding: &crate::tui::keymap::Binding| {
        let word = Span::styled(format!(" {}", binding.footer.as_ref()?), state.theme.muted());
        let key = Span::styled(binding.keys.first()?.clone(), state.theme.key());
        Some((Line::from(vec![key, word]), binding.command))
    };
    bindings.filter_map(key).collect()
}

fn total(keys: &[(Line<'_>, Command)]) -> usize {
    keys.iter().map(|(line, _)| line.width() + GAP).sum()
}

/// What is in force and is not the usual, in the longest words that fit `wish` columns; in the shortest, cut at `most`, where none
/// do.
fn in_force(state: &State, canvas: &Canvas<'_>, wish: usize, most: usize) -> Line<'static> {
    let (theme, view) = (&state.theme, canvas.view);
    let mut parts: Vec<[String; 3]> = Vec::new();
    for job in state.jobs.going() {
        parts.push(job.words(state.clock).map(|words| format!("{} {words}", spinner(state.tick))));
    }
    let mut part = |is_on: bool, words: [&str; 3]| parts.extend(is_on.then(|| words.map(str::to_owned)));
    part(state.trials.weights == WeightSource::Random, ["random weights", "random w", "w"]);
    part(state.trials.naive, ["plain renames", "renames", "t"]);
    part(state.trials.tf32, ["MLX's default too", "default", "F"]);
    part(state.trials.device == Some(Device::Gpu), ["on the GPU", "gpu", "g"]);
    part(state.trials.device == Some(Device::Cpu), ["on the CPU", "cpu", "c"]);
    let dtype = |wanted: Dtype| state.trials.dtypes.contains(&wanted);
    match (dtype(Dtype::Float16), dtype(Dtype::BFloat16)) {
        (true, true) => part(true, ["f16 bf16", "f16 bf16", "d"]),
        (true, false) => part(true, ["f16", "f16", "d"]),
        (false, true) => part(true, ["bf16", "bf16", "d"]),
        (false, false) => {}
    }
    if view.zoomed {
        part(true, ["zoomed", "zoomed", "Z"]);
    }
    let stale = view.measured.stale_below(0);
    if stale > 0 {
        parts.push([format!("{stale} stale"), format!("{stale} stale"), "s".to_owned()]);
    }
    if !view.tree.filter.is_empty() {
        let (shown, all) = (view.tree.wanted(&view.document), view.document.len());
        parts.push([format!("filter: {shown} of {all}"), format!("{shown} of {all}"), "f".to_owned()]);
    }
    let line = |form: usize| {
        let mut spans = Vec::new();
        for words in &parts {
            if !spans.is_empty() {
                spans.push(Span::styled(if form < 2 { " · " } else { " " }, theme.muted()));
            }
            spans.push(Span::styled(words[form].clone(), theme.notice()));
        }
        Line::from(spans)
    };
    let fitting = (0..3).map(line).find(|line| line.width() <= wish);
    fitting.unwrap_or_else(|| {
        let shortest = line(2);
        let words: String = shortest.spans.iter().map(|span| span.content.as_ref()).collect();
        Line::styled(text::clip(&words, most), theme.notice())
    })
}

/// Something to say: a notice, or where we are among the matches of a search.
fn message(state: &State, canvas: &Canvas<'_>) -> Option<Line<'static>> {
    let theme = &state.theme;
    if let Some(notice) = &state.notice {
        return Some(Line::from(Span::styled(sentence(notice).into_owned(), theme.notice())));
    }
    let words = match state.panels.current() {
        None => state.panels.find.place(&canvas.view.tree)?,
        Some(panel) => panel.seek()?.place(panel.row())?,
    };
    Some(Line::from(Span::styled(words, theme.found().remove_modifier(Modifier::UNDERLINED))))
}

/// A message that is too long for the line, above it.
fn above(state: &State, buffer: &mut Buffer, area: Rect, line: &Line<'_>) {
    let words: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
    let most = MESSAGE.min(area.y / 3).max(1);
    let rows = text::wrap_to(&words, usize::from(area.width.saturating_sub(2)), usize::from(most));
    let style = line.spans.first().map_or(state.theme.notice(), |span| span.style);
    let height = (rows.len() as u16).min(area.y);
    let place = Rect { y: area.y - height, height, ..area };
    Clear.render(place.intersection(buffer.area), buffer);
    for (row, y) in rows.iter().zip(place.top()..place.bottom()) {
        text::put_text(buffer, place.x + 1, y, usize::from(place.width.saturating_sub(2)), row, style);
    }
}

/// What a run does.
fn settings(state: &State) -> Line<'static> {
    let trials = &state.trials;
    let words = format!("{} trials · seed {}", trials.count, trials.seed);
    Line::from(Span::styled(words, state.theme.muted()))
}
