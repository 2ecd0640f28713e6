//! What is tried where a class is known and a hyper-parameter is not: `tests/fixtures/assumed/make.py` wrote the layers with torch.

use std::sync::Arc;

use crate::common::sample::{act, draw, engines_ready, measure, state, view};
use serde_json::{Value, json};
use t2m_tui::open::{Opened, Options, open};
use t2m_tui::plan::assumed::CLASS;
use t2m_tui::plan::recipes::{Site, moves_by_class};
use t2m_tui::report::{inspect_json, inspect_text};
use t2m_tui::triage::{ModuleTriage, Status};
use t2m_tui::tui::action::{Action, Command, Effect};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::snapshot::rows;
use t2m_tui::tui::state::{Screen, State};

fn opened(path: &str) -> Opened {
    open(&Options { checkpoint: path.into(), ..Options::default() }).unwrap()
}

fn layers() -> Opened {
    opened("tests/fixtures/assumed/layers.pth")
}

fn triage<'a>(opened: &'a Opened, path: &str) -> &'a ModuleTriage {
    let id = opened.model.find(path).unwrap_or_else(|| panic!("no module {path}"));
    &opened.triage.modules[id]
}

#[test]
fn each_value_is_in_a_conversion_and_all_move_the_weights_alike() {
    let opened = layers();
    let mut tried = 0;
    for (id, triaged) in opened.triage.modules.iter().enumerate() {
        let Some(assumed) = &triaged.assumed else { continue };
        let path = &opened.model.modules[id].path;
        assert_eq!(triaged.status, Status::Incomplete, "{path}");
        assert_eq!(triaged.unknown, assumed.values.keys().cloned().collect::<Vec<_>>(), "{path}");
        let plans = assumed.plans(&opened.checkpoint, &opened.model, &opened.registry, id);
        assert!((1..=8).contains(&plans.len()), "{path}: {}", plans.len());
        for (name, values) in &assumed.values {
            for value in values.as_array().unwrap() {
                let with = plans.iter().filter(|tried| tried.with.get(name) == Some(value));
                assert!(with.count() > 0, "{path}: {name}={value} is in none");
            }
        }
        let to = |moves: &[t2m_tui::plan::Move]| moves.iter().map(|step| step.to.clone()).collect::<Vec<_>>();
        for one in &plans {
            let plan = one.plan.as_ref().unwrap_or_else(|refusal| panic!("{path}: {}: {refusal:?}", one.words()));
            assert_eq!(to(&plan.weights), to(&assumed.likeliest.weights), "{path}");
        }
        tried += 1;
    }
    assert_eq!(tried, 19);
}

#[test]
fn what_follows_from_shapes_is_tried_and_nothing_silly() {
    let opened = layers();
    let values = |path: &str, name: &str| triage(&opened, path).assumed.as_ref().unwrap().values[name].clone();
    assert_eq!(values("stem", "stride"), json!([1, 2]));
    assert_eq!(values("stem", "padding"), json!([0, 2]));
    assert_eq!(values("patches", "stride"), json!([1, 2, 4]));
    assert_eq!(values("volume", "padding"), json!([0, [1, 2, 1]]));
    // A kernel of one element has nothing to dilate and keeps a size without padding.
    assert_eq!((values("point", "padding"), values("point", "dilation")), (json!([0]), json!([1])));
    assert_eq!(values("attention", "num_heads"), json!([1, 2, 4, 8]));
    assert_eq!(values("groups_norm", "num_groups"), json!([8, 1]), "they divide 24 channels");
    assert_eq!(values("last_norm", "eps"), json!([null, 1e-6, 1e-5, 1e-3, 1e-12]));
    let classes = values("table", CLASS);
    assert_eq!(classes, json!(["torch.nn.modules.linear.Linear", "torch.nn.modules.sparse.Embedding"]));
    // A name that says what it is leaves no question.
    assert!(triage(&opened, "tokens_embedding").assumed.is_none());
}

/// A transposed convolution's weight moves group by group: without the groups there is nothing that holds whatever they are.
#[test]
fn where_a_value_decides_how_weights_move_nothing_is_assumed() {
    let opened = layers();
    let id = opened.model.find("deconv").unwrap();
    let mut model = (*opened.model).clone();
    let deconv = &mut model.modules[id];
    let attributes = std::sync::Arc::make_mut(&mut deconv.attributes);
    attributes.remove("groups");
    deconv.alternatives = std::sync::Arc::default();
    let sources = t2m_tui::source::Sources::new(&[]).unwrap();
    let triage = t2m_tui::triage::triage(&opened.checkpoint, &model, &opened.registry, &sources);
    assert_eq!(triage.modules[id].status, Status::Incomplete);
    assert!(triage.modules[id].assumed.is_none());
    assert_eq!(
        triage.modules[id].unknown,
        ["stride", "padding", "output_padding", "groups", "dilation", "padding_mode"]
    );
    let row = opened.registry.layer(&model.modules[id].class).unwrap();
    assert!(moves_by_class(&Site::new(&opened.checkpoint, &model, &opened.registry, id, row)).is_err());
}

