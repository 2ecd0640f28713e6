//! Lower never knows higher: the imports of each crate's top-level modules form no circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Sources of every package of the workspace.
const CRATES: [&str; 6] =
    ["src", "crates/checkpoint/src", "crates/engine/src", "crates/remote/src", "crates/torch/src", "crates/mlx/src"];

/// Modules, and those that each imports from.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_module_imports_from_one_that_imports_from_it() {
    for folder in CRATES {
        let imports = imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
        assert!(imports.values().map(BTreeSet::len).sum::<usize>() > 5, "{folder}: no imports were found: {imports:?}");
        if let Some(circle) = circle(&imports) {
            panic!("{folder}: {} is a circle", circle.join(" → "));
        }
    }
}

#[test]
fn crates_that_are_lower_do_not_depend_on_higher_ones() {
    let manifest = |name: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates").join(name).join("Cargo.toml"))
            .unwrap()
    };
    for (name, higher) in [
        (
            "checkpoint",
            &["t2m-engine", "t2m-remote", "t2m-torch", "t2m-mlx", "t2m-tui", "ratatui", "clap", "tree-sitter", "ureq"]
                [..],
        ),
        (
            "engine",
            &["t2m-remote", "t2m-torch", "t2m-mlx", "t2m-tui", "ratatui", "clap", "tree-sitter", "syntect", "ureq"],
        ),
        ("remote", &["t2m-engine", "t2m-torch", "t2m-mlx", "t2m-tui", "ratatui", "clap", "tree-sitter", "syntect"]),
        ("torch", &["t2m-remote", "t2m-mlx", "t2m-tui", "ratatui", "clap", "tree-sitter", "syntect"]),
        ("mlx", &["t2m-remote", "t2m-torch", "t2m-tui", "ratatui", "clap", "tree-sitter", "syntect"]),
    ] {
        let dependencies = manifest(name);
        let dependencies = dependencies.split("[dependencies]").nth(1).unwrap();
        for higher in higher {
            assert!(!dependencies.lines().any(|line| line.starts_with(higher)), "{name} depends on {higher}");
        }
    }
}

#[test]
fn a_circle_is_found() {
    let imports = |rows: &[(&str, &[&str])]| -> Imports {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        rows.iter().map(|(name, names)| ((*name).to_owned(), set(names))).collect()
    };
    assert_eq!(circle(&imports(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])), None);
    let found = circle(&imports(&[("a", &["b"]), ("b", &["c"]), ("c", &["d", "b"]), ("d", &[])])).unwrap();
    assert_eq!(found, ["b", "c", "b"]);

    let text = "use crate::plan::{self, Move};\nuse crate::{open, triage::Status};\n// crate::tui\n#[cfg(test)]\nmod tests {\n    use crate::certify;\n}\n";
    let exported = BTreeMap::from([("Registry".to_owned(), "registry".to_owned())]);
    let named = |text: &str, depth: usize| names(text, depth, &exported).collect::<BTreeSet<_>>();
    assert_eq!(named(text, 2), ["open", "plan", "triage"].map(str::to_owned).into());
    assert_eq!(named("use super::super::a::X;\nuse super::b::Y;", 2), ["a"].map(str::to_owned).into());
    assert_eq!(named("fn f() -> crate::Registry {}", 1), ["registry"].map(str::to_owned).into());
}

/// What each top-level module of a crate imports.
fn imports(root: &Path) -> Imports {
    let main = ["lib.rs", "main.rs"].iter().map(|name| root.join(name)).find(|path| path.is_file()).unwrap();
    let main = std::fs::read_to_string(main).unwrap();
    let exported = exported(&main);
    let words =
        |line: &str| line.trim_start_matches("pub ").trim_start_matches("mod ").trim_end_matches(';').to_owned();
    let is_module = |line: &&str| (line.starts_with("mod ") || line.starts_with("pub mod ")) && line.ends_with(';');
    let modules: BTreeSet<String> = main.lines().filter(is_module).map(words).collect();
    let mut imports: Imports = modules.iter().map(|module| (module.clone(), BTreeSet::new())).collect();
    for file in files(root) {
        let relative = file.strip_prefix(root).unwrap().with_extension("");
        let mut parts: Vec<&str> = relative.iter().map(|part| part.to_str().unwrap()).collect();
        if parts.last().is_some_and(|name| name.ends_with("tests")) {
            continue;
        }
        parts.pop_if(|name| *name == "mod");
        let Some(of) = parts.first().and_then(|name| imports.get_mut(*name)) else { continue };
        let text = std::fs::read_to_string(&file).unwrap();
        let named = names(&text, parts.len(), &exported).filter(|name| modules.contains(name) && name != parts[0]);
        of.extend(named);
    }
    imports
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Items that the crate's root exports out of a module, and the module.
fn exported(main: &str) -> BTreeMap<String, String> {
    let mut exported = BTreeMap::new();
    for line in main.split(';').filter_map(|statement| statement.trim().rsplit_once("pub use ").map(|(_, rest)| rest)) {
        let Some((module, items)) = line.split_once("::") else { continue };
        let items = items.trim_matches(['{', '}', ' ', '\n']).split(',').map(|item| item.trim().to_owned());
        exported.extend(items.filter(|item| !item.is_empty()).map(|item| (item, module.to_owned())));
    }
    exported
}

/// The first names of paths that begin at the crate's root, in a file that is so many modules deep. Tests are left out.
fn names(text: &str, depth: usize, exported: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let to_root = "super::".repeat(depth);
    let mut found = Vec::new();
    for (start, _) in code.match_indices("crate::").chain(code.match_indices(&to_root)) {
        let before = code[..start].chars().next_back();
        if before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':') {
            continue;
        }
        let path = &code[start..];
        let path = path.strip_prefix("crate::").or_else(|| path.strip_prefix(to_root.as_str())).unwrap_or_default();
        match path.strip_prefix('{') {
            Some(list) => found.extend(heads(list)),
            None => found.push(word(path)),
        }
    }
    let exported = exported.clone();
    found.into_iter().filter(|name| name != "super").map(move |name| exported.get(&name).cloned().unwrap_or(name))
}

/// The first name of each path in a list, up to its closing brace.
fn heads(list: &str) -> Vec<String> {
    let (mut heads, mut depth, mut begins) = (Vec::new(), 1usize, true);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => begins = true,
            _ if begins && character.is_alphanumeric() => {
                heads.push(word(&list[at..]));
                begins = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn word(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

/// Modules that lead back to the first of them.
fn circle(imports: &Imports) -> Option<Vec<String>> {
    fn from(imports: &Imports, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
        let module = path.last()?.clone();
        for next in imports.get(&module).into_iter().flatten() {
            if let Some(at) = path.iter().position(|known| known == next) {
                let mut circle = path[at..].to_vec();
                circle.push(next.clone());
                return Some(circle);
            }
            if !done.contains(next) {
                path.push(next.clone());
                if let Some(circle) = from(imports, path, done) {
                    return Some(circle);
                }
                path.pop();
            }
        }
        done.insert(module);
        None
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| from(imports, &mut vec![module.clone()], &mut done))
}
