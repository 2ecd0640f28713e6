//! The lines of the source on show: numbers, colours, blockers and idioms under their lines, links to the modules that they name.

use std::collections::{HashMap, HashSet};

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::super::{View, tree};
use crate::findings::idioms::of_module;
use crate::model::ModuleId;
use crate::registry::idioms::Idiom;
use crate::source::highlight::Run;
use crate::source::{Blocker, ClassSource, Reach};
use crate::tui::action::Highlighted;
use crate::tui::canvas::Canvas;
use crate::tui::document::{Document, Shown};
use crate::tui::draw::code::{coloured, styled_code};
use crate::tui::glyphs;
use crate::tui::text;
use crate::tui::theme::Theme;
use t2m_checkpoint::escape::{escape, quoted, sentence};

/// Rows that each half of a blocker's note may take.
const HALF_NOTE: usize = 4;

/// Lines of the source that name the child on the way to the selected module.
fn linked(document: &Document, shown: &Shown<'_>, selected: ModuleId) -> HashSet<usize> {
    let child = document.child_towards(shown.owner, selected).and_then(|child| document.module(child));
    let named = shown.source.builds.iter().chain(&shown.source.mentions);
    child.map_or_else(HashSet::new, |child| {
        named.filter(|(_, name)| *name == child.name).map(|(line, _)| *line).collect()
    })
}

/// What all lines of one drawing have in common.
pub(super) struct Sheet<'a> {
    theme: &'a Theme,
    view: &'a View,
    owner: ModuleId,
    source: &'a ClassSource,
    area: Rect,
    /// Columns of the line numbers.
    digits: usize,
    /// What each line mentions.
    mentions: HashMap<usize, Vec<&'a str>>,
    /// Idioms by their line.
    idioms: HashMap<usize, &'static Idiom>,
    /// Lines that build or call the selected module.
    linked: HashSet<usize>,
    runs: Option<&'a Highlighted>,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(theme: &'a Theme, view: &'a View, shown: Shown<'a>, area: Rect) -> Sheet<'a> {
        let mut mentions: HashMap<usize, Vec<&str>> = HashMap::new();
        for (line, name) in shown.source.builds.iter().chain(&shown.source.mentions) {
            mentions.entry(*line).or_default().push(name);
        }
        let linked = linked(&view.document, &shown, view.tree.selected);
        let class = view.document.module(shown.owner).map_or("", |module| module.class.as_str());
        let digits = shown.source.text.lines().count().max(100).to_string().len();
        let runs = view.source.colours.get(class);
        let own = of_module(&view.document.model, &view.document.triage, shown.owner);
        let here = own.filter(|own| own.file == shown.source.file);
        let idioms = here.filter_map(|own| Some((own.used.line, own.kind.row()?))).collect();
        let (owner, source) = (shown.owner, shown.source);
        Sheet { theme, view, owner, source, area, digits, mentions, idioms, linked, runs }
    }

    /// Columns before the code: a mark, the number, a rule.
    fn gutter(&self) -> usize {
        self.digits + 4
    }

    pub(super) fn draw(&self, canvas: &mut Canvas<'_>) {
        let top = self.view.source.top.max(1);
        let mut y = self.area.top();
        for (line, code) in (1..).zip(self.source.text.lines()).skip(top - 1) {
            if y >= self.area.bottom() {
                break;
            }
            self.draw_line(canvas, y, line, code);
            y += 1;
            for noted in self.noted(line) {
                y = self.draw_note(canvas, y, noted);
            }
        }
    }

    /// The blockers that are shown at a line, with those in files of bases at the class.
    fn noted(&self, line: usize) -> impl Iterator<Item = Noted<'_>> {
        let source = self.source;
        self.view.document.blockers(self.owner).filter_map(move |(file, blocker, reach)| {
            let elsewhere = (file != source.file).then_some(file);
            let at = if elsewhere.is_some() { source.class_line } else { blocker.line };
            (at == line).then_some(Noted { blocker, elsewhere, reach })
        })
    }

    fn draw_line(&self, canvas: &mut Canvas<'_>, y: u16, line: usize, code: &str) {
        let theme = self.theme;
        let blockers: Vec<Noted<'_>> = self.noted(line).collect();
        let pointed = self.view.source.line == Some(line);
        let in_forward = self.source.forward.as_ref().is_some_and(|forward| forward.contains(&line));
        let worst = blockers.iter().min_by_key(|noted| (!noted.reach.counts(), noted.blocker.severity));
        let mark = match worst {
            Some(noted) => Span::styled(glyphs::FLAG.to_string(), noted.style(theme)),
            None if pointed || self.linked.contains(&line) => Span::styled(glyphs::MARK.to_string(), theme.mark()),
            None => Span::raw(" "),
        };
        let number = format!("{line:>width$} ", width = self.digits);
        let gutter = Line::from(vec![
            mark,
            Span::styled(number, if in_forward { theme.muted() } else { theme.faint() }),
            Span::styled("│ ", theme.faint()),
        ]);
        let width = usize::from(self.area.width);
        text::put(canvas.buffer, self.area.x, y, width, &gutter);
        let runs = self.runs.and_then(|done| done.runs.get(line.checked_sub(done.lines.start)?));
        let room = width.saturating_sub(self.gutter());
        let styled = |at: usize, character: usize| self.style_at(runs, &blockers, at, character);
        let code = styled_code(code, self.view.source.left, room, styled);
        let code_width = code.width();
        text::put(canvas.buffer, self.area.x + self.gutter() as u16, y, room, &code);
        if let Some(names) = self.mentions.get(&line) {
            self.draw_links(canvas, y, names, code_width);
        } else if let Some(row) = self.idioms.get(&line) {
            self.draw_idiom(canvas, y, row, code_width);
        }
        if !pointed && self.linked.contains(&line) {
            canvas.overlay(Rect { y, height: 1, ..self.area }, theme.linked());
        }
        if pointed {
            let row = Rect { y, height: 1, ..self.area };
            canvas.overlay(row, theme.linked().add_modifier(Modifier::BOLD));
        }
    }

    /// Style of the character at a byte (for colours) and at a place in the line (for blockers).
    fn style_at(&self, runs: Option<&Vec<Run>>, blockers: &[Noted<'_>], byte: usize, character: usize) -> Style {
        let style = coloured(self.theme, runs, byte);
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