/// Two classes with other layouts are a question that no run answers.
#[test]
fn classes_that_move_weights_in_different_ways_stay_undecided() {
    let opened = layers();
    let id = opened.model.find("plain").unwrap();
    let mut model = (*opened.model).clone();
    model.modules[id].alternatives = std::sync::Arc::new(["transformers.pytorch_utils.Conv1D".into()]);
    let sources = t2m_tui::source::Sources::new(&[]).unwrap();
    let triage = t2m_tui::triage::triage(&opened.checkpoint, &model, &opened.registry, &sources);
    assert!(triage.modules[id].assumed.is_none());
    assert_eq!(triage.modules[id].unknown, [CLASS]);
    assert!(opened.triage.modules[id].assumed.is_some(), "Linear or Embedding keep them as they are");
}

#[test]
fn reports_say_what_is_tried() {
    let opened = layers();
    let report = serde_json::to_value(inspect_json::Report { opened: &opened, check: None }).unwrap();
    let module = |path: &str| -> Value {
        report["modules"].as_array().unwrap().iter().find(|module| module["path"] == path).unwrap().clone()
    };
    assert_eq!(module("stem_norm")["assumed"], json!({"eps": [1e-5, 1e-6, 1e-3, 1e-12]}));
    assert_eq!(module("stem_norm")["status"], "incomplete");
    assert_eq!(module("slope_prelu").get("assumed"), None);
    let mut text = String::new();
    inspect_text::text(&mut text, &opened, None).unwrap();
    assert!(text.contains("verify tries eps 1e-5 or 1e-6 or 1e-3 or 1e-12"), "{text}");
    let mut markdown = String::new();
    inspect_text::markdown(&mut markdown, &opened).unwrap();
    assert!(markdown.contains("verify tries eps 1e-5 or 1e-6 or 1e-3 or 1e-12"), "{markdown}");
}

/// efficientnet_b0 and tf_efficientnet_b0 have the same names and shapes: what tells them apart is what is tried.
#[test]
fn what_candidates_differ_in_is_tried() {
    let opened = opened("tests/fixtures/architectures/undecided.pth");
    let values = &triage(&opened, "bn1").assumed.as_ref().unwrap().values;
    let told = opened.architecture.as_deref().unwrap().told_apart.iter();
    let mut told = told.filter(|told| told.module == "bn1" && told.attribute == "eps");
    let theirs: Vec<Value> = told.next().unwrap().values.iter().flatten().cloned().collect();
    assert_eq!(values["eps"], json!(theirs));
    // The same where it is the class: each is tried with the attributes that it has in the models where it is that.
    let stem = triage(&opened, "conv_stem").assumed.as_ref().unwrap();
    let classes = ["torch.nn.modules.conv.Conv2d", "timm.layers.conv2d_same.Conv2dSame"];
    assert_eq!(stem.values[CLASS], json!(classes));
    let incomplete = opened.triage.modules.iter().filter(|triaged| triaged.status == Status::Incomplete);
    let (assumed, not): (Vec<_>, Vec<_>) = incomplete.partition(|triaged| triaged.assumed.is_some());
    // An Identity or a BlurPool2d, whose filter is not in the file.
    assert!(assumed.len() == 54 && not.len() == 4 && not.iter().all(|triaged| triaged.reason.contains("BlurPool2d")));
}

/// The screen with those layers open, `measured` of which have a result.
fn screen(measured: &[(&str, f64)]) -> State {
    let mut state = state("dark");
    let document = Document::of(&layers());
    let id = |path: &str| document.model.find(path).unwrap();
    let measured: Vec<_> = measured.iter().map(|(path, share)| (id(path), *share)).collect();
    act(&mut state, Action::Opened(Arc::new(document)));
    engines_ready(&mut state);
    for (id, share) in measured {
        measure(&mut state, id, share, None);
    }
    state
}

#[test]
fn the_screen_marks_what_is_assumed_and_never_sums_it_up_with_the_rest() {
    let mut state = screen(&[("stem", 0.4), ("stem_norm", 0.2), ("slope_prelu", 0.0), ("cell", 3e5)]);
    let selected = view(&state).document.model.find("stem").unwrap();
    let Screen::Open(open) = &mut state.screen else { panic!("not open") };
    open.tree.selected = selected;
    let shown = rows(&draw(&mut state, 160, 45)).join("\n");
    assert!(shown.contains("measured 1/22 +3~"), "{shown}");
    let row = |name: &str| shown.lines().find(|line| line.contains(&format!(" {name} "))).unwrap().to_owned();
    assert!(row("stem_norm").contains("eps?") && row("stem_norm").contains("e-06~"), "{}", row("stem_norm"));
    assert!(row("stem").contains("stride? +3"), "{}", row("stem"));
    assert!(row("attention").contains("num_he…? +2"), "{}", row("attention"));
    assert!(row("model").contains("1+2~ ✗ ◇?"), "{}", row("model"));
    insta::assert_snapshot!("assumed", shown);
}

#[test]
fn a_run_of_assumed_layers_is_asked_for_like_any_other() {
    let mut state = screen(&[]);
    let effects = act(&mut state, Action::Command(Command::RunAll));
    let Some(Effect::Submit(request)) = effects.first() else { panic!("{effects:?}") };
    assert_eq!(request.modules.len(), 22);
}
