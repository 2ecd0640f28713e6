//! Everything in the sources that a port has to deal with: blockers, the worst first, then ops; one that has several places opens to
//! them. Below the list it says what to do about the selected one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::seek::{Names, Seek};
use super::{Name, Panel, Then, copy};
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
use crate::tui::panes::{View, source};
use crate::tui::scroll::{ListCursor, Scroll};
use crate::tui::text;
use crate::tui::theme::Theme;
use t2m_checkpoint::escape::{escape, quoted};

/// Most columns.
const WIDTH: u16 = 156;
/// Rows for the text about the selected one: of this many parts of the panel one, within bounds.
const WORDS: (u16, u16, u16) = (3, 4, 8);
/// Columns of a finding, and fewest of its place.
const WHAT: usize = 36;
const AT: usize = 30;
/// Modules of a blocker that are listed; a model may have a million.
const MOST_MODULES: usize = 1_000;

/// The cursor in the list, and which of the findings is open.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// The row that it is on.
    pub cursor: ListCursor,
    /// What is looked for in it.
    pub seek: Seek,
    /// The finding whose places are listed below it.
    open: Option<usize>,
    /// The whole text about the selected one takes the place of the list, scrolled so far.
    reading: Option<Scroll>,
}

/// A row of the list: a finding, or one of the places of the open one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    finding: usize,
    spot: Option<usize>,
}

impl Findings {
    /// How many places are listed.
    fn spots(&self, findings: &[Finding]) -> usize {
        self.open.and_then(|open| findings.get(open)).map_or(0, |finding| finding.spots.len())
    }

    /// How many rows there are.
    fn count(&self, findings: &[Finding]) -> usize {
        findings.len() + self.spots(findings)
    }

    /// What a row is.
    fn at(&self, findings: &[Finding], row: usize) -> At {
        let spots = self.spots(findings);
        match self.open.and_then(|open| row.checked_sub(open + 1)) {
            Some(spot) if spot < spots => At { finding: row - spot - 1, spot: Some(spot) },
            Some(_) => At { finding: row - spots, spot: None },
            None => At { finding: row, spot: None },
        }
    }

    /// List the places of the selected one below it.
    fn unfold(&mut self, findings: &[Finding]) {
        let At { finding, .. } = self.at(findings, self.cursor.row);
        if findings.get(finding).is_some_and(|finding| finding.spots.len() > 1) && self.open != Some(finding) {
            (self.open, self.cursor.row) = (Some(finding), finding);
            // What was found are rows, and these are others now.
            self.seek = Seek::default();
        }
    }

    /// Close the open one; the cursor goes to it from its places.
    fn fold(&mut self, findings: &[Finding]) {
        let At { finding, .. } = self.at(findings, self.cursor.row);
        (self.open, self.cursor.row) = (None, finding);
        self.seek = Seek::default();
    }

    /// Go to the selected place; an op with several of them is opened.
    fn accept(&mut self, context: &mut Context<'_>) -> Then {
        let document = context.view.document.clone();
        let findings = &document.findings;
        let At { finding, spot } = self.at(findings, self.cursor.row);
        let Some(found) = findings.get(finding) else { return Then::Close };
        if spot.is_none() && matches!(found.kind, Kind::Op(_)) && found.spots.len() > 1 {
            match self.open == Some(finding) {
                true => self.fold(findings),
                false => self.unfold(findings),
            }
            return Then::Stay;
        }
        let at = spot.and_then(|spot| found.spots.get(spot)).map_or(found.at, |spot| spot.at);
        source::go_to(context.view, at, context.areas.shape);
        Then::Close
    }

    /// Copy the selected one: what it is, where, and what to write.
    fn copy(&self, context: &mut Context<'_>) {
        let findings = &context.view.document.findings;
        let At { finding, spot } = self.at(findings, self.cursor.row);
        let Some(finding) = findings.get(finding) else { return };
        let spot = spot.and_then(|spot| finding.spots.get(spot)).map(|spot| format!("{}:{}", spot.file, spot.line));
        let place = spot.as_ref().unwrap_or(&finding.place);
        let text = escape(&format!("{}  {place}  {}", finding.what, finding.words)).into_owned();
        copy::copy(&text, "row", context);
    }
}

impl Panel for Findings {
    fn open(&mut self, context: &mut Context<'_>) {
        self.reading = None;
        self.seek = Seek::default();
        // The list may be of another reading of the file.
        let count = self.count(&context.view.document.findings);
        self.cursor.row = self.cursor.row.min(count.saturating_sub(1));
    }

