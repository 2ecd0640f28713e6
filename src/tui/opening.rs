//! The screen while a checkpoint is opened: what is done, how far it is, and how it is ended.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::action::Command;
use super::canvas::spinner;
use super::jobs::{Job, Unit};
use super::state::State;
use super::text;
use crate::afar;
use crate::figures;
use crate::open::watch::Now;
use t2m_checkpoint::escape::escape;

/// Time after which it is said how long it takes already.
const LONG: Duration = Duration::from_secs(2);

/// What is opened.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Its name.
    pub what: String,
    /// When it began, by the screen's clock.
    since: Duration,
    now: Now,
    /// The step that is counted.
    job: Option<Job>,
}

impl Opening {
    /// From now on.
    pub fn new(what: String, since: Duration) -> Opening {
        Opening { what, since, now: Now::default(), job: None }
    }

    /// It is so far.
    pub fn hear(&mut self, now: Now, clock: Duration) {
        let same =
            |job: &Job| self.now.stage == now.stage && Some(job.unit) == now.progress.map(|at| Unit::Opening(at.of));
        let since = self.job.filter(same).map_or(clock, |job| job.since);
        self.job = now.progress.map(|at| Job {
            unit: Unit::Opening(at.of),
            since,
            done: at.done.min(at.total),
            total: at.total,
        });
        self.now = now;
    }

    /// Draw it.
    pub(super) fn draw(&self, state: &State, area: Rect, buffer: &mut Buffer) {
        let theme = &state.theme;
        let took = state.clock.saturating_sub(self.since);
        let since = if took < LONG { String::new() } else { format!(" {}", figures::time(took)) };
        let name = escape(&self.what);
        let around = text::width("⠋ opening  …") + text::width(&since);
        let name = text::clip_left(&name, usize::from(area.width).saturating_sub(around));
        let line = Line::from(vec![
            Span::styled(format!("{} ", spinner(state.tick)), theme.running()),
            Span::styled(format!("opening {name} …"), theme.text()),
            Span::styled(since, theme.muted()),
        ]);
        let row = area.y + area.height / 2;
        middle(buffer, area, row, &line);
        let fetched = state.fetched.map(|fetched| Line::styled(afar::words(fetched, None), theme.muted()));
        let below = [Some(Line::styled(self.now.stage.words(), theme.muted())), fetched];
        for (row, line) in (row + 1..area.bottom()).zip(below.iter().flatten()) {
            middle(buffer, area, row, line);
        }
        self.footer(state, Rect { y: area.bottom().saturating_sub(1), height: 1.min(area.height), ..area }, buffer);
    }

    /// How far it is, and the keys that end it.
    fn footer(&self, state: &State, area: Rect, buffer: &mut Buffer) {
        let (theme, columns) = (&state.theme, usize::from(area.width));
        let keys =
            [Command::Quit, Command::Dismiss].map(|command| state.keymap.keys_of(None, command).first().cloned());
        let keys = keys.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let end = Line::from(vec![Span::styled(keys, theme.key()), Span::styled(" quit", theme.muted())]);
        let room = columns.saturating_sub(end.width() + 5);
        let words =
            self.job.and_then(|job| job.words(state.clock).into_iter().find(|words| text::width(words) <= room));
        let mut left = 1;
        if let Some(words) = words {
            let line = Line::styled(words, theme.notice());
            text::put(buffer, area.x + left as u16, area.y, columns.saturating_sub(left), &line);
            left += line.width() + 3;
        }
        text::put(buffer, area.x + left as u16, area.y, columns.saturating_sub(left), &end);
    }
}

fn middle(buffer: &mut Buffer, area: Rect, row: u16, line: &Line<'_>) {
    let columns = (line.width() as u16).min(area.width);
    text::put(buffer, area.x + (area.width - columns) / 2, row, usize::from(columns), line);
}
