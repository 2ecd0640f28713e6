//! The attributes of the selected module: what is known of it and from where, what is not and what is tried instead. What nothing says
//! can be typed here, as keyword arguments of a constructor are written.

use ratatui::layout::{Position, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use serde_json::Value;

use super::{Panel, Then};
use crate::model::{Evidence, Module, ModuleId};
use crate::plan::assumed::{CLASS, value_words};
use crate::session::Change;
use crate::tui::action::{Command, Effect};
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::context::{Context, Hit};
use crate::tui::document::Document;
use crate::tui::glyphs;
use crate::tui::scroll::ListCursor;
use crate::tui::text;
use crate::typed::{self, Edit, Which};
use t2m_checkpoint::escape::{quoted, sentence};
use t2m_checkpoint::{Misread, assignments};

/// Columns with the border, at most.
const WIDTH: u16 = 92;
/// Columns of the names and of the values.
const NAMES: usize = 22;
const VALUES: usize = 30;
/// What stands before the text that is typed.
const PROMPT: &str = " > ";

/// What is typed, and where the cursor is.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    cursor: ListCursor,
    text: String,
    /// Whether it is for every module of the class of which it is not known.
    for_all: bool,
    /// What is wrong with the text, and in which column of it.
    wrong: Option<(usize, String)>,
}

/// An attribute that is known, or is not.
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) value: Option<Value>,
    /// Where the value is from, or what is tried instead.
    pub(super) from: String,
    /// The place of the edit that it was typed by.
    edit: Option<usize>,
}

/// Those of a module: its class, what is not known, what is.
pub(super) fn rows(document: &Document, id: ModuleId) -> Vec<Attribute> {
    let (Some(module), Some(triage)) = (document.module(id), document.triage(id)) else { return Vec::new() };
    let typed = document.typed.of(id);
    let edit = |name: &str| typed.and_then(|typed| typed.get(name).copied());
    let from = |name: &str| match module.told_by.get(name) {
        Some(origin) => origin.to_string(),
        None => match module.evidence {
            Evidence::Exact => "the file".to_owned(),
            Evidence::Inferred => "names and shapes".to_owned(),
            Evidence::Source => "the source".to_owned(),
            Evidence::Architecture => "the architecture".to_owned(),
            Evidence::Model => "your Python".to_owned(),
        },
    };
    let tried = |name: &str| {
        let listed = triage.assumed.as_deref().and_then(|assumed| assumed.listed().find(|(known, _)| *known == name));
        listed.map_or_else(|| "not known".to_owned(), |(_, values)| format!("not known; tries {values}"))
    };
    let class = (!module.class.is_empty()).then(|| Value::from(module.class.as_str()));
    let undecided = triage.unknown.iter().any(|name| name == CLASS);
    let mut rows = vec![Attribute {
        name: CLASS.to_owned(),
        value: class.filter(|_| !undecided),
        from: if undecided { tried(CLASS) } else { from(CLASS) },
        edit: edit(CLASS),
    }];
    let unknown = triage.unknown.iter().filter(|name| *name != CLASS && !module.attributes.contains_key(*name));
    rows.extend(unknown.map(|name| Attribute { name: name.clone(), value: None, from: tried(name), edit: None }));
    rows.extend(module.attributes.iter().map(|(name, value)| Attribute {
        name: name.clone(),
        value: Some(value.clone()),
        from: from(name),
        edit: edit(name),
    }));
    rows
}

impl Attributes {
    fn id(context: &Context<'_>) -> ModuleId {
        context.view.tree.selected
    }

    fn edit_text(&mut self, edit: impl FnOnce(&mut String)) {
        edit(&mut self.text);
        self.wrong = None;
    }

    /// Take what is typed: check it, and ask for the file to be opened with it.
    fn take(&mut self, context: &mut Context<'_>) -> Then {
        let id = Attributes::id(context);
        let document = context.view.document.clone();
        let Some(module) = document.module(id) else { return Then::Close };
        if self.text.trim().is_empty() {
            let row = rows(&document, id).into_iter().nth(self.cursor.row);
            self.text = row.map(|row| format!("{}=", row.name)).unwrap_or_default();
            return Then::Stay;
        }
        match self.edits(&document, module) {
            Ok(new) => {
                let mut edits = document.typed.edits.clone();
                for edit in new {
                    // What is typed again stands in for what was typed before.
                    edits.retain(|old| (&old.modules, &old.attribute) != (&edit.modules, &edit.attribute));
                    edits.push(edit);
                }
                let kept = Change::Typed(document.typed.edits.clone(), edits.clone());
                context.effects.extend([Effect::Retell(edits), Effect::Keep(kept)]);
                self.text.clear();
            }
            Err(wrong) => self.wrong = Some(wrong),
        }
        Then::Stay
    }