    fn seek(&self) -> Option<&Seek> {
        Some(&self.seek)
    }

    fn seek_mut(&mut self) -> Option<&mut Seek> {
        Some(&mut self.seek)
    }

    fn row_names<'a>(&'a self, view: &'a View) -> Vec<Names<'a>> {
        let document = &view.document;
        let findings = &document.findings;
        let path = |at: Place| document.module(at.module).map_or("", |module| module.path.as_str());
        let names = |row: usize| {
            let At { finding, spot } = self.at(findings, row);
            let finding = findings.get(finding)?;
            Some(match spot.and_then(|spot| finding.spots.get(spot)) {
                Some(spot) => ["", &spot.file, path(spot.at)],
                None => [finding.what.as_str(), finding.place.as_str(), path(finding.at)],
            })
        };
        (0..self.count(findings)).map(|row| names(row).unwrap_or_default()).collect()
    }

    fn row(&self) -> usize {
        self.cursor.row
    }

    fn go_to_row(&mut self, row: usize, _context: &mut Context<'_>) {
        self.cursor.row = row;
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        let document = context.view.document.clone();
        if let Some(reading) = &mut self.reading {
            match command {
                Command::Toggle | Command::Dismiss | Command::Accept => self.reading = None,
                _ => reading.command(command, context.rows()),
            }
            return Then::Stay;
        }
        match command {
            Command::Accept => return self.accept(context),
            Command::Dismiss => return Then::Close,
            Command::Toggle => {
                let At { finding, .. } = self.at(&document.findings, self.cursor.row);
                match document.findings.get(finding).is_some_and(|finding| !finding.words.is_empty()) {
                    true => self.reading = Some(Scroll::default()),
                    false => context.say("nothing more is to be said of it"),
                }
            }
            Command::Right => self.unfold(&document.findings),
            Command::Left => self.fold(&document.findings),
            Command::CopyRow => self.copy(context),
            _ => self.cursor.command(command, self.count(&document.findings), context.rows()),
        }
        Then::Stay
    }

    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        if self.reading.take().is_some() {
            return Then::Stay;
        }
        let Some(row) = context.rows().and_then(|rows| rows.at(at)) else { return Then::Close };
        self.cursor.row = row;
        self.accept(context)
    }

    fn wheel(&mut self, _at: Position, rows: i32, context: &mut Context<'_>) {
        match &mut self.reading {
            Some(reading) => reading.by(i64::from(rows), context.rows()),
            None => self.cursor.wheel(rows, self.count(&context.view.document.findings)),
        }
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let theme = canvas.theme;
        let findings = &canvas.view.document.findings;
        let count = self.count(findings);
        let width = area.width.min(WIDTH);
        let (part, least, most) = WORDS;
        let below = (area.height / part).clamp(least, most);
        let height = (count.max(1) as u16).saturating_add(below + 3);
        let inner = canvas.popup(area, (width, height), "Blockers and ops, the worst first");
        let at = self.at(findings, self.cursor.row);
        let words = findings.get(at.finding).map_or("", |finding| finding.words.as_str());
        if let Some(reading) = self.reading {
            return read(canvas, inner, reading, words);
        }
        let rows = inner.height.saturating_sub(below + 1);
        let columns = usize::from(inner.width);
        let room = columns.saturating_sub(2);
        if findings.is_empty() {
            let words = "Nothing: no source was found, or nothing in it needs care. --source and --python name more.";
            text::put_text(canvas.buffer, inner.x + 1, inner.y, room, words, theme.muted());
        }
        let top = self.cursor.row.saturating_sub(usize::from(rows.saturating_sub(1)));
        for (row, y) in (top..count).zip(inner.y..inner.y + rows) {
            let chosen = row == self.cursor.row;
            let At { finding, spot } = self.at(findings, row);
            let Some(found) = findings.get(finding) else { break };
            let line = match spot.and_then(|spot| found.spots.get(spot)) {
                Some(spot) => spot_line(canvas, spot, chosen, columns),
                None => line(canvas, found, (chosen, self.open == Some(finding)), columns),
            };
            text::put(canvas.buffer, inner.x, y, columns, &line);
            self.seek.mark(canvas, Rect { y, height: 1, ..inner }, row);
            if chosen {
                canvas.overlay(Rect { y, height: 1, ..inner }, theme.selection(true));
            }
        }
        let wrapped = text::wrap(&escape(words), room);
        let fits = wrapped.len() <= usize::from(below);
        let shown = wrapped.len().min(if fits { usize::from(below) } else { usize::from(below) - 1 });
        let shows = canvas.keymap.key(Some(Name::Findings), Command::Toggle);
        let more = (!fits).then(|| (format!("… {shows} shows all of it"), theme.key()));
        let shown = wrapped.into_iter().take(shown).map(|row| (row, theme.text()));
        for ((row, style), y) in shown.chain(more).zip(inner.y + rows + 1..inner.bottom()) {
            text::put_text(canvas.buffer, inner.x + 1, y, room, &row, style);
        }
        let list = Rect { height: rows, ..inner };
        canvas.areas.panel = Some(Rows { area: list, top, count });
    }
}

