//! Calls that make no sense: what is quoted of them hides nothing and steers no terminal.

use std::os::unix::process::CommandExt;

use crate::common::{program, run, stderr};

/// What changes how the text around it looks, as it is in an argument and as it is shown.
const HIDDEN: [(&str, &str); 5] = [
    ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
    ("\u{1b}[2J\u{1b}[31mred", "\\u{1b}[2J\\u{1b}[31mred"),
    ("\u{9b}31m", "\\u{9b}31m"),
    ("x\nt2m-tui: all is well", "x\\u{a}t2m-tui: all is well"),
    ("\u{200b}\r\u{e0041}", "\\u{200b}\\u{d}\\u{e0041}"),
];

fn is_plain(text: &str) -> bool {
    text.lines().all(|line| matches!(t2m_checkpoint::escape::escape(line), std::borrow::Cow::Borrowed(_)))
}

/// In the place of `@` stands what hides.
#[test]
fn what_a_usage_error_quotes_is_escaped() {
    let calls = [
        "demo @",
        "--@",
        "--@=1 demo",
        "inspect demo --format @",
        "inspect demo --format=@",
        "inspect demo --fail-under @",
        "inspect demo @",
        "inspect demo --chekc@",
        "verify demo --trials @",
        "verify demo --dtype f32,@",
        "verify demo --weights @",
        "verify demo --deadline @",
        "convert demo -o o.st --dtype @",
        "convert demo -o o.st --max-shard-size @",
        "convert demo -@",
        "compare demo demo @",
        "compare demo demo --format @",
        "matrix --format @",
        "matrix @",
        "doctor @",
        "doctor --color @",
        "completions @",
        "completions bash @",
        "man @",
        "man --@",
        "help @",
    ];
    calls.iter().for_each(|call| refused(call));
}

/// A call is refused with what it hides written out, whatever stands for `@`.
fn refused(call: &str) {
    for (raw, shown) in HIDDEN {
        let arguments: Vec<String> = call.split(' ').map(|word| word.replace('@', raw)).collect();
        let output = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{call}: {said}");
        assert!(is_plain(&said), "{call}: {said:?}");
        // Of short options one letter is quoted.
        assert!(said.contains(shown) || call.contains(" -@"), "{call}: {said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("t2m-tui: all is well")).count(), 0, "{said}");
    }
}

/// In messages of ours, as in clap's.
#[test]
fn what_an_error_quotes_of_a_call_is_escaped() {
    let calls = [
        "@",
        "inspect @",
        "inspect demo --source @",
        "inspect demo --python @",
        "inspect demo --registry @",
        "inspect demo --source Cargo.toml@",
        "verify demo --layers @",
        "verify demo --layers [@",
        "convert demo -o @/o.st",
        "convert demo -o o.st --map @/map.json",
        "convert demo -o o.st --skip [@",
        "convert --reverse @ --map map.json -o o.st",
        "convert --reverse assets/demo/demo.pt --map @ -o o.st",
        "compare demo @",
        "compare @ demo",
        "doctor --source @",
        "matrix --registry @",
    ];
    calls.iter().for_each(|call| refused(call));
}

#[test]
fn the_environment_and_the_programs_own_name_are_escaped() {
    for (raw, shown) in HIDDEN {
        for call in [&["doctor"][..], &["verify", "demo", "--layers", "head"]] {
            let mut command = program();
            let output =
                command.args(call).env("T2M_TORCH", raw).env("T2M_MLX", raw).env("TERM", raw).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
            assert!(is_plain(&said) && said.contains(shown), "{call:?}: {said:?}");
        }
        for call in [&["--help"][..], &["--nope"], &["--version"], &["inspect"]] {
            let output = program().arg0(raw).args(call).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
            assert!(is_plain(&said) && said.contains("t2m-tui"), "{call:?}: {said:?}");
        }
    }
}
