//! Python files as syntax trees: classes, their bases and methods, imports, and what `forward` mentions of `self`.

use std::collections::{HashMap, HashSet};
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tree_sitter::{Node, ParseOptions, Parser, Tree};

use super::autograd;
use super::held::Facts;

/// Parsing stops here: error recovery on hostile text can take very long. Real files take milliseconds.
const PARSE_LIMIT: Duration = Duration::from_secs(5);

/// A parsed Python file.
#[derive(Debug)]
pub struct Module {
    text: Arc<str>,
    tree: Tree,
    classes: HashMap<String, Entry>,
    /// Functions of the file itself by name, by their number in the tree's pre-order.
    functions: HashMap<String, usize>,
    imports: HashMap<String, String>,
    /// Modules of `from module import *`.
    stars: Vec<String>,
    /// `name = dotted.name` outside of expressions, as byte ranges.
    assignments: Vec<(Range<usize>, Range<usize>)>,
    autograd_names: OnceLock<HashSet<String>>,
    /// What the attributes of each class hold: asked for again by every class that derives from it.
    facts: Mutex<HashMap<String, Arc<Facts>>>,
}

/// Where a class is in the tree.
#[derive(Debug)]
struct Entry {
    /// Its number in the tree's pre-order.
    index: usize,
    /// Inside an `if`, `try` or the like.
    conditional: bool,
    bases: Vec<Box<str>>,
}

/// A class of a [`Module`].
#[derive(Debug, Clone)]
pub struct Class<'t> {
    /// Its qualified name, `Outer.Inner`.
    pub name: String,
    /// The `class_definition`.
    pub node: Node<'t>,
    /// Its bases as written, keyword arguments left out.
    pub bases: Vec<&'t str>,
    methods: HashMap<&'t str, Method<'t>>,
    /// `forward = _forward` in the class body.
    aliases: HashMap<&'t str, &'t str>,
}

/// A method of a [`Class`].
#[derive(Debug, Clone, Copy)]
pub struct Method<'t> {
    /// The `function_definition`.
    pub node: Node<'t>,
    /// The same with its decorators.
    outer: Node<'t>,
    conditional: bool,
}

/// A piece of the file while it is walked: what ends where.
struct Frame {
    end: usize,
    /// A class or function name; `None` for `if`, `try`, ….
    scope: Option<String>,
}

impl Module {
    /// Parse a file. Syntax errors are no obstacle: what parses is found.
    ///
    /// `None` when the text is beyond all reason: the parser gave up after five seconds.
    pub fn parse(text: Arc<str>) -> Option<Module> {
        let tree = parse(&text)?;
        let (classes, functions, imports) = (HashMap::new(), HashMap::new(), HashMap::new());
        let (autograd_names, facts) = (OnceLock::new(), Mutex::default());
        let (stars, assignments) = (Vec::new(), Vec::new());
        let mut module = Module { text, tree, classes, functions, imports, stars, assignments, autograd_names, facts };
        module.index();
        Some(module)
    }

