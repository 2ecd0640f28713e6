//! The support matrix: what the registry says and what was measured, in the order of the project's first matrix.

mod aten;
mod claims;
mod layers;
mod ops;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use super::code_cell;
use crate::certify::anatomy::{self, Anatomy};
use crate::certify::record::{Caught, Figures, Measured, Record};
use crate::certify::{built_in, zoo};
use crate::registry::Recipe;
use crate::registry::aten::Table;
use crate::registry::blockers;
use crate::registry::{Layer, Registry, RowStatus};

/// What the matrix is made of.
pub struct Matrix<'a> {
    registry: &'a Registry,
    measured: &'a Measured,
    /// MLX on CUDA, as it is measured and as it is by default there.
    cuda: Measured,
    by_default: Measured,
    anatomies: BTreeMap<String, Anatomy>,
}

impl<'a> Matrix<'a> {
    /// The matrix of a registry, with these figures.
    ///
    /// # Errors
    /// The built-in samples or records cannot be read, which a test rules out.
    pub fn new(registry: &'a Arc<Registry>, measured: &'a Measured) -> Result<Matrix<'a>, serde_json::Error> {
        let mut samples = built_in()?;
        samples.extend(zoo()?);
        let (cuda, by_default) = (Measured::on_cuda()?, Measured::by_default_on_cuda()?);
        Ok(Matrix { registry, measured, cuda, by_default, anatomies: anatomy::of(&samples, registry) })
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        heading(&mut out, self.measured);
        on_cuda(&mut out, self);
        layers::layers(&mut out, self);
        layers::blocks(&mut out, self);
        layers::naive(&mut out, self.measured);
        layers::unsupported(&mut out, self);
        ops::ops(&mut out, self);
        aten::aten(&mut out, self);
        ops::dtypes(&mut out, self);
        ops::rules(&mut out, self.registry);
        ops::blocker_patterns(&mut out);
        summary(&mut out, self);
        claims::claims(&mut out, self);
        out
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let Matrix { registry, measured, .. } = self;
        let rows = registry.classes().map(|(class, row)| {
            let anatomy = self.anatomies.get(class);
            let record = record(row, class, measured);
            json!({
                "class": class,
                "status": row.status.name(),
                "difficulty": row.difficulty.map(crate::registry::Difficulty::name),
                "mlx": row.mlx,
                "mlx_rs": row.mlx_rs,
                "rule": row.rule,
                "recipe": row.recipe.map(Recipe::name),
                "reason": row.reason,
                "parameters": anatomy.map(|anatomy| &anatomy.parameters),
                "hyper_parameters": anatomy.map(|anatomy| &anatomy.hyper_parameters),
                "refused": record.map(|record| &record.refused),
                "layout": anatomy.map(|anatomy| &anatomy.layouts),
                "template": blocks_with(class),
                "measured": record,
                "measured_as": measured_as(row, class, measured),
                "measured_on_cuda": self::record(row, class, &self.cuda),
                "measured_on_cuda_by_default": self::record(row, class, &self.by_default),
            })
        });
        let ops = registry.ops().iter().map(|op| {
            json!({"torch": op.torch, "mlx": op.mlx, "status": op.status.name(), "renames": op.renames, "trap": op.trap})
        });
        let rules = registry.rules.iter().map(|rule| json!({"name": rule.name, "shape": rule.shape}));
        json!({
            "schema": 1,
            "engines": measured.engines,
            "platform": measured.platform,
            "layers": rows.collect::<Vec<_>>(),
            "templates": measured.blocks,
            "ops": ops.collect::<Vec<_>>(),
            "aten": measured.aten,
            "rules": rules.collect::<Vec<_>>(),
            "blockers": blockers::built_in().iter().map(|blocker| blocker.name.clone()).collect::<Vec<_>>(),
            "mistakes": measured.mistakes,
            "cuda": other_json(&self.cuda),
            "cuda_by_default": other_json(&self.by_default),
        })
    }
}

