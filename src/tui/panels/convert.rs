//! The panel of a conversion: where it goes, how far it is, and which tensor becomes which.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::seek::{Names, Seek};
use super::{Name, Panel, Then, read};
use crate::compare::Verdict;
use crate::export::state_dict::Known;
use crate::export::writer::Progress;
use crate::figures::{percent, share};
use crate::tui::action::{Command, Effect};
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::converting::{Event, Preview, Row, Wish};
use crate::tui::field::Field;
use crate::tui::glyphs;
use crate::tui::panes::View;
use crate::tui::scroll::Scroll;
use crate::tui::text;
use t2m_checkpoint::escape::{quoted, sentence};

/// Most columns.
const WIDTH: u16 = 150;
/// Columns of the rule.
const RULE: usize = 18;

/// A conversion, and how far its list of tensors is scrolled.
#[derive(Debug, Clone, Default)]
pub struct Convert {
    /// What would be written, once it is known.
    preview: Option<Result<Arc<Preview>, String>>,
    /// How far the writing has got, while it goes on.
    progress: Option<Progress<'static>>,
    /// How the last one ended.
    outcome: Option<Result<String, String>>,
    /// What is asked of the user.
    asked: Asked,
    scroll: Scroll,
    /// What is looked for in its list, and the row that was found.
    seek: Seek,
    found: Option<usize>,
}

/// What the panel waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Asked {
    /// Nothing: the tensors are read.
    #[default]
    Nothing,
    /// Where the file goes.
    Path(Field),
    /// Whether the file that is there, and that is so, may be replaced.
    Replace(PathBuf, String),
}

impl Convert {
    /// Take in an event. Returns how the conversion ended, if it has.
    pub fn hear(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Planned(preview) => self.preview = Some(preview),
            Event::Progress(progress) => self.progress = Some(progress),
            Event::Exists(path, words) => {
                self.progress = None;
                let told = format!("nothing is written yet: {} is there already", path.display());
                self.asked = Asked::Replace(path, words);
                return Some(told);
            }
            Event::Ended(outcome) => {
                (self.progress, self.outcome) = (None, Some(outcome.clone()));
                return Some(outcome.unwrap_or_else(|error| error));
            }
        }
        None
    }

    /// Whether a file is being written.
    pub fn is_writing(&self) -> bool {
        self.progress.is_some()
    }

    /// How far the writing is, while it goes on.
    pub fn progress(&self) -> Option<&Progress<'static>> {
        self.progress.as_ref()
    }

    fn write(&mut self, path: PathBuf, replace: bool, context: &mut Context<'_>) {
        (self.asked, self.outcome, self.progress) = (Asked::Nothing, None, Some(Progress::default()));
        context.effects.push(Effect::Convert(Wish { path, replace }));
    }

    /// Ask for the path: the one that is proposed, or the one that was asked for before.
    fn ask(&mut self, path: &Path) {
        self.outcome = None;
        self.asked = Asked::Path(Field::of(&path.to_string_lossy()));
    }

    /// A key while something is asked. Returns whether it has a meaning there.
    fn answer(&mut self, command: Command, context: &mut Context<'_>) -> bool {
        match (&mut self.asked, command) {
            (Asked::Nothing, _) => return false,
            (Asked::Path(line), Command::Accept) => {
                let path = line.text.trim().to_owned();
                if path.is_empty() {
                    context.say("a path is wanted");
                } else {
                    self.write(path.into(), false, context);
                }
            }
            (Asked::Path(_), Command::Dismiss) => self.asked = Asked::Nothing,
            (Asked::Path(line), command) => return line.command(command),
            (Asked::Replace(path, _), Command::Yes) => {
                let path = std::mem::take(path);
                self.write(path, true, context);
            }
            (Asked::Replace(path, _), Command::Accept | Command::Dismiss | Command::No) => {
                let path = std::mem::take(path);
                self.ask(&path);
            }
            (Asked::Replace(..), _) => return false,
        }
        true
    }
}

impl Panel for Convert {
    fn scroll(&mut self) -> Option<&mut Scroll> {
        Some(&mut self.scroll)
    }

    fn open(&mut self, context: &mut Context<'_>) {
        self.scroll = Scroll::default();
        (self.seek, self.found) = (Seek::default(), None);
        context.effects.extend(self.preview.is_none().then_some(Effect::PlanConversion));
    }

