//! The layers: what each converts to, how, and what was measured; what does not convert, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Matrix, blocks_with, caught_error, code_cell, cuda_cells, distances, error, measured_as, named, share};
use crate::certify::anatomy::Anatomy;
use crate::certify::record::{Caught, Figures, Measured, Record};
use crate::registry::Recipe;
use crate::registry::{Layer, RowStatus};

/// Classes by the module that they are in, in the registry's order.
fn families<'a>(rows: impl Iterator<Item = (&'a str, &'a Layer)>) -> Vec<(String, Vec<(&'a str, &'a Layer)>)> {
    let mut families: Vec<(String, Vec<(&str, &Layer)>)> = Vec::new();
    for (class, row) in rows {
        let module = class.rsplit_once('.').map_or("", |(module, _)| module);
        let module = if class.starts_with("torch.nn.modules.") {
            module.to_owned()
        } else {
            module.split('.').next().unwrap_or_default().to_owned()
        };
        match families.iter_mut().find(|(known, _)| *known == module) {
            Some((_, rows)) => rows.push((class, row)),
            None => families.push((module, vec![(class, row)])),
        }
    }
    families
}

pub(super) fn layers(out: &mut String, matrix: &Matrix<'_>) {
    let Matrix { registry, measured, .. } = matrix;
    let converting = |row: &Layer| matches!(row.status, RowStatus::Direct | RowStatus::Recipe);
    let rows = registry.classes().filter(|(_, row)| converting(row));
    let count = rows.clone().count();
    let own = rows.clone().filter(|(class, _)| measured.layers.contains_key(*class)).count();
    let _ = write!(
        out,
        "\n## Layers\n\n{count} classes convert. {own} of them were measured; each of the others computes the same as one that\n\
         was, by its source or by its output in PyTorch: the last column says which.\n"
    );
    for (module, rows) in families(rows) {
        let _ = write!(
            out,
            "\n### {module}\n\n\
             | Torch layer | MLX equivalent | mlx-rs | Weight rule | Status | f32 error | of tolerance | torch / mlx vs f64 | f16 | bf16 | half comes back as | Runs | CUDA f32 error | CUDA of tolerance | TF32 |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        );
        for (class, row) in rows {
            // Figures are shown only where they were measured.
            let of = measured_as(row, class, measured);
            let record = of.filter(|of| *of == class).and_then(|of| measured.layers.get(of));
            let single = record.and_then(|record| record.float32.as_ref());
            let half = |of: fn(&Record) -> Option<&Figures>| record.and_then(of);
            let (f16, bf16) = (half(|record| record.float16.as_ref()), half(|record| record.bfloat16.as_ref()));
            let back = f16.and_then(|figures| figures.mlx_dtype.clone()).unwrap_or_default();
            let cells = [
                format!("`{}`", code_cell(&named(class))),
                format!("`{}`", code_cell(row.mlx.as_deref().unwrap_or("none"))),
                row.mlx_rs.clone().unwrap_or_else(|| "the same".to_owned()),
                row.rule.clone().unwrap_or_else(|| "none".to_owned()),
                row.status.name().to_owned(),
                error(single),
                share(single),
                distances(single),
                error(f16),
                error(bf16),
                back,
                match of.filter(|of| *of != class) {
                    Some(of) => format!("as `{}`", code_cell(&named(of))),
                    None => runs(record),
                },
                cuda(matrix, of.filter(|of| *of == class), |measured| &measured.layers),
            ];
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
        notes(out, matrix, &module);
        anatomies(out, matrix, &module);
    }
}

/// One sentence for each row of a module, and the limits of its configurations.
fn notes(out: &mut String, matrix: &Matrix<'_>, module: &str) {
    let Matrix { registry, measured, .. } = matrix;
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    let rows: Vec<_> = registry.classes().collect();
    for (class, row) in
        families(rows.into_iter()).into_iter().filter(|(known, _)| known == module).flat_map(|(_, rows)| rows)
    {
        if !matches!(row.status, RowStatus::Direct | RowStatus::Recipe) {
            continue;
        }
        let mut text = row.reason.clone();
        let refused: BTreeSet<&String> =
            measured.layers.get(class).into_iter().flat_map(|record| record.refused.values()).collect();
        for reason in refused {
            let _ = write!(text, " Refused: {}.", reason.trim_end_matches('.'));
        }
        match said.iter_mut().find(|(known, _)| *known == text) {
            Some((_, classes)) => classes.push(named(class)),
            None => said.push((text, vec![named(class)])),
        }
    }
    out.push('\n');
    for (text, classes) in said {
        let more = classes.len().saturating_sub(4);
        let shown: Vec<String> = classes.iter().take(4).map(|class| format!("`{class}`")).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(out, "- {}{more}: {text}", shown.join(", "));
    }
}

/// How many moves of a layer are listed.
const MOST_MOVES: usize = 8;

/// What each measured class consists of; classes that consist of the same share a line.
fn anatomies(out: &mut String, matrix: &Matrix<'_>, module: &str) {
    let mut told: Vec<([String; 5], Vec<String>)> = Vec::new();
    let rows = families(matrix.registry.classes()).into_iter().filter(|(known, _)| known == module);
    for (class, row) in rows.flat_map(|(_, rows)| rows) {
        let Some(anatomy) = matrix.anatomies.get(class) else { continue };
        let blocks = blocks_with(class).iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
        let cells = [
            row.recipe.map_or("", Recipe::name).to_owned(),
            moves(anatomy),
            listed(anatomy.hyper_parameters.iter().map(|name| format!("`{}`", code_cell(name)))),
            listed(anatomy.layouts.iter().map(|layout| (*layout).to_owned())),
            listed(blocks.into_iter()),
        ];
        match told.iter_mut().find(|(known, _)| *known == cells) {
            Some((_, classes)) => classes.push(named(class)),
            None => told.push((cells, vec![named(class)])),
        }
    }
    if told.is_empty() {
        return;
    }
    out.push_str(
        "\n| Torch layer | Recipe | Parameters and buffers | Hyper-parameters that count | Activations in MLX | Block |\n\
         |---|---|---|---|---|---|\n",
    );
    for (cells, classes) in told {
        let more = classes.len().saturating_sub(4);
        let shown: Vec<String> = classes.iter().take(4).map(|class| format!("`{}`", code_cell(class))).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(out, "| {}{more} | {} |", shown.join(", "), cells.join(" | "));
    }
}

fn moves(anatomy: &Anatomy) -> String {
    let mut words: Vec<String> =
        anatomy.parameters.iter().take(MOST_MOVES).map(|words| words.replace('|', "\\|")).collect();
    let more = anatomy.parameters.len().saturating_sub(MOST_MOVES);
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    listed_by(words.into_iter(), "; ")
}

fn listed(words: impl Iterator<Item = String>) -> String {
    listed_by(words, ", ")
}

fn listed_by(words: impl Iterator<Item = String>, between: &str) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { "–".to_owned() } else { words.join(between) }
}

/// The blocks, each compared with the layers of torch that it replaces.
pub(super) fn blocks(out: &mut String, matrix: &Matrix<'_>) {
    out.push_str(
        "\n## Blocks\n\n\
         Modules of mlx-rs in `crates/mlx/src/blocks`, run as a whole against the layers of torch that they stand for. `inspect` names the\n\
         block that a module is; `verify --layers PATH` measures it.\n\n\
         | Block | The worst of | f32 error | of tolerance | torch / mlx vs f64 | f16 | bf16 | half comes back as | Runs | CUDA f32 error | CUDA of tolerance | TF32 |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, record) in &matrix.measured.blocks {
        let single = record.float32.as_ref();
        let back = record.float16.as_ref().and_then(|figures| figures.mlx_dtype.clone()).unwrap_or_default();
        let cells = [
            format!("`{name}`"),
            format!("`{}`", code_cell(single.map_or("", |figures| &figures.build))),
            error(single),
            share(single),
            distances(single),
            error(record.float16.as_ref()),
            error(record.bfloat16.as_ref()),
            back,
            runs(Some(record)),
            cuda(matrix, Some(name), |measured| &measured.blocks),
        ];
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}

/// What was measured of a class or a block on CUDA.
fn cuda(matrix: &Matrix<'_>, name: Option<&str>, of: fn(&Measured) -> &BTreeMap<String, Record>) -> String {
    let [exact, by_default] = [&matrix.cuda, &matrix.by_default]
        .map(|measured| name.and_then(|name| of(measured).get(name)?.float32.as_ref()));
    cuda_cells(exact, by_default)
}

fn runs(record: Option<&Record>) -> String {
    match record {
        None => "not run".to_owned(),
        Some(record) if record.refused.is_empty() => record.configurations.to_string(),
        Some(record) => format!("{}, {} refused", record.configurations, record.refused.len()),
    }
}

/// What a plain rename gives, beside the table that shows the right conversion.
pub(super) fn naive(out: &mut String, measured: &Measured) {
    let naive: Vec<&Caught> = measured.mistakes.iter().filter(|caught| caught.naive).collect();
    let _ = write!(
        out,
        "\n## What a plain rename gives\n\n\
         The same layers converted by name and shape alone, run as above: {} of the {} deliberate mistakes that the suite\n\
         makes.\n\n| Layer | What is not done | Verdict | f32 error | in tolerances |\n|---|---|---|---|---|\n",
        naive.len(),
        measured.mistakes.len()
    );
    for caught in naive {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} |",
            code_cell(&caught.build),
            caught.name,
            caught.verdict,
            caught_error(caught),
            caught.share.map_or_else(|| "–".to_owned(), |share| format!("{share:.0}")),
        );
    }
}

