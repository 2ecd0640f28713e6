//! Everything in the sources that a port has to deal with: blockers, the worst first, then ops. Below the list it says
//! what to do about the selected one.

use std::collections::{HashMap, HashSet};

use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Panel, Then, copy};
use crate::findings::ops::{self, OpSummary};
use crate::findings::{BlockerPlace, Blockers};
use crate::model::{Model, ModuleId};
use crate::open::Opened;
use crate::registry::ops::OpStatus;
use crate::source::{Reach, Severity};
use crate::triage::Triage;
use crate::tui::action::Command;
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::document::Place;
use crate::tui::glyphs;
use crate::tui::panes::source;
use crate::tui::scroll::ListCursor;
use crate::tui::text;
use crate::tui::theme::Theme;
use t2m_checkpoint::escape::{escape, quoted, sentence};

/// Most columns.
const WIDTH: u16 = 156;
/// Columns from which on places have more of them.
const NARROW: usize = 114;
/// Rows for the text about the selected one.
const WORDS: u16 = 4;
/// Columns of a finding, and of its place.
const WHAT: usize = 36;
const AT: usize = 30;

/// The cursor in the list.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// The row that it is on.
    pub cursor: ListCursor,
}

impl Findings {
    /// Go to the place of the selected one.
    fn accept(&self, context: &mut Context<'_>) -> Then {
        let view = &mut *context.view;
        if let Some(at) = view.document.findings.get(self.cursor.row).map(|finding| finding.at) {
            source::go_to(view, at, context.areas.shape);
        }
        Then::Close
    }

    /// Copy the selected one: what it is, where, and what to write.
    fn copy(&self, context: &mut Context<'_>) {
        let Some(finding) = context.view.document.findings.get(self.cursor.row) else { return };
        let text = escape(&format!("{}  {}  {}", finding.what, finding.place, finding.words)).into_owned();
        copy::copy(&text, "row", context);
    }
}

impl Panel for Findings {
    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Accept => return self.accept(context),
            Command::Dismiss => return Then::Close,
            Command::CopyRow => self.copy(context),
            _ => self.cursor.command(command, context.view.document.findings.len(), context.rows()),
        }
        Then::Stay
    }

    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        let Some(row) = context.rows().and_then(|rows| rows.at(at)) else { return Then::Close };
        self.cursor.row = row;
        self.accept(context)
    }

    fn wheel(&mut self, _at: Position, rows: i32, context: &mut Context<'_>) {
        self.cursor.wheel(rows, context.view.document.findings.len());
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let theme = canvas.theme;
        let findings = &canvas.view.document.findings;
        let width = area.width.min(WIDTH);
        let height = (findings.len().max(1) as u16).saturating_add(WORDS + 3);
        let inner = canvas.popup(area, (width, height), "Blockers and ops, the worst first");
        let rows = inner.height.saturating_sub(WORDS + 1);
        let columns = usize::from(inner.width);
        let room = columns.saturating_sub(2);
        if findings.is_empty() {
            let words = "Nothing: no source was found, or nothing in it needs care. --source and --python name more.";
            text::put_text(canvas.buffer, inner.x + 1, inner.y, room, words, theme.muted());
        }
        let top = self.cursor.row.saturating_sub(usize::from(rows.saturating_sub(1)));
        for ((index, finding), y) in findings.iter().enumerate().skip(top).zip(inner.y..inner.y + rows) {
            let chosen = index == self.cursor.row;
            let line = line(canvas, finding, chosen, columns, self.cursor.left);
            text::put(canvas.buffer, inner.x, y, columns, &line);
            if chosen {
                canvas.overlay(Rect { y, height: 1, ..inner }, theme.selection(true));
            }
        }
        if let Some(finding) = findings.get(self.cursor.row) {
            let shown = text::wrap_to(&sentence(&finding.words), room, usize::from(WORDS));
            for (row, y) in shown.iter().zip(inner.y + rows + 1..inner.bottom()) {
                text::put_text(canvas.buffer, inner.x + 1, y, room, row, theme.text());
            }
        }
        let list = Rect { height: rows, ..inner };
        canvas.areas.panel = Some(Rows { area: list, top, count: findings.len() });
    }
}

/// A row of the list; moved sideways nothing of it is clipped.
fn line(canvas: &Canvas<'_>, finding: &Finding, chosen: bool, columns: usize, left: usize) -> Line<'static> {
    let theme = canvas.theme;
    let (sign, word, style) = look(theme, finding.kind);
    let training = matches!(finding.kind, Kind::Blocker(_, Reach::Training));
    let words = if training { theme.faint() } else { theme.text() };
    let path = canvas.view.document.module(finding.at.module).map_or("", |module| module.path.as_str());
    let path = if path.is_empty() { "(root)" } else { path };
    let at = AT + columns.saturating_sub(NARROW) / 2;
    let (what, place) = (quoted(&finding.what), quoted(&finding.place));
    let (what, place) = match left {
        0 => (text::clip(&what, WHAT - 1), text::clip_left(&place, at - 1)),
        _ => (format!("{what} "), format!("{place} ")),
    };
    let room = columns.saturating_sub(WHAT + at + 19);
    let path = if left == 0 { text::clip_left(&quoted(path), room) } else { quoted(path).into_owned() };
    let row = Line::from(vec![
        Span::styled(text::pad(&what, WHAT), words),
        Span::styled(text::pad(&place, at), theme.muted()),
        Span::styled(format!("×{:<4} ", finding.count), theme.muted()),
        Span::styled(path, theme.muted()),
    ]);
    let mut line = text::shifted(&row, left);
    line.spans.insert(0, Span::styled(format!("{sign} {word:<9}"), style));
    line.spans.insert(0, Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()));
    line
}