    /// `layer1.*: stride=2` is for all modules at such paths: the pattern, and where what is typed of them begins.
    fn glob(&self) -> Option<(&str, usize)> {
        let (glob, _) = self.text.split_once(':').filter(|(glob, _)| !glob.contains('='))?;
        Some((glob.trim(), glob.len() + 1))
    }

    /// What the text says, checked against the module, or those of its pattern; or what is wrong and where.
    fn edits(&self, document: &Document, module: &Module) -> Result<Vec<Edit>, (usize, String)> {
        let (glob, begin) = self.glob().map_or((None, 0), |(glob, begin)| (Some(glob), begin));
        let written = self.text.get(begin..).unwrap_or_default();
        let columns = |bytes: usize| text::width(self.text.get(..begin + bytes).unwrap_or(&self.text));
        let misread = |Misread { at, expected }: Misread| (columns(at), format!("{expected} is expected"));
        let mut edits = Vec::new();
        for (attribute, value) in assignments(written).map_err(misread)? {
            let modules = match glob {
                Some(glob) => Which::Glob(glob.to_owned()),
                None if self.for_all => Which::Like(module.class.to_string()),
                None => Which::Path(module.path.to_string()),
            };
            let edit = Edit { modules, attribute, value };
            if let Some(checked) = &document.checked {
                let at = written.find(edit.attribute.as_str()).unwrap_or(0);
                let (checkpoint, registry) = (&checked.checkpoint, &checked.registry);
                let may = match glob {
                    Some(_) => typed::wanted(&edit, &document.model, checkpoint, registry).map(drop),
                    None => typed::check(&edit, module, checkpoint, registry),
                };
                may.map_err(|reason| (columns(at), reason))?;
            }
            edits.push(edit);
        }
        Ok(edits)
    }

    /// Forget the edit that the chosen attribute is from.
    fn forget(&mut self, context: &mut Context<'_>) {
        let document = &context.view.document;
        let row = rows(document, Attributes::id(context)).into_iter().nth(self.cursor.row);
        let Some(at) = row.and_then(|row| row.edit) else { return context.say("that was not typed") };
        let mut edits = document.typed.edits.clone();
        if at < edits.len() {
            let edit = edits.remove(at);
            let words = format!("forgotten: {}", edit.words());
            let kept = Change::Typed(document.typed.edits.clone(), edits.clone());
            context.effects.extend([Effect::Retell(edits), Effect::Keep(kept)]);
            context.say(&words);
        }
    }

    /// For whom what is typed would be, in words.
    fn scope_words(&self, document: &Document, module: &Module) -> String {
        if !self.for_all && self.text.is_empty() {
            return "name=value, for this module; or GLOB: name=value".to_owned();
        }
        if let (Some((glob, _)), Some(checked)) = (self.glob(), &document.checked) {
            let typed = self.edits(document, module).unwrap_or_default();
            let count = typed
                .first()
                .and_then(|edit| typed::wanted(edit, &document.model, &checked.checkpoint, &checked.registry).ok());
            let count = count.map(|count| format!(": {count}")).unwrap_or_default();
            return format!("for modules at {}{count}", quoted(glob));
        }
        if !self.for_all {
            return "for this module".to_owned();
        }
        let name = self.text.split('=').next().unwrap_or_default().trim();
        let like = |other: &&Module| other.class == module.class && typed::is_like(other, name);
        let count = document.model.modules.iter().filter(like).count();
        format!("for every {} of which it is not known: {count}", quoted(module.short_class()))
    }
}

