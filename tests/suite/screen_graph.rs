//! The graph on the screen: nodes under their modules, the pane with both errors, the line of a node, and the keys. The graph is
//! a real one; what its run gave is made by hand.

use std::path::Path;
use std::sync::Arc;

use crate::common::sample::{act, draw, state, view};
use t2m_checkpoint::Dtype;
use t2m_engine::{EngineInfo, EngineState, Side};
use t2m_tui::compare::Verdict;
use t2m_tui::graph::inputs::Given;
use t2m_tui::graph::judge::Measured;
use t2m_tui::graph::run::{Event, NodeResult, NodeVerdict, OutputResult, Stop};
use t2m_tui::graph::runner::{Report, Request};
use t2m_tui::open::{Options, open};
use t2m_tui::tui::action::{Action, Command, Effect};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::nodes::Row;
use t2m_tui::tui::panes::Pane;
use t2m_tui::tui::ran::Progress;
use t2m_tui::tui::snapshot::{rows, styled};
use t2m_tui::tui::state::State;
use t2m_tui::tui::theme::Level;

/// The node that is made wrong.
const WRONG: &str = "aten.sigmoid.default";

fn opened(theme: &str) -> State {
    let folder = Path::new("tests/fixtures/graphs");
    let options =
        Options { checkpoint: folder.join("attention.pt2"), sources: vec![folder.to_owned()], ..Options::default() };
    let mut state = state(theme);
    act(&mut state, Action::Opened(Arc::new(Document::of(&open(&options).unwrap()))));
    state
}

fn command(state: &mut State, command: Command) -> Vec<Effect> {
    act(state, Action::Command(command))
}

/// The run that a key asked for.
fn asked(effects: &[Effect]) -> Option<Request> {
    effects.iter().find_map(|effect| if let Effect::RunGraph(request) = effect { Some(request.clone()) } else { None })
}

fn measured(max_abs: f64, tolerance: f64) -> Measured {
    let verdict = match max_abs {
        0.0 => Verdict::Exact,
        error if error <= tolerance => Verdict::Ok,
        _ => Verdict::Broken,
    };
    Measured {
        max_abs,
        mean_abs: max_abs / 10.0,
        cosine: 0.999_998_8,
        worst_index: vec![0, 3, 10],
        tolerance,
        scale: 1.0,
        torch_vs_f64: 7.8e-8,
        mlx_vs_f64: max_abs.max(8.1e-8),
        verdict,
    }
}

/// What a run gives of a node: what stands behind the wrong one is wrong together, and right alone.
fn result(row: &Row, is_behind: bool) -> NodeResult {
    let is_wrong = row.target == WRONG;
    let alone = match row.index % 3 {
        _ if is_wrong => 4.4e-3,
        0 => 1.2e-7,
        _ => 0.0,
    };
    let isolated = measured(alone, 4.9e-7);
    let together = if is_wrong || is_behind { 7.7e-3 } else { alone * 2.0 };
    NodeResult {
        index: row.index,
        name: row.name.clone(),
        target: row.target.clone(),
        module: String::new(),
        place: row.place.as_ref().map(|(file, line)| (file.to_string(), *line)),
        verdict: NodeVerdict::Compared(isolated.verdict),
        reason: None,
        isolated: Some(isolated),
        accumulated: Some(measured(together, 1.5e-5)),
        ms_torch: 0.04,
        ms_mlx: 0.11,
        widened: None,
        by_winograd: false,
        failed: None,
        ms_torch_f64: 0.09,
        ms_mlx_isolated: 0.1,
        mlx: Some("v1 = self * 1.02\nv0 = mx.sigmoid(v1)\nreturn v0".to_owned()),
    }
}

fn tell(state: &mut State, number: u64, report: Report) {
    act(state, Action::Graph(number, report));
}

/// Report so many nodes of a run.
fn report(state: &mut State, request: &Request, nodes: usize) {
    let info = |version: &str| {
        EngineState::Ready(EngineInfo {
            protocol: 5,
            engine: "t2m".to_owned(),
            version: version.to_owned(),
            device: "cpu".to_owned(),
            flags: serde_json::Map::new(),
        })
    };
    let given = Given { name: "ids".to_owned(), dtype: "int64", shape: vec![2, 5], value: None, from: "sample" };
    tell(state, request.number, Report::Started(vec![given]));
    for (side, version) in [(Side::Torch, "2.13.0"), (Side::Mlx, "0.32.2")] {
        tell(state, request.number, Report::Event(Event::Engine(side, info(version))));
    }
    let all = view(state).document.nodes.clone().unwrap();
    let wrong = all.all.iter().position(|row| row.target == WRONG).unwrap();
    for row in all.all.iter().filter(|row| row.index >= request.from).take(nodes) {
        let is_behind = row.index > all.all[wrong].index && request.from <= all.all[wrong].index;
        tell(state, request.number, Report::Event(Event::Node(Box::new(result(row, is_behind)))));
    }
}

