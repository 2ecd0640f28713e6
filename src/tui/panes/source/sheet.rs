//! The rows of the source on show: numbers, colours, blockers under their lines, ops and idioms to look after beside them, links to
//! the modules that they name.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::super::{View, tree};
use crate::findings::idioms::of_module;
use crate::model::ModuleId;
use crate::registry::idioms::Idiom;
use crate::source::listing::{Heading, Section};
use crate::source::{Blocker, Listing, Reach};
use crate::tui::action::Highlighted;
use crate::tui::canvas::Canvas;
use crate::tui::document::{Document, Shown};
use crate::tui::draw::code::{Colours, styled_code};
use crate::tui::glyphs;
use crate::tui::panels::findings::{self, Finding};
use crate::tui::text;
use crate::tui::theme::Theme;
use t2m_checkpoint::escape::{escape, quoted, sentence};

/// Rows that each half of a blocker's note may take.
const HALF_NOTE: usize = 4;

/// Rows that name the child on the way to the selected module.
fn linked(document: &Document, shown: &Shown<'_>, named: &[(usize, &str)], selected: ModuleId) -> HashSet<usize> {
    let child = document.child_towards(shown.owner, selected).and_then(|child| document.module(child));
    child.map_or_else(HashSet::new, |child| {
        named.iter().filter(|(_, name)| *name == child.name).map(|(row, _)| *row).collect()
    })
}

