//! What the graphs of real files take, and what is said where a call does not give it.

use std::path::Path;

use t2m_checkpoint::Checkpoint;
use t2m_tui::architecture::spec::InputSpec;
use t2m_tui::graph::inputs::{Inputs, Source, of_graph, of_script, takes};
use t2m_tui::script;

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&Path::new("tests/fixtures/graphs").join(name)).unwrap()
}

fn given(name: &str, specs: &[&str]) -> Result<Inputs, String> {
    let (file, specs): (_, Vec<InputSpec>) = (open(name), specs.iter().map(|spec| spec.parse().unwrap()).collect());
    match &file.graph {
        Some(graph) => of_graph(graph, Source::Specs(&specs, 7)),
        None => of_script(&file, Source::Specs(&specs, 7)),
    }
}

fn told(inputs: &Inputs) -> Vec<String> {
    let one = |given: &t2m_tui::graph::inputs::Given| match &given.value {
        Some(value) => format!("{}: {} {value}, {}", given.name, given.dtype, given.from),
        None => format!("{}: {} {:?}, {}", given.name, given.dtype, given.shape, given.from),
    };
    inputs.given.iter().map(one).collect()
}

#[test]
fn a_scripted_model_takes_numbers_texts_none_tuples_and_dicts() {
    let inputs =
        given("chosen.pt", &["3x4", "rate=16", "parts.bias=3x6", "mode='none'", "mask=None", "span=(1,3)"]).unwrap();
    assert_eq!(
        told(&inputs),
        [
            "x: float32 [3, 4], seed",
            "rate: int 16, call",
            "parts.bias: float32 [3, 6], seed",
            "mode: str \"none\", call",
            "mask: None null, call",
            "span: list [1,3], call",
        ]
    );
    assert_eq!(inputs.tensors.len(), 2);
    // By their places; what the code has a default for may be left out, and a whole number is one with a point where that is taken.
    let inputs = given("chosen.pt", &["2x4", "8:int", "parts.bias=2x6", "scale=2"]).unwrap();
    assert_eq!(told(&inputs)[1..], ["rate: int 8, call", "parts.bias: float32 [2, 6], seed", "scale: float 2.0, call"]);
}

#[test]
fn what_a_call_lacks_is_named_with_its_type_and_a_call_that_works() {
    let error = given("chosen.pt", &["2x4"]).unwrap_err();
    assert_eq!(
        error,
        "--input does not say what `rate` is: once for each of x, rate, parts; it takes x: Tensor, rate: int, \
         parts: Dict[str, Tensor], mode: str (may be left out), mask: Optional[Tensor] (may be left out), \
         span: Optional[Tuple[int, int]] (may be left out), scale: float (may be left out); for example --input x=1x4 \
         --input rate=8 --input parts.KEY=1x6"
    );
    for (specs, words) in [
        (&["x=2x4", "rate=0.5"][..], "--input rate=0.5: `rate` is int, and no tensor: rate=8"),
        (&["x=2x4", "rate=2x4"], "--input rate=2x4: `rate` is int, and no tensor"),
        (&["x=0.5", "rate=8"], "--input x=0.5: `x` is a tensor: x=1x4"),
        (&["x=2x4", "rate=8", "parts.bias=2x6", "span=(1,2,3)"], "`span` is Tuple[int, int]"),
        (
            &["x=2x4", "rate=8", "parts.bias=2x6", "speed=3"],
            "--input speed=3: no input has this name; it takes x: Tensor",
        ),
    ] {
        let error = given("chosen.pt", specs).unwrap_err();
        assert!(error.contains(words), "{specs:?}: {error}");
    }
}

