//! Ops, dtypes, weight rules and blockers.

use std::fmt::Write;

use super::{Matrix, code_cell, cuda_cells, error, named, said};
use crate::certify::record::Measured;
use crate::registry::ops::Op;
use crate::registry::{Registry, blockers};

pub(super) fn ops(out: &mut String, matrix: &Matrix<'_>) {
    let Matrix { registry, measured, .. } = matrix;
    let _ = write!(
        out,
        "\n## Ops\n\n{} ops, {} of them run in both engines. `renamed alone` is what one gets by changing the name and nothing else.\n\n\
         | Torch op | MLX equivalent | Renames | Agreement | f32 error | Renamed alone | What goes wrong | CUDA f32 error | CUDA of tolerance | TF32 |\n|---|---|---|---|---|---|---|---|---|---|\n",
        registry.ops().len(),
        measured.ops.values().filter(|example| example.right.is_some()).count()
    );
    for op in registry.ops() {
        let _ = writeln!(out, "| {} |", op_cells(op, matrix).join(" | "));
    }
}

fn op_cells(op: &Op, matrix: &Matrix<'_>) -> [String; 8] {
    let renames: Vec<String> = op.renames.iter().map(|(from, to)| format!("`{from}` → `{to}`")).collect();
    let example = matrix.measured.ops.get(&op.torch);
    let on = |measured: &Measured| measured.ops.get(&op.torch).and_then(|example| example.right.clone());
    let right = match example.and_then(|example| example.right.as_ref()) {
        Some(figures) => error(Some(figures)),
        None => "not run".to_owned(),
    };
    [
        format!("`{}`", code_cell(&op.torch)),
        format!("`{}`", code_cell(&op.mlx)),
        if renames.is_empty() { "none".to_owned() } else { renames.join(", ") },
        op.agreement().name().to_owned(),
        right,
        example.and_then(|example| example.naive.as_ref()).map_or_else(|| "–".to_owned(), said),
        op.trap.as_ref().or(op.unmeasured.as_ref()).cloned().unwrap_or_default().replace('|', "\\|"),
        cuda_cells(on(&matrix.cuda).as_ref(), on(&matrix.by_default).as_ref()),
    ]
}

pub(super) fn dtypes(out: &mut String, matrix: &Matrix<'_>) {
    let Matrix { registry, measured, .. } = matrix;
    out.push_str("\n## Dtypes\n\n| torch | MLX | What is lost | Cast in both |\n|---|---|---|---|\n");
    for row in &registry.dtypes {
        let example = measured.dtypes.get(&row.torch).and_then(|example| example.right.as_ref());
        let cast = match example {
            Some(figures) => figures.verdict.clone(),
            None => row.unmeasured.clone().unwrap_or_else(|| "not run".to_owned()),
        };
        let _ = writeln!(
            out,
            "| `{}` | `{}` | {} | {} |",
            code_cell(&row.torch),
            code_cell(&row.mlx),
            row.lost.replace('|', "\\|"),
            cast.replace('|', "\\|")
        );
    }
}

pub(super) fn rules(out: &mut String, registry: &Registry) {
    let _ = write!(out, "\n## Weight rules\n\n| Rule | Shape | And back | Used by |\n|---|---|---|---|\n");
    for rule in &registry.rules {
        let users: Vec<String> = registry
            .classes()
            .filter(|(_, row)| row.rule.as_deref() == Some(rule.name.as_str()))
            .map(|(class, _)| format!("`{}`", code_cell(&named(class))))
            .collect();
        let more = users.len().saturating_sub(8);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let users: Vec<String> = users.into_iter().take(8).collect();
        let users = if users.is_empty() { "recipes".to_owned() } else { users.join(", ") };
        let (shape, back) = (code_cell(&rule.shape), rule.inverse.replace('|', "\\|"));
        let _ = writeln!(out, "| `{}` | `{shape}` | {back} | {users}{more} |", rule.name);
    }
}

pub(super) fn blocker_patterns(out: &mut String) {
    let _ = write!(
        out,
        "\n## Blockers\n\nFound as syntax in `forward` and what it calls, not in strings and comments.\n\n\
         | Pattern | Severity | What happens | What to write |\n|---|---|---|---|\n"
    );
    for blocker in blockers::built_in() {
        let grade = &blocker.grade;
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            code_cell(&blocker.name),
            grade.severity.name(),
            grade.explanation.replace('|', "\\|"),
            grade.hint.replace('|', "\\|")
        );
    }
}