    /// Closing it does not stop the writing.
    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        if self.answer(command, context) {
            return Then::Stay;
        }
        let writing = self.is_writing();
        match (command, &self.preview) {
            (Command::Accept, Some(Ok(preview))) if !writing => {
                let target = preview.target.clone();
                self.ask(&target);
            }
            (Command::Cancel, _) if writing => context.effects.push(Effect::StopConversion),
            _ => return read(self, command, context),
        }
        Then::Stay
    }

    fn seek(&self) -> Option<&Seek> {
        Some(&self.seek)
    }

    fn seek_mut(&mut self) -> Option<&mut Seek> {
        Some(&mut self.seek)
    }

    fn row_names<'a>(&'a self, _view: &'a View) -> Vec<Names<'a>> {
        self.rows().iter().map(|row| [row.name.as_str(), row.from.as_str(), row.rule.as_str()]).collect()
    }

    fn row(&self) -> usize {
        self.found.unwrap_or(self.scroll.top)
    }

    fn go_to_row(&mut self, row: usize, context: &mut Context<'_>) {
        self.found = Some(row);
        let page = context.rows().map_or(1, Rows::page);
        // Rows before it stay in view.
        if !(self.scroll.top..self.scroll.top + page).contains(&row) {
            self.scroll.top = row.saturating_sub(page / 3);
        }
    }

    fn asks(&self) -> bool {
        matches!(self.asked, Asked::Replace(..))
    }

    fn takes_text(&self) -> bool {
        matches!(self.asked, Asked::Path(_))
    }

    fn text(&mut self, text: &str, _context: &mut Context<'_>) {
        if let Asked::Path(line) = &mut self.asked {
            line.insert(text);
        }
    }

    /// A click beside the list closes the panel; nothing that is typed is lost by one.
    fn click(&mut self, _at: Position, _context: &mut Context<'_>) -> Then {
        if self.asked == Asked::Nothing { Then::Close } else { Then::Stay }
    }

    fn is_moving(&self) -> bool {
        self.is_writing() || self.preview.is_none()
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let width = area.width.min(WIDTH);
        let columns = usize::from(width.saturating_sub(4));
        let head = self.head(canvas, columns);
        let rows = self.rows();
        let height = (head.len() + rows.len() + 2).min(usize::from(u16::MAX)) as u16;
        let inner = canvas.popup(area, (width, height), "Convert");
        // Where there is no room for all of it, what is asked stays.
        let hidden = head.len().saturating_sub(usize::from(inner.height)).min(head.len());
        let hidden = if self.asked == Asked::Nothing { 0 } else { hidden };
        text::put_lines(canvas.buffer, inner, head.get(hidden..).unwrap_or_default());
        let above = (head.len() as u16).min(inner.height);
        let list = Rect { y: inner.y + above, height: inner.height - above, ..inner };
        let shown = self.scroll.rows(list, rows.len());
        let page = rows.iter().skip(shown.top).take(usize::from(list.height));
        let lines: Vec<Line> = page.map(|row| line(canvas, row, columns, self.scroll.left)).collect();
        text::put_lines(canvas.buffer, list, &lines);
        for (at, y) in (shown.top..rows.len()).zip(list.top()..list.bottom()) {
            let strip = Rect { y, height: 1, ..list };
            self.seek.mark(canvas, strip, at);
            if self.found == Some(at) {
                canvas.overlay(strip, canvas.theme.selection(true));
            }
        }
        canvas.scrolled(inner, shown);
    }
}

impl Convert {
    /// The tensors, once they are known.
    fn rows(&self) -> &[Row] {
        match &self.preview {
            Some(Ok(preview)) => &preview.rows,
            _ => &[],
        }
    }