#[test]
fn an_export_keeps_a_number_that_changes_and_nothing_else() {
    let file = open("numbered.pt2");
    let graph = file.graph.as_ref().unwrap();
    let sample = of_graph(graph, Source::Sample(file.samples.as_deref().unwrap())).unwrap();
    assert_eq!(told(&sample), ["x: float32 [3, 4], sample"]);
    assert_eq!(sample.numbers.iter().map(|(_, number)| number.clone()).collect::<Vec<_>>(), [5]);
    let inputs = given("numbered.pt2", &["x=3x4", "count=7", "double=True", "scale=0.25"]).unwrap();
    assert_eq!(inputs.numbers[0].1, 7);
    for (spec, words) in [
        (
            "double=False",
            "--input double=False: the export made `double` part of the graph as True; export it again with another value",
        ),
        ("mode='sum'", "made `mode` part of the graph as 'all'"),
        ("scale=0.5", "made `scale` part of the graph as 0.25"),
        ("count='a'", "`count` is number, and no tensor: count=5"),
    ] {
        let error = given("numbered.pt2", &["x=3x4", spec]).unwrap_err();
        assert!(error.contains(words), "{spec}: {error}");
    }
}

#[test]
fn members_of_enumerations_and_named_tuples_decide_conditions() {
    let graph = script::outline(&open("chosen.pt")).unwrap();
    let has = |op: &str| graph.nodes.iter().any(|node| node.target == op);
    assert!(has("aten.tanh.default") && !has("aten.relu.default"), "{:#?}", graph.nodes);
    // By the weights that it meets first, the file tells what an input is likely to be.
    let takes = takes(&open("chosen.pt"), None, Some(&graph)).unwrap();
    assert_eq!(takes[0].example, ["x=1x4"]);
}

#[test]
fn members_of_dicts_and_tuples_have_pythons_names_beside_the_graphs() {
    let names = ["batch.image", "batch.meta.place", "pair.0", "pair.1.0", "extra.bias"];
    let specs = names.map(|name| format!("{name}=2x4"));
    let mixed = ["pair.0=2x4", "2x4", "batch_meta_place=2x4", "2x4", "extra.bias=2x4"];
    for specs in [specs.each_ref().map(String::as_str), mixed] {
        let inputs = given("members.pt2", &specs).unwrap();
        let all: Vec<&str> = inputs.given.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(all, ["batch_image", "batch_meta_place", "pair_0", "pair_1_0", "extra_bias"]);
    }
    // What may be typed has Python's names.
    let file = open("members.pt2");
    let examples: Vec<String> =
        takes(&file, file.graph.as_ref(), None).unwrap().into_iter().flat_map(|one| one.example).collect();
    assert_eq!(examples, specs);
    let error = given("members.pt2", &["batch.picture=2x4"]).unwrap_err();
    assert!(error.contains("no input has this name") && error.contains("--input pair.1.0=2x4"), "{error}");
    let error = given("members.pt2", &["batch.image=2x4", "batch_image=2x4"]).unwrap_err();
    assert!(error.contains("given twice"), "{error}");
}

#[test]
fn dicts_lists_and_tuples_may_be_left_out_and_be_within_each_other() {
    let names = |specs: &[&str]| -> Vec<String> {
        given("optionally.pt", specs).unwrap().given.into_iter().map(|one| one.name).collect()
    };
    assert_eq!(names(&["2x4"]), ["x"]);
    assert_eq!(names(&["2x4", "state=None"]), ["x", "state"]);
    assert_eq!(names(&["2x4", "state.h=2x4", "state.c=2x4"]), ["x", "state.h", "state.c"]);
    assert_eq!(names(&["2x4", "past=2x4", "past_1=2x4"]), ["x", "past", "past_1"]);
    assert_eq!(names(&["2x4", "pairs=2x4", "pairs_1=2x4"]), ["x", "pairs", "pairs_1"]);
    let within = ["2x4", "levels.high=2x4", "levels.high_1=2x4", "levels.low=2x4", "steps.k=2x4", "steps_1.k=2x4"];
    assert_eq!(names(&within), ["x", "levels.high", "levels.high_1", "levels.low", "steps.k", "steps_1.k"]);
    for (specs, words) in [
        (["2x4", "stated.h=2x4"], "no input has this name"),
        (["2x4", "past.h=2x4"], "no input has this name"),
        (["2x4", "past_x=2x4"], "no input has this name"),
    ] {
        let error = given("optionally.pt", &specs).unwrap_err();
        assert!(error.contains(words), "{specs:?}: {error}");
    }
}
