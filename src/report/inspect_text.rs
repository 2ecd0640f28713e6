//! `inspect` for people: text for a terminal, Markdown for a report.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use unicode_width::UnicodeWidthStr;

use super::code_cell;
use crate::architecture;
use crate::export::state_dict::known_share;
use crate::figures::{bytes, count};
use crate::findings::idioms::{IdiomSummary, idioms};
use crate::findings::{BlockerPlace, Blockers, Folders, Headline, ops, status_counts, to_port};
use crate::fit::{fit, hang};
use crate::graph::counts::{Counted, by_module};
use crate::graph::preflight::Preflight;
use crate::model::{Evidence, Module, ModuleId, attributes};
use crate::open::Opened;
use crate::ports;
use crate::triage::{ModuleTriage, Status};
use t2m_checkpoint::escape::{escape, quoted, sentence};

/// The widest column of the listing, in terminal cells; longer text sticks out.
const WIDEST: usize = 48;
/// Places of one idiom that are named.
const MOST_PLACES: usize = 8;
/// How many unreadable tensors are listed; most often all have the same fault.
const MOST_UNREADABLE: usize = 20;

/// Write the report as text, row by row: a model may have a million modules. On a terminal of so many columns rows fit it, and
/// what a row says that an earlier one has said is not said again; elsewhere each row is one line, whole.
///
/// # Errors
/// `out` cannot be written to.
pub fn text(out: &mut dyn Write, opened: &Opened, columns: Option<usize>) -> std::fmt::Result {
    let folders = Folders::of(&opened.triage);
    let mut page = Page { out, columns };
    page.line(&headline(opened))?;
    if !opened.checkpoint.wrappers.is_empty() {
        page.line(&format!("found under: {}", quoted(&opened.checkpoint.wrappers.join(" → "))))?;
    }
    for line in opened.architecture.as_deref().map(architecture::lines).unwrap_or_default() {
        page.line(&format!("{:<NAMES$}  {}", "model:", sentence(&line)))?;
    }
    if let Some(graph) = &opened.graph {
        page.line(&format!("{:<NAMES$}  {}", "graph:", sentence(&graph.title())))?;
    }
    if let Some(graph) = opened.counted_graph() {
        let words = Preflight::by(graph, &opened.registry.aten()).words();
        page.line(&format!("{:<NAMES$}  {}", "graph:", sentence(&words)))?;
    }
    for line in opened.typed.lines() {
        page.line(&format!("{:<NAMES$}  {}", "typed:", sentence(&line)))?;
    }
    for (name, words) in facts(opened, &folders) {
        page.line(&format!("{name:<NAMES$}  {words}"))?;
    }
    for warning in &opened.checkpoint.warnings {
        page.line(&format!("warning: {}", sentence(warning)))?;
    }
    page.line("")?;
    write_modules(&mut page, opened, &folders)?;
    page.line("")?;
    let counts = status_counts(&opened.triage);
    let counts: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {}", status.name())).collect();
    page.line(&format!("modules: {}", counts.join(", ")))?;
    write_to_port(&mut page, opened, &folders)?;
    for BlockerPlace { file, blocker, reach, modules } in Blockers::of(&opened.model, &opened.triage).places {
        let place = format!("{}:{}:{}", folders.short(file), blocker.line, blocker.column);
        let (pattern, severity, reach) = (quoted(&blocker.pattern), blocker.severity.name(), reach.aside());
        page.line("")?;
        page.line(&format!("{}  {pattern} {severity}{reach}", quoted(&place)))?;
        page.line(&format!("    in {}: {}", names_of(opened, &modules), quoted(&blocker.text)))?;
        page.line(&format!("    {} {}", sentence(&blocker.explanation), sentence(&blocker.hint)))?;
    }
    let mut rest = String::new();
    write_unreadable(&mut rest, opened)?;
    write_ops(&mut rest, opened)?;
    write_graph(&mut rest, opened)?;
    write_idioms(&mut rest, opened, &folders)?;
    write_pickle(&mut rest, opened)?;
    page.out.write_str(&fit(&rest, columns))
}

/// Where the text goes.
struct Page<'a> {
    out: &'a mut dyn Write,
    /// Of the terminal; `None` where lines may be of any length.
    columns: Option<usize>,
}

impl Page<'_> {
    fn line(&mut self, text: &str) -> std::fmt::Result {
        writeln!(self.out, "{}", fit(text, self.columns))
    }
}

