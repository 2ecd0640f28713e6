//! The search: the user types at the bottom, and the tree goes to the best match. It is kept after its line is closed, for the keys
//! that go to the next match. It looks within what the filter shows, and leaves the filter as it is.

use ratatui::layout::{Position, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::{Panel, Then};
use crate::fuzzy::{Hits, Words};
use crate::model::ModuleId;
use crate::tui::action::Command;
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::document::Document;
use crate::tui::panes::{self, View, tree};
use crate::tui::text;
use t2m_checkpoint::escape::{escape, sentence};

/// The search, while it is typed and after.
#[derive(Debug, Clone, Default)]
pub struct Find {
    /// The search, once there is one.
    pub search: Option<Search>,
}

/// A search.
#[derive(Debug, Clone)]
pub struct Search {
    /// The text.
    pub text: String,
    /// What it says.
    pub words: Words,
    /// What matches.
    pub found: Hits,
    /// Nodes that match by op or name, while nodes are shown: module and row, in the order of the tree.
    pub nodes: Vec<(ModuleId, u32)>,
    /// The tree as it was before the search.
    pub before: tree::Tree,
    /// How often the filter had been applied when it was looked.
    within: usize,
}

impl Find {
    /// What matches, in order.
    pub fn matches(&self) -> &[ModuleId] {
        self.search.as_ref().map_or(&[], |search| &search.found.hits)
    }

    /// Nodes that match, in order.
    fn nodes(&self) -> &[(ModuleId, u32)] {
        self.search.as_ref().map_or(&[], |search| &search.nodes)
    }

    /// What is looked for, where something matches.
    pub fn words(&self) -> Option<&Words> {
        self.search.as_ref().filter(|search| !search.found.hits.is_empty()).map(|search| &search.words)
    }

    /// Forget it.
    pub fn forget(&mut self) {
        self.search = None;
    }

    /// The search that is kept, as text.
    pub fn text(&self) -> &str {
        self.search.as_ref().map_or("", |search| &search.text)
    }

    /// Take up a search that was kept. The tree stays where it is.
    pub fn resume(&mut self, view: &View, text: &str) {
        let before = view.tree.clone();
        let words = Words::of(text);
        let found = look(&view.document, &before, None, &words);
        if !found.hits.is_empty() {
            let within = before.filtered();
            self.search = Some(Search { text: text.to_owned(), words, found, nodes: Vec::new(), before, within });
        }
    }

    /// Where the filter wants other modules than when it was looked, look again within them.
    pub fn follow(&mut self, view: &View) {
        if let Some(search) = self.search.as_mut().filter(|search| search.within != view.tree.filtered()) {
            search.within = view.tree.filtered();
            search.found = look(&view.document, &view.tree, None, &search.words);
        }
    }

    /// Go to the next match, or to the one before, in the order of the rows.
    pub fn step(&self, view: &mut View, forward: bool) {
        if self.nodes().is_empty() || !view.tree.with_nodes {
            if let Some(target) = view.tree.next_of(self.matches(), forward) {
                view.tree.reveal(&view.document, target);
            }
            return;
        }
        let modules = self.matches().iter().map(|id| (*id, None));
        let mut stops: Vec<(ModuleId, Option<u32>)> =
            modules.chain(self.nodes().iter().map(|(id, node)| (*id, Some(*node)))).collect();
        stops.sort_unstable();
        let here = (view.tree.selected, view.tree.node());
        let target = match forward {
            true => stops.iter().find(|stop| **stop > here).or(stops.first()),
            false => stops.iter().rev().find(|stop| **stop < here).or(stops.last()),
        };
        match target {
            Some((_, Some(node))) => view.tree.reveal_node(&view.document, *node),
            Some((id, None)) => {
                view.tree.leave_node();
                view.tree.reveal(&view.document, *id);
            }
            None => {}
        }
    }

    /// `/conv  3 of 12`: the text, and the selection's index among the matches.
    pub fn place(&self, tree: &tree::Tree) -> Option<String> {
        let search = self.search.as_ref()?;
        let here = tree.node().and_then(|node| search.nodes.binary_search(&(tree.selected, node)).ok());
        if let Some(at) = here {
            return Some(format!("/{}  node {} of {}", escape(&search.text), at + 1, search.nodes.len()));
        }
        let at = tree.place_among(&search.found.hits).map_or("-".to_owned(), |at| (at + 1).to_string());
        Some(format!("/{}  {at} of {}", escape(&search.text), search.found.hits.len()))
    }

    /// Change what is searched for, and go to the best match.
    fn edit(&mut self, view: &mut View, edit: impl FnOnce(&mut String)) {
        let Some(search) = &mut self.search else { return };
        edit(&mut search.text);
        let words = Words::of(&search.text);
        let narrowed = words.narrows(&search.words).then_some(&search.found);
        search.found = look(&view.document, &search.before, narrowed, &words);
        search.nodes =
            if search.before.with_nodes { nodes(&view.document, &search.before, &words) } else { Vec::new() };
        search.words = words;
        let target = best(&search.found, &view.document, search.before.selected);
        view.tree = search.before.clone();
        let start = search.before.selected;
        let node = search.nodes.iter().find(|(id, _)| *id >= start).or(search.nodes.first());
        match (target, node) {
            (Some(target), _) => view.tree.reveal(&view.document, target),
            (None, Some((_, node))) => view.tree.reveal_node(&view.document, *node),
            (None, None) => {}
        }
    }

    /// Keep it, unless nothing matches.
    fn accept(&mut self) -> Then {
        if self.matches().is_empty() && self.nodes().is_empty() {
            self.forget();
        }
        Then::Close
    }
}

/// What these words match of what the filter shows.
fn look(document: &Document, tree: &tree::Tree, narrowed: Option<&Hits>, words: &Words) -> Hits {
    words.among(document.len(), narrowed, |id| {
        let module = document.module(id).filter(|_| tree.wants(id))?;
        Some([module.path.as_str(), module.short_class()])
    })
}

/// The best match: of those with the most points the one with the shortest path, and of these the next from `start` on.
fn best(found: &Hits, document: &Document, start: ModuleId) -> Option<ModuleId> {
    let length = |id: ModuleId| document.module(id).map_or(0, |module| module.path.len());
    let rank = |(points, id): (u32, ModuleId)| (std::cmp::Reverse(points), length(id), id < start, id);
    let scored = found.points.iter().copied().zip(found.hits.iter().copied());
    scored.min_by_key(|found| rank(*found)).map(|(_, id)| id)
}

impl Panel for Find {
    fn open(&mut self, context: &mut Context<'_>) {
        let before = context.view.tree.clone();
        let (words, found, within) = (Words::default(), Hits::default(), before.filtered());
        self.search = Some(Search { text: String::new(), words, found, nodes: Vec::new(), before, within });
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Accept => return self.accept(),
            Command::Dismiss => {
                if let Some(search) = self.search.take() {
                    context.view.tree = search.before;
                }
                return Then::Close;
            }
            Command::Erase => self.edit(context.view, |text| {
                text.pop();
            }),
            Command::EraseAll => self.edit(context.view, String::clear),
            Command::FindNext => self.step(context.view, true),
            Command::FindPrevious => self.step(context.view, false),
            _ => {}
        }
        Then::Stay
    }

    fn takes_text(&self) -> bool {
        true
    }

    fn text(&mut self, text: &str, context: &mut Context<'_>) {
        self.edit(context.view, |words| words.extend(text.chars().filter(|character| !character.is_control())));
    }

    /// The panes are still in view: a click keeps the search and goes to them.
    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        panes::click(at, context);
        self.accept()
    }

    fn wheel(&mut self, at: Position, rows: i32, context: &mut Context<'_>) {
        panes::wheel(at, rows, context);
    }

    /// The text with a cursor, and how many modules match.
    fn prompt(&self, canvas: &Canvas<'_>, columns: usize) -> Option<Line<'static>> {
        let search = self.search.as_ref()?;
        let words = sentence(&search.text);
        // Of a long text the end is shown, where the user types.
        let hidden = text::width(&words).saturating_sub(columns.max(8));
        let shown: String = words.chars().skip(hidden).collect();
        let within = if canvas.view.tree.filter.is_empty() { "" } else { " within the filter" };
        let count = match search.found.hits.len() {
            _ if words.trim().is_empty() => within.replacen(' ', "  ", 1),
            0 => format!("  no match{within}"),
            1 => format!("  1 match{within}"),
            count => format!("  {count} matches{within}"),
        };
        let count = match search.nodes.len() {
            0 => count,
            1 => format!("{count}, 1 node"),
            nodes => format!("{count}, {nodes} nodes"),
        };
        let theme = canvas.theme;
        Some(Line::from(vec![
            Span::styled("/", theme.key()),
            Span::styled(shown, theme.text()),
            Span::styled(" ", theme.text().add_modifier(Modifier::REVERSED)),
            Span::styled(count, theme.muted()),
        ]))
    }

    /// Nothing: the search shows in the bottom line and in the tree.
    fn draw(&self, _canvas: &mut Canvas<'_>, _area: Rect) {}
}

/// Nodes of modules that the filter wants whose op or name matches, in the order of the tree.
fn nodes(document: &Document, tree: &tree::Tree, words: &Words) -> Vec<(ModuleId, u32)> {
    let Some(all) = document.nodes.as_deref() else { return Vec::new() };
    let rows = words.among(all.all.len(), None, |at| {
        let row = all.all.get(at).filter(|row| tree.wants(row.module))?;
        Some([row.op(), row.name.as_str()])
    });
    let node = |at: &usize| Some((all.all.get(*at)?.module, u32::try_from(*at).ok()?));
    let mut found: Vec<(ModuleId, u32)> = rows.hits.iter().filter_map(node).collect();
    found.sort_unstable();
    found
}

/// Modules that match in path or class, without a filter.
pub fn matches(document: &Document, text: &str) -> Vec<ModuleId> {
    look(document, &tree::Tree::default(), None, &Words::of(text)).hits
}