/// The whole text about a finding, however long it is.
fn read(canvas: &mut Canvas<'_>, inner: Rect, reading: Scroll, words: &str) {
    let wrapped = text::wrap(&escape(words), usize::from(inner.width.saturating_sub(2)));
    let rows = reading.rows(inner, wrapped.len());
    for (row, y) in wrapped.iter().skip(rows.top).zip(inner.top()..inner.bottom()) {
        let room = usize::from(inner.width.saturating_sub(2));
        text::put_text(canvas.buffer, inner.x + 1, y, room, row, canvas.theme.text());
    }
    canvas.scrolled(inner, rows);
}

fn line(canvas: &Canvas<'_>, finding: &Finding, (chosen, open): (bool, bool), columns: usize) -> Line<'static> {
    let theme = canvas.theme;
    let (sign, word, style) = look(theme, finding.kind);
    let training = matches!(finding.kind, Kind::Blocker(_, Reach::Training));
    let words = if training { theme.faint() } else { theme.text() };
    let path = canvas.view.document.module(finding.at.module).map_or("", |module| module.path.as_str());
    let path = if path.is_empty() { "(root)" } else { path };
    let fold = match (finding.spots.len() > 1, open) {
        (false, _) => ' ',
        (true, true) => glyphs::OPEN,
        (true, false) => glyphs::CLOSED,
    };
    // Mark, sign, word, fold and count take 21 columns. Where there is little room the finding gives way: the line number stays.
    let what = WHAT.min(columns.saturating_sub(21 + AT / 2).max(8));
    let left = columns.saturating_sub(21 + what);
    let at = AT.max(left / 2).min(left.max(1));
    let room = left.saturating_sub(at);
    Line::from(vec![
        Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
        Span::styled(format!("{sign} {word:<9}"), style),
        Span::styled(text::pad(&text::clip(&quoted(&finding.what), what - 1), what), words),
        Span::styled(text::pad(&text::clip_left(&quoted(&finding.place), at - 1), at), theme.muted()),
        Span::styled(format!("{fold}×{:<5} ", finding.count), theme.muted()),
        Span::styled(text::clip_left(&quoted(path), room), theme.muted()),
    ])
}

/// One place of a finding: the file and the line, and the module that is gone to.
fn spot_line(canvas: &Canvas<'_>, spot: &Spot, chosen: bool, columns: usize) -> Line<'static> {
    let theme = canvas.theme;
    let document = &canvas.view.document;
    let path = document.module(spot.at.module).map_or("", |module| module.path.as_str());
    let path = if path.is_empty() { "(root)" } else { path };
    let guess = if spot.guess { "?" } else { "" };
    let place = format!("{}:{}{guess}", document.folders.short(&spot.file), spot.line);
    let at = (columns / 2).max(AT.min(columns.saturating_sub(8)));
    Line::from(vec![
        Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
        Span::styled("    ", theme.muted()),
        Span::styled(text::pad(&text::clip_left(&quoted(&place), at - 1), at), theme.text()),
        Span::styled(text::clip_left(&quoted(path), columns.saturating_sub(at + 6)), theme.muted()),
    ])
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

/// The sign of an op beside its line, where it is one to look after.
pub(in crate::tui) fn mark(theme: &Theme, kind: Kind) -> Option<(char, Style)> {
    let (sign, _, style) = look(theme, kind);
    kind.is_marked().then_some((sign, style))
}

/// What a row of the list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A blocker, and what reaches it.
    Blocker(Severity, Reach),
    /// An op.
    Op(OpStatus),
}

impl Kind {
    /// Whether its places are marked in the source: ops that MLX lacks, or computes differently.
    pub fn is_marked(self) -> bool {
        matches!(self, Kind::Op(OpStatus::None | OpStatus::Trap | OpStatus::Axis))
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Blocker(severity, _) => severity.name(),
            Kind::Op(status) => status.words(),
        }
    }
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
    /// Every place of an op; every module that runs a blocker.
    pub spots: Vec<Spot>,
}

/// One place of a finding.
#[derive(Debug, Clone)]
pub struct Spot {
    /// The file.
    pub file: Arc<str>,
    /// 1-based.
    pub line: usize,
    /// Whether the place was taken for this op by the name of a method alone.
    pub guess: bool,
    /// Where to go.
    pub at: Place,
}

/// Each blocker once, however many modules run it.
pub(in crate::tui) fn of_blockers(blockers: &Blockers<'_>, model: &Model, triage: &Triage) -> Vec<Finding> {
    let finding = |place: &BlockerPlace<'_>| {
        let blocker = place.blocker;
        let file: Arc<str> = place.file.into();
        // In all modules of a class it is shown at the same place.
        let mut before: Option<(&str, Place)> = None;
        let spot = |&module: &ModuleId| {
            let class = model.modules.get(module)?.class.as_str();
            let known = before.filter(|(before, _)| *before == class).map(|(_, at)| Place { module, ..at });
            let at = known.or_else(|| shown_at(module, (place.file, blocker.line), model, triage))?;
            before = Some((class, at));
            Some(Spot { file: Arc::clone(&file), line: blocker.line, guess: false, at })
        };
        Some(Finding {
            kind: Kind::Blocker(blocker.severity, place.reach),
            what: blocker.pattern.clone(),
            place: format!("{}:{}", short(place.file), blocker.line),
            count: place.modules.len(),
            words: format!("{}{} → {}", place.reach.sentence(), blocker.explanation, blocker.hint),
            at: place_of(place, model, triage)?,
            spots: place.modules.iter().take(MOST_MODULES).filter_map(spot).collect(),
        })
    };
    blockers.places.iter().filter_map(finding).collect()
}