/// Columns of the names of the facts about the whole.
const NAMES: usize = 10;

/// What there is to say of the whole: three facts that are never one, and what none of them says.
fn facts(opened: &Opened, folders: &Folders) -> Vec<(&'static str, String)> {
    let headline = Headline::of(&opened.model, &opened.triage, known_share(opened));
    let mut facts = vec![
        ("weights:", headline.weights_words()),
        ("behaviour:", headline.behaviour_words()),
        (
            "measured:",
            "not by this: `t2m-tui verify` runs the layers in both engines, `report` shows what is on record"
                .to_owned(),
        ),
        ("to port:", headline.forwards_words()),
        ("blockers:", headline.blockers_words()),
    ];
    if headline.layers == 0 {
        facts.retain(|(name, _)| *name != "measured:");
    }
    if let Some(words) = ports::words(&ports::of(&opened.checkpoint, &opened.model, opened.architecture.as_deref())) {
        facts.insert(0, ("ready in:", words));
    }
    facts.extend(folders.list().into_iter().map(|folder| ("source:", quoted(folder).into_owned())));
    facts
}

/// The classes whose forwards have to be ported, the longest first.
fn write_to_port(page: &mut Page<'_>, opened: &Opened, folders: &Folders) -> std::fmt::Result {
    let rows = to_port::to_port(opened);
    if !rows.is_empty() {
        page.line("\nforwards to port, the longest first")?;
    }
    for row in rows {
        let (place, content) = (row.place_words(folders), row.content_words());
        page.line(&format!("    {} ×{}: {}", row.named, row.modules.len(), sentence(&place)))?;
        if !content.is_empty() {
            page.line(&format!("        {content}"))?;
        }
    }
    Ok(())
}

/// One row for each module.
fn write_modules(page: &mut Page<'_>, opened: &Opened, folders: &Folders) -> std::fmt::Result {
    let mut texts = Texts::of_model(opened, folders);
    let most =
        page.columns.map_or([WIDEST; 2], |columns| [columns * 3 / 8, columns * 5 / 16].map(|most| most.min(WIDEST)));
    let (name_width, class_width) = widths(opened, &mut texts, most);
    let mut said = Said::default();
    for (id, module) in opened.model.modules.iter().enumerate() {
        let (text, name, indent) = (texts.of(id), quoted(name(module)), 2 * module.depth);
        let gap = name_width.saturating_sub(indent + name.width());
        let head = format!("{:indent$}{name}{:gap$}", "", "");
        let gap = class_width.saturating_sub(text.width);
        let class = format!("{}{:gap$}  {:<11}", text.class, "", text.status);
        let Some(columns) = page.columns else {
            writeln!(page.out, "{head}  {class}  {}", text.words)?;
            continue;
        };
        let (mut row, below) = (head, (indent + 4).min(columns / 2));
        for part in [class.trim_end(), &text.words] {
            let words = part == text.words;
            if part.is_empty() {
                continue;
            }
            let last = row.lines().last().map_or(0, UnicodeWidthStr::width);
            // The words begin where their column does, if they fit there.
            let at = if words { (name_width + class_width + 17).max(last + 2) } else { last + 2 };
            if at + part.width() <= columns {
                let _ = write!(row, "{:gap$}{part}", "", gap = at - last);
                continue;
            }
            let again = if words { said.before(&text.words, &module.path) } else { None };
            let part = again.as_ref().map_or(part, |before| before.as_str());
            let at = [at, last + 2].into_iter().find(|at| at + part.width() <= columns);
            if let Some(at) = at.filter(|_| again.is_some()) {
                let _ = write!(row, "{:gap$}{part}", "", gap = at - last);
                continue;
            }
            row.truncate(row.trim_end().len());
            let rows = hang(part, columns, below, below).join("\n");
            let _ = write!(row, "\n{:below$}{rows}", "");
        }
        writeln!(page.out, "{}", row.trim_end())?;
    }
    Ok(())
}

/// Columns of words that are said again rather than where they were said.
const SHORT: usize = 40;

/// Long words, and the module of which they were said first.
#[derive(Default)]
struct Said(HashMap<String, String>);

impl Said {
    /// `as layer1.0` where that was said of another module.
    fn before(&mut self, words: &str, path: &str) -> Option<String> {
        if words.width() <= SHORT {
            return None;
        }
        if let Some(first) = self.0.get(words) {
            let first = if first.is_empty() { "the root" } else { first };
            return Some(format!("as {}", quoted(first)));
        }
        if self.0.len() < MOST_KNOWN {
            self.0.insert(words.to_owned(), path.to_owned());
        }
        None
    }
}

