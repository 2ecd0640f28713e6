//! Reading a large Python file: parsing it, and finding blockers and ops in every class of it, as opening a model does.
//!
//!     T2M_SOURCE=modeling_x.py cargo bench --bench source
//!
//! Without `T2M_SOURCE` the demo's source is repeated until it is as long as the longest model file of transformers.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use t2m_tui::source::Sources;
use t2m_tui::source::python::Module;

/// Bytes of the longest model file of transformers 5.
const LONGEST: usize = 195_000;

fn text() -> Arc<str> {
    if let Some(path) = std::env::var_os("T2M_SOURCE") {
        return std::fs::read_to_string(path).unwrap().into();
    }
    let demo = include_str!("../assets/demo/scene.py");
    let copy = |number: usize| demo.replace("(nn.Module)", &format!("{number}(nn.Module)"));
    (0..LONGEST.div_ceil(demo.len())).map(copy).collect::<String>().into()
}

/// Parse the text once, and look through every class of it.
fn lint(text: &str) -> usize {
    let mut sources = Sources::default();
    sources.add_text("model", "model.py", "", text);
    let statements = text.lines().filter_map(|line| line.strip_prefix("class "));
    let names = statements.filter_map(|rest| rest.split(['(', ':']).next());
    let found = names.filter_map(|name| sources.class(&format!("model.{name}")));
    found.map(|found| found.blockers.len() + found.ops.len()).sum()
}

fn source(criterion: &mut Criterion) {
    let text = text();
    let mut group = criterion.benchmark_group(format!("source of {} KB", text.len() / 1000));
    group.sample_size(20);
    group.bench_function("parse", |bench| bench.iter(|| Module::parse(Arc::clone(&text)).unwrap()));
    group.bench_function("parse, and lint every class", |bench| bench.iter(|| lint(&text)));
    group.finish();
}

criterion_group!(benches, source);
criterion_main!(benches);
