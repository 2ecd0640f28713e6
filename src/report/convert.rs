//! What a conversion did, as text and JSON.

use std::path::PathBuf;

use indexmap::IndexMap;
use serde_json::{Value, json};

use crate::export::reverse::Summary;
use crate::export::state_dict::{Doubt, Entry, Known, StateDict, Why};
use crate::export::writer::{Loss, Written};
use crate::figures::bytes;
use crate::model::{ModuleId, neighbours};
use crate::open::Opened;
use crate::plan::weights::Fold;
use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::{escape, sentence};

/// Modules of mlx-lm 0.32.2 whose norms compute with 1 + weight. Its others, qwen3_next, qwen3_5 and step3p5, have plain norms
/// and add the 1 when they load torch's weights.
const PORTS_THAT_ADD: &str =
    "mlx-lm's gemma, gemma2, gemma3, recurrent_gemma, nemotron, minimax_m3_vl and muse_glimmer";
/// How many names a list in the text shows.
const MOST_SHOWN: usize = 20;
/// How many names of tensors with one reason in common it shows.
const MOST_NAMES: usize = 4;

/// What the reports say about the model. It is collected in advance, so that the modules need not be kept while tensors
/// are written: a million of them take as much memory as everything else.
#[derive(Debug)]
pub struct Facts {
    path: PathBuf,
    warnings: Vec<String>,
    /// Indices, in the map, of convolutions that are assumed to be plain because the others are.
    by_others: Vec<usize>,
    /// What is not known of layers whose tensors move by their class alone, and of how many.
    unknown: IndexMap<String, usize>,
    /// Whether `verify` can measure any module.
    measurable: bool,
}

impl Facts {
    /// What to say about an opened checkpoint and its key map.
    pub fn of(opened: &Opened, map: &StateDict) -> Facts {
        let doubtful = |entry: &Entry| opened.model.modules.get(entry.module).is_some_and(neighbours::by_others);
        let others = |(at, entry): (usize, &Entry)| (entry.shape.len() > 2 && doubtful(entry)).then_some(at);
        Facts {
            path: opened.checkpoint.path.clone(),
            warnings: opened.checkpoint.warnings.clone(),
            by_others: map.entries.iter().enumerate().filter_map(others).collect(),
            unknown: unknown(opened, map),
            measurable: opened.triage.modules.iter().any(|triaged| triaged.can_run()),
        }
    }

    fn by_others<'m>(&self, map: &'m StateDict) -> Vec<&'m str> {
        self.by_others.iter().filter_map(|&at| map.entries.get(at)).map(|entry| entry.name.as_str()).collect()
    }
}

fn unknown(opened: &Opened, map: &StateDict) -> IndexMap<String, usize> {
    let mut modules: Vec<ModuleId> =
        map.entries.iter().filter(|entry| entry.known == Known::Layout).map(|entry| entry.module).collect();
    modules.dedup();
    let mut unknown = IndexMap::new();
    let names = modules.iter().filter_map(|id| opened.triage.modules.get(*id)).flat_map(|triaged| &triaged.unknown);
    for name in names {
        *unknown.entry(name.clone()).or_default() += 1;
    }
    unknown
}

