//! The support matrix: the document is what the program prints, and every row stands on a run.

use crate::common::{json, run, stderr};
use t2m_tui::certify::record::Measured;
use t2m_tui::certify::{aten, built_in, zoo};
use t2m_tui::plan::naive;
use t2m_tui::registry::{Registry, RowStatus};

#[test]
fn the_document_is_what_the_program_prints() {
    let output = run(&["matrix"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    let document = std::fs::read_to_string("docs/support-matrix.md").unwrap();
    let differs = printed.lines().zip(document.lines()).find(|(printed, document)| printed != document);
    assert!(
        printed == document,
        "docs/support-matrix.md is not what `t2m-tui matrix` prints (write it anew): {differs:?}"
    );
}

#[test]
fn every_converting_row_was_measured_and_passes() {
    let registry = Registry::load(&[]).unwrap();
    let measured = Measured::built_in().unwrap();
    assert_eq!(measured.engines.len(), 2, "{:?}", measured.engines);
    for (class, row) in registry.classes() {
        if !matches!(row.status, RowStatus::Direct | RowStatus::Recipe) {
            continue;
        }
        let names = [class, row.class.as_str(), row.torch.as_deref().unwrap_or(class)];
        let record = names.iter().find_map(|name| measured.layers.get(*name));
        let record = record.unwrap_or_else(|| panic!("{class} was not measured: t2m-tui matrix --measured"));
        let single = record.float32.as_ref().unwrap_or_else(|| panic!("{class}: every configuration is refused"));
        assert!(matches!(single.verdict.as_str(), "exact" | "ok"), "{class}: {single:?}");
    }
}

#[test]
fn every_sample_and_mistake_is_in_the_record() {
    let measured = Measured::built_in().unwrap();
    for sample in built_in().unwrap().into_iter().chain(zoo().unwrap()) {
        assert!(measured.layers.contains_key(sample.class()), "{} was not measured", sample.class());
    }
    let mistakes = naive::built_in().unwrap();
    assert_eq!(measured.mistakes.len(), mistakes.len());
    for (caught, mistake) in measured.mistakes.iter().zip(&mistakes) {
        assert_eq!((&caught.name, &caught.verdict), (&mistake.name, &mistake.expect), "{}", mistake.build);
    }
}

#[test]
fn every_example_of_an_op_and_every_cast_is_in_the_record() {
    let registry = Registry::load(&[]).unwrap();
    let measured = Measured::built_in().unwrap();
    let ops = registry.ops().iter().map(|op| (&op.torch, &op.mlx_example, &op.naive_example));
    let casts = registry.dtypes.iter().map(|row| (&row.torch, &row.mlx_example, &row.naive_example));
    for (table, rows, records) in [
        ("ops.toml", ops.collect::<Vec<_>>(), &measured.ops),
        ("dtypes.toml", casts.collect::<Vec<_>>(), &measured.dtypes),
    ] {
        let anew = format!("of {table}; make the record anew: t2m-tui matrix --measured --format record");
        for (torch, right, naive) in &rows {
            let record = records.get(*torch);
            let measured = record.map_or((false, false), |record| (record.right.is_some(), record.naive.is_some()));
            assert_eq!(measured, (right.is_some(), naive.is_some()), "mlx_example and naive_example of {torch} {anew}");
        }
        let unknown = records.keys().find(|known| rows.iter().all(|(torch, _, _)| torch != known));
        assert!(unknown.is_none(), "{unknown:?} is in the record and no row {anew}");
    }
}

#[test]
fn every_overload_with_an_example_is_in_the_record_and_passes() {
    let measured = Measured::built_in().unwrap();
    for example in aten::examples().unwrap() {
        let record = measured.aten.get(&example.op);
        let anew = "make the record anew: t2m-tui matrix --measured --format record";
        // A size is asked of neither engine.
        let told = record.is_some() || example.op.starts_with("sym_");
        assert!(told, "{} has an example and no record; {anew}", example.op);
        if let Some(figures) = record.and_then(|record| record.float32.as_ref()) {
            assert!(matches!(figures.verdict.as_str(), "exact" | "ok"), "{}: {figures:?}", example.op);
        }
    }
    let run = measured.aten.values().filter(|record| record.float32.is_some()).count();
    assert!(run >= 720, "{run}");
}

/// What differs on a GPU by nature: of values that are written to one place, any may stay.
const UNDEFINED_ON_A_GPU: [&str; 1] = ["max_unpool3d"];

#[test]
fn every_row_was_measured_on_cuda_too_and_mlxs_default_there() {
    let [cpu, cuda, by_default] =
        [Measured::built_in(), Measured::on_cuda(), Measured::by_default_on_cuda()].map(Result::unwrap);
    for (record, tf32) in [(&cuda, "MLX_ENABLE_TF32=0"), (&by_default, "MLX_ENABLE_TF32=1")] {
        assert!(record.engines[0].contains("2.13.0 (cpu)"), "{:?}", record.engines);
        assert!(record.engines[1].contains("(gpu,") && record.engines[1].contains(tf32), "{:?}", record.engines);
        assert!(cpu.layers.keys().all(|class| record.layers.contains_key(class)), "a class was not measured on CUDA");
        assert!(cpu.ops.keys().eq(record.ops.keys()) && cpu.blocks.keys().eq(record.blocks.keys()));
    }
    let anew = "make the record anew, where there is a GPU: t2m-tui matrix --measured --format record";
    let layers =
        cuda.layers.iter().chain(&cuda.blocks).filter_map(|(name, record)| Some((name, record.float32.as_ref()?)));
    let ops = cuda.ops.iter().filter_map(|(name, example)| Some((name, example.right.as_ref()?)));
    let aten = cuda.aten.iter().filter_map(|(name, record)| Some((name, record.float32.as_ref()?)));
    let mut all = 0;
    for (name, figures) in layers.chain(ops).chain(aten) {
        all += 1;
        let passes = matches!(figures.verdict.as_str(), "exact" | "ok");
        assert!(passes || UNDEFINED_ON_A_GPU.contains(&name.as_str()), "{name}: {figures:?}; {anew}");
    }
    assert!(all > 1200, "{all}");
    for caught in &cuda.mistakes {
        assert!(matches!(caught.verdict.as_str(), "drift" | "broken" | "failed"), "{caught:?}");
    }
    // The price of the default: a linear layer is far over a tolerance that it keeps without TF32.
    let share =
        |record: &Measured| record.layers["torch.nn.modules.linear.Linear"].float32.as_ref().unwrap().share.unwrap();
    assert!(share(&cuda) < 1.0 && share(&by_default) > 100.0, "{} and {}", share(&cuda), share(&by_default));
}

#[test]
fn json_has_a_row_for_each_class_with_its_figures() {
    let report = json(&run(&["matrix", "--format", "json"]));
    assert_eq!(report["schema"], 1);
    let rows = report["layers"].as_array().unwrap();
    let conv = rows.iter().find(|row| row["class"] == "torch.nn.modules.conv.Conv2d").unwrap();
    assert_eq!((conv["mlx"].as_str(), conv["rule"].as_str()), (Some("nn.Conv2d"), Some("conv2d")));
    assert!(conv["measured"]["float32"]["share"].as_f64().unwrap() < 1.0, "{conv:#}");
    assert!(conv["measured_on_cuda"]["float32"]["share"].as_f64().unwrap() < 1.0, "{conv:#}");
    assert!(conv["measured_on_cuda_by_default"]["float32"]["share"].as_f64().unwrap() > 1.0, "{conv:#}");
    assert!(report["cuda"]["aten"]["mm"]["float32"]["share"].as_f64().unwrap() < 1.0);
}

#[test]
fn without_engines_measuring_says_what_is_missing() {
    let output = crate::common::program()
        .args(["matrix", "--measured"])
        .env("T2M_MLX", "/nowhere/t2m-mlx")
        .env("T2M_TORCH", "/nowhere/t2m-torch")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/nowhere/t2m-"), "{}", stderr(&output));
}