/// The blocks that contain a layer, or are one.
fn blocks_with(class: &str) -> &'static [&'static str] {
    crate::plan::blocks::WITH.iter().find(|(known, _)| *known == class).map_or(&[], |(_, names)| names)
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

/// What a record of another device holds besides layers.
fn other_json(measured: &Measured) -> Value {
    json!({
        "engines": measured.engines, "platform": measured.platform, "templates": measured.blocks, "ops": measured.ops,
        "aten": measured.aten, "mistakes": measured.mistakes,
    })
}

/// Every row's figures in float32, with its name.
fn single(measured: &Measured) -> impl Iterator<Item = (&str, &Figures)> {
    let layers = measured.layers.iter().chain(&measured.blocks);
    let layers = layers.filter_map(|(name, record)| Some((name.as_str(), record.float32.as_ref()?)));
    let ops = measured.ops.iter().filter_map(|(name, example)| Some((name.as_str(), example.right.as_ref()?)));
    let aten = measured.aten.iter().filter_map(|(name, record)| Some((name.as_str(), record.float32.as_ref()?)));
    layers.chain(ops).chain(aten)
}

/// The same on CUDA, in sum: what agrees there, and what MLX's default costs.
fn on_cuda(out: &mut String, matrix: &Matrix<'_>) {
    let Matrix { cuda, by_default, .. } = matrix;
    let bad = |measured: &Measured| -> Vec<(String, Option<f64>)> {
        let is_bad = |figures: &Figures| !matches!(figures.verdict.as_str(), "exact" | "ok");
        let all = single(measured).filter(|(_, figures)| is_bad(figures));
        all.map(|(name, figures)| (name.to_owned(), figures.share)).collect()
    };
    let (apart, over) = (bad(cuda), bad(by_default));
    let all = single(cuda).count();
    let worst = over.iter().filter_map(|(name, share)| Some((name, (*share)?))).max_by(|a, b| a.1.total_cmp(&b.1));
    let names: Vec<String> = apart.iter().map(|(name, _)| format!("`{}`", code_cell(name))).collect();
    let caught = cuda.mistakes.iter().filter(|caught| is_caught(caught)).count();
    let _ = write!(
        out,
        "\nThe columns `CUDA` are of {} and {}, on {}: {} of {all} rows agree there within the same tolerances, and {caught} of {} \
         deliberate mistakes are found. {}`TF32` is what MLX gives there by default, in tolerances: {} of the rows are over{}.\n",
        cuda.engines.first().map_or("", String::as_str),
        cuda.engines.get(1).map_or("", String::as_str),
        cuda.platform,
        all - apart.len(),
        cuda.mistakes.len(),
        if names.is_empty() {
            String::new()
        } else {
            format!("Not so {}: [verdicts.md](verdicts.md) says why. ", names.join(", "))
        },
        over.len(),
        worst.map_or(String::new(), |(name, share)| format!(", `{}` by {share:.0} times", code_cell(name))),
    );
}

/// The cells of CUDA of a row: the error, its share of the tolerance, and MLX's default in tolerances.
fn cuda_cells(exact: Option<&Figures>, by_default: Option<&Figures>) -> String {
    let times = match by_default.and_then(|figures| figures.share) {
        Some(times) if times >= 10.0 => format!("{times:.0}"),
        _ => share(by_default),
    };
    format!("{} | {} | {times}", error(exact), share(exact))
}

/// Whose figures a row shows: the class's own, those of the class that it shares the row with, or those of the class of
/// torch that computes the same.
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

fn caught_error(caught: &Caught) -> String {
    match (caught.max_abs, caught.verdict.as_str()) {
        (Some(error), _) => number(Some(error)),
        (None, "failed") => "MLX refuses".to_owned(),
        (None, _) => "another shape".to_owned(),
    }
}

/// Verdict and error of a naive run.
fn said(figures: &Figures) -> String {
    match (figures.verdict.as_str(), figures.max_abs) {
        ("failed", _) => "MLX refuses".to_owned(),
        (verdict, Some(error)) => format!("{verdict} {}", number(Some(error))),
        (verdict, None) => format!("{verdict}: another shape"),
    }
}

fn summary(out: &mut String, matrix: &Matrix<'_>) {
    let Matrix { registry, measured, .. } = matrix;
    let count = |status: RowStatus| registry.classes().filter(|(_, row)| row.status == status).count();
    let runs: usize = measured.layers.values().map(|record| record.configurations).sum();
    let lines = [
        ("Classes that convert directly", count(RowStatus::Direct)),
        ("Classes that convert by a recipe", count(RowStatus::Recipe)),
        ("Containers", count(RowStatus::Container)),
        ("Classes without a conversion", count(RowStatus::Unsupported)),
        ("Classes measured", measured.layers.len()),
        ("Configurations and calls measured", runs),
        ("Blocks measured", measured.blocks.len()),
        ("Deliberate mistakes caught", measured.mistakes.iter().filter(|caught| is_caught(caught)).count()),
        ("Ops", registry.ops().len()),
        ("Ops measured", measured.ops.values().filter(|example| example.right.is_some()).count()),
        ("Overloads in graphs", Table::built_in().len()),
        ("Overloads measured", measured.aten.values().filter(|record| record.float32.is_some()).count()),
        ("Weight rules", registry.rules.len()),
        ("Blocker patterns", blockers::built_in().len()),
    ];
    out.push_str("\n## Summary\n\n| | Count |\n|---|---|\n");
    for (what, count) in lines {
        let _ = writeln!(out, "| {what} | {count} |");
    }
}

fn is_caught(caught: &Caught) -> bool {
    matches!(caught.verdict.as_str(), "drift" | "broken" | "failed")
}
