//! A registry file over the built-in one, and plans by its rows. Whatever it says, a refusal is a few lines.

#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use t2m_tui::certify::{self, Sample, SampleModel};
use t2m_tui::registry::Registry;
use t2m_tui_fuzz::within_bound;

static BUILT_IN: LazyLock<Registry> = LazyLock::new(|| Registry::load(&[]).expect("the built-in registry"));
/// A layer, one with modules in it, and one of another library.
static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let all = certify::built_in().expect("samples").into_iter().chain(certify::zoo().expect("samples"));
    let mut seen = std::collections::BTreeSet::new();
    all.filter(|sample| seen.insert(sample.class().rsplit('.').nth(1).map(str::to_owned))).take(40).collect()
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (built_in, samples) = (&*BUILT_IN, &*SAMPLES);
    within_bound(64 * data.len(), || {
        let mut registry = built_in.clone();
        match registry.apply(Path::new("x.toml"), text) {
            Ok(()) => drop(SampleModel::new(samples, Arc::new(registry))),
            Err(error) => assert!(error.to_string().chars().count() < 1000, "{error}"),
        }
    });
});