impl Panel for Attributes {
    fn open(&mut self, context: &mut Context<'_>) {
        *self = Attributes::default();
        // The first that is not known, if one is.
        let rows = rows(&context.view.document, Attributes::id(context));
        self.cursor.row = rows.iter().position(|row| row.value.is_none()).unwrap_or(0);
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Accept => return self.take(context),
            Command::Dismiss => return Then::Close,
            Command::Scope => self.for_all = !self.for_all,
            Command::Forget => self.forget(context),
            Command::Erase => self.edit_text(|text| {
                text.pop();
            }),
            Command::EraseAll => self.edit_text(String::clear),
            _ => {
                let count = rows(&context.view.document, Attributes::id(context)).len();
                self.cursor.command_round(command, count, context.rows());
            }
        }
        Then::Stay
    }

    fn takes_text(&self) -> bool {
        true
    }

    fn text(&mut self, text: &str, _context: &mut Context<'_>) {
        self.edit_text(|words| words.extend(text.chars().filter(|character| !character.is_control())));
    }

    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        match context.hit(at) {
            Hit::Row(row) => self.cursor.row = row,
            Hit::Inside => {}
            Hit::Beside => return Then::Close,
        }
        Then::Stay
    }

    fn wheel(&mut self, _at: Position, by: i32, context: &mut Context<'_>) {
        let count = rows(&context.view.document, Attributes::id(context)).len();
        self.cursor.wheel(by, count);
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let (theme, view) = (canvas.theme, canvas.view);
        let id = view.tree.selected;
        let Some(module) = view.document.module(id) else { return };
        let rows = rows(&view.document, id);
        let width = area.width.min(WIDTH);
        let columns = usize::from(width.saturating_sub(4));
        let below = self.below(canvas, module, columns);
        let height = u16::try_from(rows.len() + below.len() + 2).unwrap_or(u16::MAX).min(area.height);
        let name = if module.path.is_empty() { "the root" } else { module.path.as_str() };
        let title = format!("Attributes of {}", text::clip_left(&quoted(name), columns.saturating_sub(16)));
        let inner = canvas.popup(area, (width, height), &title);
        let room = inner.height.saturating_sub(below.len() as u16);
        let list = Rect { height: room, ..inner };
        let top = self.cursor.row.saturating_sub(usize::from(room).max(1) - 1);
        for ((index, row), y) in rows.iter().enumerate().skip(top).zip(list.top()..list.bottom()) {
            let chosen = index == self.cursor.row;
            let value = match &row.value {
                Some(Value::String(class)) if row.name == CLASS => class.clone(),
                Some(value) => value_words(&row.name, value),
                None => "?".to_owned(),
            };
            let left = self.cursor.left;
            let most = if row.name == CLASS { columns } else { VALUES };
            let value = if left > 0 { quoted(&value).into_owned() } else { text::clip(&quoted(&value), most) };
            let pad = |text: &str, columns: usize| " ".repeat(columns.saturating_sub(text::width(text)).max(1));
            let name = text::clip(&quoted(&row.name), NAMES - 1);
            let known = row.value.is_some();
            let value_style = if known { theme.text() } else { theme.notice() };
            let from_room = columns.saturating_sub(NAMES + VALUES.max(text::width(&value)) + 2) + 2;
            let from_style = if row.edit.is_some() { theme.key() } else { theme.muted() };
            let from =
                if left > 0 { sentence(&row.from).into_owned() } else { text::clip(&sentence(&row.from), from_room) };
            let cells = Line::from(vec![
                Span::styled(format!("{name}{}", pad(&name, NAMES)), theme.text()),
                Span::styled(format!("{value}{}", pad(&value, VALUES + 1)), value_style),
                Span::styled(from, from_style),
            ]);
            let mut line = text::shifted(&cells, left);
            line.spans.insert(0, Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()));
            text::put(canvas.buffer, inner.x, y, usize::from(inner.width), &line);
            if chosen {
                canvas.overlay(Rect { y, height: 1, ..inner }, theme.selection(true));
            }
        }
        let place = Rect { y: inner.y + room, height: inner.height - room, ..inner };
        text::put_lines(canvas.buffer, place, &below);
        canvas.areas.panel = Some(Rows { area: list, top, count: rows.len() });
    }
}

impl Attributes {
    /// The text with a cursor, what is wrong with it, for whom it is.
    fn below(&self, canvas: &Canvas<'_>, module: &Module, columns: usize) -> Vec<Line<'static>> {
        let theme = canvas.theme;
        let room = columns.saturating_sub(PROMPT.len() + 1);
        // Of a long text the end is shown, where the user types.
        let hidden = text::width(&self.text).saturating_sub(room);
        let shown: String = quoted(&self.text).chars().skip(hidden).collect();
        let mut lines = vec![
            Line::default(),
            Line::from(vec![
                Span::styled(PROMPT, theme.key()),
                Span::styled(shown, theme.text()),
                Span::styled(" ", theme.text().add_modifier(Modifier::REVERSED)),
            ]),
        ];
        match &self.wrong {
            Some((at, reason)) => {
                let mark = format!("{}^ ", " ".repeat(PROMPT.len() + at.saturating_sub(hidden)));
                let wrapped = text::wrap(&sentence(reason), columns.saturating_sub(2));
                if text::width(&mark) + text::width(reason) <= columns {
                    lines.push(Line::styled(format!("{mark}{}", sentence(reason)), theme.notice()));
                } else {
                    lines.push(Line::styled(mark, theme.notice()));
                    lines.extend(wrapped.into_iter().map(|row| Line::styled(format!(" {row}"), theme.notice())));
                }
            }
            None => {
                let words = format!(" {}", self.scope_words(&canvas.view.document, module));
                lines.push(Line::styled(text::clip(&words, columns), theme.muted()));
            }
        }
        lines
    }
}
