//! The comparison of two files, as text, Markdown and JSON.

use indexmap::IndexMap;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::{Each, code_cell};
use crate::export::check::{By, Finding, Piece, Verdict};
use t2m_checkpoint::escape::quoted;

/// How many lines of the text name tensors that differ.
const MOST_SHOWN: usize = 60;

/// Number of each verdict, in the order of their first occurrence.
fn counts(findings: &[Finding<'_>]) -> IndexMap<&'static str, usize> {
    let mut counts = IndexMap::new();
    findings.iter().for_each(|finding| *counts.entry(finding.verdict.name()).or_default() += 1);
    counts
}

fn summary(findings: &[Finding<'_>]) -> String {
    let counts: Vec<String> = counts(findings).iter().map(|(name, count)| format!("{count} {name}")).collect();
    if counts.is_empty() { "no tensors".to_owned() } else { counts.join(", ") }
}

/// What the report says about a tensor.
fn words(finding: &Finding<'_>) -> String {
    let what = match &finding.verdict {
        Verdict::Equal => String::new(),
        Verdict::Cast(dtype) => format!("to {}", dtype.name()),
        Verdict::EqualToRounding { max_abs, tolerance } => {
            format!("off by up to {max_abs:.1e}, where rounding explains {tolerance:.1e}")
        }
        Verdict::Quantized { bits, group, max_abs } => format!("{bits} bits by {group}, off by up to {max_abs:.1e}"),
        Verdict::Transposed { axes, wanted } => {
            let identity = axes.iter().enumerate().all(|(at, &axis)| at == axis);
            let is = if identity {
                "torch's axes as they were".to_owned()
            } else {
                format!("torch's axes in the order {axes:?}")
            };
            wanted.as_ref().map_or(is.clone(), |wanted| format!("{is}, where {wanted:?} is right"))
        }
        Verdict::Unjudged { axes, reason } => {
            format!("torch's axes in the order {axes:?}; which is right is not known: {reason}")
        }
        Verdict::Slice(piece) => part(piece, "of ours"),
        Verdict::Stack(piece) => part(piece, "in it"),
        Verdict::Unconverted => "torch's tensor as it is, where mlx.nn has another form".to_owned(),
        Verdict::Unshifted { offset } => format!(
            "torch's weight as it is, which is multiplied after {offset} is added: right where the port adds it at run time, \
             wrong in a plain mlx.nn norm"
        ),
        Verdict::ShiftedTwice { offset } => format!("torch's weight with {offset} added twice, where once is right"),
        Verdict::Different { max_abs: Some(most), what } => format!("off by up to {most:.3e}; {what}"),
        Verdict::Different { max_abs: None, what } => what.clone(),
        Verdict::Missing => "the other file has nothing like it".to_owned(),
        Verdict::Extra => "nothing of the conversion is like it".to_owned(),
    };
    let found = match (finding.name, finding.other) {
        (Some(name), Some(other)) if name != other => format!("is {} there", quoted(other)),
        _ => String::new(),
    };
    [found, what].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Where a part lies in a whole, and what is wrong with it.
fn part(piece: &Piece, whole: &str) -> String {
    let dtype = piece.dtype.map(|dtype| format!("to {}", dtype.name()));
    let axis = format!("{} {whole} along axis {}", piece.place, piece.axis);
    [Some(axis), dtype, piece.wrong.clone()].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn name<'a>(finding: &Finding<'a>) -> &'a str {
    finding.name.or(finding.other).unwrap_or_default()
}

/// For a reader: the tensors that differ, and the counts.
pub fn text(findings: &[Finding<'_>]) -> String {
    let mut lines = Vec::new();
    let telling: Vec<&Finding<'_>> = findings.iter().filter(|finding| !finding.verdict.is_good()).collect();
    let width = telling.iter().take(MOST_SHOWN).map(|finding| name(finding).chars().count()).max().unwrap_or(0).min(60);
    for finding in telling.iter().take(MOST_SHOWN) {
        let verdict = finding.verdict.name();
        lines.push(format!("{:width$}  {verdict:13}  {}", quoted(name(finding)), words(finding)));
    }
    if telling.len() > MOST_SHOWN {
        lines.push(format!("… and {} more, which --format json lists", telling.len() - MOST_SHOWN));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.push(summary(findings));
    let by_content = findings.iter().filter(|finding| finding.by == By::Content).count();
    if by_content > 0 {
        lines.push(format!("{by_content} found by what they hold, as their names are others"));
    }
    let packed = findings.iter().filter_map(|finding| match finding.verdict {
        Verdict::Quantized { max_abs, .. } => Some(max_abs),
        _ => None,
    });
    if let Some(most) = packed.reduce(f64::max) {
        lines.push(format!("quantized weights are off by up to {most:.1e}"));
    }
    lines.join("\n") + "\n"
}

/// Every tensor in a table.
pub fn markdown(findings: &[Finding<'_>]) -> String {
    let mut lines = vec![summary(findings), String::new(), "| tensor | | |".to_owned(), "|---|---|---|".to_owned()];
    let row = |finding: &Finding| {
        format!(
            "| `{}` | {} | {} |",
            code_cell(name(finding)),
            finding.verdict.name(),
            words(finding).replace('|', "\\|")
        )
    };
    lines.extend(findings.iter().map(row));
    lines.join("\n") + "\n"
}

/// For scripts: tensor by tensor as it is written.
#[derive(Debug)]
pub struct Json<'a>(pub &'a [Finding<'a>]);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut report = serializer.serialize_map(None)?;
        report.serialize_entry("schema", &1)?;
        report.serialize_entry("tensors", &Each(|| self.0.iter().map(tensor)))?;
        report.serialize_entry("summary", &counts(self.0))?;
        report.end()
    }
}

fn tensor(finding: &Finding<'_>) -> Value {
    let mut line = json!({
        "name": finding.name,
        "other": finding.other,
        "by": if finding.by == By::Name { "name" } else { "content" },
        "verdict": finding.verdict.name(),
    });
    match &finding.verdict {
        Verdict::Cast(dtype) => line["dtype"] = json!(dtype),
        Verdict::Quantized { bits, group, max_abs } => {
            (line["bits"], line["group"], line["max_abs"]) = (json!(bits), json!(group), json!(max_abs));
        }
        Verdict::EqualToRounding { max_abs, tolerance } => {
            (line["max_abs"], line["tolerance"]) = (json!(max_abs), json!(tolerance));
        }
        Verdict::Slice(piece) | Verdict::Stack(piece) => {
            (line["axis"], line["place"]) = (json!(piece.axis), json!(piece.place));
            (line["dtype"], line["reason"]) = (json!(piece.dtype), json!(piece.wrong));
        }
        Verdict::Unshifted { offset } | Verdict::ShiftedTwice { offset } => line["offset"] = json!(offset),
        Verdict::Transposed { axes, wanted } => (line["axes"], line["wanted"]) = (json!(axes), json!(wanted)),
        Verdict::Unjudged { axes, reason } => (line["axes"], line["reason"]) = (json!(axes), json!(reason)),
        Verdict::Different { max_abs, what } => (line["max_abs"], line["reason"]) = (json!(max_abs), json!(what)),
        _ => {}
    }
    line
}
