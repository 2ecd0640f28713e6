//! The report as a page of HTML that needs nothing besides itself: no network, no other file. Without a script it folds and reads; the
//! script searches. The policy allows this style and this script alone, by their digests, so that nothing of the file can run.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::safe::html;
use super::tree::{self, Shown};
use super::{HALF, MOST_NAMED, MOST_ROWS, Page, Row, chart, left_words, numbers, short, shown};
use crate::base64::base64;
use crate::figures::count;
use crate::findings::status_counts;
use crate::model::ModuleId;
use crate::session::{About, Mark, Note};

const STYLE: &str = include_str!("../../../assets/report/page.css");
const SCRIPT: &str = include_str!("../../../assets/report/page.js");

/// The sections that may be there: id, and title.
const SECTIONS: [(&str, &str); 9] = [
    ("summary", "Summary"),
    ("work", "To port"),
    ("notes", "Notes"),
    ("problems", "Failures and refusals"),
    ("rename", "Plain rename"),
    ("half", "Half precision"),
    ("layers", "Measured"),
    ("blockers", "Blockers"),
    ("tree", "Modules"),
];

pub(super) fn write(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    let there = sections(page);
    head(page, &there, out)?;
    let shown = Shown::of(page);
    for (id, title) in &there {
        writeln!(out, "<section id=\"{id}\"><h2>{title}</h2>")?;
        match *id {
            "summary" => summary(page, out)?,
            "work" => work(page, &shown, out)?,
            "notes" => notes(page, &shown, out)?,
            "problems" => problems(page, &shown, out)?,
            "rename" => rename(page, &shown, out)?,
            "half" => half(page, &shown, out)?,
            "layers" => layers(page, &shown, out)?,
            "blockers" => blockers(page, &shown, out)?,
            _ => tree::write(page, &shown, out)?,
        }
        writeln!(out, "</section>")?;
    }
    let (version, written) = (env!("CARGO_PKG_VERSION"), super::minute(page.record.written));
    writeln!(
        out,
        "</main><footer>Written by t2m-tui {version}, {written}. A claim is worth what was measured.</footer>"
    )?;
    writeln!(out, "<script>{SCRIPT}</script></body></html>")
}

/// The sections that have something to show.
fn sections(page: &Page<'_>) -> Vec<(&'static str, &'static str)> {
    let there = |id: &str| match id {
        "work" => !page.work.is_empty(),
        "notes" => !page.other_notes().is_empty(),
        "problems" => !page.problems.is_empty(),
        "rename" => !page.twins().is_empty(),
        "half" => !page.halves().is_empty(),
        "layers" => !page.layers.is_empty(),
        "blockers" => !page.blockers.places.is_empty(),
        _ => true,
    };
    SECTIONS.into_iter().filter(|(id, _)| there(id)).collect()
}

fn head(page: &Page<'_>, there: &[(&str, &str)], out: &mut dyn Write) -> io::Result<()> {
    let digest = |text: &str| format!("'sha256-{}'", base64(&Sha256::digest(text.as_bytes())));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        digest(STYLE),
        digest(SCRIPT)
    );
    let name = page.name();
    let title = html(&name);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"{policy}\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" \
         content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n<title>{title} · from PyTorch to MLX</title>\n\
         <style>{STYLE}</style></head><body>"
    )?;
    writeln!(out, "<header><h1>{title}</h1><p>{}</p>", html(&page.about()))?;
    if let Some(known_as) = page.known_as() {
        writeln!(out, "<p>{}</p>", html(&known_as))?;
    }
    write!(out, "<nav aria-label=\"Sections\">")?;
    for (id, title) in there {
        write!(out, "<a href=\"#{id}\">{title}</a> ")?;
    }
    writeln!(
        out,
        "</nav><div id=\"tools\" hidden><input id=\"find\" type=\"search\" placeholder=\"Search paths, classes, reasons\" \
         aria-label=\"Search\"> <span id=\"found\" role=\"status\"></span> <button id=\"open\" type=\"button\">Unfold all</button> \
         <button id=\"close\" type=\"button\">Fold all</button></div></header><main>"
    )
}

