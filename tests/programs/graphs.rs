//! What `inspect` says of a file with a graph before anything runs.

use crate::common::{file, json, run, stderr};
use serde_json::json as value;

const GRAPH: &str = "tests/fixtures/graphs/attention.pt2";

#[test]
fn what_does_not_convert_is_said_beforehand_with_its_line() {
    let (_folder, registry) =
        file("mine.toml", "[ops]\n\"sigmoid(Tensor self) -> Tensor\" = \"refuse('not on this machine')\"\n");
    let registry = registry.to_str().unwrap();
    let text = run(&["inspect", GRAPH, "--registry", registry]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("graph:      84 of 85 nodes convert; missing: aten.sigmoid.default at nets.py:112"),
        "{text}"
    );
    // What stands between the layers, with its lines; what a layer is made of is said of the layer.
    let between = text.split("ops of the graph between the layers\n").nth(1).unwrap();
    let root = between.lines().next().unwrap();
    assert!(root.starts_with("    (root): view ×5 nets.py:97 "), "{root}");
    assert!(root.contains("sigmoid nets.py:112") && root.contains("cat ×3 nets.py:101 nets.py:102"), "{root}");
    assert!(!root.contains("embedding"), "{root}");
    let graph = json(&run(&["inspect", GRAPH, "--registry", registry, "--format", "json"]))["graph"].clone();
    assert_eq!((&graph["nodes"], &graph["convertible"]), (&value!(85), &value!(84)));
    let place = value!({"op": "aten.sigmoid.default", "count": 1, "file": "/home/user/nets.py", "line": 112});
    assert_eq!(graph["missing"], value!([place]));
    let ops = graph["ops"].as_array().unwrap();
    let embedding = ops.iter().find(|row| row["op"] == "aten.embedding.default").unwrap();
    let places = value!([{"file": "/home/user/nets.py", "line": 95}]);
    assert_eq!(
        (&embedding["module"], &embedding["count"], &embedding["places"]),
        (&value!("tokens"), &value!(1), &places)
    );
    let all: u64 = ops.iter().map(|row| row["count"].as_u64().unwrap()).sum();
    assert_eq!(all, 85);
}

#[test]
fn a_row_that_is_none_is_refused_with_its_file() {
    let (_folder, registry) = file("mine.toml", "[ops]\nsigmoid = \"mx.sigmoid(self)\"\n");
    for arguments in [["inspect", GRAPH], ["run", GRAPH]] {
        let output = run(&[arguments[0], arguments[1], "--registry", registry.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(
            said.contains("mine.toml: the row of sigmoid: this is no schema of an op; one is `add.Tensor("),
            "{said}"
        );
    }
}

#[test]
fn bare_weights_without_a_graph_say_how_to_get_one() {
    let output = run(&["run", "tests/fixtures/state_dict.safetensors"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("holds no graph") && said.contains("--python EXE --model EXPR --input SPEC"), "{said}");
}