/// What all rows of one drawing have in common.
pub(super) struct Sheet<'a> {
    theme: &'a Theme,
    view: &'a View,
    owner: ModuleId,
    listing: Listing<'a>,
    /// Rows of the forward and of what it calls.
    forward: Vec<Range<usize>>,
    area: Rect,
    /// Columns of the line numbers.
    digits: usize,
    /// What each row mentions.
    mentions: HashMap<usize, Vec<&'a str>>,
    /// Idioms by their row.
    idioms: HashMap<usize, &'static Idiom>,
    /// Blockers by the row under which they are shown.
    noted: HashMap<usize, Vec<Noted<'a>>>,
    /// Rows that build or call the selected module.
    linked: HashSet<usize>,
    runs: Option<&'a Highlighted>,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(theme: &'a Theme, view: &'a View, shown: Shown<'a>, area: Rect) -> Sheet<'a> {
        let (owner, source) = (shown.owner, shown.source);
        let listing = source.listing();
        let mut named = source.built_rows(&listing);
        named.extend(source.named_rows(&listing));
        let linked = linked(&view.document, &shown, &named, view.tree.selected);
        let mut mentions: HashMap<usize, Vec<&str>> = HashMap::new();
        for (row, name) in named {
            mentions.entry(row).or_default().push(name);
        }
        let class = view.document.module(owner).map_or("", |module| module.class.as_str());
        let last = |section: &Section<'_>| if section.end == usize::MAX { 0 } else { section.end };
        let lines = listing.sections().iter().map(last).max().unwrap_or(0).max(source.text.lines().count());
        let digits = lines.max(100).to_string().len();
        let runs = view.source.colours.get(class);
        let own = of_module(&view.document.model, &view.document.triage, owner);
        let idioms = own.filter_map(|own| Some((listing.row(own.file, own.used.line)?, own.kind.row()?))).collect();
        let mut noted: HashMap<usize, Vec<Noted<'_>>> = HashMap::new();
        for (file, blocker, reach) in view.document.blockers(owner) {
            let own = listing.row(file, blocker.line);
            let row = source.row_shown(&listing, file, blocker.line);
            let elsewhere = own.is_none().then_some(file);
            noted.entry(row).or_default().push(Noted { blocker, elsewhere, reach });
        }
        let mut forward: Vec<Range<usize>> = Vec::new();
        if let Some(lines) = &source.forward {
            forward.extend(listing.row(&source.file, lines.start).map(|row| row..row + lines.len()));
        }
        for section in listing.sections() {
            if let Some(Heading::Called(called)) = section.heading {
                forward.push(section.body()..section.body() + called.lines.len());
            }
        }
        Sheet { theme, view, owner, listing, forward, area, digits, mentions, idioms, noted, linked, runs }
    }

    /// Columns before the code: a mark, the number, a rule.
    fn gutter(&self) -> usize {
        self.digits + 4
    }

    pub(super) fn draw(&self, canvas: &mut Canvas<'_>) {
        let (top, rows) = (self.view.source.top.max(1), self.listing.rows());
        let mut y = self.area.top();
        for section in self.listing.sections() {
            if let Some(heading) = section.heading.filter(|_| (top..=rows).contains(&section.first)) {
                if y >= self.area.bottom() {
                    return;
                }
                self.draw_heading(canvas, y, &heading);
                y += 1;
            }
            for (row, line, code) in section.lines_from(top) {
                if y >= self.area.bottom() {
                    return;
                }
                self.draw_line(canvas, y, (row, section.file, line), code);
                y += 1;
                for noted in self.noted.get(&row).into_iter().flatten() {
                    y = self.draw_note(canvas, y, *noted);
                }
            }
        }
    }

    /// What begins below, and where that is.
    fn draw_heading(&self, canvas: &mut Canvas<'_>, y: u16, heading: &Heading<'_>) {
        let (theme, folders) = (self.theme, &self.view.document.folders);
        let width = usize::from(self.area.width);
        let (words, place, (style, place_style)) = match heading {
            Heading::Called(called) => {
                let place = format!("{}:{}", escape(folders.short(&called.file)), called.lines.start);
                let bold = theme.text().add_modifier(Modifier::BOLD);
                (quoted(&called.name).into_owned(), place, (bold, theme.muted()))
            }
            Heading::Moved(called) => {
                let lines = format!("lines {} to {}", called.lines.start, called.lines.end - 1);
                let words = format!("{} is shown behind the forward", quoted(&called.name));
                (words, lines, (theme.faint(), theme.faint()))
            }
            Heading::Rest(line) => {
                let place = format!("from line {line}");
                ("the rest of the file".to_owned(), place, (theme.muted(), theme.muted()))
            }
        };
        let words = text::clip(&words, width.saturating_sub(8));
        let room = width.saturating_sub(text::width(&words) + 8);
        let place = text::clip_left(&place, room);
        let rule = width.saturating_sub(text::width(&words) + text::width(&place) + 7);
        let line = Line::from(vec![
            Span::styled("── ", theme.faint()),
            Span::styled(words, style),
            Span::styled(format!("  {place} "), place_style),
            Span::styled("─".repeat(rule), theme.faint()),
        ]);
        text::put(canvas.buffer, self.area.x, y, width, &line);
    }

    fn draw_line(&self, canvas: &mut Canvas<'_>, y: u16, (row, file, line): (usize, &str, usize), code: &str) {
        let theme = self.theme;
        let blockers = self.noted.get(&row).map_or(&[][..], Vec::as_slice);
        let pointed = self.view.source.line == Some(row);
        let in_forward = self.forward.iter().any(|rows| rows.contains(&row));
        let worst = blockers.iter().min_by_key(|noted| (!noted.reach.counts(), noted.blocker.severity));
        let op = self.view.document.op_at(file, line).filter(|_| in_forward);
        let mark = match (worst, op.and_then(|op| findings::mark(theme, op.kind))) {
            (Some(noted), _) => Span::styled(glyphs::FLAG.to_string(), noted.style(theme)),
            (None, _) if pointed || self.linked.contains(&row) => Span::styled(glyphs::MARK.to_string(), theme.mark()),
            (None, Some((sign, style))) => Span::styled(sign.to_string(), style),
            (None, None) => Span::raw(" "),
        };
        let number = format!("{line:>width$} ", width = self.digits);
        let gutter = Line::from(vec![
            mark,
            Span::styled(number, if in_forward { theme.muted() } else { theme.faint() }),
            Span::styled("│ ", theme.faint()),
        ]);
        let width = usize::from(self.area.width);
        text::put(canvas.buffer, self.area.x, y, width, &gutter);
        let runs = self.runs.and_then(|done| done.runs.get(row.checked_sub(done.lines.start)?));
        let room = width.saturating_sub(self.gutter());
        let colours = Colours::of(self.theme, runs);
        let styled = |at: usize, character: usize| self.style_at(&colours, blockers, at, character);
        let code = styled_code(code, self.view.source.left, room, styled);
        let code_width = code.width();
        text::put(canvas.buffer, self.area.x + self.gutter() as u16, y, room, &code);
        if let Some(names) = self.mentions.get(&row) {
            self.draw_links(canvas, y, names, code_width);
        } else if let Some(idiom) = self.idioms.get(&row) {
            self.draw_idiom(canvas, y, idiom, code_width);
        } else if let Some(op) = op {
            self.draw_op(canvas, y, op, code_width);
        }
        if !pointed && self.linked.contains(&row) {
            canvas.overlay(Rect { y, height: 1, ..self.area }, theme.linked());
        }
        if pointed {
            let row = Rect { y, height: 1, ..self.area };
            canvas.overlay(row, theme.linked().add_modifier(Modifier::BOLD));
        }
    }

    /// What is to be looked after in an op of the line: `trap: x.expand → mx.broadcast_to`, where there is room for it.
    fn draw_op(&self, canvas: &mut Canvas<'_>, y: u16, op: &Finding, code: usize) {
        let room = usize::from(self.area.width).saturating_sub(self.gutter() + code + 2);
        let Some((_, style)) = findings::mark(self.theme, op.kind) else { return };
        let word = op.kind.word();
        let words = [format!("{word}: {}", quoted(&op.what)), word.to_owned()];
        if let Some(words) = words.into_iter().find(|words| text::width(words) <= room) {
            let columns = text::width(&words);
            let x = self.area.right() - columns as u16 - 1;
            text::put_text(canvas.buffer, x, y, columns, &words, style);
        }
    }

    /// Style of the character at a byte (for colours) and at a place in the line (for blockers).
    fn style_at(&self, colours: &Colours, blockers: &[Noted<'_>], byte: usize, character: usize) -> Style {
        let style = colours.at(byte);
        let inside = |noted: &&Noted<'_>| {
            let start = noted.blocker.column.saturating_sub(1);
            let length = noted.blocker.text.chars().count().max(1);
            noted.elsewhere.is_none() && (start..start + length).contains(&character)
        };
        match blockers.iter().find(inside) {
            Some(noted) => style.patch(noted.style(self.theme)).add_modifier(Modifier::UNDERLINED),
            None => style,
        }
    }

    /// `← layer1.0.conv1 ✓` at the right edge: each child that the line mentions, and what was measured of it. Shorter
    /// where there is no room.
    fn draw_links(&self, canvas: &mut Canvas<'_>, y: u16, names: &[&str], code: usize) {
        let document = &self.view.document;
        let children: Vec<ModuleId> = names.iter().filter_map(|name| document.child(self.owner, name)).collect();
        let Some(&first) = children.first() else { return };
        canvas.areas.links.push((Rect { y, height: 1, ..self.area }, first));
        let room = usize::from(self.area.width).saturating_sub(self.gutter() + code + 2);
        let mut lines = vec![self.links(canvas, &children, false), self.links(canvas, &[first], false)];
        if children.len() == 1 {
            lines.insert(0, self.links(canvas, &children, true));
        }
        if let Some(line) = lines.into_iter().find(|line| line.width() <= room) {
            let columns = line.width();
            text::put(canvas.buffer, self.area.right() - columns as u16 - 1, y, columns, &line);
        }
    }

    /// What the line does together with others, and MLX's call where there is room for it.
    fn draw_idiom(&self, canvas: &mut Canvas<'_>, y: u16, row: &Idiom, code: usize) {
        let room = usize::from(self.area.width).saturating_sub(self.gutter() + code + 2);
        let short = format!("{}: {}", row.name, row.variant);
        let words = [format!("{short} → {}", row.mlx), short].into_iter().find(|words| text::width(words) <= room);
        if let Some(words) = words {
            let columns = text::width(&words);
            let x = self.area.right() - columns as u16 - 1;
            text::put_text(canvas.buffer, x, y, columns, &words, self.theme.muted());
        }
    }

    fn links(&self, canvas: &Canvas<'_>, children: &[ModuleId], full: bool) -> Line<'static> {
        let (document, theme) = (&self.view.document, self.theme);
        let mut spans = vec![Span::styled("←", theme.faint())];
        for &child in children {
            let Some(module) = document.module(child) else { continue };
            let name = quoted(if full { &module.path } else { &module.name });
            let status = document.triage(child).map_or(theme.muted(), |triage| theme.status(triage.status));
            spans.push(Span::styled(format!(" {name}"), status));
            if let Some((sign, style)) = tree::sign(canvas, child) {
                spans.push(Span::styled(format!(" {sign}"), style));
            }
        }
        Line::from(spans)
    }

    /// What happens and what to write instead, under the construct, or under the class for one in another file that the
    /// class inherits from. Returns the row below.
    fn draw_note(&self, canvas: &mut Canvas<'_>, mut y: u16, noted: Noted<'_>) -> u16 {
        let (theme, Noted { blocker, elsewhere, reach }) = (self.theme, noted);
        let width = usize::from(self.area.width);
        let column = if elsewhere.is_some() { 0 } else { blocker.column.saturating_sub(1) };
        let column = column.saturating_sub(self.view.source.left);
        let start = self.gutter() + column.min(width.saturating_sub(self.gutter()) / 4);
        let room = width.saturating_sub(start + 3);
        if room < 8 {
            return y;
        }
        let severity = noted.style(theme);
        let folders = &self.view.document.folders;
        let place =
            elsewhere.map_or(String::new(), |file| format!(" in {}:{}", escape(folders.short(file)), blocker.line));
        let (name, pattern) = (blocker.severity.name(), quoted(&blocker.pattern));
        let what = format!("{name}{} {pattern}{place}: {}", reach.aside(), sentence(&blocker.explanation));
        let hint = if reach.counts() { theme.text() } else { severity };
        let halves = [
            (glyphs::FLAG, what, severity, severity.add_modifier(Modifier::BOLD)),
            ('→', sentence(&blocker.hint).into_owned(), hint, hint),
        ];
        for (sign, words, style, first_style) in halves {
            for (index, row) in text::wrap_to(&words, room, HALF_NOTE).into_iter().enumerate() {
                if y >= self.area.bottom() {
                    return y;
                }
                let rule = format!("{}│ ", " ".repeat(self.digits + 2));
                text::put_text(canvas.buffer, self.area.x, y, width, &rule, theme.faint());
                let x = self.area.x + start as u16;
                if index == 0 {
                    text::put_text(canvas.buffer, x, y, 2, &sign.to_string(), severity);
                }
                let (head, tail) = row.split_once(' ').filter(|_| index == 0).unwrap_or(("", &row));
                let head = if head.is_empty() { String::new() } else { format!("{head} ") };
                let line = Line::from(vec![Span::styled(head, first_style), Span::styled(tail.to_owned(), style)]);
                text::put(canvas.buffer, x + 2, y, room, &line);
                y += 1;
            }
        }
        y
    }
}

/// A blocker where it is shown.
#[derive(Debug, Clone, Copy)]
struct Noted<'a> {
    blocker: &'a Blocker,
    /// The file that it is in, where that is a base's.
    elsewhere: Option<&'a str>,
    reach: Reach,
}

impl Noted<'_> {
    /// Of its severity; dimmed where only training reaches it.
    fn style(&self, theme: &Theme) -> Style {
        if self.reach.counts() { theme.severity(self.blocker.severity) } else { theme.faint() }
    }
}
