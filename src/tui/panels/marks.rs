//! Mark and note of the selected module, or of its class: what is to be done about it, and why.

use ratatui::layout::{Position, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::{Panel, Then};
use crate::session::{About, Mark};
use crate::tui::action::Command;
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::context::{Context, Hit};
use crate::tui::panes::View;
use crate::tui::text;
use crate::tui::theme::Theme;
use t2m_checkpoint::escape::{quoted, sentence};

/// Columns with the border, at most.
const WIDTH: u16 = 84;
/// What stands before each line that is typed.
const LABELS: [&str; 2] = [" mark > ", " note > "];
/// Rows of a note that are shown, the last ones.
const ROWS: usize = 6;
/// Characters of a mark and of a note.
const MOST: [usize; 2] = [24, 4000];

/// What is typed, of the module and of its class.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    drafts: [Draft; 2],
    /// Whether it is of the class.
    of_class: bool,
    /// Whether the note is being typed, and not the mark.
    in_note: bool,
    /// Whether a mark was changed: what is typed first stands in for the mark that was there.
    touched: bool,
}

/// The two lines.
#[derive(Debug, Clone, Default)]
struct Draft {
    about: Option<About>,
    lines: [String; 2],
}

impl Marks {
    fn draft(&mut self) -> &mut Draft {
        let [module, class] = &mut self.drafts;
        if self.of_class { class } else { module }
    }

    fn shown(&self) -> &Draft {
        let [module, class] = &self.drafts;
        if self.of_class { class } else { module }
    }

    fn line(&mut self) -> &mut String {
        let in_note = self.in_note;
        let [mark, note] = &mut self.draft().lines;
        if in_note { note } else { mark }
    }

    /// Keep both.
    fn take(&self, context: &mut Context<'_>) -> Then {
        let known = known(context.view);
        for Draft { about, lines: [mark, note] } in &self.drafts {
            if let Some(about) = about.clone() {
                context.view.set_note(about, mark_of(mark, &known), note.trim().to_owned(), context.effects);
            }
        }
        Then::Close
    }

    /// The mark before, or the one behind, going round: none, the usual ones, the user's own.
    fn turn(&mut self, by: usize, known: &[Mark]) {
        self.touched = true;
        let words: Vec<&str> = std::iter::once("").chain(known.iter().map(Mark::word)).collect();
        let [mark, _] = &mut self.draft().lines;
        let now = mark_of(mark, known);
        let at = words.iter().position(|word| now.as_ref().map_or("", Mark::word) == *word).unwrap_or(0);
        *mark = words.get((at + by) % words.len()).map(|word| (*word).to_owned()).unwrap_or_default();
    }
}

/// The marks that there are: the usual ones, and the user's own.
fn known(view: &View) -> Vec<Mark> {
    Mark::USUAL.into_iter().chain(view.work.own_marks()).collect()
}

/// The mark that a text means: one that there is where it is the only one that begins so.
fn mark_of(text: &str, known: &[Mark]) -> Option<Mark> {
    let word = text.trim();
    let mut begin = known.iter().filter(|mark| mark.word().starts_with(word));
    match (word.is_empty(), known.iter().find(|mark| mark.word() == word), begin.next(), begin.next()) {
        (true, ..) => None,
        (_, Some(same), ..) => Some(same.clone()),
        (_, _, Some(only), None) => Some(only.clone()),
        _ => Some(Mark::from(word.to_owned())),
    }
}

impl Panel for Marks {
    fn open(&mut self, context: &mut Context<'_>) {
        let (view, id) = (&*context.view, context.view.tree.selected);
        let Some(module) = view.document.module(id) else { return };
        let draft = |about: About| {
            let note = view.work.note(&about).cloned().unwrap_or_default();
            let mark = note.mark.map(|mark| mark.word().to_owned()).unwrap_or_default();
            Draft { about: Some(about), lines: [mark, note.note] }
        };
        let class = (!module.class.is_empty()).then(|| draft(About::Class(module.class.to_string())));
        let own = draft(About::Module(module.path.to_string()));
        *self = Marks { drafts: [own, class.unwrap_or_default()], ..Marks::default() };
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        let known = known(context.view);
        match command {
            Command::Accept => return self.take(context),
            Command::Dismiss => return Then::Close,
            Command::Scope if self.drafts.iter().all(|draft| draft.about.is_some()) => self.of_class = !self.of_class,
            Command::Down | Command::Up => {
                let [mark, _] = &mut self.draft().lines;
                *mark = mark_of(mark, &known).map(String::from).unwrap_or_default();
                self.in_note = !self.in_note;
            }
            Command::Right if !self.in_note => self.turn(1, &known),
            Command::Left if !self.in_note => self.turn(known.len(), &known),
            Command::Forget => self.draft().lines = Default::default(),
            Command::Erase => {
                self.touched = true;
                self.line().pop();
            }
            Command::EraseAll => self.line().clear(),
            _ => {}
        }
        Then::Stay
    }

    fn takes_text(&self) -> bool {
        true
    }

