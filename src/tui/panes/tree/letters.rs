//! The letters of a row that the search matches.

use ratatui::style::{Modifier, Style};
use ratatui::text::Span;

use crate::model::{Module, ModuleId};
use crate::tui::canvas::Canvas;
use crate::tui::theme::Theme;

/// Places of letters in a row's texts.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// Whether the module is a match at all.
    pub found: bool,
    /// In its path.
    path: Vec<u32>,
    /// In its class.
    pub class: Vec<u32>,
}

impl Letters {
    /// Those of a module.
    pub(super) fn of(canvas: &mut Canvas<'_>, id: ModuleId, module: &Module) -> Letters {
        let found = canvas.found.binary_search(&id).is_ok();
        let Some((words, matcher)) = canvas.sought.as_mut().filter(|_| found) else { return Letters::default() };
        let mut places = words.places(&[&module.path, module.short_class()], matcher).into_iter();
        Letters { found, path: places.next().unwrap_or_default(), class: places.next().unwrap_or_default() }
    }

    /// A name, which is the end of the module's path, or has nothing of it.
    pub(super) fn name(&self, theme: &Theme, path: &str, name: String, plain: Style) -> Vec<Span<'static>> {
        if !self.found {
            return vec![Span::styled(name, plain)];
        }
        let length = |text: &str| text.chars().count() as u32;
        let offset = if path.ends_with(name.as_str()) { length(path) - length(&name) } else { length(path) };
        let places: Vec<u32> = self.path.iter().filter_map(|at| at.checked_sub(offset)).collect();
        // Where all the letters are elsewhere, in the names above, the whole name says that it is a match.
        if places.is_empty() && self.class.is_empty() {
            return vec![Span::styled(name, theme.found())];
        }
        marked(theme, &name, &places, theme.found().remove_modifier(Modifier::UNDERLINED))
    }
}

/// A text with the letters at these places marked.
pub(in crate::tui) fn marked(theme: &Theme, text: &str, places: &[u32], plain: Style) -> Vec<Span<'static>> {
    let mut spans: Vec<(bool, String)> = Vec::new();
    for (at, letter) in (0u32..).zip(text.chars()) {
        let here = places.binary_search(&at).is_ok();
        match spans.last_mut().filter(|(marked, _)| *marked == here) {
            Some((_, run)) => run.push(letter),
            None => spans.push((here, letter.to_string())),
        }
    }
    let style = |here: bool| if here { theme.found().add_modifier(Modifier::BOLD) } else { plain };
    spans.into_iter().map(|(here, run)| Span::styled(run, style(here))).collect()
}
