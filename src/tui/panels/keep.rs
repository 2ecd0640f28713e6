//! Where what is done here is kept: in the state folder, beside the checkpoint, or nowhere. The answer holds for other checkpoints,
//! too.

use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use serde::{Deserialize, Serialize};

use super::{Panel, Then};
use crate::session::{Change, Place, Store, store};
use crate::tui::action::{Command, Effect};
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::context::{Context, Hit};
use crate::tui::glyphs;
use crate::tui::panes::View;
use crate::tui::scroll::ListCursor;
use crate::tui::text;
use crate::tui::work::Ask;
use t2m_checkpoint::escape::{quoted, sentence};

/// Columns with the border, at most.
const WIDTH: u16 = 92;
/// The choices.
const ROWS: usize = Where::ALL.len();
/// Columns of their names.
const NAMES: usize = 18;

/// Where it can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// In the state folder.
    State,
    /// Beside the checkpoint.
    Beside,
    /// Nowhere.
    Nowhere,
}

impl Where {
    /// All, in the order of the choices.
    pub const ALL: [Where; 3] = [Where::State, Where::Beside, Where::Nowhere];
}

/// The cursor in the list.
#[derive(Debug, Clone, Default)]
pub struct Keep {
    cursor: ListCursor,
}

/// A choice: the place, its name, and its file or why it has none.
type Choice<'a> = (Place, &'static str, Result<Option<&'a Store>, &'a str>);

/// The choices.
fn choices(view: &View) -> [Choice<'_>; ROWS] {
    let keeping = &view.work.keeping;
    [
        (Place::State(store::folder()), "the state folder", keeping.state.as_ref().map(Some).map_err(String::as_str)),
        (Place::Beside, "beside the file", keeping.beside.as_ref().map(Some).map_err(String::as_str)),
        (Place::Nowhere, "nowhere", Ok(None)),
    ]
}

/// Whether two places are of one kind.
fn is_same(one: &Place, other: &Place) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// Keep it there from now on, and remember the answer. `false` where it cannot be kept there, which is said.
pub fn answer(at: Where, context: &mut Context<'_>) -> bool {
    let choice = choices(context.view).into_iter().nth(at as usize);
    let Some((place, name, store)) = choice else { return false };
    let store = match store {
        Ok(store) => store.cloned(),
        Err(why) => {
            let why = why.to_owned();
            context.say(&why);
            return false;
        }
    };
    let words = match &store {
        Some(store) => format!(
            "kept in {name}: {}",
            store.path.display(),
            name = if place == Place::Beside { "a file" } else { name }
        ),
        None => "nothing is kept from now on; what was kept stays where it is".to_owned(),
    };
    let work = &mut context.view.work;
    (work.keeping.place, work.unkept) = (place.clone(), None);
    work.keeping.ask = Ask::Answered;
    work.keeping.store = store.clone();
    context.effects.extend([Effect::Keep(Change::Move(store)), Effect::Answer(place)]);
    context.say(&words);
    true
}

impl Keep {
    fn choose(&self, context: &mut Context<'_>) -> Then {
        let Some(at) = Where::ALL.get(self.cursor.row) else { return Then::Close };
        if answer(*at, context) { Then::Close } else { Then::Stay }
    }
}

impl Panel for Keep {
    fn open(&mut self, context: &mut Context<'_>) {
        let now = &context.view.work.keeping.place;
        self.cursor.row = choices(context.view).iter().position(|(place, ..)| is_same(place, now)).unwrap_or(0);
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Accept => return self.choose(context),
            Command::Keep(at) => {
                self.cursor.row = at as usize;
                return self.choose(context);
            }
            Command::Dismiss => return Then::Close,
            _ => self.cursor.command_round(command, ROWS, context.rows()),
        }
        Then::Stay
    }

    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        match context.hit(at) {
            Hit::Row(row) => {
                self.cursor.row = row;
                self.choose(context)
            }
            Hit::Inside => Then::Stay,
            Hit::Beside => Then::Close,
        }
    }

    fn wheel(&mut self, _at: Position, rows: i32, _context: &mut Context<'_>) {
        self.cursor.wheel(rows, ROWS);
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let (theme, view) = (canvas.theme, canvas.view);
        let width = area.width.min(WIDTH);
        let columns = usize::from(width.saturating_sub(4));
        let about = "Marks, notes, results, what was typed and where you were. The answer holds for other files, too.";
        let mut below = vec![Line::default()];
        below.extend(text::wrap(about, columns).into_iter().map(|row| Line::styled(format!(" {row}"), theme.muted())));
        if let Some(why) = &view.work.unkept {
            let rows = text::wrap(&sentence(why), columns);
            below.extend(rows.into_iter().map(|row| Line::styled(format!(" {row}"), theme.notice())));
        }
        let height = ((ROWS + below.len()) as u16 + 2).min(area.height);
        let inner = canvas.popup(area, (width, height), "Where is this kept?");
        let now = &view.work.keeping.place;
        for ((index, (place, name, store)), y) in choices(view).into_iter().enumerate().zip(inner.top()..inner.bottom())
        {
            let chosen = index == self.cursor.row;
            let room = columns.saturating_sub(NAMES + 4);
            let (words, style) = match store {
                Ok(Some(store)) => (text::clip_left(&quoted(&store.path.to_string_lossy()), room), theme.muted()),
                Ok(None) => (String::new(), theme.muted()),
                Err(why) => (text::clip(&sentence(why), room), theme.notice()),
            };
            let sign = if is_same(now, &place) { "• " } else { "  " };
            let line = Line::from(vec![
                Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
                Span::styled(sign, theme.key()),
                Span::styled(format!("{name:<NAMES$}"), theme.text()),
                Span::styled(words, style),
            ]);
            text::put(canvas.buffer, inner.x, y, usize::from(inner.width), &line);
            if chosen {
                canvas.overlay(Rect { y, height: 1, ..inner }, theme.selection(true));
            }
        }
        let list = Rect { height: (ROWS as u16).min(inner.height), ..inner };
        let place = Rect { y: inner.y + list.height, height: inner.height - list.height, ..inner };
        text::put_lines(canvas.buffer, place, &below);
        canvas.areas.panel = Some(Rows { area: list, top: 0, count: ROWS });
    }
}