    /// The text that was parsed.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The whole file.
    pub(super) fn root(&self) -> Node<'_> {
        self.tree.root_node()
    }

    /// The text of a node.
    pub fn slice(&self, node: Node<'_>) -> &str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    /// Qualified names of all classes with their bases as written, in no order.
    pub fn bases(&self) -> impl Iterator<Item = (&str, &[Box<str>])> {
        self.classes.iter().map(|(name, entry)| (name.as_str(), entry.bases.as_slice()))
    }

    /// Every name in the file that stands for a `torch.autograd.Function` or its `apply`.
    pub(super) fn autograd_names(&self) -> &HashSet<String> {
        self.autograd_names.get_or_init(|| autograd::names(self))
    }

    /// What the methods of a class of the file keep in attributes; found out once.
    pub(super) fn facts(&self, class: &Class<'_>) -> Arc<Facts> {
        let known = |facts: &HashMap<String, Arc<Facts>>| facts.get(&class.name).cloned();
        if let Some(facts) = known(&self.facts.lock().unwrap_or_else(PoisonError::into_inner)) {
            return facts;
        }
        let facts = Arc::new(Facts::of_class(self, class));
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).insert(class.name.clone(), Arc::clone(&facts));
        facts
    }

    /// Every `target = value` in the file whose two sides are dotted names, in order.
    pub fn assignments(&self) -> impl Iterator<Item = (&str, &str)> {
        let slice = |range: &Range<usize>| self.text.get(range.clone()).unwrap_or_default();
        self.assignments.iter().map(move |(target, value)| (slice(target), slice(value)))
    }

    /// Whether the file imports something under this name.
    pub(super) fn is_imported(&self, name: &str) -> bool {
        self.imports.contains_key(name)
    }

    /// The modules that the file imports everything from, as written.
    pub(super) fn star_imports(&self) -> &[String] {
        &self.stars
    }

    /// A dotted name with its first part replaced by what it was imported as: `nn.Linear` is `torch.nn.Linear`.
    pub fn resolve(&self, dotted: &str) -> String {
        let (first, rest) = dotted.split_once('.').map_or((dotted, None), |(first, rest)| (first, Some(rest)));
        match (self.imports.get(first), rest) {
            (Some(target), Some(rest)) => format!("{target}.{rest}"),
            (Some(target), None) => target.clone(),
            (None, _) => dotted.to_owned(),
        }
    }

    /// The class of this qualified name (`Net`, `Outer.Inner`, `make.<locals>.Net`).
    ///
    /// Of several, the last that is defined unconditionally, else the first.
    pub fn class(&self, name: &str) -> Option<Class<'_>> {
        let entry = self.classes.get(name)?;
        let mut cursor = self.tree.walk();
        cursor.goto_descendant(entry.index);
        let node = Some(cursor.node()).filter(|node| node.kind() == "class_definition")?;
        Some(self.read_class(name.to_owned(), node))
    }

    /// The function of this name that the file itself defines, the last of several.
    pub(super) fn function(&self, name: &str) -> Option<Method<'_>> {
        let mut cursor = self.tree.walk();
        cursor.goto_descendant(*self.functions.get(name)?);
        let node = Some(cursor.node()).filter(|node| node.kind() == "function_definition")?;
        Some(Method { node, outer: node, conditional: false })
    }

    /// The qualified name of the class that a dotted name means inside the class `scope`: looked for beside it, then further
    /// out.
    pub fn name_seen_from(&self, scope: &str, name: &str) -> Option<&str> {
        let mut outer = scope;
        while let Some((rest, _)) = outer.rsplit_once('.') {
            if let Some((name, _)) = self.classes.get_key_value(&format!("{rest}.{name}")) {
                return Some(name);
            }
            outer = rest;
        }
        self.classes.get_key_value(name).map(|(name, _)| name.as_str())
    }

    /// Fill in what the file defines.
    fn index(&mut self) {
        let mut classes: HashMap<String, Entry> = HashMap::new();
        let (mut functions, mut imports) = (HashMap::new(), HashMap::new());
        let (mut stars, mut assignments) = (Vec::new(), Vec::new());
        let mut frames: Vec<Frame> = Vec::new();
        preorder(self.tree.root_node(), |node, index| {
            while frames.last().is_some_and(|frame| frame.end <= node.start_byte()) {
                frames.pop();
            }
            match node.kind() {
                "class_definition" => {
                    let Some(name) = node.child_by_field_name("name") else { return true };
                    let name = self.slice(name);
                    let bases = self.read_bases(node).into_iter().map(Box::from).collect();
                    let conditional = frames.last().is_some_and(|frame| frame.scope.is_none());
                    insert(&mut classes, qualified(&frames, name), Entry { index, conditional, bases }, |entry| {
                        entry.conditional
                    });
                    frames.push(Frame { end: node.end_byte(), scope: Some(name.to_owned()) });
                }
                "function_definition" => {
                    let name = node.child_by_field_name("name").map_or("", |name| self.slice(name));
                    if frames.iter().all(|frame| frame.scope.is_none()) {
                        functions.insert(name.to_owned(), index);
                    }
                    frames.push(Frame { end: node.end_byte(), scope: Some(format!("{name}.<locals>")) });
                }
                "import_statement" | "import_from_statement" => {
                    self.read_import(node, &mut imports);
                    stars.extend(self.star_import(node));
                }
                "assignment" => {
                    let sides = (node.child_by_field_name("left"), node.child_by_field_name("right"));
                    if let (Some(left), Some(right)) = sides
                        && is_dotted(left)
                        && is_dotted(right)
                    {
                        assignments.push((left.byte_range(), right.byte_range()));
                    }
                }
                kind if is_conditional(kind) => frames.push(Frame { end: node.end_byte(), scope: None }),
                kind => return is_transparent(kind),
            }
            !matches!(node.kind(), "import_statement" | "import_from_statement" | "assignment")
        });
        (self.classes, self.functions) = (classes, functions);
        (self.imports, self.stars, self.assignments) = (imports, stars, assignments);
    }

    fn star_import(&self, node: Node<'_>) -> Option<String> {
        let star = node.named_children(&mut node.walk()).any(|child| child.kind() == "wildcard_import");
        let module = node.child_by_field_name("module_name").filter(|_| star)?;
        Some(self.slice(module).to_owned())
    }

    fn read_import(&self, node: Node<'_>, imports: &mut HashMap<String, String>) {
        let from = node.child_by_field_name("module_name").map(|module| self.slice(module));
        for name in node.children_by_field_name("name", &mut node.walk()) {
            let alias = name.child_by_field_name("alias").map(|alias| self.slice(alias));
            let path = self.slice(name.child_by_field_name("name").unwrap_or(name));
            let (local, target) = match (from, alias) {
                // `from . import a`
                (Some(from), alias) if from.ends_with('.') => (alias.unwrap_or(path), format!("{from}{path}")),
                (Some(from), alias) => (alias.unwrap_or(path), format!("{from}.{path}")),
                (None, Some(alias)) => (alias, path.to_owned()),
                // `import a.b` binds `a`.
                (None, None) => {
                    let first = path.split('.').next().unwrap_or(path);
                    (first, first.to_owned())
                }
            };
            imports.insert(local.to_owned(), target);
        }
    }

    fn read_class<'t>(&'t self, name: String, node: Node<'t>) -> Class<'t> {
        let mut class =
            Class { name, node, bases: self.read_bases(node), methods: HashMap::new(), aliases: HashMap::new() };
        let Some(body) = node.child_by_field_name("body") else { return class };
        let mut conditional_until = 0;
        let mut decorated = None;
        preorder(body, |node, _| {
            match node.kind() {
                "decorated_definition" => decorated = Some(node),
                "function_definition" => {
                    let outer = decorated.filter(|outer| outer.end_byte() == node.end_byte()).unwrap_or(node);
                    let method = Method { node, outer, conditional: node.start_byte() < conditional_until };
                    if let Some(name) = node.child_by_field_name("name") {
                        insert(&mut class.methods, self.slice(name), method, |method| method.conditional);
                    }
                    return false;
                }
                "class_definition" => return false,
                "assignment" => {
                    let fields = (node.child_by_field_name("left"), node.child_by_field_name("right"));
                    if let (Some(left), Some(right)) = fields
                        && (left.kind(), right.kind()) == ("identifier", "identifier")
                    {
                        class.aliases.insert(self.slice(left), self.slice(right));
                    }
                    return false;
                }
                kind if is_conditional(kind) => conditional_until = conditional_until.max(node.end_byte()),
                _ => {}
            }
            is_conditional(node.kind()) || is_transparent(node.kind())
        });
        class
    }

    fn read_bases<'t>(&'t self, class: Node<'t>) -> Vec<&'t str> {
        let Some(list) = class.child_by_field_name("superclasses") else { return Vec::new() };
        let bases = list.named_children(&mut list.walk()).collect::<Vec<_>>();
        let named = bases.into_iter().filter_map(|base| match base.kind() {
            "identifier" | "attribute" => Some(base),
            // `Base[T]`
            "subscript" => base.child_by_field_name("value"),
            _ => None,
        });
        named.map(|base| self.slice(base)).collect()
    }

    /// What a function mentions of its first parameter, by 1-based line: `self.conv` as `conv`, `self.layers[0](x)` as
    /// `layers` and `layers.0`.
    ///
    /// Of a longer path both the first name and the whole are listed (`encoder`, `encoder.norm.weight`), since only the
    /// model tells how much of it is modules.
    pub fn mentions(&self, function: Node<'_>) -> Vec<(usize, String)> {
        let Some(receiver) = self.receiver(function) else { return Vec::new() };
        let mut mentions: Vec<(usize, String)> = Vec::new();
        let mut covered = 0..0;
        preorder(function, |node, _| {
            let inner = node.start_byte() == covered.start && node.end_byte() <= covered.end;
            if matches!(node.kind(), "attribute" | "subscript") && !inner {
                // `self.attention(x)[0]` is no path as a whole, but begins with one.
                if let Some(path) = self.path_below(receiver, node) {
                    covered = node.byte_range();
                    let line = node.start_position().row + 1;
                    let first = path.split('.').next().unwrap_or_default().to_owned();
                    mentions.extend([(line, first), (line, path)]);
                }
            }
            true
        });
        let mut seen = HashSet::new();
        mentions.retain(|mention| seen.insert(mention.clone()));
        mentions
    }

    /// `self` or whatever the first parameter of a method is called; `None` for a function that is no method.
    pub(super) fn receiver<'t>(&'t self, function: Node<'t>) -> Option<&'t str> {
        let around = std::iter::successors(function.parent(), Node::parent);
        let mut scopes = around.filter(|node| matches!(node.kind(), "class_definition" | "function_definition"));
        scopes.next().filter(|scope| scope.kind() == "class_definition")?;
        let parameters = function.child_by_field_name("parameters")?;
        let first = parameters.named_children(&mut parameters.walk()).find(|child| !child.is_extra())?;
        match first.kind() {
            "identifier" => Some(self.slice(first)),
            "typed_parameter" => first.named_child(0).map(|name| self.slice(name)),
            _ => None,
        }
    }

    /// `self.layers[0].norm` as `layers.0.norm`; an index that is not written out ends the path.
    fn path_below(&self, receiver: &str, chain: Node<'_>) -> Option<String> {
        let mut parts: Vec<String> = Vec::new();
        let mut at = chain;
        loop {
            match at.kind() {
                "attribute" => {
                    parts.push(self.slice(at.child_by_field_name("attribute")?).to_owned());
                    at = at.child_by_field_name("object")?;
                }
                "subscript" => {
                    match self.constant_index(at) {
                        Some(index) => parts.push(index),
                        None => parts.clear(),
                    }
                    at = at.child_by_field_name("value")?;
                }
                "identifier" if self.slice(at) == receiver && !parts.is_empty() => break,
                _ => return None,
            }
        }
        parts.reverse();
        Some(parts.join("."))
    }

    fn constant_index(&self, subscript: Node<'_>) -> Option<String> {
        let index = subscript.child_by_field_name("subscript")?;
        match index.kind() {
            "integer" => Some(self.slice(index).to_owned()),
            "string" => {
                let content = index.named_child(1).filter(|content| content.kind() == "string_content")?;
                Some(self.slice(content).to_owned()).filter(|name| !name.contains('.'))
            }
            _ => None,
        }
    }
}