/// A run to the graph's end.
fn ran(theme: &str) -> State {
    let mut state = opened(theme);
    let request = asked(&command(&mut state, Command::RunGraph)).unwrap();
    report(&mut state, &request, usize::MAX);
    let output = OutputResult {
        name: "add_5".to_owned(),
        dtype: Dtype::Float32,
        shape: vec![2, 5, 16],
        value: None,
        measured: Ok(measured(7.7e-3, 6e-5)),
    };
    tell(&mut state, request.number, Report::Event(Event::Outputs(vec![output])));
    tell(&mut state, request.number, Report::Ended(Ok(())));
    state
}

fn at_the_divergence(theme: &str) -> State {
    let mut state = ran(theme);
    draw(&mut state, 160, 45);
    command(&mut state, Command::FirstDivergence);
    state
}

fn selected(state: &State) -> Option<Row> {
    let view = view(state);
    view.document.nodes.as_ref()?.get(view.tree.node()?).cloned()
}

#[test]
fn the_jump_to_the_first_divergence_at_three_sizes() {
    insta::assert_snapshot!("graph_wide", styled(&draw(&mut at_the_divergence("dark"), 160, 45)));
    let mut state = at_the_divergence("dark");
    draw(&mut state, 100, 30);
    command(&mut state, Command::FirstDivergence);
    insta::assert_snapshot!("graph_medium", styled(&draw(&mut state, 100, 30)));
    let mut state = at_the_divergence("dark");
    draw(&mut state, 58, 16);
    command(&mut state, Command::FirstDivergence);
    insta::assert_snapshot!("graph_narrow", styled(&draw(&mut state, 58, 16)));
}

#[test]
fn on_a_light_background_without_colours_and_in_ascii() {
    insta::assert_snapshot!("graph_light", styled(&draw(&mut at_the_divergence("light"), 120, 30)));
    let mut state = at_the_divergence("dark");
    state.theme = state.theme.at(Level::Never);
    insta::assert_snapshot!("graph_no_color", styled(&draw(&mut state, 120, 30)));
    let mut state = at_the_divergence("dark");
    state.ascii = true;
    let buffer = draw(&mut state, 120, 30);
    assert!(rows(&buffer).iter().all(|row| row.is_ascii()));
    insta::assert_snapshot!("graph_ascii", rows(&buffer).join("\n"));
}

#[test]
fn the_pane_before_and_after_a_run() {
    let mut state = opened("dark");
    let before = rows(&draw(&mut state, 140, 40)).join("\n");
    assert!(before.contains("Measured │ Graph"), "{before}");
    assert!(before.contains("this file holds a graph: r runs it node by node"), "{before}");
    command(&mut state, Command::PreviousPane);
    let before = rows(&draw(&mut state, 140, 40)).join("\n");
    assert!(before.contains("85 of 85 nodes convert"), "{before}");
    let mut state = ran("dark");
    let after = rows(&draw(&mut state, 140, 40)).join("\n");
    for words in [
        "all 85 nodes were run",
        "✗ 1 broken",
        "D first divergence: node 53 sigmoid, nets.py:112, 4.4e-03",
        "✗ output add_5 2×5×16: 7.7e-03 of 6.0e-05 tolerated",
        "input ids int64 2×5: the file's own sample",
        "● isolated ─ accumulated",
    ] {
        assert!(after.contains(words), "{words}: {after}");
    }
    // A report made from this screen has it.
    let kept = view(&state).work.graph.clone().unwrap();
    assert_eq!(
        (kept.nodes, kept.verdicts.get("broken"), kept.first_divergence),
        (85, Some(&1), Some((53, "aten.sigmoid.default".to_owned())))
    );
}