/// The report for a reader.
pub fn text(facts: &Facts, map: &StateDict, written: &Written) -> String {
    let mut lines = Vec::new();
    let files: Vec<_> = written.files.iter().map(|file| escape(&file.to_string_lossy()).into_owned()).collect();
    let count = map.entries.len();
    lines.push(format!(
        "{}: {count} tensor{}, {}, each read back and compared with a fresh conversion",
        files.join(", "),
        if count == 1 { "" } else { "s" },
        bytes(written.bytes)
    ));
    let rules: Vec<String> = map.rules().iter().map(|(rule, count)| format!("{count} {rule}")).collect();
    lines.push(format!("rules: {}", if rules.is_empty() { "none".to_owned() } else { rules.join(", ") }));
    let by_class = map.entries.iter().filter(|entry| entry.known == Known::Layout).count();
    if by_class > 0 {
        lines.push(format!(
            "{by_class} by their layer's class, or since they have one axis: the file does not say more, and the layout does not depend on it"
        ));
    }
    if !facts.unknown.is_empty() {
        let each: Vec<String> = facts.unknown.iter().map(|(name, count)| format!("{name} of {count}")).collect();
        lines.push(format!(
            "nothing was assumed of these layers; what MLX's have to be built with: {}",
            each.join(", ")
        ));
    }
    if let Some(added) = added(map) {
        lines.push(added);
    }
    let others = facts.by_others(map);
    let title = format!(
        "{} because the model's other convolutions are no transposed ones either; the file does not say:",
        others.len()
    );
    list(&mut lines, &title, others.len(), others.iter().map(|name| (*name).to_owned()));
    let left = |wanted: fn(&Why) -> bool| map.left.iter().filter(|left| wanted(&left.why)).count();
    let (dropped, skipped) = (left(|why| *why == Why::Dropped), left(|why| *why == Why::Skipped));
    if dropped > 0 {
        lines.push(format!("{dropped} dropped: num_batches_tracked, which MLX's norms do not keep"));
    }
    if skipped > 0 {
        lines.push(format!("{skipped} left out by --skip"));
    }
    let (tied, count) = (map.tied().map(|(left, name)| format!("{} = {name}", left.name)), map.tied().count());
    list(&mut lines, &format!("{count} tied, written once:"), count, tied);
    let (count, copied) = (map.copied().count(), copied(map));
    list(&mut lines, &format!("{count} copied under their names:"), copied.len(), copied.into_iter());
    casts(&mut lines, written);
    let eights = map.entries.iter().filter(|entry| entry.dtype == Dtype::Float8E4M3FN).count();
    if eights > 0 {
        lines.push(format!(
            "{eights} float8_e4m3fn, which MLX loads as bytes (uint8): mx.from_fp8 makes numbers of them"
        ));
    }
    let warnings = &facts.warnings;
    list(&mut lines, "of the checkpoint itself:", warnings.len(), warnings.iter().cloned());
    if facts.measurable {
        lines.push("the layers' outputs are measured by `t2m-tui verify`, by the same moves".to_owned());
    }
    lines.join("\n") + "\n"
}

/// What was added to the weights of norms, and for whom that is right.
fn added(map: &StateDict) -> Option<String> {
    let offsets = map.entries.iter().filter_map(|entry| match entry.step.fold {
        Fold::Offset(offset) => Some(offset),
        _ => None,
    });
    let (offset, count) = (offsets.clone().next()?, offsets.count());
    Some(format!(
        "{count} norms with {offset} added to their weight, as plain mlx.nn norms want it; {PORTS_THAT_ADD} add it at run time and want torch's weight"
    ))
}

/// What is only copied: for each reason the names that have it.
fn copied(map: &StateDict) -> Vec<String> {
    let mut by_reason: IndexMap<&Doubt, Vec<&str>> = IndexMap::new();
    map.copied().for_each(|(entry, doubt)| by_reason.entry(doubt).or_default().push(&entry.name));
    let line = |(doubt, names): (&Doubt, Vec<&str>)| {
        let more =
            if names.len() > MOST_NAMES { format!(" and {} more", names.len() - MOST_NAMES) } else { String::new() };
        format!("{}{more}: {doubt}", names[..names.len().min(MOST_NAMES)].join(", "))
    };
    by_reason.into_iter().map(line).collect()
}

/// The first items of a list with this title; those that are not shown are not even created.
fn list(lines: &mut Vec<String>, title: &str, count: usize, items: impl Iterator<Item = String>) {
    if count == 0 {
        return;
    }
    lines.push(title.to_owned());
    lines.extend(items.take(MOST_SHOWN).map(|item| format!("  {}", sentence(&item))));
    if count > MOST_SHOWN {
        lines.push(format!("  … and {} more, which --format json lists", count - MOST_SHOWN));
    }
}