impl<'t> Class<'t> {
    /// The methods that its body defines, in no order.
    pub fn methods(&self) -> impl Iterator<Item = Method<'t>> {
        self.methods.values().copied()
    }

    /// Names of the methods, those that are only another name included.
    pub fn method_names(&self) -> impl Iterator<Item = &'t str> {
        self.methods.keys().chain(self.aliases.keys()).copied()
    }

    /// The method of this name, or the one that `name = other` in the class body stands for.
    pub fn method(&self, name: &str) -> Option<Method<'t>> {
        let aliased = || self.aliases.get(name).and_then(|other| self.methods.get(other));
        self.methods.get(name).or_else(aliased).copied()
    }
}

impl Method<'_> {
    /// 1-based lines, decorators included, end excluded.
    pub fn lines(&self) -> Range<usize> {
        let (start, end) = (self.outer.start_position().row + 1, self.outer.end_position());
        // A node that ends at a line's first column does not touch that line.
        let last = if end.column == 0 { end.row } else { end.row + 1 };
        start..last.max(start) + 1
    }
}

/// The line (1-based) of the last statement of the file itself that begins at or before `line`: from there, text reads as
/// from a file's start. `None` where syntax errors leave that open.
pub(super) fn statement_start(text: &str, line: usize) -> Option<usize> {
    if line <= 1 {
        return None;
    }
    let tree = parse(text)?;
    let root = tree.root_node();
    let mut cursor = root.walk();
    let mut found = None;
    for child in root.children(&mut cursor) {
        if child.start_position().row + 1 > line {
            break;
        }
        if child.has_error() {
            return None;
        }
        if child.start_position().column == 0 && !child.is_extra() {
            found = Some(child.start_position().row + 1);
        }
    }
    found
}