#[test]
fn keys_go_from_one_place_of_interest_to_the_next_and_the_source_follows() {
    let mut state = ran("dark");
    draw(&mut state, 160, 45);
    command(&mut state, Command::WorstNode);
    let wrong = selected(&state).unwrap();
    assert_eq!(wrong.target, WRONG);
    let line = wrong.place.as_ref().unwrap().1;
    assert_eq!(view(&state).source.line, Some(line));
    // One failure and the first divergence are the same node here: the keys stay at it.
    for key in [Command::NextFailure, Command::PreviousFailure, Command::FirstDivergence] {
        command(&mut state, key);
        assert_eq!(selected(&state), Some(wrong.clone()), "{key:?}");
    }
    // In the pane left and right go along the graph.
    while view(&state).focus != Pane::Graph {
        command(&mut state, Command::NextPane);
    }
    command(&mut state, Command::Right);
    let all = view(&state).document.nodes.clone().unwrap();
    let at = all.all.iter().position(|row| row.target == WRONG).unwrap();
    assert_eq!(selected(&state), all.all.get(at + 1).cloned());
    command(&mut state, Command::Left);
    assert_eq!(selected(&state), Some(wrong));
    // A node leads to its module, and from there the class's own source is shown again.
    command(&mut state, Command::PreviousPane);
    command(&mut state, Command::PreviousPane);
    command(&mut state, Command::PreviousPane);
    assert_eq!(view(&state).focus, Pane::Tree);
    command(&mut state, Command::Left);
    assert_eq!(selected(&state), None);
    let screen = rows(&draw(&mut state, 160, 45)).join("\n");
    assert!(screen.contains("Source ─ Attention.forward"), "{screen}");
    // Without nodes the tree is as it was.
    command(&mut state, Command::Nodes);
    assert!(view(&state).tree.nodes.iter().all(Option::is_none));
}

#[test]
fn a_run_is_cancelled_and_goes_on_from_a_node() {
    let mut state = opened("dark");
    draw(&mut state, 140, 40);
    let first = asked(&command(&mut state, Command::RunGraph)).unwrap();
    assert_eq!(first.from, 0);
    assert!(state.is_moving());
    assert_eq!(asked(&command(&mut state, Command::RunGraph)), None, "it runs already");
    report(&mut state, &first, 20);
    let effects = command(&mut state, Command::Cancel);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::CancelGraph)), "{effects:?}");
    assert!(!state.is_moving());
    assert_eq!(view(&state).ran.progress, Progress::Stopped(Stop::Cancelled));
    let reached = view(&state).ran.last.unwrap();
    let screen = rows(&draw(&mut state, 140, 40)).join("\n");
    assert!(screen.contains("stopped after node") && screen.contains("R goes on there"), "{screen}");
    // It goes on where it was stopped; what the first run still says is not heard.
    let second = asked(&command(&mut state, Command::RunFrom)).unwrap();
    assert_eq!(second.from, reached + 1);
    tell(&mut state, first.number, Report::Ended(Err(Stop::Cancelled)));
    assert!(view(&state).ran.is_running());
    report(&mut state, &second, usize::MAX);
    tell(&mut state, second.number, Report::Ended(Ok(())));
    let all = view(&state).document.nodes.clone().unwrap();
    assert!(all.all.iter().all(|row| view(&state).ran.verdict(row.index).is_some()));
    let screen = rows(&draw(&mut state, 140, 40)).join("\n");
    assert!(screen.contains(&format!("from node {} on, where MLX took over torch's values", reached + 1)), "{screen}");
    // From the node behind the divergence: what was found before it stays, what came after is found anew.
    command(&mut state, Command::FirstDivergence);
    command(&mut state, Command::Down);
    let here = selected(&state).unwrap();
    let third = asked(&command(&mut state, Command::RunFrom)).unwrap();
    assert_eq!(third.from, here.index);
    assert!(view(&state).ran.verdict(here.index).is_none() && view(&state).ran.verdict(here.index - 1).is_some());
    let divergence = view(&state).ran.first_divergence();
    report(&mut state, &third, usize::MAX);
    assert_eq!(view(&state).ran.first_divergence(), divergence);
    let sum = view(&state).ran.sum_of(0);
    assert_eq!((sum.nodes.told as usize, sum.nodes.right as usize), (all.all.len(), all.all.len() - 1));
}

#[test]
fn an_engine_that_is_not_there_is_said() {
    let mut state = opened("dark");
    let request = asked(&command(&mut state, Command::RunGraph)).unwrap();
    tell(&mut state, request.number, Report::Ended(Err(Stop::Engine("t2m-torch was not found".to_owned()))));
    let screen = rows(&draw(&mut state, 140, 40)).join("\n");
    assert!(screen.contains("t2m-torch was not found"), "{screen}");
}

#[test]
fn where_there_is_no_graph_the_pane_says_how_to_get_one() {
    let mut state = state("dark");
    assert!(!rows(&draw(&mut state, 160, 45)).join("\n").contains("│ Graph"));
    let mut document = (*view(&state).document).clone();
    document.about.path = "my models/net.pt".to_owned();
    document.offer.possible = true;
    document.offer.python = "/opt/venv/bin/python".to_owned();
    document.offer.model = "timm.create_model('resnet50')".to_owned();
    act(&mut state, Action::Opened(Arc::new(document)));
    assert_eq!(asked(&command(&mut state, Command::RunGraph)), None);
    insta::assert_snapshot!("graph_none", rows(&draw(&mut state, 160, 45)).join("\n"));
}

