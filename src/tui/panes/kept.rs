//! What the pane of the measurement says of what is kept: the note, a result that is on record, one that is stale.

use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::live::{against_tolerance, paragraph};
use crate::model::ModuleId;
use crate::session::{Engines, Note};
use crate::tui::action::Command;
use crate::tui::canvas::Canvas;
use crate::tui::glyphs;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::verify::recorded::Record;
use t2m_checkpoint::escape::{quoted, sentence};
use t2m_engine::Side;

/// The mark and the note of a module, and those of its class.
pub(super) fn notes(canvas: &Canvas<'_>, id: ModuleId, columns: usize, lines: &mut Vec<Line<'static>>) {
    let (theme, view) = (canvas.theme, canvas.view);
    let class = view.document.module(id).map(|module| format!("every {}: ", quoted(module.short_class())));
    let own = view.note(id).map(|note| (String::new(), note));
    let of_class = view.class_note(id).map(|note| (class.unwrap_or_default(), note));
    for (whose, note) in own.into_iter().chain(of_class) {
        of_note(theme, &whose, note, columns, lines);
    }
}

fn of_note(theme: &Theme, whose: &str, note: &Note, columns: usize, lines: &mut Vec<Line<'static>>) {
    let sign = glyphs::note(note);
    let word = note.mark.as_ref().map_or("", |mark| mark.word());
    let head = format!("{sign} {whose}{}", quoted(word));
    let gap = if word.is_empty() || note.note.is_empty() { "" } else { "  " };
    let text = sentence(&note.note).into_owned();
    let room = columns.saturating_sub(text::width(&head) + gap.len());
    let mut rows = text::wrap(&text, room.max(columns / 2)).into_iter();
    lines.push(Line::from(vec![
        Span::styled(head, theme.key().add_modifier(Modifier::BOLD)),
        Span::styled(format!("{gap}{}", rows.next().unwrap_or_default()), theme.text()),
    ]));
    lines.extend(rows.map(|row| Line::styled(format!("  {row}"), theme.text())));
}

/// When a result that is on record was measured, and by whom.
pub(super) fn on_record(theme: &Theme, record: &Record, columns: usize, lines: &mut Vec<Line<'static>>) {
    if !record.is_new {
        let words = format!("on record since {}, {}", record.at.minute(), by(&record.engines));
        paragraph(lines, &words, columns, theme.muted());
    }
}

/// `libtorch 2.13.0 ↔ mlx 0.32.2`
fn by(engines: &Engines) -> String {
    let side = |side: Side| {
        let info = if side == Side::Torch { &engines.torch } else { &engines.mlx };
        let version = info.as_ref().map_or("?".to_owned(), |info| format!("{} {}", info.version, info.device));
        format!("{} {version}", side.library())
    };
    format!("{} ↔ {}", side(Side::Torch), side(Side::Mlx))
}

/// A result that does not hold any more, dim and with the reason. Whether there is one.
pub(super) fn stale(canvas: &Canvas<'_>, id: ModuleId, columns: usize, lines: &mut Vec<Line<'static>>) -> bool {
    let Some(stale) = canvas.view.measured.stale(id) else { return false };
    let theme = canvas.theme;
    paragraph(lines, &format!("stale: {}", stale.reason), columns, theme.notice());
    let verdict = stale.layer.verdict().map(|verdict| format!("{} {}", glyphs::verdict(verdict), verdict.name()));
    let numbers = stale.layer.worst().map(|trial| format!("   {}", against_tolerance(trial)));
    let words = format!("{}{}", verdict.unwrap_or_default(), numbers.unwrap_or_default());
    let was = stale.layer.reason().map(|reason| format!("   {reason}")).unwrap_or_default();
    paragraph(lines, &format!("{words}{was}"), columns, theme.faint());
    if let Some(record) = stale.layer.record.as_deref() {
        let when = if record.is_new { "earlier in this run".to_owned() } else { record.at.minute() };
        paragraph(lines, &format!("{when}, {}", by(&record.engines)), columns, theme.faint());
    }
    lines.push(Line::from(vec![
        canvas.key(Command::Run),
        Span::styled(" runs this again, ", theme.muted()),
        canvas.key(Command::RunAll),
        Span::styled(" all that is missing or stale", theme.muted()),
    ]));
    true
}