/// Where a blocker is shown: in the first module that runs it.
pub(in crate::tui) fn place_of(place: &BlockerPlace<'_>, model: &Model, triage: &Triage) -> Option<Place> {
    shown_at(*place.modules.first()?, (place.file, place.blocker.line), model, triage)
}

/// Where a line is shown in the source of a module. One in a file of which nothing is listed is shown at the class.
fn shown_at(module: ModuleId, (file, line): (&str, usize), model: &Model, triage: &Triage) -> Option<Place> {
    let source = triage.source(&model.modules.get(module)?.class)?;
    Some(Place { module, line: source.row_shown(&source.listing(), file, line) })
}

/// The ops of the model, those without a counterpart first.
pub(in crate::tui) fn all_ops(opened: &Opened) -> Vec<Finding> {
    // Where each line is shown, in the first module that has it. A lookup, since a model may have a million modules and
    // thousands of ops.
    let mut at: HashMap<(&str, usize), Place> = HashMap::new();
    let mut seen = HashSet::new();
    for (module, of_class) in opened.model.modules.iter().enumerate() {
        let Some(source) = opened.triage.source(&of_class.class).filter(|_| seen.insert(&of_class.class)) else {
            continue;
        };
        let listing = source.listing();
        for used in source.uses() {
            let file = used.file.as_deref().unwrap_or(&source.file);
            let place = || Place { module, line: source.row_shown(&listing, file, used.line) };
            at.entry((file, used.line)).or_insert_with(place);
        }
    }
    let mut files: HashMap<String, Arc<str>> = HashMap::new();
    let mut finding = |op: &OpSummary<'_>| {
        let spot = |&(file, line, guess): &(&str, usize, bool)| {
            let at = *at.get(&(file, line))?;
            let file = files.entry(file.to_owned()).or_insert_with(|| file.into());
            Some(Spot { file: Arc::clone(file), line, guess, at })
        };
        let spots: Vec<Spot> = op.places.iter().filter_map(spot).collect();
        let first = spots.first()?;
        let guess = if op.guess { "?" } else { "" };
        Some(Finding {
            kind: Kind::Op(op.status),
            what: format!("{}{guess} → {}", op.torch, op.mlx().unwrap_or("?")),
            place: format!("{}:{}", short(&first.file), first.line),
            count: op.count,
            words: ops::words(op),
            at: first.at,
            spots,
        })
    };
    ops::ops(opened).iter().filter_map(&mut finding).collect()
}

/// The last two parts of a path: the folder and the file.
fn short(file: &str) -> String {
    let parts: Vec<&str> = file.rsplitn(3, '/').take(2).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}