fn casts(lines: &mut Vec<String>, written: &Written) {
    for (from, to, count) in &written.casts {
        lines.push(format!("{count} cast from {} to {}", from.name(), to.name()));
    }
    if written.casts.is_empty() {
        return;
    }
    let total = total(written);
    let lost = format!(
        "lost: {} became infinite, {} became zero, {} rounded by up to {:.1e}",
        total.overflowed, total.vanished, total.rounded, total.max_abs
    );
    lines.push(if total.is_nothing() { "nothing was lost by it".to_owned() } else { lost });
    let infinite = || written.losses.iter().filter(|(_, loss)| loss.overflowed > 0);
    let items = infinite().map(|(name, loss)| format!("{name}: {} became infinite", loss.overflowed));
    list(lines, "no longer finite; bf16 has float32's range:", infinite().count(), items);
}

/// The report of a conversion back, for a reader.
pub fn reversed_text(summary: &Summary, written: &Written) -> String {
    let files: Vec<_> = written.files.iter().map(|file| escape(&file.to_string_lossy()).into_owned()).collect();
    let mut lines = vec![format!("{}: {}, each tensor read back and compared", files.join(", "), bytes(written.bytes))];
    for (count, words) in [
        (summary.exact, "are the checkpoint's own to the bit, which convert to what the MLX file holds"),
        (summary.inverted, "made of MLX's tensors; those of a fold are some that fold to the same"),
        (summary.kept, "of which MLX keeps nothing, from the checkpoint"),
    ] {
        if count > 0 {
            lines.push(format!("{count} {words}"));
        }
    }
    lines.join("\n") + "\n"
}

/// The report of a conversion back, for scripts.
pub fn reversed_json(summary: &Summary, written: &Written) -> Value {
    json!({
        "schema": 1,
        "files": written.files.iter().map(|file| file.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "bytes": written.bytes,
        "exact": summary.exact,
        "inverted": summary.inverted,
        "kept": summary.kept,
    })
}

/// The sum of all losses.
pub fn total(written: &Written) -> Loss {
    let mut total = Loss::default();
    written.losses.iter().for_each(|(_, loss)| total.add(loss));
    total
}

/// The report for scripts.
pub fn json(facts: &Facts, map: &StateDict, written: &Written) -> Value {
    let loss = |loss: &Loss| json!({"overflowed": loss.overflowed, "vanished": loss.vanished, "rounded": loss.rounded, "max_abs": loss.max_abs});
    let left = |why: &Why| match why {
        Why::Dropped => "dropped".to_owned(),
        Why::Skipped => "skipped".to_owned(),
        Why::Tied(name) => format!("tied to {name}"),
    };
    json!({
        "schema": 1,
        "source": facts.path.to_string_lossy(),
        "files": written.files.iter().map(|file| file.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "tensors": map.entries.len(),
        "bytes": written.bytes,
        "rules": map.rules(),
        "by_class_alone": map.entries.iter().filter(|entry| entry.known == Known::Layout).map(|entry| entry.name.as_str()).collect::<Vec<_>>(),
        "by_others": facts.by_others(map),
        "copied": map.copied().map(|(entry, doubt)| json!({"name": entry.name.as_str(), "reason": doubt.to_string()})).collect::<Vec<_>>(),
        "left": map.left.iter().map(|of| json!({"name": of.name, "why": left(&of.why)})).collect::<Vec<_>>(),
        "casts": written.casts.iter().map(|(from, to, count)| json!({"from": from, "to": to, "tensors": count})).collect::<Vec<_>>(),
        "warnings": facts.warnings,
        "lost": written.losses.iter().map(|(name, lost)| (name.clone(), loss(lost))).collect::<serde_json::Map<_, _>>(),
    })
}
