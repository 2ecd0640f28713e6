//! The tree of modules as lists that fold. A model may have a hundred thousand modules: those nearest to the root are shown, so many
//! that a browser is not slow.

use std::io::{self, Write};

use super::html::{chip, mark_chip};
use super::safe::html;
use super::{Page, short, shown};
use crate::figures::count;
use crate::model::{ModuleId, attributes};
use crate::triage::Status;

/// Most modules of the tree.
const MOST_MODULES: usize = 4000;
/// So many levels are open where the tree is long.
const OPEN_LEVELS: usize = 2;
/// In a tree that is no longer than this, everything is open.
const SHORT: usize = 80;

/// Which modules are shown.
pub(super) struct Shown(Vec<bool>);

impl Shown {
    /// Those nearest to the root.
    pub(super) fn of(page: &Page<'_>) -> Shown {
        let modules = &page.opened().model.modules;
        if modules.len() <= MOST_MODULES {
            return Shown(vec![true; modules.len()]);
        }
        let mut by_depth: Vec<usize> = Vec::new();
        for module in modules {
            if by_depth.len() <= module.depth {
                by_depth.resize(module.depth + 1, 0);
            }
            by_depth[module.depth] += 1;
        }
        let mut room = MOST_MODULES;
        let whole = by_depth.iter().take_while(|count| {
            let fits = **count <= room;
            room = room.saturating_sub(**count);
            fits
        });
        let whole = whole.count();
        // Of the level that does not fit as a whole, the first ones.
        let mut rest = MOST_MODULES - by_depth.iter().take(whole).sum::<usize>();
        let shown = modules.iter().map(|module| {
            let partly = module.depth == whole && rest > 0;
            rest -= usize::from(partly);
            module.depth < whole || partly
        });
        Shown(shown.collect())
    }

    pub(super) fn has(&self, id: ModuleId) -> bool {
        self.0.get(id).copied().unwrap_or(false)
    }
}

pub(super) fn write(page: &Page<'_>, shown: &Shown, out: &mut dyn Write) -> io::Result<()> {
    let modules = &page.opened().model.modules;
    // The ends of the lists that are open, innermost last.
    let mut open: Vec<(ModuleId, usize)> = Vec::new();
    write!(out, "<ul id=\"modules\">")?;
    for (id, module) in modules.iter().enumerate() {
        if !shown.has(id) {
            continue;
        }
        close(&mut open, id, out)?;
        let below = module.end.saturating_sub(id + 1);
        let hidden = page.opened().model.children(id).filter(|child| !shown.has(*child)).count();
        if below == 0 {
            write!(out, "<li id=\"m{id}\"><div class=\"row\">")?;
            row(page, id, out)?;
            writeln!(out, "</div></li>")?;
            continue;
        }
        let is_open = modules.len() <= SHORT || module.depth < OPEN_LEVELS;
        write!(out, "<li id=\"m{id}\"><details{}><summary class=\"row\">", if is_open { " open" } else { "" })?;
        row(page, id, out)?;
        writeln!(out, "</summary><ul>")?;
        open.push((module.end, hidden));
    }
    close(&mut open, usize::MAX, out)?;
    writeln!(out, "</ul>")
}

/// Close the lists that end before a module.
fn close(open: &mut Vec<(ModuleId, usize)>, id: ModuleId, out: &mut dyn Write) -> io::Result<()> {
    while let Some((_, hidden)) = open.pop_if(|(end, _)| *end <= id) {
        if hidden > 0 {
            let modules = if hidden == 1 { "module" } else { "modules" };
            write!(out, "<li class=\"left\">{hidden} {modules} more directly below, not shown here</li>")?;
        }
        writeln!(out, "</ul></details></li>")?;
    }
    Ok(())
}

fn row(page: &Page<'_>, id: ModuleId, out: &mut dyn Write) -> io::Result<()> {
    let opened = page.opened();
    let (Some(module), Some(triaged)) = (opened.model.modules.get(id), opened.triage.modules.get(id)) else {
        return Ok(());
    };
    let name = if module.depth == 0 { shown(&module.path) } else { module.name.as_str() };
    write!(out, "<b title=\"{}\">{}</b> ", html(shown(&module.path)), html(name))?;
    write!(out, "<span class=\"class\" title=\"{}\">{}</span> ", html(&module.class), html(short(&module.class)))?;
    let described = attributes::describe(module);
    if !described.is_empty() {
        write!(out, "<span class=\"dim\">{}</span> ", html(&described))?;
    }
    if let Some(mlx) = triaged.target() {
        write!(out, "<span class=\"mlx\">→ {}</span> ", html(mlx))?;
    }
    if triaged.status != Status::Container {
        chip(out, triaged.status.name(), triaged.status.name())?;
    }
    if let Some(found) = page.layers.binary_search_by_key(&id, |row| row.id).ok().and_then(|at| page.layers.get(at)) {
        chip(out, found.verdict.name(), &found.verdict_words())?;
        if let Some(trial) = found.worst.filter(|_| !found.by_definition) {
            write!(out, "<span class=\"num\">{}</span> ", super::error_or_dash(trial.max_abs()))?;
        }
    }
    if module.total_parameters > 0 {
        write!(out, "<span class=\"dim\">{}</span> ", count(module.total_parameters))?;
    }
    if let Some(mark) = page.mark_of(module) {
        mark_chip(out, mark)?;
    }
    if !triaged.status.converts() && triaged.status != Status::Container && !triaged.reason.is_empty() {
        write!(out, "<span class=\"why\">{}</span>", html(&triaged.reason))?;
    }
    Ok(())
}
