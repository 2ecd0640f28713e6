//! Python files as syntax trees: classes, their bases and methods, imports, and what `forward` mentions of `self`.

mod mentions;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tree_sitter::{Node, Tree};

use super::autograd;
use super::budget::Budget;
use super::held::Facts;
use super::literals::{self, Values};
use super::syntax::{Walk, parse, preorder};

/// Bytes of a node's text that are looked at. Names and expressions that people write are shorter; without a limit the
/// links of a long chain, each of which contains the others, would be read again and again.
const SLICE: usize = 4_096;
/// Bytes of a dotted name in an import, of a class's name, and classes and functions around one another: what is beyond
/// cannot be asked for.
const NAME: usize = 1_000;
const NESTED: usize = 32;

/// A parsed Python file.
#[derive(Debug)]
pub struct Module {
    text: Arc<str>,
    tree: Tree,
    classes: HashMap<String, Entry>,
    /// Functions of the file itself by name, by their number in the tree's pre-order.
    functions: HashMap<String, usize>,
    imports: HashMap<Box<str>, Import>,
    /// Modules of `from module import *`.
    stars: Vec<String>,
    /// `name = dotted.name` outside of expressions, as byte ranges.
    assignments: Vec<(Range<usize>, Range<usize>)>,
    autograd_names: OnceLock<HashSet<String>>,
    /// What the attributes of each class hold: asked for again by every class that derives from it.
    facts: Mutex<HashMap<String, Arc<Facts>>>,
    /// The first assignment to each name.
    assigned: OnceLock<HashMap<Box<str>, usize>>,
    constants: OnceLock<Arc<Values>>,
    /// What the file assigns to its own names, by number in the tree's pre-order.
    globals: OnceLock<HashMap<Box<str>, usize>>,
    budget: Arc<Budget>,
}

/// What a name is imported as: byte ranges of the text, since one module may be imported from a hundred thousand times.
#[derive(Debug)]
struct Import {
    /// `from` this module; `None` for a plain import.
    from: Option<Range<usize>>,
    path: Range<usize>,
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
    /// The `function_definition` with its decorators.
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
    /// `None` when the text is beyond all reason: the parser needs more steps than a [`Budget`] has.
    pub fn parse(text: Arc<str>) -> Option<Module> {
        Module::parse_within(text, &Arc::default())
    }

    /// Parse a file, with steps from this budget: so are those of everything that is asked of the module later.
    pub fn parse_within(text: Arc<str>, budget: &Arc<Budget>) -> Option<Module> {
        let tree = parse(&text, budget)?;
        let mut module = Module {
            text,
            tree,
            classes: HashMap::new(),
            functions: HashMap::new(),
            imports: HashMap::new(),
            stars: Vec::new(),
            assignments: Vec::new(),
            autograd_names: OnceLock::new(),
            facts: Mutex::default(),
            assigned: OnceLock::new(),
            constants: OnceLock::new(),
            globals: OnceLock::new(),
            budget: Arc::clone(budget),
        };
        module.index();
        Some(module)
    }

