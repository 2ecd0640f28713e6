//! The panel about the file: what it is, what its pickle would have run, what it warns of, what is beside the weights.

use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use serde_json::Value;

use super::Panel;
use crate::fit::hang;
use crate::ports;
use crate::source::Severity;
use crate::tui::canvas::Canvas;
use crate::tui::document::{self, Document, Pickle};
use crate::tui::glyphs;
use crate::tui::scroll::Scroll;
use crate::tui::text;
use crate::tui::theme::Theme;
use t2m_checkpoint::PickleGlobal;
use t2m_checkpoint::escape::{quoted, sentence};

/// Most columns.
const WIDTH: u16 = 110;
/// Most lines of each list.
const MOST: usize = 200;
/// Columns of the names of facts.
const NAMES: usize = 12;

/// How far the panel is scrolled.
#[derive(Debug, Clone, Default)]
pub struct About {
    scroll: Scroll,
}

impl Panel for About {
    fn scroll(&mut self) -> Option<&mut Scroll> {
        Some(&mut self.scroll)
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let width = area.width.min(WIDTH);
        let left = self.scroll.left;
        let lines = lines(canvas.theme, &canvas.view.document, usize::from(width.saturating_sub(4)), left);
        let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
        let inner = canvas.popup(area, (width, height), "About the file");
        let rows = self.scroll.rows(inner, lines.len());
        let page = lines.get(rows.top..).unwrap_or_default().iter().take(usize::from(inner.height));
        let page: Vec<Line> = page.map(|line| text::shifted(line, left)).collect();
        text::put_lines(canvas.buffer, inner, &page);
        canvas.scrolled(inner, rows);
    }
}

/// Everything there is to say, in lines of at most `columns`.
fn lines(theme: &Theme, document: &Document, columns: usize, left: usize) -> Vec<Line<'static>> {
    let mut sheet = Sheet { theme, columns, left, lines: Vec::new() };
    sheet.file(document);
    sheet.warnings(&document.warnings);
    sheet.unreadable(&document.about.unreadable);
    if let Some(pickle) = &document.about.pickle {
        sheet.pickle(pickle);
    }
    sheet.metadata(&document.about);
    sheet.lines
}

struct Sheet<'a> {
    theme: &'a Theme,
    columns: usize,
    /// Columns hidden on the left: what is one row is clipped so much later.
    left: usize,
    lines: Vec<Line<'static>>,
}