    fn text(&mut self, text: &str, _context: &mut Context<'_>) {
        let [mark, note] = MOST;
        let most = if self.in_note { note } else { mark };
        let first = !self.in_note && !std::mem::replace(&mut self.touched, true);
        let line = self.line();
        if first {
            line.clear();
        }
        let room = most.saturating_sub(line.chars().count());
        line.extend(text.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).take(room));
    }

    /// A click beside the panel closes it, and keeps what was typed.
    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        match context.hit(at) {
            Hit::Row(row) => self.in_note = row > 0,
            Hit::Inside => {}
            Hit::Beside => return self.take(context),
        }
        Then::Stay
    }

    fn wheel(&mut self, _at: Position, _rows: i32, _context: &mut Context<'_>) {}

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let (theme, view) = (canvas.theme, canvas.view);
        let width = area.width.min(WIDTH);
        let columns = usize::from(width.saturating_sub(4));
        let Some(module) = view.document.module(view.tree.selected) else { return };
        let class = quoted(module.short_class()).into_owned();
        let of = match (self.of_class, module.path.as_str()) {
            (true, _) => format!("every {class}"),
            (false, "") => "the whole model".to_owned(),
            (false, path) => quoted(path).into_owned(),
        };
        let title = format!("Mark and note of {}", text::clip_left(&of, columns.saturating_sub(18)));
        let (mark, note) = (self.mark_line(view, theme, columns), self.note_lines(theme, columns));
        let typed = 1 + note.len();
        let mut lines = vec![mark];
        lines.extend(note);
        lines.push(Line::default());
        lines.extend(self.below(view, theme, columns, &class));
        let height = (lines.len() as u16 + 2).min(area.height);
        let inner = canvas.popup(area, (width, height), &title);
        text::put_lines(canvas.buffer, inner, &lines);
        let typed = Rect { height: (typed as u16).min(inner.height), ..inner };
        canvas.areas.panel = Some(Rows { area: typed, top: 0, count: usize::from(typed.height) });
    }
}

impl Marks {
    /// The mark with what completes it, and what can be chosen.
    fn mark_line(&self, view: &View, theme: &Theme, columns: usize) -> Line<'static> {
        let ([label, _], [mark, _]) = (LABELS, &self.shown().lines);
        let known = known(view);
        let means = mark_of(mark, &known);
        let rest = means.as_ref().and_then(|mean| mean.word().strip_prefix(mark.trim())).unwrap_or_default();
        let mut spans =
            vec![Span::styled(label, self.label(theme, false)), Span::styled(quoted(mark).into_owned(), theme.text())];
        if !self.in_note {
            let mut signs = rest.chars();
            let under = signs.next().unwrap_or(' ').to_string();
            spans.push(Span::styled(quoted(&under).into_owned(), theme.muted().add_modifier(Modifier::REVERSED)));
            spans.push(Span::styled(quoted(signs.as_str()).into_owned(), theme.muted()));
        }
        let used: usize = spans.iter().map(Span::width).sum();
        let words: Vec<&str> = known.iter().map(Mark::word).collect();
        let choice = format!("{}, or a word of your own", words.join(", "));
        let pad = 24usize.saturating_sub(used).max(2);
        let choice = text::clip(&quoted(&choice), columns.saturating_sub(used + pad));
        spans.push(Span::styled(format!("{}{choice}", " ".repeat(pad)), theme.faint()));
        Line::from(spans)
    }

    fn label(&self, theme: &Theme, of_note: bool) -> ratatui::style::Style {
        if self.in_note == of_note { theme.key() } else { theme.muted() }
    }

    /// The note, of a long one the last rows, where the user types.
    fn note_lines(&self, theme: &Theme, columns: usize) -> Vec<Line<'static>> {
        let ([_, label], [_, note]) = (LABELS, &self.shown().lines);
        let rows = text::wrap(&quoted(note), columns.saturating_sub(label.len() + 1));
        let skipped = rows.len().saturating_sub(ROWS);
        let rows: Vec<String> = rows.into_iter().skip(skipped).collect();
        let rows = if rows.is_empty() { vec![String::new()] } else { rows };
        let last = rows.len() - 1;
        let line = |(at, row): (usize, String)| {
            let label = if at == 0 { label.to_owned() } else { " ".repeat(label.len()) };
            let mut spans = vec![Span::styled(label, self.label(theme, true)), Span::styled(row, theme.text())];
            if at == last && self.in_note {
                spans.push(Span::styled(" ", theme.text().add_modifier(Modifier::REVERSED)));
            }
            Line::from(spans)
        };
        rows.into_iter().enumerate().map(line).collect()
    }

    /// Of whom it is, and where it is kept.
    fn below(&self, view: &View, theme: &Theme, columns: usize, class: &str) -> Vec<Line<'static>> {
        let of_module = |about: &Option<About>| matches!(about, Some(About::Class(_)));
        let [_, of_class] = &self.drafts;
        let count = |of: &About| match of {
            About::Class(path) => view.document.model.modules.iter().filter(|module| module.class == *path).count(),
            About::Module(_) => 1,
        };
        let whom = match (self.of_class, &of_class.about) {
            (true, Some(about)) => format!(" for every {class}: {} in this model", count(about)),
            (false, about) if of_module(about) => format!(" for this module; tab: for every {class}"),
            _ => " for this module".to_owned(),
        };
        let mut lines = vec![Line::styled(text::clip(&whom, columns), theme.muted())];
        match &view.work.unkept {
            Some(why) => {
                let rows = text::wrap(&sentence(why), columns.saturating_sub(1));
                lines.extend(rows.into_iter().map(|row| Line::styled(format!(" {row}"), theme.notice())));
            }
            None => {
                let words = text::clip_left(&quoted(&view.work.place_words()), columns.saturating_sub(6));
                lines.push(Line::styled(format!(" kept {words}"), theme.faint()));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_means_the_only_mark_that_begins_so() {
        let known: Vec<Mark> = Mark::USUAL.into_iter().chain([Mark::Own("doubt".to_owned())]).collect();
        assert_eq!(mark_of("", &known), None);
        assert_eq!(mark_of(" t", &known), Some(Mark::Todo));
        assert_eq!(mark_of("done", &known), Some(Mark::Done));
        // Two begin so: it is a word of its own.
        assert_eq!(mark_of("do", &known), Some(Mark::Own("do".to_owned())));
        assert_eq!(mark_of("ask Ada", &known), Some(Mark::Own("ask Ada".to_owned())));
    }
}