/// Visit a node and what is below it, in the order of the text, without recursion: trees of hostile text are deep.
/// `enter` gets each named node with its number among the descendants of `root`, and says whether to look inside; keywords and
/// signs are passed over.
pub(super) fn preorder<'t>(root: Node<'t>, mut enter: impl FnMut(Node<'t>, usize) -> bool) {
    let mut cursor = root.walk();
    loop {
        let node = cursor.node();
        if node.is_named() && enter(node, cursor.descendant_index()) && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return;
            }
        }
    }
}

fn parse(text: &str) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_python::LANGUAGE.into()).ok()?;
    let started = Instant::now();
    let mut watch = |_: &tree_sitter::ParseState| {
        if started.elapsed() > PARSE_LIMIT { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = ParseOptions::new().progress_callback(&mut watch);
    let bytes = text.as_bytes();
    parser.parse_with_options(&mut |at, _| bytes.get(at..).unwrap_or_default(), None, Some(options))
}

/// Of two definitions of one name the later stands, unless it is conditional.
fn insert<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, key: K, value: V, conditional: impl Fn(&V) -> bool) {
    if !conditional(&value) || !map.contains_key(&key) {
        map.insert(key, value);
    }
}

fn qualified(frames: &[Frame], name: &str) -> String {
    let scopes = frames.iter().filter_map(|frame| frame.scope.as_deref());
    scopes.chain([name]).collect::<Vec<_>>().join(".")
}