fn look(theme: &Theme, kind: Kind) -> (char, &'static str, Style) {
    match kind {
        Kind::Blocker(_, Reach::Training) => (glyphs::FLAG, "training", theme.faint()),
        Kind::Blocker(severity, _) => (glyphs::FLAG, severity.name(), theme.severity(severity)),
        Kind::Op(status) => {
            let (sign, style) = match status {
                OpStatus::None => ('✗', theme.severity(Severity::Differs)),
                OpStatus::Unknown => ('?', theme.muted()),
                OpStatus::Trap | OpStatus::Axis => ('◐', theme.notice()),
                OpStatus::Recipe => ('◐', theme.muted()),
                OpStatus::Direct => ('●', theme.muted()),
            };
            (sign, status.name(), style)
        }
    }
}

/// What a row of the list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A blocker, and what reaches it.
    Blocker(Severity, Reach),
    /// An op.
    Op(OpStatus),
}

/// A row of the list.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What it is about.
    pub kind: Kind,
    /// The pattern, or the op and what to call instead.
    pub what: String,
    /// File and line.
    pub place: String,
    /// How many modules run a blocker, or how often an op is written in all of them.
    pub count: usize,
    /// What happens, and what to write.
    pub words: String,
    /// Where to go: the first module that runs it, and the line in its source.
    pub at: Place,
}

/// Each blocker once, however many modules run it.
pub(in crate::tui) fn of_blockers(blockers: &Blockers<'_>, model: &Model, triage: &Triage) -> Vec<Finding> {
    let finding = |place: &BlockerPlace<'_>| {
        let blocker = place.blocker;
        Some(Finding {
            kind: Kind::Blocker(blocker.severity, place.reach),
            what: blocker.pattern.clone(),
            place: format!("{}:{}", short(place.file), blocker.line),
            count: place.modules.len(),
            words: format!("{}{} → {}", place.reach.sentence(), blocker.explanation, blocker.hint),
            at: place_of(place, model, triage)?,
        })
    };
    blockers.places.iter().filter_map(finding).collect()
}

/// Where a blocker is shown: in the first module that runs it. One in another file than its class is shown at the class.
pub(in crate::tui) fn place_of(place: &BlockerPlace<'_>, model: &Model, triage: &Triage) -> Option<Place> {
    let &module = place.modules.first()?;
    let source = triage.source(&model.modules.get(module)?.class)?;
    let line = if source.file == place.file { place.blocker.line } else { source.class_line };
    Some(Place { module, line })
}

/// The ops of the model, those without a counterpart first.
pub(in crate::tui) fn all_ops(opened: &Opened) -> Vec<Finding> {
    // The first module for each place, and for each file of a base class. A lookup, since a model may have a million
    // modules and thousands of ops.
    let (mut at_line, mut in_file) = (HashMap::new(), HashMap::new());
    let mut seen = HashSet::new();
    for (id, module) in opened.model.modules.iter().enumerate() {
        let Some(source) = opened.triage.source(&module.class).filter(|_| seen.insert(&module.class)) else { continue };
        for used in source.uses() {
            at_line.entry((source.file.as_str(), used.line)).or_insert(id);
            if let Some(file) = used.file.as_deref() {
                in_file.entry(file).or_insert(id);
            }
        }
    }
    let first = |op: &OpSummary<'_>| {
        let (file, line, _) = op.places.first()?;
        let module = at_line.get(&(*file, *line)).copied();
        let at: ModuleId = module.or_else(|| in_file.get(*file).copied())?;
        let line = if module.is_some() {
            *line
        } else {
            opened.triage.source(&opened.model.modules.get(at)?.class)?.class_line
        };
        Some(Place { module: at, line })
    };
    let finding = |op: &OpSummary<'_>| {
        let (file, line, _) = op.places.first()?;
        let guess = if op.guess { "?" } else { "" };
        Some(Finding {
            kind: Kind::Op(op.status),
            what: format!("{}{guess} → {}", op.torch, op.mlx().unwrap_or("?")),
            place: format!("{}:{line}", short(file)),
            count: op.count,
            words: ops::words(op),
            at: first(op)?,
        })
    };
    ops::ops(opened).iter().filter_map(finding).collect()
}

/// The last two parts of a path: the folder and the file.
fn short(file: &str) -> String {
    let parts: Vec<&str> = file.rsplitn(3, '/').take(2).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}