pub(super) fn unsupported(out: &mut String, matrix: &Matrix<'_>) {
    let Matrix { registry, measured, .. } = matrix;
    let _ = write!(out, "\n## Notable unsupported\n\n| Torch layer | Difficulty | Why |\n|---|---|---|\n");
    let mut groups: Vec<(&str, &str, Vec<String>)> = Vec::new();
    for (class, row) in registry.classes().filter(|(_, row)| row.status == RowStatus::Unsupported) {
        let difficulty = row.difficulty.map_or("", crate::registry::Difficulty::name);
        let known = groups.iter_mut().find(|(known, reason, _)| (*known, *reason) == (difficulty, row.reason.as_str()));
        match known {
            Some((_, _, classes)) => classes.push(named(class)),
            None => groups.push((difficulty, &row.reason, vec![named(class)])),
        }
    }
    for (difficulty, reason, classes) in groups {
        let shown: Vec<String> = classes.iter().take(6).map(|class| format!("`{}`", code_cell(class))).collect();
        let more = classes.len().saturating_sub(6);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(out, "| {}{more} | {difficulty} | {reason} |", shown.join(", "));
    }
    let mut refused: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (class, record) in &measured.layers {
        let converts =
            registry.layer(class).is_some_and(|row| matches!(row.status, RowStatus::Direct | RowStatus::Recipe));
        for (build, reason) in record.refused.iter().filter(|_| converts) {
            refused.entry(reason).or_default().push(build);
        }
    }
    if !refused.is_empty() {
        out.push_str("\nConfigurations that are refused though their class converts:\n\n");
        for (reason, builds) in refused {
            let _ = writeln!(out, "- `{}`: {reason}", code_cell(builds.first().copied().unwrap_or_default()));
        }
    }
    let containers: Vec<String> = registry
        .classes()
        .filter(|(_, row)| row.status == RowStatus::Container)
        .map(|(class, _)| format!("`{}`", code_cell(&named(class))))
        .collect();
    let _ = write!(out, "\nContainers, whose children are what converts: {}.\n", containers.join(", "));
}