/// Tensors that cannot be read, and why.
fn write_unreadable(out: &mut dyn Write, opened: &Opened) -> std::fmt::Result {
    let tensors = opened.checkpoint.tensors.iter();
    let mut problems = tensors.filter_map(|tensor| Some((tensor.name.as_str(), tensor.problem.as_deref()?))).peekable();
    if problems.peek().is_some() {
        writeln!(out, "\ntensors that cannot be read")?;
    }
    for (name, problem) in problems.by_ref().take(MOST_UNREADABLE) {
        writeln!(out, "    {}: {}", sentence(name), sentence(problem))?;
    }
    match problems.count() {
        0 => Ok(()),
        more => writeln!(out, "    and {more} more"),
    }
}

fn write_ops(out: &mut dyn Write, opened: &Opened) -> std::fmt::Result {
    let found = ops::ops(opened);
    if !found.is_empty() {
        let total = ops::total(opened);
        writeln!(out, "\nops in the forwards: {} (?: its receiver is not known to be a tensor)", total.words())?;
    }
    for op in &found {
        let name = format!("{}{}", op.torch, if op.guess { "?" } else { "" });
        let instead = format!("{} → {} ×{}", quoted(&name), op.mlx().unwrap_or("?"), op.count);
        let line = format!("    {:<12} {instead:<46} {}", op.status.words(), ops::words(op));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The ops that the graph has in the forwards of modules that hold others: what stands between the layers.
fn write_graph(out: &mut dyn Write, opened: &Opened) -> std::fmt::Result {
    let Some(graph) = opened.whole_graph() else { return Ok(()) };
    let holds = |path: &str| opened.model.find(path).is_none_or(|id| !opened.model.modules[id].is_leaf(id));
    let mut heading = Some("\nops of the graph between the layers\n");
    let counted: Vec<Counted> = by_module(graph).into_iter().filter(|one| holds(&one.module)).collect();
    for of_module in counted.chunk_by(|a, b| a.module == b.module) {
        out.write_str(heading.take().unwrap_or(""))?;
        let words: Vec<String> = of_module.iter().map(counted_words).collect();
        let name = of_module.first().map_or("", |one| &*one.module);
        let name = if name.is_empty() { "(root)" } else { name };
        writeln!(out, "    {}: {}", quoted(name), words.join(", "))?;
    }
    Ok(())
}

/// `add.Tensor ×2 net.py:41 net.py:47`
fn counted_words(one: &Counted) -> String {
    let op = one.op.strip_prefix("aten.").unwrap_or(&one.op);
    let mut words = quoted(op.strip_suffix(".default").unwrap_or(op)).into_owned();
    if one.count > 1 {
        words += &format!(" ×{}", one.count);
    }
    for (file, line) in one.places.iter().take(MOST_PLACES) {
        let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
        words += &format!(" {}:{line}", quoted(name));
    }
    if one.places.len() > MOST_PLACES { words + " …" } else { words }
}

/// What several lines of a forward compute together, and what MLX's own function does with it.
fn write_idioms(out: &mut dyn Write, opened: &Opened, folders: &Folders) -> std::fmt::Result {
    let found = idioms(opened);
    if !found.is_empty() {
        writeln!(out, "\nidioms in the forwards")?;
    }
    for IdiomSummary { row, reach, count, places } in &found {
        writeln!(out, "    {}: {}{} ×{count} → {}", row.name, row.variant, reach.aside(), row.mlx)?;
        let mut places: Vec<String> =
            places.iter().map(|(file, line)| format!("{}:{line}", folders.short(file))).collect();
        let more = places.len().saturating_sub(MOST_PLACES);
        places.truncate(MOST_PLACES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        writeln!(out, "        {}{more}", quoted(&places.join(", ")))?;
        writeln!(out, "        {}", row.text)?;
    }
    Ok(())
}

/// What the pickle refers to that is neither on torch's safe list nor a class of the model's own modules. A pickled
/// module consists of the latter; the rest is worth a look.
fn write_pickle(out: &mut dyn Write, opened: &Opened) -> std::fmt::Result {
    let Some(outside) = opened.outside() else { return Ok(()) };
    if outside.module_classes > 0 {
        writeln!(
            out,
            "\nthe pickle holds objects of {} module classes: torch would load it with weights_only=False alone",
            outside.module_classes
        )?;
    }
    if !outside.foreign.is_empty() {
        writeln!(out, "\nthe pickle names what torch's weights_only list does not know; nothing was imported or run:")?;
    }
    for global in &outside.foreign {
        let danger = if global.dangerous { "  DANGEROUS: it could run code if it were called" } else { "" };
        writeln!(out, "    {} ×{}{danger}", quoted(&global.name), global.count)?;
    }
    for refused in &outside.refused {
        writeln!(out, "    refused: {}", sentence(refused))?;
    }
    Ok(())
}

/// Write the report as Markdown.
///
/// # Errors
/// `out` cannot be written to.
pub fn markdown(out: &mut dyn Write, opened: &Opened) -> std::fmt::Result {
    writeln!(out, "# {}\n", headline(opened))?;
    let folders = Folders::of(&opened.triage);
    for line in opened.typed.lines() {
        writeln!(out, "- typed: {}", cell(&line))?;
    }
    for (name, words) in facts(opened, &folders) {
        writeln!(out, "- {name} {}", cell(&words))?;
    }
    writeln!(out)?;
    let blockers = Blockers::of(&opened.model, &opened.triage);
    writeln!(out, "| module | class | status | what is known |\n|---|---|---|---|")?;
    let mut texts = Texts::of_model(opened, &folders);
    for (id, module) in opened.model.modules.iter().enumerate() {
        let (text, path) = (texts.of(id), if module.path.is_empty() { ROOT } else { &module.path });
        let (class, words) = (cell(&text.class), cell(&text.words));
        writeln!(out, "| `{}` | {class} | {} | {words} |", code_cell(path), text.status)?;
    }
    let mut heading = Some("\n| forward to port | instances | where | what is in it |\n|---|---|---|---|\n");
    for row in to_port::to_port(opened) {
        out.write_str(heading.take().unwrap_or(""))?;
        let (place, content) = (cell(&row.place_words(&folders)), cell(&row.content_words()));
        writeln!(out, "| {} | {} | {place} | {content} |", cell(&row.named), row.modules.len())?;
    }
    let mut heading = Some("\n| blocker | place | module | instead |\n|---|---|---|---|\n");
    for BlockerPlace { file, blocker, reach, modules } in blockers.places {
        out.write_str(heading.take().unwrap_or(""))?;
        let place = format!("{}:{}", folders.short(file), blocker.line);
        let (pattern, hint) = (code_cell(&blocker.pattern), cell(&blocker.hint));
        writeln!(
            out,
            "| `{pattern}` {}{} | {} | `{}` | {hint} |",
            blocker.severity.name(),
            reach.aside(),
            cell(&place),
            code_cell(&names_of(opened, &modules))
        )?;
    }
    let mut heading = Some("\n| op | MLX | status | count | what changes |\n|---|---|---|---|---|\n");
    for op in ops::ops(opened) {
        out.write_str(heading.take().unwrap_or(""))?;
        let (torch, mlx) =
            (code_cell(&op.torch), op.mlx().map_or("?".to_owned(), |mlx| format!("`{}`", code_cell(mlx))));
        let status = if op.guess { format!("{}, a guess", op.status.words()) } else { op.status.words().to_owned() };
        writeln!(out, "| `{torch}` | {mlx} | {status} | {} | {} |", op.count, cell(&ops::words(&op)))?;
    }
    let mut heading = Some("\n| idiom | variant | MLX | count | what MLX does |\n|---|---|---|---|---|\n");
    for IdiomSummary { row, reach, count, .. } in idioms(opened) {
        out.write_str(heading.take().unwrap_or(""))?;
        let (variant, mlx, text) = (cell(&row.variant), code_cell(&row.mlx), cell(&row.text));
        let variant = format!("{variant}{}", reach.aside());
        writeln!(out, "| {} | {variant} | `{mlx}` | {count} | {text} |", row.name)?;
    }
    Ok(())
}

fn cell(text: &str) -> String {
    quoted(text).replace('|', "\\|").replace('<', "&lt;")
}

fn headline(opened: &Opened) -> String {
    let checkpoint = &opened.checkpoint;
    format!(
        "{} · {} · {} parameters · {}",
        escape(&checkpoint.path.to_string_lossy()),
        checkpoint.format.name(),
        count(opened.model.parameters()),
        bytes(checkpoint.bytes),
    )
}

/// Modules by their paths: the first few, and how many more there are.
fn names_of(opened: &Opened, modules: &[ModuleId]) -> String {
    const SHOWN: usize = 4;
    let name = |&id: &ModuleId| {
        let path = &opened.model.modules[id].path;
        if path.is_empty() { "the root".to_owned() } else { quoted(path).into_owned() }
    };
    let names: Vec<String> = modules.iter().take(SHOWN).map(name).collect();
    match modules.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// Widths of the columns of names and classes.
fn widths(opened: &Opened, texts: &mut Texts<'_>, most: [usize; 2]) -> (usize, usize) {
    let (mut name_width, mut class_width) = (0, 0);
    for (id, module) in opened.model.modules.iter().enumerate() {
        name_width = name_width.max(2 * module.depth + quoted(name(module)).width());
        class_width = class_width.max(texts.of(id).width);
    }
    (name_width.min(most[0]), class_width.min(most[1]))
}

fn name(module: &Module) -> &str {
    if module.path.is_empty() { ROOT } else { &module.name }
}

/// What the root is called, whose path is empty.
const ROOT: &str = "(root)";

/// What is said of a module whatever it is called.
struct Text {
    class: String,
    /// Of the class, in cells.
    width: usize,
    status: &'static str,
    words: String,
}

/// The texts of modules. Those that are alike share their triage, class and hyper-parameters, and so their text.
struct Texts<'a> {
    opened: &'a Opened,
    folders: &'a Folders,
    known: HashMap<*const ModuleTriage, Rc<Text>, RandomState>,
}

/// Texts that are remembered.
const MOST_KNOWN: usize = 1_024;

impl<'a> Texts<'a> {
    fn of_model(opened: &'a Opened, folders: &'a Folders) -> Texts<'a> {
        Texts { opened, folders, known: HashMap::default() }
    }

    fn of(&mut self, id: ModuleId) -> Rc<Text> {
        let (module, triaged) = (&self.opened.model.modules[id], &self.opened.triage.modules[id]);
        if let Some(known) = self.known.get(&Arc::as_ptr(triaged)) {
            return Rc::clone(known);
        }
        let place = self.place(module, triaged);
        let text = Rc::new(Text::of(module, triaged, place.as_deref()));
        if self.known.len() < MOST_KNOWN && Arc::strong_count(triaged) > 1 {
            self.known.insert(Arc::as_ptr(triaged), Rc::clone(&text));
        }
        text
    }
}

impl Texts<'_> {
    /// Where the forward is that has to be ported.
    fn place(&self, module: &Module, triaged: &ModuleTriage) -> Option<String> {
        let source = self.opened.triage.source(&module.class).filter(|_| triaged.status == Status::Custom)?;
        let line = source.forward.as_ref()?.start;
        Some(quoted(&format!("{}:{line}", self.folders.short(&source.file))).into_owned())
    }
}

impl Text {
    fn of(module: &Module, triaged: &ModuleTriage, place: Option<&str>) -> Text {
        let (before, short, behind) = match (module.class.is_empty(), module.evidence) {
            (true, _) => ("", "?", ""),
            (false, Evidence::Inferred) => ("~", module.short_class(), "?"),
            (false, _) => ("", module.short_class(), ""),
        };
        let class = format!("{before}{short}{behind} {}", attributes::describe(module));
        let class = quoted(class.trim_end()).into_owned();
        let (width, status) = (class.width(), triaged.status.name());
        let mut words = words(triaged).into_owned();
        if let Some(place) = place {
            words += &format!(" {place}");
        }
        Text { class, width, status, words }
    }
}

/// A module that converts shows its target and recipe, any other says why it does not.
fn words(triaged: &ModuleTriage) -> Cow<'_, str> {
    let words = match (&triaged.plan, &triaged.mlx, &triaged.recipe) {
        (Some(_), Some(mlx), Some(recipe)) => format!("→ {mlx}: {recipe}"),
        (Some(_), Some(mlx), None) => format!("→ {mlx}"),
        _ => match (triaged.difficulty, &triaged.block) {
            (Some(difficulty), _) => format!("{}: {}", difficulty.name(), triaged.reason),
            (None, Some(block)) => format!("{} {}", triaged.reason, block.words()),
            (None, None) => match triaged.assumed.as_ref().filter(|_| triaged.is_assumed()) {
                Some(assumed) => {
                    let reason = triaged.reason.trim_end_matches('.');
                    format!("{reason}; verify tries {}", assumed.words())
                }
                None => return sentence(&triaged.reason),
            },
        },
    };
    Cow::Owned(sentence(&words).into_owned())
}
