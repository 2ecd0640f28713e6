//! What is said of a whole model: three facts and never one, with what is left to port beside them, in the header at every width,
//! on containers and below them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::common::run;
use crate::common::sample::{self, act, draw, measure_all, select, state, view};
use t2m_engine::{EngineState, Side};
use t2m_tui::compare::Verdict;
use t2m_tui::findings::{Folders, Forwards};
use t2m_tui::model::Model;
use t2m_tui::open::{Options, open};
use t2m_tui::triage::{ModuleTriage, Status, Triage};
use t2m_tui::tui::action::{Action, Command};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::snapshot::{rows, styled};
use t2m_tui::tui::state::State;
use t2m_tui::verify::Event;

/// The sample with modules of other classes, and no source at all.
fn without_source(rename: impl Fn(&str) -> Option<&'static str>) -> Document {
    let sample = sample::document();
    let mut modules = sample.model.modules.clone();
    for module in &mut modules {
        if let Some(class) = rename(&module.class) {
            module.class = class.into();
        }
    }
    let model = Model { modules, ..Model::default() };
    let triage = Triage { modules: sample.triage.modules.clone(), ..Triage::default() };
    Document::new("vision_mini.pt".to_owned(), Arc::new(model), Arc::new(triage))
}

fn opened(document: Document) -> State {
    let mut state = state("dark");
    act(&mut state, Action::Opened(Arc::new(document)));
    state
}

/// The rows above the panes.
fn header(state: &mut State, width: u16, height: u16) -> Vec<String> {
    let rows = rows(&draw(state, width, height));
    rows.into_iter().take_while(|row| !row.starts_with('╭')).map(|row| row.trim_end().to_owned()).collect()
}

#[test]
fn the_header_fits_every_width_and_never_drops_what_is_left_to_port() {
    let mut state = state("dark");
    measure_all(&mut state);
    let mut shown = Vec::new();
    for (width, height) in
        [(40, 12), (60, 15), (60, 24), (80, 15), (80, 24), (100, 30), (120, 40), (160, 45), (200, 50)]
    {
        let rows = header(&mut state, width, height);
        shown.push(format!("{width}×{height}\n{}", rows.join("\n")));
        let all = rows.join(" ");
        assert!(all.contains("!  ◇ 3") && all.contains("⚑ 3") && all.contains("measured 29/30"), "{width}: {all}");
        assert!(width < 60 || all.contains("behaviour "), "{width}: {all}");
        assert!(width < 80 || all.contains("weights "), "{width}: {all}");
    }
    insta::assert_snapshot!(shown.join("\n"));
    let buffer = draw(&mut state, 80, 24);
    let looks = styled(&buffer);
    let looks: Vec<&str> = looks.lines().filter(|line| line.starts_with("0: ") || line.starts_with("1: ")).collect();
    insta::assert_snapshot!("header_style", looks.join("\n"));
}

#[test]
fn what_is_not_known_is_no_nought() {
    // A library's class without source: no blocker is known, which is not that there is none.
    let library = |class: &str| (class == "vision.net.Block").then_some("timm.layers.Block");
    let mut known = opened(without_source(library));
    let screen = rows(&draw(&mut known, 160, 45)).join("\n");
    assert!(screen.contains("◇ 3 to port  ⚑ ?") && screen.contains("timm's Block"), "{screen}");
    assert!(!screen.contains("your Block"), "{screen}");
    // A state dict says no classes.
    let mut unknown = opened(without_source(|class| (class.starts_with("vision.")).then_some("")));
    let screen = rows(&draw(&mut unknown, 160, 45)).join("\n");
    assert!(screen.contains("◇ ? to port  ⚑ ?"), "{screen}");
    let mut one = opened(without_source(|class| (class == "vision.net.Block").then_some("")));
    assert!(header(&mut one, 160, 45)[0].contains("◇ 2+ to port"));
}

#[test]
fn containers_say_how_many_forwards_are_left() {
    let mut state = state("dark");
    measure_all(&mut state);
    for (path, cell, words) in [
        ("", "27/30 ! ◇3", "27 of 30 layers pass; 3 forwards to port"),
        ("layer1", "10/10 ✓ ◇1", "10 layers pass; 1 forward to port"),
        ("layer2.0", "4/5 ≈ ◇1", "4 of 5 layers pass; 1 forward to port"),
        ("stem", "3/3 ✓", "3 layers pass"),
    ] {
        select(&mut state, path);
        let rows = rows(&draw(&mut state, 160, 45));
        let row = rows.iter().find(|row| row.contains('▌')).unwrap();
        assert!(row.contains(cell), "{path}: {row}");
        let screen = rows.join("\n");
        assert!(screen.contains(words), "{path}: {screen}");
        assert_eq!(screen.contains("To port, and not measured: your "), words.contains("to port"), "{path}: {screen}");
    }
}

#[test]
fn forwards_below_a_module_are_its_distinct_classes() {
    let sample = sample::document();
    let demo = open(&Options { checkpoint: "demo".into(), ..Options::default() }).unwrap();
    for (model, triage) in [(&sample.model, &sample.triage), (&demo.model, &demo.triage)] {
        let forwards = Forwards::of(model, triage);
        for (id, below) in forwards.below(model).into_iter().enumerate() {
            let custom = (id..model.modules[id].end).filter(|&id| triage.modules[id].status == Status::Custom);
            let classes: BTreeSet<&str> = custom.map(|id| model.modules[id].class.as_str()).collect();
            assert_eq!(below, classes.len(), "{}", model.modules[id].path);
        }
        assert_eq!(forwards.below(model)[0], forwards.to_port());
    }
    assert_eq!(Folders::of(&demo.triage), Folders::default(), "what is built in has no folder");
}