/// A word with the colour of a status or a verdict: `class` is one of the program's own words.
pub(super) fn chip(out: &mut dyn Write, class: &str, words: &str) -> io::Result<()> {
    write!(out, "<span class=\"chip {class}\">{}</span> ", html(words))
}

/// A mark and a note.
pub(super) fn mark_chip(out: &mut dyn Write, note: &Note) -> io::Result<()> {
    if let Some(mark) = &note.mark {
        write!(out, "<span class=\"chip mark\">{}</span> ", html(Mark::word(mark)))?;
    }
    if !note.note.is_empty() {
        write!(out, "<span class=\"note\">{}</span> ", html(&note.note))?;
    }
    Ok(())
}

fn summary(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "<dl>")?;
    for (name, words) in page.facts() {
        write!(out, "<dt>{name}</dt><dd>{}</dd>", html(&words))?;
    }
    writeln!(out, "</dl>\n<p class=\"chips\">")?;
    for (status, modules) in status_counts(&page.opened().triage) {
        chip(out, status.name(), &format!("{modules} {}", status.name()))?;
    }
    writeln!(out, "</p>")?;
    let engines = page.engines();
    if !engines.is_empty() {
        writeln!(out, "<table><thead><tr><th>measured by<th class=\"n\">layers<th>when</thead><tbody>")?;
        for (engines, layers, when) in engines {
            writeln!(out, "<tr><td>{}<td class=\"n\">{layers}<td>{}", html(engines), html(&when))?;
        }
        writeln!(out, "</tbody></table>")?;
    }
    let warnings = page.warnings();
    if !warnings.is_empty() {
        write!(
            out,
            "<details{}><summary>Warnings ({})</summary><ul class=\"plain\">",
            if warnings.len() < 4 { " open" } else { "" },
            warnings.len()
        )?;
        for warning in warnings.iter().take(MOST_ROWS) {
            write!(out, "<li>{}</li>", html(warning))?;
        }
        writeln!(out, "</ul></details>")?;
        left(warnings.len(), "warnings", out)?;
    }
    Ok(())
}

/// The head of a table: titles of columns, those of numbers with an `=` before them.
fn table(titles: &[&str], out: &mut dyn Write) -> io::Result<()> {
    write!(out, "<div class=\"wide\"><table><thead><tr>")?;
    for title in titles {
        match title.strip_prefix('=') {
            Some(title) => write!(out, "<th class=\"n\">{title}")?,
            None => write!(out, "<th>{title}")?,
        }
    }
    writeln!(out, "</thead><tbody>")
}

/// The end of a table, and how much a bounded one leaves out.
fn end(rows: usize, what: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "</tbody></table></div>")?;
    left(rows, what, out)
}

fn left(rows: usize, what: &str, out: &mut dyn Write) -> io::Result<()> {
    left_words(rows, what).map_or(Ok(()), |words| writeln!(out, "<p class=\"left\">{words}</p>"))
}

/// A module by its path, with a link to its row of the tree where that is shown.
fn module(page: &Page<'_>, shown_modules: &Shown, id: ModuleId, out: &mut dyn Write) -> io::Result<()> {
    let path = page.opened().model.modules.get(id).map_or("", |module| module.path.as_str());
    match shown_modules.has(id) {
        true => write!(out, "<a href=\"#m{id}\"><code>{}</code></a>", html(shown(path))),
        false => write!(out, "<code>{}</code>", html(shown(path))),
    }
}

fn modules(page: &Page<'_>, shown: &Shown, ids: &[ModuleId], out: &mut dyn Write) -> io::Result<()> {
    for (at, id) in ids.iter().take(MOST_NAMED).enumerate() {
        write!(out, "{}", if at > 0 { ", " } else { "" })?;
        module(page, shown, *id, out)?;
    }
    match ids.len().saturating_sub(MOST_NAMED) {
        0 => Ok(()),
        more => write!(out, " and {more} more"),
    }
}

