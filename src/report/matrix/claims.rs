//! What the project's first matrix claimed, compared with what runs show.

use std::fmt::Write;

use super::{Matrix, caught_error, code_cell, error, named, record, said};
use crate::registry::blockers::{self, Severity};
use crate::registry::claims as registry_claims;
use crate::registry::{RowStatus, Seed};

/// Every claim with a verdict.
pub(super) fn claims(out: &mut String, matrix: &Matrix<'_>) {
    layers(out, matrix);
    ops(out, matrix);
    unsupported_ops(out, matrix);
    rules(out, matrix);
    blockers(out);
}

/// Its claims about layers, and what a run says.
fn layers(out: &mut String, matrix: &Matrix<'_>) {
    let Matrix { registry, measured, .. } = matrix;
    out.push_str(
        "\n## The first matrix's claims\n\n\
         The project began with a matrix of 24 layers, 28 ops, 6 weight rules, 6 blocker patterns and lists of what is\n\
         unsupported, none of it measured.\n\n\
         | Layer | It said | Measured | f32 error | What a plain rename gives |\n|---|---|---|---|---|\n",
    );
    for (class, row) in registry.classes() {
        let Some(seed) = row.seed.filter(|_| class == row.class) else { continue };
        let record = record(row, class, measured);
        let single = record.and_then(|record| record.float32.as_ref());
        let wrong: Vec<String> = measured
            .mistakes
            .iter()
            .filter(|caught| caught.naive && caught.class == class)
            .map(|caught| format!("{} ({})", caught.name, caught_error(caught)))
            .collect();
        let said = match seed {
            Seed::Supported => "supported".to_owned(),
            Seed::Unsupported(difficulty) => format!("unsupported: {}", difficulty.name()),
        };
        let verdict = match (seed, row.status, wrong.is_empty()) {
            (_, RowStatus::Container, _) => "holds: a wrapper, nothing to run",
            (Seed::Supported, _, true) => "holds",
            (Seed::Supported, _, false) => "holds, but not by a plain rename",
            (Seed::Unsupported(_), RowStatus::Unsupported, _) => "holds",
            (Seed::Unsupported(_), _, _) => "outdated: it converts",
        };
        let left_out = if wrong.is_empty() { "–".to_owned() } else { wrong.join("; ") };
        let _ = writeln!(out, "| `{}` | {said} | {verdict} | {} | {left_out} |", named(class), error(single));
    }
}

/// Its claims about ops.
fn ops(out: &mut String, matrix: &Matrix<'_>) {
    let Matrix { registry, measured, .. } = matrix;
    out.push_str("\n| Op | It said | Measured | f32 error | Renamed alone |\n|---|---|---|---|---|\n");
    for op in registry.ops().iter().filter(|op| op.seed) {
        let example = measured.ops.get(&op.torch);
        let naive = example.and_then(|example| example.naive.as_ref());
        let verdict = match (example.and_then(|example| example.right.as_ref()), naive) {
            (None, _) => "nothing to run",
            (Some(_), None) => "holds",
            (Some(_), Some(_)) => "holds, but not by a plain rename",
        };
        let right = error(example.and_then(|example| example.right.as_ref()));
        let naive = naive.map_or_else(|| "–".to_owned(), said);
        let _ =
            writeln!(out, "| `{}` | `{}` | {verdict} | {right} | {naive} |", code_cell(&op.torch), code_cell(&op.mlx));
    }
}

/// Its claims about ops that it did not support.
fn unsupported_ops(out: &mut String, matrix: &Matrix<'_>) {
    out.push_str("\n| Unsupported op | It said | Verdict | f32 error | What happens in MLX |\n|---|---|---|---|---|\n");
    for claim in registry_claims::built_in() {
        let run = claim.op.as_ref().and_then(|op| matrix.measured.ops.get(op)?.right.as_ref());
        let trap =
            claim.op.as_ref().and_then(|op| matrix.registry.ops().iter().find(|row| row.torch == *op)?.trap.clone());
        let found = blockers::built_in().iter().filter(|pattern| claim.blocker.contains(&pattern.name));
        let verdict = match found.clone().map(|pattern| pattern.grade.severity).min() {
            _ if run.is_some() => "holds: it runs".to_owned(),
            Some(Severity::Breaks) => "holds".to_owned(),
            Some(_) => format!("outdated: MLX does it, but for a {}", claim.blocker.join(" or ")),
            None => "nothing was run".to_owned(),
        };
        let texts: Vec<String> = found.map(|pattern| pattern.grade.explanation.clone()).chain(trap).collect();
        let happens = texts.join(" ").replace('|', "\\|");
        let _ = writeln!(out, "| {} | {} | {verdict} | {} | {happens} |", claim.claim, claim.said, error(run));
    }
}

/// Its claims about weight rules. A rule is as good as the layers that were measured with it.
fn rules(out: &mut String, matrix: &Matrix<'_>) {
    let Matrix { registry, measured, .. } = matrix;
    out.push_str(
        "\n| Weight rule | It said | Measured | f32 error | Weight as torch has it |\n|---|---|---|---|---|\n",
    );
    for rule in registry.rules.iter().filter(|rule| rule.seed) {
        let users = registry.classes().filter(|(_, row)| row.rule.as_deref() == Some(rule.name.as_str()));
        let users: Vec<(&str, &crate::certify::record::Record)> =
            users.filter_map(|(class, row)| Some((class, record(row, class, measured)?))).collect();
        let worst = users.iter().filter_map(|(_, record)| record.float32.as_ref()?.max_abs).reduce(f64::max);
        let kept = measured.mistakes.iter().filter(|caught| {
            caught.name == "weight as torch has it" && users.iter().any(|(class, _)| *class == caught.class)
        });
        let kept: Vec<String> = kept.map(|caught| format!("{} {}", caught.verdict, caught_error(caught))).collect();
        let count = if users.len() == 1 { "one class".to_owned() } else { format!("{} classes", users.len()) };
        let verdict = match (worst, rule.grouped) {
            (None, _) => "nothing was run".to_owned(),
            (Some(_), true) => format!("holds for {count}; with groups each group by itself"),
            (Some(_), false) => format!("holds for {count}"),
        };
        let said = rule.axes.as_ref().map_or("kept as it is".to_owned(), |axes| format!("axes {axes:?}"));
        let kept = if kept.is_empty() { "–".to_owned() } else { kept.join("; ") };
        let _ = writeln!(out, "| `{}` | {said} | {verdict} | {} | {kept} |", rule.name, super::number(worst));
    }
}

/// Its claims about blockers: that they cannot be converted, wherever in `forward` their text occurs.
fn blockers(out: &mut String) {
    out.push_str("\n| Blocker | It said | Verdict | What happens in MLX |\n|---|---|---|---|\n");
    for blocker in blockers::built_in().iter().filter(|blocker| blocker.seed) {
        let grade = &blocker.grade;
        let verdict = match grade.severity {
            Severity::Breaks => "holds, where it is syntax",
            Severity::Differs => "it runs, and differs",
            Severity::Harmless => "outdated: MLX does the same",
        };
        let happens = grade.explanation.replace('|', "\\|");
        let _ = writeln!(out, "| `{}` | not convertible | {verdict} | {happens} |", code_cell(&blocker.name));
    }
}