    /// The lines above the tensors.
    fn head(&self, canvas: &Canvas<'_>, columns: usize) -> Vec<Line<'static>> {
        let theme = canvas.theme;
        let say = |words: &str, style: Style| {
            let rows = text::wrap(&sentence(words), columns);
            rows.into_iter().map(|row| Line::styled(format!(" {row}"), style)).collect::<Vec<_>>()
        };
        let mut head = match &self.preview {
            None => vec![Line::styled(format!(" {} reading names and shapes", canvas.spinner()), theme.muted())],
            Some(Err(reason)) => say(reason, theme.notice()),
            Some(Ok(preview)) => say(&summary(canvas.view, preview), theme.text()),
        };
        if let Some(now) = &self.progress {
            let words = progress(now);
            let words = text::clip(&sentence(&words), columns);
            head.push(Line::styled(format!(" {} {words}", canvas.spinner()), theme.key()));
        }
        match &self.outcome {
            Some(Ok(words)) => head.extend(say(words, theme.verdict(Verdict::Ok))),
            Some(Err(words)) => head.extend(say(words, theme.notice())),
            None => {}
        }
        match &self.asked {
            Asked::Nothing => {}
            Asked::Path(line) => {
                head.extend(say("Where to, and under which name? Folders must be there.", theme.text()));
                for row in line.rows(theme, columns.saturating_sub(2)) {
                    head.push(Line::from([vec![Span::styled(" > ", theme.key())], row].concat()));
                }
                head.extend(hint(canvas, &[(Command::Accept, "writes it"), (Command::Dismiss, "does not")]));
            }
            Asked::Replace(path, words) => {
                let words = format!("{} is there already: {words}.", path.display());
                head.extend(say(&words, theme.notice()));
                head.extend(hint(canvas, &[(Command::Yes, "replaces it"), (Command::Dismiss, "gives another path")]));
            }
        }
        head.push(Line::default());
        head
    }
}

/// What keys do: `enter writes it, esc does not`.
fn hint(canvas: &Canvas<'_>, keys: &[(Command, &str)]) -> Option<Line<'static>> {
    let mut spans = vec![Span::raw(" ")];
    for (command, words) in keys {
        let key = canvas.keymap.keys_of(Some(Name::Convert), *command).first()?;
        let comma = if spans.len() > 1 { ", " } else { "" };
        spans.push(Span::raw(comma));
        spans.push(Span::styled(key.clone(), canvas.theme.key()));
        spans.push(Span::styled(format!(" {words}"), canvas.theme.text()));
    }
    Some(Line::from(spans))
}

/// Where the file goes, and how many of its tensors no run has passed.
fn summary(view: &View, preview: &Preview) -> String {
    let passed = |row: &&Row| view.measured.verdict(row.module).is_some_and(Verdict::passes);
    let unmeasured = preview.rows.iter().filter(|row| !passed(row)).count();
    let copied = preview.rows.iter().filter(|row| matches!(row.known, Known::Copied(_))).count();
    let mut words =
        format!("{}: {} tensors, {}", preview.target.display(), preview.rows.len(), text::bytes(preview.bytes));
    for (count, what) in [
        (preview.left, "dropped or tied to another"),
        (copied, "only copied under their names"),
        (unmeasured, "not confirmed by a measurement of their layer, as marked below"),
    ] {
        if count > 0 {
            words += &format!("; {count} {what}");
        }
    }
    words
}

fn progress(now: &Progress<'_>) -> String {
    if !now.counts_bytes() {
        return now.words();
    }
    let (done, of) = now.in_phase();
    format!("{}, {} %, {}", now.words(), percent(share(done, of)), now.tensor)
}

/// A row: a mark for the verdict of its layer, both names, the rule. Names that are too long keep their ends; moved sideways they
/// are whole.
fn line(canvas: &Canvas<'_>, row: &Row, columns: usize, left: usize) -> Line<'static> {
    let theme = canvas.theme;
    let verdict = canvas.view.measured.verdict(row.module);
    let (mark, style) = match (&row.known, verdict) {
        (Known::Copied(_), _) => (glyphs::FLAG, theme.notice()),
        (_, Some(verdict)) => (glyphs::verdict(verdict), theme.verdict(verdict)),
        (_, None) => (glyphs::verdict(Verdict::NotRun), theme.notice()),
    };
    let names = columns.saturating_sub(RULE + 6) / 2;
    let cell = |name: &str| {
        // The end of a path tells one tensor from another.
        let clipped = if left > 0 { quoted(name).into_owned() } else { text::clip_left(&quoted(name), names) };
        let pad = names.saturating_sub(text::width(&clipped));
        clipped + &" ".repeat(pad)
    };
    let rule = match &row.known {
        Known::Copied(_) => "copied".to_owned(),
        _ if left > 0 => row.rule.clone(),
        _ => text::clip(&row.rule, RULE),
    };
    let names = Line::from(vec![
        Span::styled(cell(&row.name), theme.text()),
        Span::styled(" ← ".to_owned(), theme.muted()),
        Span::styled(cell(&row.from), theme.muted()),
        Span::styled(format!(" {rule}"), theme.muted()),
    ]);
    let mut line = text::shifted(&names, left);
    line.spans.insert(0, Span::styled(format!(" {mark} "), style));
    line
}