fn is_dotted(node: Node<'_>) -> bool {
    matches!(node.kind(), "identifier" | "attribute")
}

/// Statements whose inside belongs to the scope around them, run or not.
fn is_conditional(kind: &str) -> bool {
    matches!(
        kind,
        "if_statement" | "try_statement" | "with_statement" | "for_statement" | "while_statement" | "match_statement"
    )
}

/// Nodes that hold statements of the scope around them.
fn is_transparent(kind: &str) -> bool {
    matches!(
        kind,
        "module"
            | "block"
            | "decorated_definition"
            | "expression_statement"
            | "elif_clause"
            | "else_clause"
            | "except_clause"
            | "except_group_clause"
            | "finally_clause"
            | "case_clause"
            | "ERROR"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn module(text: &str) -> Module {
        Module::parse(text.into()).unwrap()
    }

    #[test]
    fn definitions_that_run_last_are_taken() {
        let module = module(
            "class A: ...\nclass A: ...\nif x:\n    class A: ...\n    class B: ...\nelse:\n    class B: ...\n\
             def make():\n    class C:\n        class D: ...\n",
        );
        let line = |name: &str| module.class(name).map(|class| class.node.start_position().row + 1);
        assert_eq!([line("A"), line("B"), line("make.<locals>.C.D"), line("C")], [Some(2), Some(5), Some(10), None]);
    }

    #[test]
    fn lines_of_a_method_begin_with_its_decorators() {
        let module = module(
            "class A:\n    @one\n    @two(\n    )\n    def f(self):\n        return (\n            1)\n\n    def g(self): pass",
        );
        let class = module.class("A").unwrap();
        let lines = |name: &str| class.method(name).map(|method| method.lines());
        assert_eq!([lines("f"), lines("g"), lines("h")], [Some(2..8), Some(9..10), None]);
    }

    #[test]
    fn imports_are_resolved() {
        let module = module(
            "import torch.nn as nn\nimport a.b\nfrom torch import autograd as ag, nn as n2\nfrom .ops import f\n",
        );
        let resolved = ["nn.Linear", "a.b.c", "ag.Function", "n2", "f", "other.x"].map(|name| module.resolve(name));
        assert_eq!(resolved, ["torch.nn.Linear", "a.b.c", "torch.autograd.Function", "torch.nn", ".ops.f", "other.x"]);
    }

    #[test]
    fn mentions_name_children_by_path() {
        let module = module(
            "class A:\n    def f(this, x):\n        y = this.conv(x) + this.conv(x) + self.no\n\
             \x20       for block in this.blocks[1:]: y = block(this.layers[this.at].norm)\n\
             \x20       return this.enc.layers[0].norm(y, this.heads['cls'], this.proj.weight, x.this.no)\n\
             \x20       return this.attention(y)[0].sum(1)\n",
        );
        let function = module.class("A").unwrap().method("f").unwrap().node;
        let mentions = module.mentions(function);
        let mentions: Vec<(usize, &str)> = mentions.iter().map(|(line, name)| (*line, name.as_str())).collect();
        let expected = [
            (3, "conv"),
            (4, "blocks"),
            (4, "layers"),
            (4, "at"),
            (5, "enc"),
            (5, "enc.layers.0.norm"),
            (5, "heads"),
            (5, "heads.cls"),
            (5, "proj"),
            (5, "proj.weight"),
            (6, "attention"),
        ];
        assert_eq!(mentions, expected);
    }

    #[test]
    fn a_statement_of_the_file_begins_above_its_lines() {
        let text = "x = 1\n\nclass A:\n    \"\"\"a\nb\n\"\"\"\n    y = 2\n# c\nz = (\n0)\n";
        let starts: Vec<Option<usize>> = (1..12).map(|line| statement_start(text, line)).collect();
        let expected = [None, Some(1), Some(3), Some(3), Some(3), Some(3), Some(3), Some(3), Some(9), Some(9), Some(9)];
        assert_eq!(starts, expected);
        assert_eq!(statement_start("x = (\nclass A:\n  y = 1\n", 3), None);
    }
}