#[test]
fn what_is_exact_by_definition_is_told_apart() {
    let sample = sample::document();
    let identity = |triaged: &Arc<ModuleTriage>| {
        let mut triaged = (**triaged).clone();
        if let Some(plan) = triaged.plan.as_mut().filter(|plan| plan.torch.kind.ends_with("ReLU")) {
            (plan.torch.kind, plan.mlx.kind) =
                ("torch.nn.modules.linear.Identity".to_owned(), "nn.Identity".to_owned());
        }
        Arc::new(triaged)
    };
    let modules = sample.triage.modules.iter().map(identity).collect();
    let triage = Triage { modules, ..Triage::default() };
    let mut state = opened(Document::new("vision_mini.pt".to_owned(), sample.model.clone(), Arc::new(triage)));
    measure_all(&mut state);
    let total = view(&state).measured.total();
    assert_eq!((total.by_definition, total.of(Verdict::Exact), total.measured), (5, 5, 24));
    assert_eq!(total.words(), "22 ok, 1 drift, 1 broken, 1 failed; 5 exact by definition");
    let screen = rows(&draw(&mut state, 160, 45)).join("\n");
    assert!(screen.contains("measured 24/25, 3 cannot be !") && screen.contains("= 5 by definition"), "{screen}");
    let row = |state: &mut State, path: &str| {
        select(state, path);
        rows(&draw(state, 160, 45)).into_iter().find(|row| row.contains('▌')).unwrap()
    };
    assert!(row(&mut state, "layer1.0").contains(" 4/4 ✓ ◇1"), "{}", row(&mut state, "layer1.0"));
    select(&mut state, "stem.2");
    let screen = rows(&draw(&mut state, 160, 45)).join("\n");
    assert!(
        screen.contains("= by def.") && screen.contains("exact by definition: both sides are the identity"),
        "{screen}"
    );
}

#[test]
fn a_missing_engine_is_one_banner() {
    let mut state = state("dark");
    let reasons = ["T2M_TORCH names /nowhere, which is not a file", "t2m-mlx was not found"];
    for (side, reason) in [Side::Torch, Side::Mlx].into_iter().zip(reasons) {
        act(&mut state, Action::Verify(Event::Engine(side, EngineState::Down(reason.to_owned()))));
    }
    for module in view(&state).document.runnable_below(0) {
        act(&mut state, Action::Verify(Event::Started { module, trials: 8 }));
        let reason = Some(reasons[0].to_owned());
        act(&mut state, Action::Verify(Event::Finished { module, verdict: Verdict::Failed, reason }));
    }
    let total = view(&state).measured.total();
    assert_eq!((total.no_engine, total.measured, total.worst()), (30, 0, None));
    let screen = rows(&draw(&mut state, 160, 45)).join("\n");
    for reason in reasons {
        assert_eq!(screen.matches(reason).count(), 1, "{screen}");
    }
    assert!(screen.contains("30 layers could not be run for that") && screen.contains("! engine"), "{screen}");
    assert!(screen.contains("none of 30 layers measured; 3 forwards to port"), "{screen}");
    assert!(!screen.contains("failed") && screen.contains("· no engine"), "{screen}");
    // One that was there and has died may have died of the layer.
    sample::engines_ready(&mut state);
    let module = view(&state).document.runnable_below(0)[0];
    act(&mut state, Action::Verify(Event::Started { module, trials: 8 }));
    act(&mut state, Action::Verify(Event::Engine(Side::Mlx, EngineState::Down("engine crashed".to_owned()))));
    let reason = Some("engine crashed".to_owned());
    act(&mut state, Action::Verify(Event::Finished { module, verdict: Verdict::Failed, reason }));
    assert_eq!(view(&state).measured.total().worst(), Some(Verdict::Failed));
}

#[test]
fn what_makes_a_run_unusual_stays_on_show() {
    let mut state = state("dark");
    for command in [Command::Weights, Command::Twins, Command::Down] {
        act(&mut state, Action::Command(command));
    }
    for width in [80, 140] {
        let footer = rows(&draw(&mut state, width, 30)).pop().unwrap();
        assert!(footer.contains("random weights · plain renames"), "{width}: {footer}");
    }
}

#[test]
fn no_class_is_called_the_users_that_may_be_anothers() {
    for name in ["module.pt", "trainer.pt", "in_tuple.pt", "quantised.pt", "legacy/module.pth", "legacy/hf"] {
        let path = format!("tests/fixtures/{name}");
        for format in ["text", "md", "json"] {
            let output = String::from_utf8(run(&["inspect", &path, "--format", format]).stdout).unwrap();
            let output = output.to_lowercase();
            assert!(!output.contains("your ") && !output.contains("yours"), "{name}: {output}");
        }
    }
    let output = run(&["inspect", "tests/fixtures/module.pt", "--source", "tests/fixtures/source"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("Your "), "it was found where the user said");
}