impl Sheet<'_> {
    fn heading(&mut self, words: &str) {
        if !self.lines.is_empty() {
            self.lines.push(Line::default());
        }
        self.lines.push(Line::from(Span::styled(format!(" {words}"), self.theme.title(true))));
    }

    /// A paragraph, indented.
    fn words(&mut self, words: &str, style: Style) {
        let rows = text::wrap(&sentence(words), self.columns.saturating_sub(2));
        self.lines.extend(rows.into_iter().map(|row| Line::styled(format!("   {row}"), style)));
    }

    fn fact(&mut self, name: &str, value: &str) {
        let rows = hang(&quoted(value), self.columns.saturating_sub(3), NAMES, NAMES);
        for (at, row) in rows.into_iter().enumerate() {
            let name = if at == 0 { format!("   {name:<NAMES$}") } else { "   ".to_owned() };
            let style = self.theme.text();
            self.lines.push(Line::from(vec![Span::styled(name, self.theme.muted()), Span::styled(row, style)]));
        }
    }

    fn file(&mut self, document: &Document) {
        let about = &document.about;
        self.heading("File");
        self.fact("path", &about.path);
        let files = if about.shards == 1 { "1 file".to_owned() } else { format!("{} files", about.shards) };
        self.fact("format", &format!("{}, {files}, {}", document.format, text::bytes(document.bytes)));
        self.fact("holds", &format!("{} tensors in {} modules", about.tensors, document.len()));
        for line in &about.architecture {
            self.fact("model", line);
        }
        for line in &about.ports {
            self.fact("ready in", line);
        }
        if !about.ports.is_empty() {
            self.fact("", ports::CLAIM);
        }
        if document.offer.wanted {
            self.words("p asks your own Python for what is not known of its modules.", self.theme.muted());
        }
        if !about.wrappers.is_empty() {
            self.fact("unwrapped", &about.wrappers.join(" "));
        }
    }

    fn warnings(&mut self, warnings: &[String]) {
        if warnings.is_empty() {
            return;
        }
        self.heading("Warnings");
        for warning in warnings.iter().take(MOST) {
            self.words(warning, self.theme.notice());
        }
        self.rest(warnings.len());
    }

    fn rest(&mut self, count: usize) {
        if count > MOST {
            self.words(&format!("… {} more", count - MOST), self.theme.muted());
        }
    }

    fn unreadable(&mut self, tensors: &[(String, String)]) {
        if tensors.is_empty() {
            return;
        }
        self.heading("Tensors that cannot be read");
        for (name, problem) in tensors.iter().take(MOST) {
            self.words(&format!("{name}: {problem}"), self.theme.notice());
        }
        self.rest(tensors.len());
    }

    fn pickle(&mut self, pickle: &Pickle) {
        self.heading("Pickle");
        let (text, muted) = (self.theme.text(), self.theme.muted());
        if pickle.module_classes > 0 {
            let count = pickle.module_classes;
            self.words(&format!("Objects of {count} module classes, as in every model that was saved whole."), text);
        }
        match (pickle.foreign.is_empty(), pickle.module_classes) {
            (true, 0) => self.words("Everything in it is on torch's weights_only list. Nothing was run.", text),
            (true, _) => self.words("torch would load it with weights_only=False alone. Nothing was run here.", text),
            (false, _) => {
                let words = "Outside of torch's weights_only list, which torch would import. Nothing was run here:";
                self.words(words, text);
            }
        }
        self.globals(&pickle.foreign);
        if !pickle.refused.is_empty() && !pickle.foreign.is_empty() {
            self.words("It would have called:", text);
            for call in pickle.refused.iter().take(MOST) {
                self.words(call, self.theme.severity(Severity::Breaks));
            }
            self.rest(pickle.refused.len());
        }
        if !pickle.allowed.is_empty() {
            self.words("On torch's list:", muted);
            self.globals(&pickle.allowed);
        }
    }

    fn globals(&mut self, globals: &[PickleGlobal]) {
        for global in globals.iter().take(MOST) {
            let (sign, style) = match (global.dangerous, global.allowed) {
                (true, _) => (glyphs::FLAG, self.theme.severity(Severity::Breaks)),
                (false, false) => (glyphs::FLAG, self.theme.severity(Severity::Differs)),
                (false, true) => (' ', self.theme.muted()),
            };
            let count = format!(" ×{}", global.count);
            let name = text::clip(&quoted(&global.name), (self.columns + self.left).saturating_sub(6 + count.len()));
            let danger = if global.dangerous { "  it could run code" } else { "" };
            self.lines.push(Line::from(vec![
                Span::styled(format!("   {sign} {name}"), style),
                Span::styled(count, self.theme.muted()),
                Span::styled(danger, style),
            ]));
        }
        self.rest(globals.len());
    }

    fn metadata(&mut self, about: &document::About) {
        if about.metadata.is_empty() {
            return;
        }
        self.heading("Beside the weights");
        for (name, value) in about.metadata.iter().take(MOST) {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let name = text::clip(&quoted(name), self.columns / 3);
            let from = text::width(&name) + 2;
            let rows = hang(&quoted(&value), self.columns.saturating_sub(3), from, NAMES);
            for (at, row) in rows.into_iter().enumerate() {
                let name = if at == 0 { format!("   {name}  ") } else { "   ".to_owned() };
                self.lines.push(Line::from(vec![
                    Span::styled(name, self.theme.muted()),
                    Span::styled(row, self.theme.text()),
                ]));
            }
        }
        self.rest(about.metadata.len());
    }
}
