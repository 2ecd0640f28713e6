//! The graph of the whole model as the screen shows it: its nodes by module and by line of source. It does not change once made.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files;
use crate::graph::host;
use crate::graph::preflight::Preflight;
use crate::model::{Model, ModuleId};
use crate::open::Opened;
use crate::source::Roots;
use t2m_checkpoint::Checkpoint;
use t2m_checkpoint::graph::{Argument, Graph, Node};

/// Files of source that are read, and bytes of each at most.
const FILES: (usize, u64) = (200, 4 << 20);

/// One node of the graph that computes something.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its place in the graph's order.
    pub index: usize,
    /// Its name in the graph.
    pub name: String,
    /// Its op as the graph has it: `aten.add.Tensor`.
    pub target: String,
    /// The module whose forward it is in.
    pub module: ModuleId,
    /// Python file, as the graph has it, and 1-based line.
    pub place: Option<(Arc<str>, usize)>,
    /// Why it does not convert, as far as the file tells.
    pub refused: Option<String>,
}

/// A file of source that nodes are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Where it was found.
    pub path: PathBuf,
    /// What is in it.
    pub text: Arc<str>,
    /// Why it was looked for there, in words.
    pub origin: &'static str,
}

/// The nodes of a graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Nodes {
    /// In the order they run.
    pub all: Vec<Row>,
    /// What can be said before a run.
    pub preflight: Preflight,
    /// Whether it is what a TorchScript file's code tells by itself: the graph is known when it was gone through with inputs.
    pub is_outline: bool,
    /// How many nodes the graph has, with those that only check something.
    pub length: usize,
    /// Rows of each module's own forward.
    own: Vec<Vec<u32>>,
    /// How many rows each module has with those below it.
    below: Vec<u32>,
    /// The row of each node of the graph.
    rows: Vec<Option<u32>>,
    /// Files that were found, by the path that the graph has.
    texts: HashMap<Arc<str>, Text>,
    /// Rows by file and line.
    lines: HashMap<(Arc<str>, usize), Vec<u32>>,
}

impl Row {
    /// The op as a person calls it: `linear`, `add.Tensor`.
    pub fn op(&self) -> &str {
        short(&self.target)
    }

    /// The name of its file and its line: `swin.py:359`.
    pub fn at(&self) -> Option<String> {
        let (file, line) = self.place.as_ref()?;
        Some(format!("{}:{line}", file.rsplit(['/', '\\']).next().unwrap_or(file)))
    }
}

/// An op without what is the same of nearly all: `linear` of `aten.linear.default`.
pub fn short(target: &str) -> &str {
    let bare = target.strip_prefix("aten.").unwrap_or(target);
    bare.strip_suffix(".default").unwrap_or(bare)
}

impl Nodes {
    /// Of an opened file; `None` where there is no graph.
    pub fn of(opened: &Opened) -> Option<Nodes> {
        let nothing = Graph::default();
        let (graph, is_outline) = match (opened.whole_graph(), opened.outline.as_deref()) {
            (Some(graph), _) => (graph, false),
            (None, Some(outline)) => (outline, true),
            // What cannot be told of the code without inputs may run with them.
            (None, None) if opened.has_code() => (&nothing, true),
            (None, None) => return None,
        };
        let beside = opened.graph.as_deref().filter(|_| opened.checkpoint.graph.is_none());
        let path = |path: &str| match beside {
            Some(graph) => graph.module(path).map(|path| path.to_string()).unwrap_or_default(),
            None => path.to_owned(),
        };
        let preflight = Preflight::by(graph, &opened.registry.aten());
        let mut nodes = Nodes::new(graph, preflight, &opened.model, path);
        let classes = opened.triage.classes.values().map(|source| PathBuf::from(&source.file)).collect();
        nodes.read(&opened.roots, classes);
        nodes.is_outline = is_outline;
        nodes.keep(&opened.checkpoint);
        Some(nodes)
    }

    /// Those of the graph that the code became; the texts are known.
    pub fn of_code(&self, graph: &Graph, preflight: Preflight, model: &Model) -> Nodes {
        let nodes = Nodes::new(graph, preflight, model, str::to_owned);
        Nodes { texts: self.texts.clone(), ..nodes }
    }

