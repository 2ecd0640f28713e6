//! Attributes that the user types: what they do to the modules, how they are told, and the panel in which they are typed.

use std::sync::Arc;

use crate::common::sample::{act, draw, engines_ready, measure, state, view};
use serde_json::{Value, json};
use t2m_tui::open::{Opened, Options, TypedFrom, open};
use t2m_tui::report::{inspect_json, inspect_text};
use t2m_tui::triage::Status;
use t2m_tui::tui::action::{Action, Command, Effect};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::panels::Name;
use t2m_tui::tui::snapshot::rows;
use t2m_tui::tui::state::{Screen, State};
use t2m_tui::typed::{Edit, Which};

const LAYERS: &str = "tests/fixtures/assumed/layers.pth";

fn edit(modules: Which, attribute: &str, value: Value) -> Edit {
    Edit { modules, attribute: attribute.to_owned(), value }
}

fn at(path: &str) -> Which {
    Which::Path(path.to_owned())
}

fn opened(edits: Vec<Edit>) -> Opened {
    open(&Options { checkpoint: LAYERS.into(), typed: TypedFrom::Given(edits), ..Options::default() }).unwrap()
}

fn status(opened: &Opened, path: &str) -> (Status, bool) {
    let triaged = &opened.triage.modules[opened.model.find(path).unwrap()];
    (triaged.status, triaged.is_assumed())
}

fn attribute(opened: &Opened, path: &str, name: &str) -> Option<Value> {
    opened.model.modules[opened.model.find(path).unwrap()].attributes.get(name).cloned()
}

#[test]
fn what_is_typed_makes_a_layer_complete() {
    assert_eq!(status(&opened(Vec::new()), "stem_norm"), (Status::Incomplete, true));
    let one = opened(vec![edit(at("stem_norm"), "eps", json!(1e-3))]);
    assert_eq!(status(&one, "stem_norm"), (Status::Direct, false));
    // A number stands for each axis, as in a constructor; what is not typed is the constructor's default, and told as that.
    let stem = |more: Vec<Edit>| {
        let stride = edit(at("stem"), "stride", json!(2));
        opened([vec![stride], more].concat())
    };
    let told = |opened: &Opened, name: &str| {
        let module = &opened.model.modules[opened.model.find("stem").unwrap()];
        (module.attributes[name].clone(), module.told_by.get(name).map(ToString::to_string))
    };
    let some = stem(Vec::new());
    assert_eq!(status(&some, "stem"), (Status::Direct, false));
    assert_eq!(told(&some, "stride"), (json!([2, 2]), Some("typed".to_owned())));
    assert_eq!(told(&some, "padding"), (json!([0, 0]), Some("default".to_owned())));
    assert_eq!(told(&some, "kernel_size").1, None, "the shape says it");
    let padded = stem(vec![edit(at("stem"), "padding", json!(2))]);
    assert_eq!(told(&padded, "padding"), (json!([2, 2]), Some("typed".to_owned())));
    assert_eq!(status(&padded, "stem"), (Status::Direct, false));
}

#[test]
fn a_class_that_is_typed_decides() {
    let linear = opened(vec![edit(at("table"), "class", json!("Embedding"))]);
    let table = &linear.model.modules[linear.model.find("table").unwrap()];
    assert_eq!((table.short_class(), table.alternatives.len()), ("Embedding", 0));
    assert_eq!(table.attributes.get("num_embeddings"), Some(&json!(11)), "by the weight's shape");
    assert_eq!(table.attributes.get("in_features"), None);
    assert_eq!(status(&linear, "table"), (Status::Direct, false));
    let norm = opened(vec![
        edit(at("groups_norm"), "class", json!("torch.nn.GroupNorm")),
        edit(at("groups_norm"), "num_groups", json!(4)),
        edit(at("groups_norm"), "eps", json!(1e-5)),
    ]);
    assert_eq!(status(&norm, "groups_norm"), (Status::Recipe, false));
}

