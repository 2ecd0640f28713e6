//! The question whether the user's own Python may build the model: what it shows, and what it asks for.

use std::sync::Arc;

use crate::common::sample::{self, act, draw, measure_all, select, state, view};
use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};
use t2m_tui::architecture::Candidate;
use t2m_tui::open::{Options, open};
use t2m_tui::source::{Sources, builders};
use t2m_tui::tui::action::{Action, Command, Effect};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::offer::Offer;
use t2m_tui::tui::panels::Name;
use t2m_tui::tui::runtime::action_of;
use t2m_tui::tui::snapshot::{rows, styled};
use t2m_tui::tui::state::State;

/// The sample as bare weights that may be either of two models.
fn document() -> Document {
    let candidate =
        |expression: &str, told: &str| Candidate { expression: expression.to_owned(), told: told.to_owned() };
    let mut document = (*sample::document()).clone();
    document.offer = Offer {
        possible: true,
        wanted: true,
        model: "torchvision.models.resnet50()".to_owned(),
        python: "/opt/venv/bin/python".to_owned(),
        inputs: String::new(),
        candidates: vec![
            candidate("torchvision.models.resnet50()", "torchvision, 320 of 320 tensors fit"),
            candidate("timm.create_model('resnet50')", "timm, fits as well"),
            candidate("vision.net.VisionNet(width)", "from --source"),
        ],
        told_apart: vec!["not told by the file: `stride` of layer1.0.conv1 and 5 more is [1,1] or [2,2]".to_owned()],
    };
    document
}

fn asked() -> State {
    let mut state = state("dark");
    act(&mut state, Action::Opened(Arc::new(document())));
    act(&mut state, Action::Command(Command::Open(Name::Build)));
    state
}

fn press(state: &mut State, code: KeyCode) -> Vec<Effect> {
    action_of(state, Input::Key(KeyEvent::new(code, KeyModifiers::NONE)))
        .map(|action| act(state, action))
        .unwrap_or_default()
}

fn text(state: &mut State, width: u16) -> String {
    rows(&draw(state, width, 40)).join("\n")
}

/// What was asked of the runtime that is about building.
fn told(effects: &[Effect]) -> Vec<String> {
    let words = |effect: &Effect| match effect {
        Effect::Build(wanted) => Some(format!("{} {} {}", wanted.python, wanted.model, wanted.inputs.len())),
        Effect::StopBuild => Some("stop".to_owned()),
        _ => None,
    };
    effects.iter().filter_map(words).collect()
}

#[test]
fn it_says_what_it_does() {
    for (name, width) in [("build_80", 80), ("build_120", 120)] {
        let mut state = asked();
        insta::assert_snapshot!(name, styled(&draw(&mut state, width, 30)));
    }
    let mut state = asked();
    insta::assert_snapshot!("build_small", rows(&draw(&mut state, 80, 24)).join("\n"));
    press(&mut state, KeyCode::Enter);
    insta::assert_snapshot!("build_running", rows(&draw(&mut state, 100, 30)).join("\n"));
    let words = "python: --model nets.Net(3): TypeError: Net.__init__() missing 1 argument, at /home/me/nets.py:12";
    act(&mut state, Action::Built(Err(words.to_owned())));
    insta::assert_snapshot!("build_failed", rows(&draw(&mut state, 100, 30)).join("\n"));
    // On a small screen the sentence and the first candidates are there, too.
    let small = rows(&draw(&mut state, 80, 24)).join("\n");
    assert!(
        small.contains("/home/me/nets.py:12") && small.contains("torchvision.models.resnet50()  torchvision"),
        "{small}"
    );
}

#[test]
fn nothing_runs_before_the_yes() {
    let mut state = asked();
    let mut effects = Vec::new();
    for code in
        "abc x".chars().map(KeyCode::Char).chain([KeyCode::Down, KeyCode::Tab, KeyCode::Backspace, KeyCode::Esc])
    {
        effects.extend(press(&mut state, code));
    }
    assert!(told(&effects).is_empty(), "{effects:?}");
    assert_eq!(state.panels.open, None);
    // A no forgets what was typed.
    act(&mut state, Action::Command(Command::Open(Name::Build)));
    let screen = text(&mut state, 120);
    assert!(screen.contains("model    torchvision.models.resnet50() ") && !screen.contains("abc x"), "{screen}");
    assert_eq!(told(&press(&mut state, KeyCode::Enter)), ["/opt/venv/bin/python torchvision.models.resnet50() 0"]);
    // While it runs a second yes does nothing, and letters are keys.
    assert!(told(&press(&mut state, KeyCode::Enter)).is_empty());
    assert_eq!(told(&press(&mut state, KeyCode::Char('x'))), ["stop"]);
    assert!(text(&mut state, 120).contains("it was cancelled"));
}

#[test]
fn the_lines_are_edited_and_checked() {
    let mut state = asked();
    press(&mut state, KeyCode::Down);
    assert!(text(&mut state, 120).contains("model    timm.create_model('resnet50')"));
    press(&mut state, KeyCode::Left);
    for character in ", 5".chars() {
        press(&mut state, KeyCode::Char(character));
    }
    press(&mut state, KeyCode::Tab);
    press(&mut state, KeyCode::Tab);
    for character in "1x3x".chars() {
        press(&mut state, KeyCode::Char(character));
    }
    assert!(told(&press(&mut state, KeyCode::Enter)).is_empty());
    let screen = text(&mut state, 120);
    assert!(screen.contains("input: column 5: a size is expected"), "{screen}");
    press(&mut state, KeyCode::Char('8'));
    let effects = press(&mut state, KeyCode::Enter);
    assert_eq!(told(&effects), ["/opt/venv/bin/python timm.create_model('resnet50', 5) 1"]);
    let screen = text(&mut state, 120);
    assert!(screen.contains("\"timm.create_model('resnet50',") && screen.contains("--input 1x3x8"), "{screen}");
}