    /// Take the texts that the file itself holds: methods at their lines, and TorchScript's own code. A file of the same name that
    /// was found here may be another.
    fn keep(&mut self, checkpoint: &Checkpoint) {
        let most = FILES.0;
        let mut files: HashMap<&str, Vec<&str>> = HashMap::new();
        for source in checkpoint.sources.iter().filter(|_| checkpoint.script.is_some()) {
            if files.len() < most || files.contains_key(source.file.as_str()) {
                let lines = files.entry(&source.file).or_default();
                for (at, line) in source.text.lines().enumerate() {
                    match lines.get_mut(at) {
                        Some(known) if known.trim().is_empty() => *known = line,
                        Some(_) => {}
                        None => lines.push(line),
                    }
                }
            }
        }
        let has = |lines: &[&str], file: &str| {
            let wanted = self.lines.keys().filter(|(own, _)| **own == *file);
            wanted.clone().all(|(_, line)| lines.get(line - 1).is_some_and(|line| !line.trim().is_empty()))
        };
        for (file, lines) in files {
            if !self.texts.contains_key(file) || has(&lines, file) {
                let text =
                    Text { path: PathBuf::from(file), text: lines.join("\n").into(), origin: "kept in the file" };
                self.texts.insert(Arc::from(file), text);
            }
        }
        for file in checkpoint.script.iter().flat_map(|script| &script.files).take(most) {
            let text = Text {
                path: PathBuf::from(&file.record),
                text: file.text.as_str().into(),
                origin: "TorchScript's code",
            };
            self.texts.insert(Arc::from(file.record.as_str()), text);
        }
    }

    /// Without any source; `path` gives the model's path of a module of the graph.
    pub fn new(graph: &Graph, preflight: Preflight, model: &Model, path: impl Fn(&str) -> String) -> Nodes {
        let mut nodes = Nodes { length: graph.nodes.len(), ..Nodes::default() };
        let mut modules: HashMap<&str, ModuleId> = HashMap::new();
        (nodes.own, nodes.below) = (vec![Vec::new(); model.modules.len()], vec![0; model.modules.len()]);
        for (index, node) in graph.nodes.iter().enumerate() {
            if host::is_here(node) || is_empty(node) {
                nodes.rows.push(None);
                continue;
            }
            let module = *modules.entry(&node.module).or_insert_with(|| nearest(model, &path(&node.module)));
            nodes.push(model, index, node, module, preflight.refused.get(&index).cloned());
        }
        nodes.preflight = preflight;
        nodes
    }

    fn push(&mut self, model: &Model, index: usize, node: &Node, module: ModuleId, refused: Option<String>) {
        let row = self.all.len() as u32;
        self.rows.push(Some(row));
        if let Some(own) = self.own.get_mut(module) {
            own.push(row);
        }
        let mut at = Some(module);
        while let Some(id) = at {
            if let Some(below) = self.below.get_mut(id) {
                *below += 1;
            }
            at = model.modules.get(id).and_then(|module| module.parent).filter(|parent| *parent < id);
        }
        if let Some((file, line)) = &node.place {
            self.lines.entry((Arc::clone(file), *line)).or_default().push(row);
        }
        let (name, target, place) = (node.name.clone(), node.target.clone(), node.place.clone());
        self.all.push(Row { index, name, target, module, place, refused });
    }

    /// Look for the files that nodes are in: where the user says source is, at the path itself, among packages, and where the
    /// modules' classes were found.
    fn read(&mut self, roots: &Roots, classes: Vec<PathBuf>) {
        let (most, longest) = FILES;
        let mut wanted: HashMap<&Arc<str>, usize> = HashMap::new();
        for (file, line) in self.lines.keys() {
            let last = wanted.entry(file).or_default();
            *last = (*last).max(*line);
        }
        let mut wanted: Vec<(&Arc<str>, usize)> = wanted.into_iter().collect();
        wanted.sort_unstable();
        let mut texts = HashMap::new();
        for (file, last) in wanted.into_iter().take(most) {
            let found = candidates(file, roots, &classes).find_map(|(path, origin)| {
                let text = files::read_text(&path, longest).ok()?;
                // A file of that name that is shorter is another one.
                (text.lines().count() >= last).then(|| Text { path, text: text.into(), origin })
            });
            if let Some(found) = found {
                texts.insert(Arc::clone(file), found);
            }
        }
        self.texts = texts;
    }

    /// A node of a run, by its place in the graph.
    pub fn row_of(&self, index: usize) -> Option<u32> {
        self.rows.get(index).copied().flatten()
    }

    /// A row.
    pub fn get(&self, row: u32) -> Option<&Row> {
        self.all.get(row as usize)
    }

    /// Rows of a module's own forward, in order.
    pub fn own(&self, id: ModuleId) -> &[u32] {
        self.own.get(id).map_or(&[], Vec::as_slice)
    }

    /// How many rows a module has with those below it.
    pub fn below(&self, id: ModuleId) -> u32 {
        self.below.get(id).copied().unwrap_or(0)
    }

    /// The source of a row, if its file was found.
    pub fn text(&self, row: &Row) -> Option<(&Text, usize)> {
        let (file, line) = row.place.as_ref()?;
        Some((self.texts.get(file)?, *line))
    }

    /// Rows that a line of the row's file runs.
    pub fn at_line(&self, row: &Row, line: usize) -> &[u32] {
        let file = row.place.as_ref().map(|(file, _)| Arc::clone(file));
        file.and_then(|file| self.lines.get(&(file, line))).map_or(&[], Vec::as_slice)
    }
}

/// Whether nothing of a node can be compared: it gives nothing and has no graph.
fn is_empty(node: &Node) -> bool {
    let has_graph = node.arguments.iter().any(|(_, argument)| matches!(argument, Argument::Graph(_)));
    node.outputs.iter().all(Option::is_none) && !has_graph
}