#[test]
fn a_search_finds_nodes_while_they_are_shown() {
    let mut state = opened("dark");
    let search = |state: &mut State, words: &str| {
        command(state, Command::Open(t2m_tui::tui::panels::Name::Find));
        words.chars().for_each(|letter| drop(act(state, Action::Text(letter))));
        command(state, Command::Accept);
        let node = view(state).tree.node();
        node.and_then(|node| Some(view(state).document.nodes.clone()?.get(node)?.name.clone()))
    };
    // Modules alone are on show, and none is called so.
    assert_eq!(search(&mut state, "sigmoid"), None);
    command(&mut state, Command::Nodes);
    assert_eq!(search(&mut state, "sigmoid").as_deref(), Some("sigmoid"));
    // By its name in the graph, and on to the next of the same op.
    assert_eq!(search(&mut state, "add_2").as_deref(), Some("add_2"));
    let first = search(&mut state, "transpose").unwrap();
    command(&mut state, Command::FindNext);
    let row = view(&state).tree.node().unwrap();
    let next = view(&state).document.nodes.clone().unwrap().get(row).unwrap().clone();
    assert!(next.op().starts_with("transpose") && next.name != first, "{next:?}");
    let screen = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(screen.contains("/transpose  node 2 of "), "{screen}");
}

#[test]
fn what_a_run_says_of_layers_is_counted_beside_what_was_measured() {
    let mut state = opened("dark");
    let request = asked(&command(&mut state, Command::RunGraph)).unwrap();
    let screen = |state: &mut State| rows(&draw(state, 160, 45)).join("\n");
    assert!(!screen(&mut state).contains("in graph"));
    report(&mut state, &request, usize::MAX);
    tell(&mut state, request.number, Report::Ended(Ok(())));
    command(&mut state, Command::Nodes);
    let found = screen(&mut state);
    // Every layer's node is right but for the sigmoid, which is in the model's own forward: that parts, they agree.
    let layers = view(&state).document.model.modules.iter().enumerate().filter(|(id, _)| {
        let document = &view(&state).document;
        let has_nodes = document.nodes.as_ref().is_some_and(|nodes| nodes.below(*id) > 0);
        has_nodes && document.triage(*id).is_some_and(|triage| triage.plan.is_some())
    });
    let count = layers.count();
    assert!(count > 3 && found.contains(&format!("+{count} in graph")), "{count}: {found}");
    assert!(found.contains("✓ in graph") && found.contains("✗ in graph"), "{found}");
}

/// A scripted model before and after its code became a graph.
#[test]
fn torchscripts_code_asks_for_inputs_and_becomes_a_graph() {
    let options = Options { checkpoint: Path::new("tests/fixtures/graphs/chosen.pt").to_owned(), ..Options::default() };
    let document = Document::of(&open(&options).unwrap());
    assert!(document.asks && document.nodes.as_ref().unwrap().is_outline);
    let mut state = state("dark");
    act(&mut state, Action::Opened(Arc::new(document)));
    assert!(asked(&command(&mut state, Command::RunGraph)).is_none(), "it asks first");
    let screen = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(screen.contains("Inputs of the graph") && screen.contains("Dict[str, Tensor]"), "{screen}");
    assert!(screen.contains("x=1x4 rate=8 parts.KEY=1x6"), "{screen}");
    command(&mut state, Command::EraseAll);
    act(&mut state, Action::Paste("x=3x4 rate=16 parts.bias=3x".to_owned()));
    assert!(asked(&command(&mut state, Command::Accept)).is_none());
    let screen = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(screen.contains("a size is expected"), "{screen}");
    act(&mut state, Action::Text('6'));
    let request = asked(&command(&mut state, Command::Accept)).unwrap();
    assert_eq!(
        request.specs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["x=3x4", "rate=16", "parts.bias=3x6"]
    );
    // The graph has other nodes than the outline: of the condition one side.
    let file = t2m_checkpoint::Checkpoint::open(&options.checkpoint).unwrap();
    let mut graph = t2m_tui::script::outline(&file).unwrap();
    graph.nodes.truncate(3);
    tell(&mut state, request.number, Report::Graph(Arc::new(graph)));
    let nodes = view(&state).document.nodes.clone().unwrap();
    assert!(!nodes.is_outline && nodes.all.len() <= 3);
    assert!(view(&state).ran.is_running());
    let (text, line) = nodes.text(&nodes.all[0]).unwrap();
    assert_eq!(text.origin, "kept in the file");
    assert!(text.text.lines().nth(line - 1).unwrap().contains("self.wide(x.to(self.device) * scale)"), "{line}");
    tell(&mut state, request.number, Report::Event(Event::Node(Box::new(result(&nodes.all[0], false)))));
    assert_eq!(view(&state).ran.last, Some(nodes.all[0].index));
}