    /// Where the steps of everything that walks through this file come from.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The text that was parsed.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The whole file.
    pub(super) fn root(&self) -> Node<'_> {
        self.tree.root_node()
    }

    /// The text of a node; of a very long one the beginning.
    pub fn slice(&self, node: Node<'_>) -> &str {
        self.piece(node.byte_range())
    }

    /// The text of a node, however long.
    pub(super) fn whole(&self, node: Node<'_>) -> &str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    fn piece(&self, range: Range<usize>) -> &str {
        let mut end = range.end.min(range.start.saturating_add(SLICE));
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.get(range.start..end).unwrap_or_default()
    }

    /// Visit a node and what is below it, in the order of the text, without recursion: trees of hostile text are deep.
    /// `enter` gets each named node with its number among the descendants of `root`, and says whether to look inside; keywords
    /// and signs are passed over. It ends when the budget is spent.
    pub(super) fn preorder<'t>(&self, root: Node<'t>, mut enter: impl FnMut(Node<'t>, usize) -> bool) {
        preorder(root, |node, index| if self.budget.burn(1) { Walk::from(enter(node, index)) } else { Walk::End });
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
        // What was found until the steps were spent is not all.
        if self.budget.is_spent() {
            return facts;
        }
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).insert(class.name.clone(), Arc::clone(&facts));
        facts
    }

    /// Every `target = value` in the file whose two sides are dotted names, in order.
    pub fn assignments(&self) -> impl Iterator<Item = (&str, &str)> {
        self.assignments.iter().map(move |(target, value)| (self.piece(target.clone()), self.piece(value.clone())))
    }

    /// What the first `name = value` of the file whose value is a dotted name assigns.
    pub(super) fn assigned(&self, name: &str) -> Option<&str> {
        let first = self.assigned.get_or_init(|| {
            let mut first = HashMap::new();
            for (number, (target, _)) in self.assignments().enumerate() {
                if !first.contains_key(target) {
                    first.insert(Box::from(target), number);
                }
            }
            first
        });
        let (_, value) = self.assignments.get(*first.get(name)?)?;
        Some(self.piece(value.clone()))
    }

    /// The constants that the file assigns.
    pub(super) fn constants(&self) -> Arc<Values> {
        if let Some(known) = self.constants.get() {
            return Arc::clone(known);
        }
        let constants = Arc::new(literals::constants(self, self.root(), &[]));
        // What was found until the steps were spent is not all.
        if self.budget.is_spent() { constants } else { Arc::clone(self.constants.get_or_init(|| constants)) }
    }

    /// What the file assigns to a name of its own; of several, the first that a condition or a `try` surrounds, else the last.
    pub(super) fn global(&self, name: &str) -> Option<Node<'_>> {
        let globals = self.globals.get_or_init(|| {
            let mut found = HashMap::new();
            let mut conditional_until = 0;
            self.preorder(self.root(), |node, index| {
                if is_conditional(node.kind()) {
                    conditional_until = conditional_until.max(node.end_byte());
                }
                if node.kind() == "assignment"
                    && let Some(left) = node.child_by_field_name("left").filter(|left| left.kind() == "identifier")
                {
                    let conditional = node.start_byte() < conditional_until;
                    insert(&mut found, Box::from(self.slice(left)), (index, conditional), |(_, conditional)| {
                        *conditional
                    });
                }
                is_conditional(node.kind()) || is_transparent(node.kind())
            });
            found.into_iter().map(|(name, (index, _))| (name, index)).collect()
        });
        let mut cursor = self.tree.walk();
        cursor.goto_descendant(*globals.get(name)?);
        cursor.node().child_by_field_name("right")
    }

    /// Whether there is a class of this qualified name.
    pub(super) fn has_class(&self, name: &str) -> bool {
        self.classes.contains_key(name)
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
        match (self.imports.get(first).map(|import| self.target(import)), rest) {
            (Some(target), Some(rest)) => format!("{target}.{rest}"),
            (Some(target), None) => target,
            (None, _) => dotted.to_owned(),
        }
    }

    fn target(&self, import: &Import) -> String {
        let path = self.piece(import.path.clone());
        match import.from.clone().map(|from| self.piece(from)) {
            // `from . import a`
            Some(from) if from.ends_with('.') => format!("{from}{path}"),
            Some(from) => format!("{from}.{path}"),
            None => path.to_owned(),
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

    /// Names of the functions that the file itself defines, in no order.
    pub(super) fn function_names(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
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
        // What this takes follows from what the parser took.
        preorder(self.tree.root_node(), |node, index| {
            while frames.last().is_some_and(|frame| frame.end <= node.start_byte()) {
                frames.pop();
            }
            match node.kind() {
                "class_definition" => {
                    let Some(name) = node.child_by_field_name("name") else { return Walk::Inside };
                    let name = self.slice(name);
                    let bases = self.read_bases(node).into_iter().map(Box::from).collect();
                    let conditional = frames.last().is_some_and(|frame| frame.scope.is_none());
                    if let Some(name) = qualified(&frames, name) {
                        insert(&mut classes, name, Entry { index, conditional, bases }, |entry| entry.conditional);
                    }
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
                kind => return is_transparent(kind).into(),
            }
            Walk::from(!matches!(node.kind(), "import_statement" | "import_from_statement" | "assignment"))
        });
        (self.classes, self.functions) = (classes, functions);
        (self.imports, self.stars, self.assignments) = (imports, stars, assignments);
    }

    fn star_import(&self, node: Node<'_>) -> Option<String> {
        let star = node.named_children(&mut node.walk()).any(|child| child.kind() == "wildcard_import");
        let module = node.child_by_field_name("module_name").filter(|_| star)?;
        Some(self.slice(module).to_owned())
    }

    fn read_import(&self, node: Node<'_>, imports: &mut HashMap<Box<str>, Import>) {
        let from = node.child_by_field_name("module_name").map(|module| module.byte_range());
        if from.as_ref().is_some_and(|from| from.len() > NAME) {
            return;
        }
        for name in node.children_by_field_name("name", &mut node.walk()) {
            let alias = name.child_by_field_name("alias").map(|alias| self.slice(alias));
            let mut path = name.child_by_field_name("name").unwrap_or(name).byte_range();
            if path.len() > NAME {
                continue;
            }
            // `import a.b` binds `a`.
            if from.is_none() && alias.is_none() {
                path.end = path.start + self.piece(path.clone()).split('.').next().map_or(0, str::len);
            }
            let local = alias.unwrap_or_else(|| self.piece(path.clone()));
            imports.insert(local.into(), Import { from: from.clone(), path });
        }
    }

    fn read_class<'t>(&'t self, name: String, node: Node<'t>) -> Class<'t> {
        let mut class =
            Class { name, node, bases: self.read_bases(node), methods: HashMap::new(), aliases: HashMap::new() };
        let Some(body) = node.child_by_field_name("body") else { return class };
        let mut conditional_until = 0;
        let mut decorated = None;
        self.preorder(body, |node, _| {
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

impl<'t> Method<'t> {
    /// Its decorators.
    pub(super) fn decorators(&self) -> Vec<Node<'t>> {
        let around = self.outer;
        around.named_children(&mut around.walk()).filter(|child| child.kind() == "decorator").collect()
    }

    /// 1-based lines, decorators included, end excluded.
    pub fn lines(&self) -> Range<usize> {
        let (start, end) = (self.outer.start_position().row + 1, self.outer.end_position());
        // A node that ends at a line's first column does not touch that line.
        let last = if end.column == 0 { end.row } else { end.row + 1 };
        start..last.max(start) + 1
    }
}

/// Of two definitions of one name the later stands, unless it is conditional.
fn insert<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, key: K, value: V, conditional: impl Fn(&V) -> bool) {
    if !conditional(&value) || !map.contains_key(&key) {
        map.insert(key, value);
    }
}

/// `None` for a name that nothing could ask for.
fn qualified(frames: &[Frame], name: &str) -> Option<String> {
    let scopes = frames.iter().filter_map(|frame| frame.scope.as_deref());
    let parts: Vec<&str> = scopes.chain([name]).take(NESTED + 1).collect();
    let fits = parts.len() <= NESTED && parts.iter().map(|part| part.len()).sum::<usize>() <= NAME;
    fits.then(|| parts.join("."))
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
mod tests;
