//! What `inspect --check` found, as text, Markdown and JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::figures::bytes;
use crate::open::Opened;
use t2m_checkpoint::check::{Check, NotFinite};
use t2m_checkpoint::escape::{escape, quoted, sentence};

/// How many findings of a kind are listed; JSON has them all.
const MOST_SHOWN: usize = 20;

/// As text, after the report.
pub fn text(opened: &Opened, check: &Check) -> String {
    let mut out = String::from("\ncheck:\n");
    for line in summary(check) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "    {line}");
    }
    for line in findings(opened, check) {
        let _ = writeln!(out, "    {line}");
    }
    out
}

/// As a section of Markdown.
pub fn markdown(opened: &Opened, check: &Check) -> String {
    let mut out = String::from("\n## Check\n\n");
    for line in summary(check).into_iter().chain(findings(opened, check)) {
        let _ = writeln!(out, "- {line}");
    }
    out
}

/// As `checkpoint.check` of the JSON.
pub fn json(opened: &Opened, check: &Check) -> Value {
    let name = |id: usize| opened.checkpoint.tensors.get(id).map_or("", |tensor| tensor.name.as_str());
    let damaged = check.damaged.iter();
    let numbers = check.not_finite.iter();
    let (nan, infinite) = check.totals();
    let mut report = json!({
        "archives": check.archives, "without_checksums": check.without, "members": check.members, "bytes": check.bytes,
        "damaged": damaged.map(|one| json!({"file": one.file, "member": one.member, "what": one.what})).collect::<Vec<_>>(),
        "tensors": check.tensors, "elements": check.elements, "nan": nan, "inf": infinite,
        "not_finite": numbers.map(|one| json!({"name": name(one.tensor), "nan": one.nan, "inf": one.infinite})).collect::<Vec<_>>(),
        "unread": check.unread.iter().map(|(id, what)| json!({"name": name(*id), "what": what})).collect::<Vec<_>>(),
    });
    if let Some(bytes) = check.repeated {
        report["repeated"] = json!(bytes);
    }
    report
}

fn summary(check: &Check) -> Vec<String> {
    let mut lines = Vec::new();
    let right = check.members.saturating_sub(check.damaged.len());
    lines.push(match (check.archives, check.without) {
        (0, _) => "the format keeps no checksums".to_owned(),
        (archives, without) if archives == without => {
            format!("{} members read, {}; they were written without checksums", check.members, bytes(check.bytes))
        }
        _ => format!("{right} of {} members as their checksums say, {} read", check.members, bytes(check.bytes)),
    });
    let (nan, infinite) = check.totals();
    lines.push(format!(
        "{nan} NaN and {infinite} infinite among {} numbers of {} tensors",
        check.elements, check.tensors
    ));
    lines.extend(check.repeated.map(|all| {
        format!(
            "views repeat what is stored and come to {}: each stored number was looked at once, for the first tensor that reaches it",
            bytes(all)
        )
    }));
    lines
}

fn findings(opened: &Opened, check: &Check) -> Vec<String> {
    let name = |id: usize| opened.checkpoint.tensors.get(id).map_or("", |tensor| tensor.name.as_str());
    let mut lines = Vec::new();
    let mut list = |all: Vec<String>| {
        let more = all.len().saturating_sub(MOST_SHOWN);
        lines.extend(all.into_iter().take(MOST_SHOWN));
        if more > 0 {
            lines.push(format!("… and {more} more, which --format json lists"));
        }
    };
    list(
        check
            .damaged
            .iter()
            .map(|one| {
                let file = one.file.to_string_lossy();
                let member = if one.member.is_empty() { String::new() } else { format!(" `{}`", quoted(&one.member)) };
                format!("damaged: {}{member}: {}", escape(&file), sentence(&one.what))
            })
            .collect(),
    );
    list(
        check
            .unread
            .iter()
            .map(|(id, what)| format!("cannot be read: {}: {}", quoted(name(*id)), sentence(what)))
            .collect(),
    );
    let numbers = |one: &NotFinite| format!("{}: {} NaN, {} infinite", quoted(name(one.tensor)), one.nan, one.infinite);
    list(check.not_finite.iter().map(numbers).collect());
    lines
}