fn work(page: &Page<'_>, shown: &Shown, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<p>Each class is ported once, however many modules have it.</p>")?;
    let marked = page.work.iter().any(|work| work.mark.is_some());
    let titles = ["class", "=modules", "forward", "=lines", "=blockers", "=own parameters", "first", "mark"];
    table(if marked { &titles } else { &titles[..7] }, out)?;
    for work in page.work.iter().take(MOST_ROWS) {
        let port = &work.port;
        write!(out, "<tr><td title=\"{}\"><code>{}</code>", html(&port.class), html(short(&port.class)))?;
        write!(out, "<td class=\"n\">{}", port.modules.len())?;
        match &port.place {
            Some((file, line)) => write!(
                out,
                "<td class=\"at\" title=\"{}\"><code>{}:{line}</code><td class=\"n\">{}",
                html(file),
                html(page.folders.short(file)),
                port.lines
            )?,
            None => {
                let place = port.library.as_deref().unwrap_or("source not found");
                write!(out, "<td class=\"dim\">{}<td class=\"n\">–", html(place))?;
            }
        }
        write!(out, "<td class=\"n\">{}<td class=\"n\">{}<td>", port.blockers_words(), count(port.parameters))?;
        if let Some(first) = port.modules.first() {
            module(page, shown, *first, out)?;
        }
        if let Some(mark) = work.mark {
            write!(out, "<td>")?;
            mark_chip(out, mark)?;
        }
        writeln!(out)?;
    }
    end(page.work.len(), "classes", out)
}

fn notes(page: &Page<'_>, shown_modules: &Shown, out: &mut dyn Write) -> io::Result<()> {
    let notes = page.other_notes();
    table(&["of", "mark and note"], out)?;
    for (about, note) in notes.iter().take(MOST_ROWS) {
        write!(out, "<tr><td>")?;
        match about {
            About::Module(path) => match page.opened().model.find(path) {
                Some(id) => module(page, shown_modules, id, out)?,
                None => write!(out, "<code>{}</code>", html(shown(path)))?,
            },
            About::Class(class) => write!(out, "every <code>{}</code>", html(class))?,
        }
        write!(out, "<td>")?;
        mark_chip(out, note)?;
        writeln!(out)?;
    }
    end(notes.len(), "notes", out)
}

fn problems(page: &Page<'_>, shown: &Shown, out: &mut dyn Write) -> io::Result<()> {
    table(&["what", "class", "=layers", "why", "where"], out)?;
    for problem in page.problems.iter().take(MOST_ROWS) {
        write!(out, "<tr><td>")?;
        chip(out, problem.word, problem.word)?;
        write!(out, "<td title=\"{}\"><code>{}</code>", html(problem.class), html(short(problem.class)))?;
        write!(out, "<td class=\"n\">{}<td>{}<td>", problem.modules.len(), html(&problem.reason))?;
        modules(page, shown, &problem.modules, out)?;
        writeln!(out)?;
    }
    end(page.problems.len(), "of them", out)
}

fn layer_cells(page: &Page<'_>, shown: &Shown, row: &Row<'_>, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "<tr><td>")?;
    module(page, shown, row.id, out)?;
    write!(out, "<td title=\"{}\">{}", html(&row.module.class), html(short(&row.module.class)))
}

fn rename(page: &Page<'_>, shown: &Shown, out: &mut dyn Write) -> io::Result<()> {
    let twins = page.twins();
    writeln!(
        out,
        "<p>Each of these layers was run as a plain rename of its class and weights would convert it, beside the right conversion, \
         with the same input.</p>"
    )?;
    table(&["layer", "class", "=right", "=tolerance", "", "=plain rename", "", "what is wrong with it"], out)?;
    for (row, twin) in twins.iter().take(MOST_ROWS) {
        layer_cells(page, shown, row, out)?;
        let [right, tolerance, _] = row.numbers();
        write!(out, "<td class=\"n\">{right}<td class=\"n\">{tolerance}<td>")?;
        chip(out, row.verdict.name(), &row.verdict_words())?;
        let wrong = twin.trial.as_ref().map_or_else(|| "–".to_owned(), |trial| numbers(trial)[0].clone());
        write!(out, "<td class=\"n\">{wrong}<td>")?;
        chip(out, twin.verdict.name(), twin.verdict.name())?;
        write!(out, "<td>{}", html(&twin.name))?;
        if let Some(reason) = &twin.reason {
            write!(out, "<br>{}", html(reason))?;
        }
        writeln!(out)?;
    }
    end(twins.len(), "layers", out)
}

