//! The support matrix: what the registry says and what was measured, in the order of the document that the project began
//! with.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::code_cell;
use crate::certify::record::{Caught, Figures, Measured, Record};
use crate::registry::blockers;
use crate::registry::ops::Op;
use crate::registry::{Layer, Registry, RowStatus, Seed};

/// The blockers; that the built-in file is whole a test has seen to.
fn patterns() -> &'static [blockers::Pattern] {
    blockers::built_in().unwrap_or_default()
}

/// The matrix as Markdown.
pub fn markdown(registry: &Registry, measured: &Measured) -> String {
    let mut out = String::new();
    heading(&mut out, measured);
    layers(&mut out, registry, measured);
    naive(&mut out, measured);
    unsupported(&mut out, registry, measured);
    ops(&mut out, registry, measured);
    dtypes(&mut out, registry, measured);
    rules(&mut out, registry);
    blocker_patterns(&mut out);
    summary(&mut out, registry, measured);
    claims(&mut out, registry, measured);
    op_claims(&mut out, registry, measured);
    out
}

/// The matrix as JSON.
pub fn json(registry: &Registry, measured: &Measured) -> Value {
    let rows = registry.classes().map(|(class, row)| {
        json!({
            "class": class,
            "status": row.status.name(),
            "difficulty": row.difficulty.map(crate::triage::Difficulty::name),
            "mlx": row.mlx,
            "mlx_rs": row.mlx_rs,
            "rule": row.rule,
            "recipe": row.recipe,
            "reason": row.reason,
            "measured": record(row, class, measured),
            "measured_as": measured_as(row, class, measured),
        })
    });
    let ops = registry.ops.iter().map(|op| {
        json!({"torch": op.torch, "mlx": op.mlx, "status": op.status.name(), "renames": op.renames, "trap": op.trap})
    });
    let rules = registry.rules.iter().map(|rule| json!({"name": rule.name, "shape": rule.shape}));
    json!({
        "schema": 1,
        "engines": measured.engines,
        "platform": measured.platform,
        "layers": rows.collect::<Vec<_>>(),
        "ops": ops.collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
        "blockers": patterns().iter().map(|blocker| blocker.name.clone()).collect::<Vec<_>>(),
        "mistakes": measured.mistakes,
    })
}

fn heading(out: &mut String, measured: &Measured) {
    let engines = measured.engines.join(" and ");
    let _ = write!(
        out,
        "# Support matrix\n\n\
         Written by `t2m-tui matrix`, out of the registry and of runs of both engines: {engines}, on {}. Nobody typed a\n\
         figure in here, and no figure was copied from elsewhere.\n\n\
         How to read a figure: the largest absolute difference between libtorch and MLX over all configurations of the\n\
         layer, each with randomised parameters and buffers and two seeded inputs. `of tolerance` is the share of the\n\
         allowed rounding that the worst one takes: above 1 the conversion would be wrong. `vs f64` is how far each side is\n\
         from the same run in float64. Half precision cannot tell a wrong epsilon from rounding: it is shown beside the\n\
         verdict, which is float32's. How the tolerance is made is in [verdicts.md](verdicts.md).\n",
        measured.platform
    );
}

/// Whose figures a row has: the class's own, those of the class that it shares the row with, or of the class of torch that it
/// stands for.
fn measured_as<'a>(row: &'a Layer, class: &'a str, measured: &Measured) -> Option<&'a str> {
    let names = [Some(class), Some(row.class.as_str()), row.torch.as_deref()];
    names.into_iter().flatten().find(|name| measured.layers.contains_key(*name))
}

/// The figures of a row.
fn record<'a>(row: &Layer, class: &str, measured: &'a Measured) -> Option<&'a Record> {
    measured.layers.get(measured_as(row, class, measured)?)
}

/// `torch.nn.modules.conv.Conv2d` → `nn.Conv2d`; other classes keep their path.
fn named(class: &str) -> String {
    match class.strip_prefix("torch.nn.modules.").and_then(|rest| rest.rsplit('.').next()) {
        Some(name) => format!("nn.{name}"),
        None => class.to_owned(),
    }
}

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

fn layers(out: &mut String, registry: &Registry, measured: &Measured) {
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
             | Torch layer | MLX equivalent | mlx-rs | Weight rule | Status | f32 error | of tolerance | torch / mlx vs f64 | f16 | bf16 | half comes back as | Runs |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|\n"
        );
        for (class, row) in rows {
            // Figures are shown where they were measured, and nowhere else.
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
            ];
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
        notes(out, registry, &module, measured);
    }
}

