//! What was written runs in MLX: the tensors of a converted file, under the names that they have there, computed by `t2m-mlx`
//! beside the checkpoint's own in `t2m-torch`.

use std::path::PathBuf;
use std::time::Duration;

use crate::common::{run, stderr};
use globset::GlobSet;
use t2m_checkpoint::{Checkpoint, Dtype, TensorData};
use t2m_engine::client::{CancelToken, Client};
use t2m_engine::{ModuleSpec, Side};
use t2m_tui::compare::tolerance::scale;
use t2m_tui::compare::{Verdict, statistics};
use t2m_tui::export::state_dict::{self, Entry};
use t2m_tui::open::{Options, open};
use t2m_tui::plan::{Plan, weights};

type Tensors = Vec<(String, TensorData)>;

fn outputs(client: &mut Client, module: &ModuleSpec, tensors: &Tensors, inputs: &[TensorData]) -> Vec<TensorData> {
    let mut compute = || {
        client.start_load(0, module, tensors)?;
        client.finish_load()?;
        client.start_run(0, inputs, Dtype::Float32)?;
        client.finish_run()
    };
    compute().unwrap_or_else(|error| panic!("{}: {error:?}", module.kind)).tensors
}

/// Inputs for both sides; MLX indexes with 32 bits.
fn inputs(plan: &Plan) -> (Vec<TensorData>, Vec<TensorData>) {
    let each = plan.inputs.iter().enumerate().map(|(at, input)| {
        let torch = input.generate(7, at, Dtype::Float32);
        let moved = match &input.to_mlx {
            Some(axes) => weights::permute(&torch, axes).unwrap(),
            None => torch.clone(),
        };
        let mlx = if moved.dtype == Dtype::Int64 { moved.cast(Dtype::Int32).unwrap() } else { moved };
        (torch, mlx)
    });
    each.unzip()
}

#[test]
fn layers_compute_with_the_tensors_of_the_written_file() {
    let cancel = CancelToken::default();
    let client = |side| Client::new(side, Duration::from_secs(120), cancel.clone(), Box::new(|_, _| {}));
    let (mut torch, mut mlx) = (client(Side::Torch), client(Side::Mlx));
    let folder = tempfile::tempdir().unwrap();
    let mut ran = 0;
    for name in ["demo", "tests/fixtures/module.pt", "tests/fixtures/blocks.pt", "tests/fixtures/reparametrized.pt"] {
        let path = folder.path().join("out.safetensors");
        let output = run(&["convert", name, "-o", path.to_str().unwrap(), "--force"]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
        let written = Checkpoint::open(&path).unwrap();
        let opened = open(&Options { checkpoint: PathBuf::from(name), ..Options::default() }).unwrap();
        let map = state_dict::map(&opened, &GlobSet::empty()).unwrap();
        for (id, triaged) in opened.triage.modules.iter().enumerate() {
            let Some(plan) = &triaged.plan else { continue };
            let own: Vec<&Entry> = map.entries.iter().filter(|entry| entry.module == id).collect();
            // A layer within another that converts as a whole has its tensors there.
            if own.is_empty() || own.len() != plan.weights.len() {
                continue;
            }
            let find = |entry: &Entry| written.tensors.iter().position(|tensor| tensor.name == entry.name).unwrap();
            let theirs = own.iter().map(|entry| (entry.step.to.clone(), written.read(find(entry)).unwrap()));
            let theirs: Tensors = theirs.collect();
            let names = plan.weights.iter().flat_map(|step| &step.from);
            let mine = names.map(|name| (name.clone(), opened.model.tensor(id, name).unwrap()));
            let mine: Tensors = mine.map(|(name, tensor)| (name, opened.checkpoint.read(tensor).unwrap())).collect();
            let (for_torch, for_mlx) = inputs(plan);
            let wanted = outputs(&mut torch, &plan.torch, &mine, &for_torch);
            let got = outputs(&mut mlx, &plan.mlx, &theirs, &for_mlx);
            for ((wanted, got), output) in wanted.iter().zip(&got).zip(&plan.outputs) {
                let got = output.to_torch.as_ref().map_or(got.clone(), |axes| weights::permute(got, axes).unwrap());
                assert_eq!(got.shape, wanted.shape);
                let (wanted, got) = (wanted.to_f64().unwrap(), got.to_f64().unwrap());
                let apart = statistics::difference(&wanted, &got, 0.0).max_abs;
                let scale = scale(&wanted);
                let tolerance = plan.bound.tolerance(Dtype::Float32, scale, 0.0);
                let verdict = plan.bound.judge(Dtype::Float32, scale, tolerance, apart);
                let path = &opened.model.modules[id].path;
                assert!(matches!(verdict, Verdict::Exact | Verdict::Ok), "{name} {path}: {apart:e} of {tolerance:e}");
            }
            ran += 1;
        }
    }
    assert!(ran >= 40, "{ran} layers");
}
