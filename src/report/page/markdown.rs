//! The report as Markdown.

use std::io::{self, Write};

use super::safe::{code, markdown};
use super::{HALF, MOST_NAMED, MOST_ROWS, Page, left_words, numbers, short, shown};
use crate::figures::count;
use crate::model::ModuleId;
use crate::session::{About, Mark, Note};

pub(super) fn write(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# {}: from PyTorch to MLX\n", markdown(&page.name()))?;
    writeln!(out, "{}", markdown(&page.about()))?;
    if let Some(known_as) = page.known_as() {
        writeln!(out, "\n{}", markdown(&known_as))?;
    }
    writeln!(out)?;
    for (name, words) in page.facts() {
        writeln!(out, "- **{name}**: {}", markdown(&words))?;
    }
    for warning in page.warnings().iter().take(MOST_ROWS) {
        writeln!(out, "- **warning**: {}", markdown(warning))?;
    }
    left(out, page.warnings().len(), "warnings")?;
    to_port(page, out)?;
    marks(page, out)?;
    problems(page, out)?;
    twins(page, out)?;
    halves(page, out)?;
    layers(page, out)?;
    blockers(page, out)?;
    measured_by(page, out)?;
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, "\n---\n\nWritten by t2m-tui {version}, {}.", super::minute(page.record.written))
}

/// What a bounded list leaves out.
fn left(out: &mut dyn Write, rows: usize, what: &str) -> io::Result<()> {
    left_words(rows, what).map_or(Ok(()), |words| writeln!(out, "\n{words}"))
}

fn named(page: &Page<'_>, modules: &[ModuleId]) -> String {
    let model = &page.opened().model;
    let paths = modules.iter().take(MOST_NAMED).filter_map(|id| model.modules.get(*id));
    let paths: Vec<String> = paths.map(|module| code(shown(&module.path))).collect();
    let more = modules.len().saturating_sub(MOST_NAMED);
    if more > 0 { format!("{} and {more} more", paths.join(", ")) } else { paths.join(", ") }
}

fn mark_words(mark: Option<&Note>) -> String {
    let Some(mark) = mark else { return String::new() };
    let words =
        [mark.mark.as_ref().map_or("", Mark::word), mark.note.as_str()].into_iter().filter(|words| !words.is_empty());
    markdown(&words.collect::<Vec<_>>().join(": "))
}

fn to_port(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    if page.work.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## To port\n\nEach class is ported once, however many modules have it.\n")?;
    writeln!(out, "| class | modules | place | lines | blockers | parameters | mark |\n|---|---|---|---|---|---|---|")?;
    for work in page.work.iter().take(MOST_ROWS) {
        let port = &work.port;
        let (place, lines) = match (&port.place, &port.library) {
            (Some((file, line)), _) => (code(&format!("{}:{line}", page.folders.short(file))), port.lines.to_string()),
            (None, Some(library)) => (code(library), "–".to_owned()),
            (None, None) => ("source not found".to_owned(), "–".to_owned()),
        };
        let (modules, blockers) = (port.modules.len(), port.blockers_words());
        let (parameters, mark) = (count(port.parameters), mark_words(work.mark));
        let class = code(&port.class);
        writeln!(out, "| {class} | {modules} | {place} | {lines} | {blockers} | {parameters} | {mark} |")?;
    }
    left(out, page.work.len(), "classes")
}

fn marks(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    let marks = page.other_notes();
    if marks.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Notes\n\n| of | mark | note |\n|---|---|---|")?;
    for (about, note) in marks.iter().take(MOST_ROWS) {
        let on = match about {
            About::Module(path) => code(shown(path)),
            About::Class(class) => format!("every {}", code(class)),
        };
        let mark = note.mark.as_ref().map_or("", Mark::word);
        writeln!(out, "| {on} | {} | {} |", markdown(mark), markdown(&note.note))?;
    }
    left(out, marks.len(), "notes")
}