#[test]
fn what_is_known_now_takes_the_place_of_what_was() {
    let mut state = state("dark");
    act(&mut state, Action::Opened(Arc::new(document())));
    measure_all(&mut state);
    select(&mut state, "layer2.1.gn");
    act(&mut state, Action::Command(Command::Open(Name::Build)));
    press(&mut state, KeyCode::Enter);
    let before = view(&state).measured.total();
    let measured: Vec<usize> = view(&state).measured.finished().into_iter().map(|(id, _)| id).collect();
    // The same modules, one of which converts in another way now.
    let mut known = document();
    let mut triage = t2m_tui::triage::Triage { modules: known.triage.modules.clone(), ..Default::default() };
    let changed = known.model.find("layer2.1.conv1").unwrap();
    Arc::make_mut(&mut triage.modules[changed]).plan = None;
    known.triage = Arc::new(triage);
    known.about.known_as = Some("built torchvision.models.resnet50() (320 of 320 tensors fit)".to_owned());
    act(&mut state, Action::Built(Ok(Arc::new(known))));
    let after = view(&state);
    assert_eq!(after.document.module(after.tree.selected).unwrap().path, "layer2.1.gn");
    assert_eq!(state.panels.open, None);
    let kept: Vec<usize> = view(&state).measured.finished().into_iter().map(|(id, _)| id).collect();
    assert!(measured.contains(&changed) && measured.len() > 5);
    assert_eq!(kept, measured.into_iter().filter(|id| *id != changed).collect::<Vec<_>>());
    assert_ne!(view(&state).measured.total(), before);
    assert!(text(&mut state, 160).contains("built torchvision.models.resnet50() (320 of 320 tensors fit)"));
}

#[test]
fn a_file_with_modules_has_nothing_to_build() {
    let mut state = state("dark");
    act(&mut state, Action::Command(Command::Open(Name::Build)));
    let screen = text(&mut state, 120);
    assert!(screen.contains("The file holds its modules itself"), "{screen}");
    assert!(told(&press(&mut state, KeyCode::Enter)).is_empty());
    press(&mut state, KeyCode::Char('z'));
    press(&mut state, KeyCode::Esc);
    assert_eq!(state.panels.open, None);
}

#[test]
fn classes_and_builders_of_the_source_are_offered() {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("shop").join("nets");
    std::fs::create_dir_all(&package).unwrap();
    for init in ["shop/__init__.py", "shop/nets/__init__.py"] {
        std::fs::write(folder.path().join(init), "").unwrap();
    }
    let text = "import torch.nn as nn\nclass Small(nn.Module):\n    def __init__(self, width=8, *, bias=True):\n        \
                self.conv = nn.Conv2d(3, width, 3)\n        self.head = nn.Linear(width, 2)\n\
                class Wide(nn.Module):\n    def __init__(self, config, width: int, bias=True):\n        \
                self.conv = nn.Conv2d(3, width, 3)\n        self.head = nn.Linear(width, 2)\n\
                class Other(nn.Module):\n    def __init__(self):\n        self.conv = nn.Conv2d(3, 8, 3)\n\
                def small_wide(name='x'):\n    return Wide(None, 9)\ndef other():\n    return Other()\n";
    std::fs::write(package.join("core.py"), text).unwrap();
    let sources = Sources::new(&[folder.path().to_owned()]).unwrap();
    let told = builders::expressions(&sources, &["conv", "head"].into());
    assert_eq!(told, ["shop.nets.core.Small()", "shop.nets.core.small_wide()", "shop.nets.core.Wide(config, width)"]);
    assert!(builders::expressions(&sources, &["nothing"].into()).is_empty());
}

#[test]
fn a_file_suggests_what_builds_it() {
    let options = Options { checkpoint: "tests/fixtures/state_dict.safetensors".into(), ..Options::default() };
    let opened = open(&options).unwrap();
    let offer = Offer::of(&opened, &options);
    assert!(offer.possible && offer.wanted && offer.candidates.is_empty(), "{offer:?}");
    assert_eq!((offer.model.as_str(), offer.python.as_str()), ("", "python3"));
    let environment = Options { environment: Some("/opt/venv".into()), ..options };
    assert_eq!(Offer::of(&opened, &environment).python, "/opt/venv/bin/python");
    let demo = Options { checkpoint: "demo".into(), ..Options::default() };
    let offer = Offer::of(&open(&demo).unwrap(), &demo);
    assert!(!offer.possible && !offer.wanted);
    // Several models fit both; of the first the name says which it is.
    for (name, wanted) in [("resnet18-5c106cde.pth", false), ("undecided.pth", true)] {
        let file = Options { checkpoint: format!("tests/fixtures/architectures/{name}").into(), ..Options::default() };
        let opened = open(&file).unwrap();
        assert!(!opened.architecture.as_ref().unwrap().others.is_empty(), "{name}");
        assert_eq!(Offer::of(&opened, &file).wanted, wanted, "{name}");
    }
}
