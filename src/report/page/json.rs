//! The report as JSON: what `inspect` and `verify` print, and beside it what neither knows.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::{Page, Problem, Work};
use crate::model::ModuleId;
use crate::report::{inspect_json, verify};
use crate::session::{About, Note};
use t2m_checkpoint::escape::EscapedJson;

pub(super) fn write(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(EscapedJson(&mut *out), &Report(page))?;
    writeln!(out)
}

struct Report<'a>(&'a Page<'a>);

impl Serialize for Report<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let page = self.0;
        let opened = page.opened();
        let facts = page.facts().into_iter().map(|(name, words)| (name.to_owned(), json!(words)));
        let mut report = serializer.serialize_map(None)?;
        report.serialize_entry("schema", &1)?;
        report.serialize_entry("tool", &json!({"name": "t2m-tui", "version": env!("CARGO_PKG_VERSION")}))?;
        report.serialize_entry("written", &page.record.written)?;
        report.serialize_entry("facts", &facts.collect::<serde_json::Map<String, Value>>())?;
        report.serialize_entry("to_port", &page.work.iter().map(|work| work_json(page, work)).collect::<Vec<_>>())?;
        report.serialize_entry("notes", &page.record.notes.iter().map(note_json).collect::<Vec<_>>())?;
        let problems: Vec<Value> = page.problems.iter().map(|problem| problem_json(page, problem)).collect();
        report.serialize_entry("problems", &problems)?;
        let made = page.layers.iter().filter_map(|row| {
            let made = row.made.as_ref()?;
            Some(json!({"path": row.module.path.as_str(), "engines": made.engines, "at": made.at}))
        });
        report.serialize_entry("measured_by", &made.collect::<Vec<_>>())?;
        report.serialize_entry("verify", &verify::Report { opened, results: &page.record.results }.json())?;
        report.serialize_entry("inspect", &inspect_json::Report { opened, check: None })?;
        report.end()
    }
}

fn paths<'a>(page: &Page<'a>, modules: &[ModuleId]) -> Vec<&'a str> {
    modules.iter().filter_map(|id| page.opened().model.modules.get(*id)).map(|module| module.path.as_str()).collect()
}

fn work_json(page: &Page<'_>, work: &Work<'_>) -> Value {
    let port = &work.port;
    let mut value = json!({
        "class": port.class, "instances": port.modules.len(), "modules": paths(page, &port.modules),
        "lines": port.lines, "blockers": port.blockers.total(), "parameters": port.parameters,
    });
    if let Some((file, line)) = &port.place {
        (value["file"], value["line"]) = (json!(file), json!(line));
    }
    if let Some(mark) = work.mark {
        (value["mark"], value["note"]) = (json!(word(mark)), json!(mark.note));
    }
    value
}

fn note_json((about, note): (&About, &Note)) -> Value {
    let (name, of) = match about {
        About::Module(path) => ("module", path),
        About::Class(class) => ("class", class),
    };
    json!({name: of, "mark": word(note), "note": note.note, "at": note.at})
}

/// The mark's word; null where there is none.
fn word(note: &Note) -> Option<&str> {
    note.mark.as_ref().map(crate::session::Mark::word)
}

fn problem_json(page: &Page<'_>, problem: &Problem<'_>) -> Value {
    json!({
        "what": problem.word, "class": problem.class, "reason": problem.reason, "modules": paths(page, &problem.modules),
    })
}