/// The module of that path, or the innermost one around it that there is.
fn nearest(model: &Model, path: &str) -> ModuleId {
    let mut path = path;
    loop {
        if let Some(id) = model.find(path) {
            return id;
        }
        match path.rsplit_once('.') {
            Some((above, _)) => path = above,
            None => return 0,
        }
    }
}

/// Files that may be the one that a path of another machine names, the likeliest first.
fn candidates<'a>(
    file: &'a str,
    roots: &'a Roots,
    classes: &'a [PathBuf],
) -> impl Iterator<Item = (PathBuf, &'static str)> + use<'a> {
    // Backslashes are another system's separators.
    let parts: Vec<&str> = file.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
    let is_python = file.ends_with(".py") && !parts.contains(&"..");
    let ends: Vec<PathBuf> =
        (0..parts.len()).map(|from| parts.get(from..).unwrap_or_default().iter().collect()).collect();
    let below = |folders: &[PathBuf], parts: usize| {
        let long = ends.iter().filter(move |end| end.iter().count() >= parts);
        long.flat_map(|end| folders.iter().map(move |folder| folder.join(end))).collect::<Vec<PathBuf>>()
    };
    let own = below(&roots.own, 1).into_iter().map(|path| (path, "from --source"));
    let itself = Path::new(file).is_absolute().then(|| (PathBuf::from(file), "where it was exported"));
    // A name alone is too little among all packages.
    let packages = below(&roots.packages, 2).into_iter().map(|path| (path, "among packages"));
    let alike =
        |path: &Path| path.iter().rev().zip(parts.iter().rev()).take_while(|(a, b)| a.to_str() == Some(*b)).count();
    let mut known: Vec<(usize, &PathBuf)> =
        classes.iter().map(|path| (alike(path), path)).filter(|(n, _)| *n > 0).collect();
    known.sort_by_key(|(parts, _)| std::cmp::Reverse(*parts));
    let known: Vec<_> = known.into_iter().map(|(_, path)| (path.clone(), "where its class was found")).collect();
    own.chain(itself).chain(packages).chain(known).filter(move |_| is_python)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::open::{Options, open};

    fn fixture(name: &str, source: &[&str]) -> Nodes {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/graphs");
        let sources = source.iter().map(|name| folder.join(name)).collect();
        let opened = open(&Options { checkpoint: folder.join(name), sources, ..Options::default() }).unwrap();
        Nodes::of(&opened).unwrap()
    }

    #[test]
    fn nodes_stand_under_their_modules() {
        let nodes = fixture("convolutions.pt2", &[]);
        assert_eq!(nodes.below(0) as usize, nodes.all.len());
        assert!(nodes.own(0).len() > 20 && nodes.own(0).len() < nodes.all.len());
        let conv = nodes.all.iter().position(|row| row.op() == "conv2d").unwrap() as u32;
        let row = nodes.get(conv).unwrap();
        assert_ne!(row.module, 0);
        assert_eq!(nodes.own(row.module), [conv]);
        assert_eq!(nodes.row_of(row.index), Some(conv));
        assert_eq!(nodes.preflight.nodes, nodes.all.len());
        assert!(row.refused.is_none() && row.at().unwrap().starts_with("nets.py:"));
    }

    #[test]
    fn the_line_of_a_node_is_found_below_the_source_that_is_named() {
        let without = fixture("attention.pt2", &[]);
        let row = without.all.iter().find(|row| row.op() == "sigmoid").unwrap();
        assert_eq!(without.text(row), None, "/home/user/nets.py is on no machine of ours");
        for source in ["", "nets.py"] {
            let nodes = fixture("attention.pt2", &[source]);
            let (text, line) = nodes.text(row).unwrap();
            assert!(text.text.lines().nth(line - 1).unwrap().contains("torch.sigmoid(c)"), "{text:?} {line}");
            assert_eq!(text.origin, "from --source");
            let there = nodes.at_line(row, line);
            assert!(there.iter().any(|at| nodes.get(*at).unwrap().op() == "sigmoid"), "{there:?}");
        }
    }

    #[test]
    fn only_python_is_looked_for_and_a_name_alone_not_among_packages() {
        let folder = |name: &str| PathBuf::from(name);
        let roots = Roots { own: vec![folder("/src")], packages: vec![folder("/site")] };
        let all =
            |file: &str| candidates(file, &roots, &[]).map(|(path, _)| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            all("/a/b/net.py"),
            ["/src/a/b/net.py", "/src/b/net.py", "/src/net.py", "/a/b/net.py", "/site/a/b/net.py", "/site/b/net.py"]
        );
        assert!(all("/etc/passwd").is_empty() && all("/a/../../etc/x.py").is_empty());
        assert_eq!(all("C:\\net.py"), ["/src/C:/net.py", "/src/net.py", "/site/C:/net.py"]);
    }
}