/// One sentence for each row of a module, and what its configurations may not have.
fn notes(out: &mut String, registry: &Registry, module: &str, measured: &Measured) {
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    let rows: Vec<_> = registry.classes().collect();
    for (class, row) in
        families(rows.into_iter()).into_iter().filter(|(known, _)| known == module).flat_map(|(_, rows)| rows)
    {
        if !matches!(row.status, RowStatus::Direct | RowStatus::Recipe) {
            continue;
        }
        let mut text = row.reason.clone();
        let refused: std::collections::BTreeSet<&String> =
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

/// `4.8e-7`, `0`; a dash where nothing was measured.
fn number(number: Option<f64>) -> String {
    match number {
        None => "–".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(number) => format!("{number:.1e}"),
    }
}

fn error(figures: Option<&Figures>) -> String {
    number(figures.and_then(|figures| figures.max_abs))
}

fn share(figures: Option<&Figures>) -> String {
    match figures.and_then(|figures| figures.share) {
        Some(0.0) => "exact".to_owned(),
        Some(share) => format!("{share:.2}"),
        None => "–".to_owned(),
    }
}

fn distances(figures: Option<&Figures>) -> String {
    match figures {
        Some(figures) => format!("{} / {}", number(figures.torch_vs_f64), number(figures.mlx_vs_f64)),
        None => "–".to_owned(),
    }
}

fn runs(record: Option<&Record>) -> String {
    match record {
        None => "not run".to_owned(),
        Some(record) if record.refused.is_empty() => record.configurations.to_string(),
        Some(record) => format!("{}, {} refused", record.configurations, record.refused.len()),
    }
}

/// What a plain rename gives, beside the table that shows the right conversion.
fn naive(out: &mut String, measured: &Measured) {
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

fn caught_error(caught: &Caught) -> String {
    match (caught.max_abs, caught.verdict.as_str()) {
        (Some(error), _) => number(Some(error)),
        (None, "failed") => "MLX refuses".to_owned(),
        (None, _) => "another shape".to_owned(),
    }
}

fn unsupported(out: &mut String, registry: &Registry, measured: &Measured) {
    let _ = write!(out, "\n## Notable unsupported\n\n| Torch layer | Difficulty | Why |\n|---|---|---|\n");
    let mut groups: Vec<(&str, &str, Vec<String>)> = Vec::new();
    for (class, row) in registry.classes().filter(|(_, row)| row.status == RowStatus::Unsupported) {
        let difficulty = row.difficulty.map_or("", crate::triage::Difficulty::name);
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

fn ops(out: &mut String, registry: &Registry, measured: &Measured) {
    let _ = write!(
        out,
        "\n## Ops\n\n{} ops, {} of them run in both engines. `renamed alone` is what one gets by changing the name and nothing else.\n\n\
         | Torch op | MLX equivalent | Renames | Agreement | f32 error | Renamed alone | What goes wrong |\n|---|---|---|---|---|---|---|\n",
        registry.ops.len(),
        measured.ops.values().filter(|example| example.right.is_some()).count()
    );
    for op in &registry.ops {
        let _ = writeln!(out, "| {} |", op_cells(op, measured).join(" | "));
    }
}

fn op_cells(op: &Op, measured: &Measured) -> [String; 7] {
    let renames: Vec<String> = op.renames.iter().map(|(from, to)| format!("`{from}` → `{to}`")).collect();
    let example = measured.ops.get(&op.torch);
    let right = match example.and_then(|example| example.right.as_ref()) {
        Some(figures) => error(Some(figures)),
        None => "not run".to_owned(),
    };
    [
        format!("`{}`", code_cell(&op.torch)),
        format!("`{}`", code_cell(&op.mlx)),
        if renames.is_empty() { "none".to_owned() } else { renames.join(", ") },
        op.agreement().to_owned(),
        right,
        example.and_then(|example| example.naive.as_ref()).map_or_else(|| "–".to_owned(), said),
        op.trap.as_ref().or(op.unmeasured.as_ref()).cloned().unwrap_or_default().replace('|', "\\|"),
    ]
}

/// Verdict and error of a naive run.
fn said(figures: &Figures) -> String {
    match (figures.verdict.as_str(), figures.max_abs) {
        ("failed", _) => "MLX refuses".to_owned(),
        (verdict, Some(error)) => format!("{verdict} {}", number(Some(error))),
        (verdict, None) => format!("{verdict}: another shape"),
    }
}

fn dtypes(out: &mut String, registry: &Registry, measured: &Measured) {
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

/// What the first matrix said of each op.
fn op_claims(out: &mut String, registry: &Registry, measured: &Measured) {
    out.push_str("\n| Op | It said | Measured | f32 error | Renamed alone |\n|---|---|---|---|---|\n");
    for op in registry.ops.iter().filter(|op| op.seed) {
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

fn rules(out: &mut String, registry: &Registry) {
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

fn blocker_patterns(out: &mut String) {
    let _ = write!(
        out,
        "\n## Blockers\n\nFound as syntax in `forward` and what it calls, not in strings and comments.\n\n\
         | Pattern | Severity | What happens | What to write |\n|---|---|---|---|\n"
    );
    for blocker in patterns() {
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

fn summary(out: &mut String, registry: &Registry, measured: &Measured) {
    let count = |status: RowStatus| registry.classes().filter(|(_, row)| row.status == status).count();
    let runs: usize = measured.layers.values().map(|record| record.configurations).sum();
    let lines = [
        ("Classes that convert directly", count(RowStatus::Direct)),
        ("Classes that convert by a recipe", count(RowStatus::Recipe)),
        ("Containers", count(RowStatus::Container)),
        ("Classes without a conversion", count(RowStatus::Unsupported)),
        ("Classes measured", measured.layers.len()),
        ("Configurations and calls measured", runs),
        ("Deliberate mistakes caught", measured.mistakes.iter().filter(|caught| is_caught(caught)).count()),
        ("Ops", registry.ops.len()),
        ("Ops measured", measured.ops.values().filter(|example| example.right.is_some()).count()),
        ("Weight rules", registry.rules.len()),
        ("Blocker patterns", patterns().len()),
    ];
    out.push_str("\n## Summary\n\n| | Count |\n|---|---|\n");
    for (what, count) in lines {
        let _ = writeln!(out, "| {what} | {count} |");
    }
}

fn is_caught(caught: &Caught) -> bool {
    matches!(caught.verdict.as_str(), "drift" | "broken" | "failed")
}

/// What the first support matrix said of each layer, and what a run says.
fn claims(out: &mut String, registry: &Registry, measured: &Measured) {
    out.push_str(
        "\n## The first matrix's claims\n\n\
         The project began with a matrix of 24 layers and a list of what is unsupported, none of it measured.\n\n\
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