#[test]
fn all_layers_like_one_are_set_in_one_go() {
    let conv = "torch.nn.modules.conv.Conv2d";
    let like =
        opened(vec![edit(Which::Like(conv.to_owned()), "stride", json!(1)), edit(at("patches"), "stride", json!(4))]);
    assert_eq!(attribute(&like, "stem", "stride"), Some(json!([1, 1])));
    assert_eq!(attribute(&like, "patches", "stride"), Some(json!([4, 4])), "what is typed later wins");
    assert_eq!(attribute(&like, "wave", "stride"), None, "of another class");
    assert_eq!(like.typed.count(0), 3);
    assert!(like.typed.lines()[0].contains("stride=1 of every Conv2d of which it is not known, 3 modules"));
    let glob = opened(vec![edit(Which::Glob("{stem*,cube}".to_owned()), "stride", json!(2))]);
    assert_eq!((glob.typed.count(0), glob.typed.warnings.len()), (2, 0), "a norm has no stride");
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let warning = |edits: Vec<Edit>| opened(edits).checkpoint.warnings.last().cloned().unwrap_or_default();
    let shape = warning(vec![edit(at("cube"), "kernel_size", json!(5))]);
    assert!(shape.contains("[8, 3, 3, 3]") && shape.contains("kernel_size=5 of cube"), "{shape}");
    // What the class would not take is not taken here, and the layer stays what it was.
    let none = opened(vec![edit(at("cube"), "stride", json!(0))]);
    assert!(none.checkpoint.warnings.last().unwrap().contains("`stride` is a whole number from 1 on; 0 is not"));
    assert_eq!(attribute(&none, "cube", "stride"), None);
    let unknown = warning(vec![edit(at("cube"), "strides", json!(2))]);
    assert!(unknown.contains("Conv2d has no `strides`; it has in_channels"), "{unknown}");
    let nowhere = warning(vec![edit(at("cubes"), "stride", json!(2))]);
    assert!(nowhere.contains("no such module"), "{nowhere}");
    let class = warning(vec![edit(at("cube"), "class", json!("Linear"))]);
    assert!(class.contains("no Linear has"), "{class}");
    // What a pickled module says itself is not typed over.
    let edits = TypedFrom::Given(vec![edit(at("conv"), "stride", json!(2))]);
    let path = "tests/fixtures/module.pt";
    let module = open(&Options { checkpoint: path.into(), typed: edits, ..Options::default() }).unwrap();
    let said = module.checkpoint.warnings.join(" ");
    assert!(said.contains("the file itself says") || said.contains("no such module"), "{said}");
}

#[test]
fn reports_tell_what_was_typed() {
    let opened = opened(vec![edit(at("stem_norm"), "eps", json!(1e-3))]);
    let report = serde_json::to_value(inspect_json::Report { opened: &opened, check: None }).unwrap();
    let modules = report["modules"].as_array().unwrap();
    let of = |path: &str| modules.iter().find(|module| module["path"] == path).unwrap();
    assert_eq!(of("stem_norm")["told_by"], json!({"eps": "typed"}));
    assert_eq!(of("stem_norm")["evidence"], "inferred", "its class is what it was");
    assert_eq!(of("stem").get("told_by"), None);
    let mut text = String::new();
    inspect_text::text(&mut text, &opened, None).unwrap();
    assert!(text.contains("typed:      eps=0.001 of stem_norm"), "{text}");
    let mut markdown = String::new();
    inspect_text::markdown(&mut markdown, &opened).unwrap();
    assert!(markdown.contains("- typed: eps=0.001 of stem_norm"), "{markdown}");
}

/// The screen with those layers, the cursor on one.
fn screen(path: &str) -> State {
    let mut state = state("dark");
    act(&mut state, Action::Opened(Arc::new(Document::of(&opened(Vec::new())))));
    engines_ready(&mut state);
    go_to(&mut state, path);
    state
}

fn go_to(state: &mut State, path: &str) {
    let selected = view(state).document.model.find(path).unwrap();
    let Screen::Open(open) = &mut state.screen else { panic!("not open") };
    open.tree.selected = selected;
}

fn type_in(state: &mut State, text: &str) -> Vec<Edit> {
    act(state, Action::Command(Command::EraseAll));
    act(state, Action::Paste(text.to_owned()));
    let effects = act(state, Action::Command(Command::Accept));
    effects
        .into_iter()
        .find_map(|effect| match effect {
            Effect::Retell(edits) => Some(edits),
            _ => None,
        })
        .unwrap_or_default()
}

fn shown(state: &mut State) -> String {
    rows(&draw(state, 120, 45)).join("\n")
}