fn half(page: &Page<'_>, shown: &Shown, out: &mut dyn Write) -> io::Result<()> {
    let halves = page.halves();
    writeln!(out, "{}", chart::of_halves(page))?;
    table(&["layer", "class", "type", "=error", "=tolerance", "=in tolerances", ""], out)?;
    for row in halves.iter().take(MOST_ROWS) {
        for trial in HALF.iter().filter_map(|dtype| row.layer.worst_in(*dtype)) {
            layer_cells(page, shown, row, out)?;
            let [error, tolerance, ratio] = numbers(trial);
            write!(
                out,
                "<td>{}<td class=\"n\">{error}<td class=\"n\">{tolerance}<td class=\"n\">{ratio}<td>",
                trial.dtype.name()
            )?;
            chip(out, trial.verdict.name(), trial.verdict.name())?;
            write!(out, "{}", html(&trial.complaint().unwrap_or_default()))?;
            writeln!(out)?;
        }
    }
    end(halves.len(), "layers", out)
}

fn layers(page: &Page<'_>, shown: &Shown, out: &mut dyn Write) -> io::Result<()> {
    let chart = chart::of_layers(page);
    if !chart.is_empty() {
        let renames =
            if page.twins().is_empty() { "" } else { ", <span class=\"key rename\">×</span> a plain rename" };
        writeln!(
            out,
            "{chart}<p class=\"dim\"><span class=\"key ok\">●</span> the largest error of a layer, <span class=\"key\
             \">—</span> the tolerance that it is held to{renames}.</p>"
        )?;
    }
    writeln!(out, "<p>The worst first.</p>")?;
    let titles =
        ["layer", "class", "MLX", "=error", "=tolerance", "=in tolerances", "=torch↔f64", "=MLX↔f64", "", "when"];
    table(&titles, out)?;
    for row in page.by_badness().into_iter().take(MOST_ROWS) {
        layer_cells(page, shown, row, out)?;
        let [error, tolerance, ratio] = row.numbers();
        let f64s = row
            .worst
            .filter(|_| !row.by_definition)
            .map_or([None; 2], |trial| [Some(trial.torch_vs_f64), trial.apart.as_ref().map(|apart| apart.mlx_vs_f64)]);
        let [torch, mlx] = f64s.map(super::error_or_dash);
        write!(out, "<td>{}<td class=\"n\">{error}", html(row.triaged.target().unwrap_or("–")))?;
        write!(
            out,
            "<td class=\"n\">{tolerance}<td class=\"n\">{ratio}<td class=\"n\">{torch}<td class=\"n\">{mlx}<td>"
        )?;
        chip(out, row.verdict.name(), &row.verdict_words())?;
        if let Some(reason) = row.layer.reason() {
            write!(out, "<br>{}", html(reason))?;
        }
        writeln!(out, "<td class=\"when\">{}", html(row.made.as_ref().map_or("", |made| &made.at)))?;
    }
    end(page.layers.len(), "layers", out)
}

fn blockers(page: &Page<'_>, shown: &Shown, out: &mut dyn Write) -> io::Result<()> {
    let places = &page.blockers.places;
    table(&["severity", "place", "code", "what to write", "modules"], out)?;
    for place in places.iter().take(MOST_ROWS) {
        let blocker = place.blocker;
        write!(out, "<tr><td>")?;
        chip(out, blocker.severity.name(), &format!("{}{}", blocker.severity.name(), place.reach.aside()))?;
        let short = page.folders.short(place.file);
        write!(out, "<td class=\"at\" title=\"{}\"><code>{}:{}</code>", html(place.file), html(short), blocker.line)?;
        write!(
            out,
            "<td><code>{}</code><td>{} {}<td>",
            html(&blocker.text),
            html(&blocker.explanation),
            html(&blocker.hint)
        )?;
        modules(page, shown, &place.modules, out)?;
        writeln!(out)?;
    }
    end(places.len(), "blockers", out)
}
