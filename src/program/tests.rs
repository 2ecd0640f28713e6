//! Texts that are programs, and texts that are none.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn mlx(text: &str) -> Program {
    parse(Dialect::Mlx, text, &["x", "y", "i", "m"]).unwrap()
}

fn torch(text: &str) -> Program {
    parse(Dialect::Torch, text, &["x", "y", "i", "m"]).unwrap()
}

/// The program as Python again, its lines without `return`.
fn again(text: &str) -> String {
    let (built, lines) = mlx(text).python();
    [built, lines].concat().join("; ")
}

#[test]
fn an_mlx_program_reads_as_it_was_written() {
    let texts = [
        ("mx.concatenate([x, y], axis=1)", "v0 = mx.concatenate([x, y], axis=1); return v0"),
        ("mx.reshape(x, (3, -1))", "v0 = mx.reshape(x, shape=(3, -1)); return v0"),
        ("x.reshape(3, 4).T", "v1 = mx.reshape(x, shape=(3, 4)); v0 = mx.transpose(v1); return v0"),
        ("x[:, 1:-1, ::2]", "v0 = x[:, 1:-1, ::2]; return v0"),
        ("x[1]", "v0 = x[1]; return v0"),
        ("x[i]", "v0 = x[i]; return v0"),
        ("x.at[i, m].add(y)", "v0 = x.at[i, m].add(y); return v0"),
        ("x.at[:, 0:2].add(y)", "v0 = x.at[:, 0:2].add(y); return v0"),
        ("(x + 2 * y) / 3", "v1 = 2 * y; v0 = x + v1; v2 = v0 / 3; return v2"),
        ("-x, ~m, -1.5 * x", "v0 = mx.negative(x); v1 = mx.logical_not(m); v2 = -1.5 * x; return v0, v1, v2"),
        (
            "a, b = mx.split(x, [2, 4], axis=0)",
            "v0, v1 = mx.split(x, indices_or_sections=(2, 4), axis=0); return v0, v1",
        ),
        ("mx.where(m, -mx.inf, x)", "v0 = mx.where(m, -mx.inf, x); return v0"),
        ("x.astype(mx.float16)", "v0 = x.astype(mx.float16); return v0"),
        ("mx.einsum(\"ij,jk->ik\", x, y)", "v0 = mx.einsum(\"ij,jk->ik\", x, y); return v0"),
        ("mx.clip(x, -0.5, None)", "v0 = mx.clip(x, a_min=-0.5, a_max=None); return v0"),
        ("mx.tile(x, (2, 1))", "v0 = mx.tile(x, (2, 1)); return v0"),
        ("x[:, 1:3] = y; x", "v0 = x; v0[:, 1:3] = y; return v0"),
    ];
    for (text, read) in texts {
        // Names are counted as they are needed: what is inside comes before what is around it.
        let normal = |text: &str| {
            let mut names = Vec::new();
            let words = text.split_inclusive(|letter: char| !letter.is_alphanumeric()).map(|word| {
                let name = word.trim_end_matches(|letter: char| !letter.is_alphanumeric());
                if name.strip_prefix('v').is_none_or(|rest| rest.parse::<u8>().is_err()) {
                    return word.to_owned();
                }
                let at = names.iter().position(|known| known == name).unwrap_or(names.len());
                if at == names.len() {
                    names.push(name.to_owned());
                }
                format!("t{at}{}", &word[name.len()..])
            });
            words.collect::<String>()
        };
        assert_eq!(normal(&again(text)), normal(read), "{text}");
    }
}

#[test]
fn what_python_wrote_is_read_again() {
    for text in ["mx.softmax(x, axis=1)", "mx.pad(x, ((3, 0), (1, 2)), constant_values=0.5)", "nn.gelu(x) + 1"] {
        let once = mlx(text);
        let (_, lines) = once.python();
        let mut written = lines.join("\n");
        written = written.replace("return ", "");
        let twice = mlx(&written);
        let calls = |program: &Program| {
            program.steps.iter().map(|step| (step.call.clone(), step.args.clone())).collect::<Vec<_>>()
        };
        assert_eq!(calls(&once), calls(&twice), "{text}");
    }
}

#[test]
fn a_layer_is_built_and_called() {
    let program = mlx("nn.MaxPool2d(kernel_size=2, stride=2)(mx.transpose(x, (0, 2, 3, 1)))");
    assert_eq!(program.layers["layer0"].kind, "nn.MaxPool2d");
    assert_eq!(program.layers["layer0"].args, *json!({"kernel_size": 2, "stride": 2}).as_object().unwrap());
    assert_eq!(program.steps[1].call, "self.layer0");
}

#[test]
fn torchs_arguments_have_torchs_names() {
    let step = |text: &str| torch(text).steps.pop().unwrap();
    let args = |text: &str| Value::Object(step(text).args);
    assert_eq!(args("x.permute(0, 2, 1)"), json!({"dims": [0, 2, 1]}));
    assert_eq!(args("torch.permute(x, (0, 2, 1))"), json!({"dims": [0, 2, 1]}));
    assert_eq!(args("x.view(torch.int32)"), json!({"dtype": "int32"}));
    assert_eq!(args("x.max(1)"), json!({"dim": 1}));
    assert_eq!(args("torch.max(x, y)"), json!({}));
    assert_eq!(step("torch.max(x, y)").inputs.len(), 2);
    assert_eq!(step("x.gather(1, i)").inputs.len(), 2);
    assert_eq!(args("torch.arange(5)"), json!({"end": 5}));
    assert_eq!(args("torch.arange(1, 5)"), json!({"start": 1, "end": 5}));
    let sorted = torch("x.sort(dim=1).indices");
    assert_eq!((sorted.steps[0].to.len(), &sorted.outputs[0]), (2, &sorted.steps[0].to[1]));
    assert_eq!(step("torch.nn.functional.relu(x)").call, "F.relu");
    assert_eq!(step("x.masked_fill(m, float(\"-inf\"))").inputs[2], Operand::from(f64::NEG_INFINITY));
}

#[test]
fn what_has_no_step_is_refused() {
    let refused = |text: &str| parse(Dialect::Mlx, text, &["x"]).unwrap_err().to_string();
    assert!(refused("").contains("empty"));
    assert!(refused("for a in x: pass").contains("only expressions"));
    assert!(refused("lambda: x").contains("not understood"));
    assert!(refused("mx.no_such(x)").contains("no signature"));
    assert!(refused("mx.exp(x, x)").contains("fewer arguments"));
    assert!(refused("mx.exp(z)").contains("no such variable"));
    assert!(refused("mx.exp(x").contains("no Python"));
    assert!(refused("open(x)").contains("no function"));
    assert!(refused("mx.softmax(x, axis=1, axis=2)").contains("twice"));
    assert!(refused(&"(".repeat(2000)).contains("no Python"));
    let deep = format!("{}x{}", "mx.exp(".repeat(500), ")".repeat(500));
    assert!(refused(&deep).contains("too deep"));
    assert!(refused(&" ".repeat(5000)).contains("too long"));
}

proptest! {
    /// Whatever the text, it is a program or it is refused.
    #[test]
    fn any_text_ends(text in "[a-zx.mtorchn(),\\[\\]:=+*/ 0-9\\n-]{0,60}") {
        for dialect in [Dialect::Torch, Dialect::Mlx] {
            let _ = parse(dialect, &text, &["x"]);
        }
    }
}