#[test]
fn the_panel_shows_takes_and_forgets() {
    let mut state = screen("stem");
    act(&mut state, Action::Command(Command::Open(Name::Attributes)));
    insta::assert_snapshot!("attributes", shown(&mut state));
    // With nothing typed the chosen attribute begins: the first that is not known.
    act(&mut state, Action::Command(Command::Accept));
    assert!(shown(&mut state).contains("> stride="));
    act(&mut state, Action::Text('2'));
    let effects = act(&mut state, Action::Command(Command::Accept));
    let Some(Effect::Retell(edits)) = effects.first() else { panic!("{effects:?}") };
    assert_eq!(*edits, [edit(at("stem"), "stride", json!(2))]);
    let id = view(&state).document.model.find("stem_norm").unwrap();
    measure(&mut state, id, 0.2, None);
    let stem = view(&state).document.model.find("stem").unwrap();
    measure(&mut state, stem, 0.2, None);
    act(&mut state, Action::Retold(Arc::new(Document::of(&opened(edits.clone())))));
    // The user is where they were, what is run as before has its verdict, what is not has none.
    assert_eq!(view(&state).tree.selected, stem);
    assert!(view(&state).measured.layer(id).is_some() && view(&state).measured.layer(stem).is_none());
    let screen = shown(&mut state);
    assert!(screen.contains("stride                (2, 2)") && screen.contains("typed"), "{screen}");
    // Typed again it stands in for what was typed before.
    assert_eq!(type_in(&mut state, "stride=1"), [edit(at("stem"), "stride", json!(1))]);
    let Screen::Open(open) = &state.screen else { panic!("not open") };
    assert_eq!(open.document.typed.edits.len(), 1);
    while !shown(&mut state).lines().any(|line| line.contains("▌stride")) {
        act(&mut state, Action::Command(Command::Down));
    }
    let effects = act(&mut state, Action::Command(Command::Forget));
    let Some(Effect::Retell(edits)) = effects.first() else { panic!("{effects:?}") };
    assert!(edits.is_empty());
    // What is said of it outlasts the opening.
    act(&mut state, Action::Retold(Arc::new(Document::of(&opened(edits.clone())))));
    assert!(shown(&mut state).contains("forgotten: stride=2 of stem"));
}

#[test]
fn one_line_may_be_for_many_modules() {
    let mut state = screen("stem");
    act(&mut state, Action::Command(Command::Open(Name::Attributes)));
    act(&mut state, Action::Command(Command::Scope));
    act(&mut state, Action::Paste("stride=2".to_owned()));
    assert!(shown(&mut state).contains("for every Conv2d of which it is not known: 4"));
    let edits = type_in(&mut state, "stride=2, padding=(1, 1)");
    let like = || Which::Like("torch.nn.modules.conv.Conv2d".to_owned());
    assert_eq!(edits, [edit(like(), "stride", json!(2)), edit(like(), "padding", json!([1, 1]))]);
    let edits = type_in(&mut state, "c*: stride=2");
    assert_eq!(edits, [edit(Which::Glob("c*".to_owned()), "stride", json!(2))]);
}

#[test]
fn what_is_wrong_is_shown_at_its_place() {
    let mut state = screen("stem");
    act(&mut state, Action::Command(Command::Open(Name::Attributes)));
    let mut wrong = |text: &str| {
        assert_eq!(type_in(&mut state, text), [], "{text}");
        let screen = shown(&mut state);
        let typed = screen.lines().position(|line| line.contains(&format!("> {text}"))).unwrap();
        let column = |line: &str, what: &str| line.find(what).map(|at| line[..at].chars().count());
        let line = |at: usize| screen.lines().nth(at).unwrap();
        let begin = column(line(typed), &format!("> {text}")).unwrap() + 2;
        let mark = column(line(typed + 1), "^").unwrap_or_else(|| panic!("{screen}"));
        (mark - begin, screen.clone())
    };
    let (at, screen) = wrong("stride=2 padding=1");
    assert_eq!(at, 9);
    assert!(screen.contains("^ `,` is expected"), "{screen}");
    assert_eq!(wrong("stride=(2").0, 7);
    let (at, screen) = wrong("padding=1, stride=0");
    assert_eq!(at, 11);
    assert!(screen.contains("`stride` is a whole number from 1 on; 0 is not"), "{screen}");
    let (at, screen) = wrong("stride=2, colour=3");
    assert_eq!(at, 10);
    assert!(screen.contains("Conv2d has no `colour`"), "{screen}");
    assert_eq!(wrong("c*: stride==2").0, 11);
}