fn problems(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    if page.problems.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Failures and refusals\n\n| what | class | layers | why | where |\n|---|---|---|---|---|")?;
    for problem in page.problems.iter().take(MOST_ROWS) {
        let (class, layers) = (code(short(problem.class)), problem.modules.len());
        let (reason, where_) = (markdown(&problem.reason), named(page, &problem.modules));
        writeln!(out, "| {} | {class} | {layers} | {reason} | {where_} |", problem.word)?;
    }
    left(out, page.problems.len(), "of them")
}

fn twins(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    let twins = page.twins();
    if twins.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## A plain rename beside the right conversion\n")?;
    writeln!(
        out,
        "| layer | class | right | tolerance | plain rename | verdict | what is wrong |\n|---|---|---|---|---|---|---|"
    )?;
    for (row, twin) in twins.iter().take(MOST_ROWS) {
        let [right, tolerance, _] = row.numbers();
        let wrong = twin.trial.as_ref().map_or_else(|| "–".to_owned(), |trial| numbers(trial)[0].clone());
        let words = twin.reason.as_ref().map_or(twin.name.clone(), |reason| format!("{}: {reason}", twin.name));
        let (path, class) = (code(shown(&row.module.path)), code(row.module.short_class()));
        let (verdict, words) = (twin.verdict.name(), markdown(&words));
        writeln!(out, "| {path} | {class} | {right} | {tolerance} | {wrong} | {verdict} | {words} |")?;
    }
    left(out, twins.len(), "layers")
}

fn halves(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    let halves = page.halves();
    if halves.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Half precision\n\n| layer | type | error | tolerance | in tolerances | verdict |\n|---|---|---|---|---|---|"
    )?;
    for row in halves.iter().take(MOST_ROWS) {
        for trial in HALF.iter().filter_map(|dtype| row.layer.worst_in(*dtype)) {
            let [error, tolerance, ratio] = numbers(trial);
            let (path, dtype, verdict) = (code(shown(&row.module.path)), trial.dtype.name(), trial.verdict.name());
            writeln!(out, "| {path} | {dtype} | {error} | {tolerance} | {ratio} | {verdict} |")?;
        }
    }
    left(out, halves.len(), "layers")
}

fn layers(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    if page.layers.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Measured, the worst first\n")?;
    writeln!(
        out,
        "| layer | class | MLX | error | tolerance | in tolerances | verdict |\n|---|---|---|---|---|---|---|"
    )?;
    for row in page.by_badness().into_iter().take(MOST_ROWS) {
        let [error, tolerance, ratio] = row.numbers();
        let (path, class) = (code(shown(&row.module.path)), code(row.module.short_class()));
        let (mlx, verdict) = (code(row.triaged.target().unwrap_or("–")), row.verdict_words());
        writeln!(out, "| {path} | {class} | {mlx} | {error} | {tolerance} | {ratio} | {verdict} |")?;
    }
    left(out, page.layers.len(), "layers")
}

fn blockers(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    let places = &page.blockers.places;
    if places.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Blockers\n\n| severity | place | code | modules | what to write |\n|---|---|---|---|---|")?;
    for place in places.iter().take(MOST_ROWS) {
        let blocker = place.blocker;
        let at = code(&format!("{}:{}", page.folders.short(place.file), blocker.line));
        let (text, modules) = (code(&blocker.text), place.modules.len());
        let words = markdown(&format!("{} {}", blocker.explanation, blocker.hint));
        let severity = format!("{}{}", blocker.severity.name(), place.reach.aside());
        writeln!(out, "| {severity} | {at} | {text} | {modules} | {words} |")?;
    }
    left(out, places.len(), "blockers")
}

fn measured_by(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    let engines = page.engines();
    if engines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Measured by\n\n| engines | layers | when |\n|---|---|---|")?;
    for (engines, layers, when) in engines {
        writeln!(out, "| {} | {layers} | {} |", markdown(engines), markdown(&when))?;
    }
    Ok(())
}
