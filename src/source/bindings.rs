//! Which assignments a name in a function may stand for, read from the text in order.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tree_sitter::Node;

use super::names::Kind;
use super::python::Module;
use super::surroundings::Surroundings;

/// Nesting of `(a, (b, c)) = …` that is followed.
const DEPTH: usize = 16;
/// Assignments of one name, and functions around one place, that are looked through.
const LIMIT: usize = 256;

/// Where the value of a name comes from.
#[derive(Debug, Clone)]
pub(super) enum Value<'t> {
    /// This expression.
    Of(Node<'t>),
    /// An element of this expression, by unpacking or iteration.
    ElementOf(Node<'t>),
    /// A parameter of which nothing more is said.
    Parameter,
    /// What a default, an annotation or the syntax says.
    Known(Kind),
}

/// One assignment.
#[derive(Debug, Clone)]
pub(super) struct Binding<'t> {
    /// The name or attribute, as written.
    pub name: &'t str,
    /// The byte at which the value is read, …
    pub from: usize,
    /// … and the one from which the name stands for it.
    pub at: usize,
    /// The innermost block around it.
    pub block: Range<usize>,
    /// What is assigned.
    pub value: Value<'t>,
}

#[derive(Debug, Default)]
struct Scope<'t> {
    range: Range<usize>,
    /// By where they begin to hold.
    bindings: Vec<Binding<'t>>,
    by_name: HashMap<&'t str, Vec<usize>>,
}

/// The assignments of one method, those of functions inside it kept apart.
#[derive(Debug)]
pub(super) struct Bindings<'t> {
    module: &'t Module,
    /// In the order in which they begin: an inner function comes after the one around it.
    scopes: Vec<Scope<'t>>,
    /// The outermost ones only.
    loops: Vec<Range<usize>>,
    last_use: HashMap<&'t str, usize>,
    /// Where each name is mentioned, in the order of the text.
    mentions: HashMap<&'t str, Vec<Node<'t>>>,
    /// Parameters whose annotation says that they are tensors.
    annotated: HashSet<&'t str>,
    /// The last `a = b = value`, and its value: it is the value of each of its parts.
    chain: Option<(Range<usize>, Node<'t>)>,
    surroundings: Surroundings<'t>,
    /// Calls, attributes and operators, in the order of the text: where ops are looked for.
    operations: Vec<Node<'t>>,
}

impl<'t> Bindings<'t> {
    /// Read a `function_definition`.
    pub(super) fn new(module: &'t Module, function: Node<'t>) -> Bindings<'t> {
        let mut all = Bindings {
            module,
            scopes: Vec::new(),
            loops: Vec::new(),
            last_use: HashMap::new(),
            mentions: HashMap::new(),
            annotated: HashSet::new(),
            chain: None,
            surroundings: Surroundings::default(),
            operations: Vec::new(),
        };
        all.annotate(function);
        let mut open: Vec<usize> = Vec::new();
        let mut blocks: Vec<Range<usize>> = Vec::new();
        module.preorder(function, |node, _| {
            let start = node.start_byte();
            all.surroundings.enter(node);
            while open.last().is_some_and(|scope| all.scopes.get(*scope).is_some_and(|scope| scope.range.end <= start))
            {
                open.pop();
            }
            while blocks.last().is_some_and(|block| block.end <= start) {
                blocks.pop();
            }
            match node.kind() {
                "function_definition" | "lambda" => {
                    open.push(all.scopes.len());
                    all.scopes.push(Scope { range: node.byte_range(), ..Scope::default() });
                    blocks.push(node.byte_range());
                }
                "block" => blocks.push(node.byte_range()),
                "call" | "attribute" | "binary_operator" | "subscript" => all.operations.push(node),
                _ => {}
            }
            if let (Some(scope), Some(block)) = (open.last(), blocks.last()) {
                all.visit(node, *scope, block);
            }
            true
        });
        all.scopes.iter_mut().for_each(Scope::sort);
        all
    }

    /// Calls, attributes and operators, in the order of the text.
    pub(super) fn operations(&self) -> &[Node<'t>] {
        &self.operations
    }

    /// What is around calls, attributes and names.
    pub(super) fn surroundings(&self) -> &Surroundings<'t> {
        &self.surroundings
    }

    /// The first mention of a name that begins at byte `at` or behind it.
    pub(super) fn mentioned_from(&self, name: &str, at: usize) -> Option<Node<'t>> {
        let mentions = self.mentions.get(name)?;
        mentions.get(mentions.partition_point(|node| node.start_byte() < at)).copied()
    }

    /// Whether the annotation of a parameter says that it is a tensor.
    pub(super) fn is_annotated(&self, parameter: &str) -> bool {
        self.annotated.contains(parameter)
    }

    fn annotate(&mut self, function: Node<'t>) {
        let Some(parameters) = function.child_by_field_name("parameters") else { return };
        for parameter in children(parameters) {
            let named = parameter.child_by_field_name("name").or_else(|| parameter.named_child(0));
            let annotation = parameter.child_by_field_name("type").map_or("", |kind| self.module.slice(kind));
            if let Some(named) = named.filter(|_| is_tensor_type(annotation)) {
                self.annotated.insert(self.module.slice(named));
            }
        }
    }

    /// Every assignment, in no useful order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Binding<'t>> {
        self.scopes.iter().flat_map(|scope| &scope.bindings)
    }

    /// The assignments that `name` may stand for at byte `at`: back to the last that must have run, and those that an
    /// earlier turn of a loop may have made.
    pub(super) fn reaching(&self, name: &str, at: usize) -> Vec<&Binding<'t>> {
        let reaching = self.find_reaching(name, at);
        self.module.budget().burn(1 + reaching.len());
        reaching
    }

    fn find_reaching(&self, name: &str, at: usize) -> Vec<&Binding<'t>> {
        let mut scopes = self.scopes_around(at);
        let Some(own) = scopes.next() else { return Vec::new() };
        let Some(numbers) = own.by_name.get(name) else {
            // Whatever a function further out assigns may have been assigned when this one runs.
            return scopes
                .find(|scope| scope.by_name.contains_key(name))
                .map_or_else(Vec::new, |scope| scope.named(name));
        };
        let (earlier, later) = numbers.split_at(numbers.partition_point(|number| own.at(*number) <= at));
        let mut reaching = Vec::new();
        for binding in earlier.iter().rev().take(LIMIT).filter_map(|number| own.bindings.get(*number)) {
            reaching.push(binding);
            if binding.block.contains(&at) {
                break;
            }
        }
        if let Some(around) = self.outermost_loop(at) {
            let later = later.iter().take(LIMIT).filter_map(|number| own.bindings.get(*number));
            reaching.extend(later.take_while(|binding| around.contains(&binding.from)));
        }
        reaching
    }

    /// The latest assignments of any name that hold at byte `at`, last first, in the function around it.
    pub(super) fn before(&self, at: usize) -> impl Iterator<Item = &Binding<'t>> {
        let scope = self.scopes_around(at).next();
        let bindings = scope.map_or(&[][..], |scope| {
            let end = scope.bindings.partition_point(|binding| binding.at <= at);
            scope.bindings.get(..end).unwrap_or_default()
        });
        bindings.iter().rev().take(LIMIT)
    }

    /// Whether `name` must have got a new value that began to hold within `range`, as seen from its end.
    pub(super) fn rebound(&self, name: &str, range: Range<usize>) -> bool {
        self.module.budget().burn(1);
        let seen_from = range.end.saturating_sub(1);
        let Some(scope) = self.scopes_around(seen_from).next() else { return false };
        let Some(numbers) = scope.by_name.get(name) else { return false };
        let end = numbers.partition_point(|number| scope.at(*number) < range.end);
        let latest = numbers.get(..end).unwrap_or_default().iter().rev().take(LIMIT);
        let mut latest = latest.filter_map(|number| scope.bindings.get(*number)).inspect(|_| {
            self.module.budget().burn(1);
        });
        latest.any(|binding| range.contains(&binding.at) && binding.block.contains(&seen_from))
    }

    /// Whether `name` is mentioned after byte `at`.
    pub(super) fn used_after(&self, name: &str, at: usize) -> bool {
        let first = name.split('.').next().unwrap_or(name);
        self.last_use.get(first).is_some_and(|last| *last > at)
    }

    fn visit(&mut self, node: Node<'t>, scope: usize, block: &Range<usize>) {
        let field = |name: &str| node.child_by_field_name(name);
        let whole = node.byte_range();
        match node.kind() {
            "identifier" => {
                self.last_use.insert(self.module.slice(node), node.start_byte());
                self.mentions.entry(self.module.slice(node)).or_default().push(node);
            }
            "assignment" => {
                let Some(left) = field("left") else { return };
                let annotated = field("type").and_then(|annotation| annotated_kind(self.module.slice(annotation)));
                let value = match (annotated, field("right")) {
                    (Some(kind), _) => Value::Known(kind),
                    (None, Some(right)) => Value::Of(self.innermost(node, right)),
                    (None, None) => return,
                };
                self.bind(scope, left, value, Place { held: whole, block: block.clone() }, 0);
            }
            "named_expression" => {
                if let (Some(name), Some(value)) = (field("name"), field("value")) {
                    self.bind(scope, name, Value::Of(value), Place { held: whole, block: block.clone() }, 0);
                }
            }
            "for_statement" => {
                self.add_loop(whole);
                if let (Some(left), Some(right), Some(body)) = (field("left"), field("right"), field("body")) {
                    let held = right.start_byte()..body.start_byte();
                    let place = Place { held, block: body.byte_range() };
                    self.bind_loop(scope, left, right, &place);
                }
            }
            "while_statement" => self.add_loop(whole),
            "as_pattern_target" => {
                if let Some(name) = node.named_child(0) {
                    self.bind(scope, name, Value::Known(Kind::Fresh), Place { held: whole, block: block.clone() }, 0);
                }
            }
            "function_definition" | "lambda" => {
                if let Some(parameters) = field("parameters") {
                    self.bind_parameters(scope, parameters, &Place { held: parameters.byte_range(), block: whole });
                }
            }
            _ => {}
        }
    }

    /// The value at the end of `a = b = value`.
    fn innermost(&mut self, assignment: Node<'t>, right: Node<'t>) -> Node<'t> {
        let range = assignment.byte_range();
        if let Some((around, value)) = &self.chain
            && around.end == range.end
            && around.contains(&range.start)
        {
            return *value;
        }
        let mut value = right;
        while value.kind() == "assignment" {
            let Some(right) = value.child_by_field_name("right") else { break };
            value = right;
        }
        self.chain = Some((range, value));
        value
    }

    fn bind(&mut self, scope: usize, target: Node<'t>, value: Value<'t>, place: Place, depth: usize) {
        match target.kind() {
            "identifier" | "attribute" => {
                let name = self.module.slice(target);
                let Place { held, block } = place;
                if let Some(scope) = self.scopes.get_mut(scope) {
                    scope.bindings.push(Binding { name, from: held.start, at: held.end, block, value });
                }
            }
            "list_splat_pattern" => {
                if let Some(name) = target.named_child(0).filter(|_| depth < DEPTH) {
                    self.bind(scope, name, Value::Known(Kind::Collection), place, depth + 1);
                }
            }
            "pattern_list" | "tuple_pattern" | "list_pattern" if depth < DEPTH => {
                let targets = children(target);
                let values = match &value {
                    Value::Of(node) if is_display(*node) => children(*node),
                    _ => Vec::new(),
                };
                let pairs =
                    values.len() == targets.len() && !targets.iter().any(|node| node.kind() == "list_splat_pattern");
                for (number, target) in targets.into_iter().enumerate() {
                    let value = match (&value, values.get(number)) {
                        (_, Some(value)) if pairs => Value::Of(*value),
                        (Value::Of(node) | Value::ElementOf(node), _) => Value::ElementOf(*node),
                        (Value::Known(kind), _) => Value::Known(kind.clone()),
                        (Value::Parameter, _) => Value::Known(Kind::Fresh),
                    };
                    self.bind(scope, target, value, place.clone(), depth + 1);
                }
            }
            _ => {}
        }
    }

    fn bind_loop(&mut self, scope: usize, left: Node<'t>, right: Node<'t>, place: &Place) {
        let called = right.child_by_field_name("function").map_or("", |function| self.module.slice(function));
        let enumerated = right.child_by_field_name("arguments").and_then(|arguments| arguments.named_child(0));
        let targets = children(left);
        match (called, enumerated, targets.as_slice()) {
            ("enumerate", Some(values), [number, element]) if left.kind() != "identifier" => {
                self.bind(scope, *number, Value::Known(Kind::Host), place.clone(), 0);
                self.bind(scope, *element, Value::ElementOf(values), place.clone(), 0);
            }
            _ => self.bind(scope, left, Value::ElementOf(right), place.clone(), 0),
        }
    }

    fn bind_parameters(&mut self, scope: usize, parameters: Node<'t>, place: &Place) {
        for parameter in children(parameters) {
            let name = parameter.child_by_field_name("name").or_else(|| parameter.named_child(0)).unwrap_or(parameter);
            let annotation = parameter.child_by_field_name("type").map_or("", |kind| self.module.slice(kind));
            let default = parameter.child_by_field_name("value").and_then(literal_kind);
            let value = match annotated_kind(annotation).or(default) {
                _ if parameter.kind().ends_with("splat_pattern") => Value::Known(Kind::Collection),
                Some(kind) => Value::Known(kind),
                None => Value::Parameter,
            };
            self.bind(scope, name, value, place.clone(), 0);
        }
    }

    fn add_loop(&mut self, range: Range<usize>) {
        if self.loops.last().is_none_or(|outer| outer.end <= range.start) {
            self.loops.push(range);
        }
    }

    fn outermost_loop(&self, at: usize) -> Option<&Range<usize>> {
        let number = self.loops.partition_point(|range| range.end <= at);
        self.loops.get(number).filter(|range| range.contains(&at))
    }

    /// The function around byte `at`, then the ones around that.
    fn scopes_around(&self, at: usize) -> impl Iterator<Item = &Scope<'t>> {
        let end = self.scopes.partition_point(|scope| scope.range.start <= at);
        let begun = self.scopes.get(..end).unwrap_or_default();
        begun.iter().rev().take(LIMIT).filter(move |scope| scope.range.contains(&at))
    }
}

/// Where a binding is read and held, and the block it is in.
#[derive(Debug, Clone)]
struct Place {
    held: Range<usize>,
    block: Range<usize>,
}

impl<'t> Scope<'t> {
    fn sort(&mut self) {
        self.bindings.sort_by_key(|binding| binding.at);
        for (number, binding) in self.bindings.iter().enumerate() {
            self.by_name.entry(binding.name).or_default().push(number);
        }
    }

    fn at(&self, number: usize) -> usize {
        self.bindings.get(number).map_or(usize::MAX, |binding| binding.at)
    }

    fn named(&self, name: &str) -> Vec<&Binding<'t>> {
        let numbers = self.by_name.get(name).into_iter().flatten();
        numbers.take(LIMIT).filter_map(|number| self.bindings.get(*number)).collect()
    }
}

fn children(node: Node<'_>) -> Vec<Node<'_>> {
    node.named_children(&mut node.walk()).filter(|child| !child.is_extra()).collect()
}

fn is_display(node: Node<'_>) -> bool {
    matches!(node.kind(), "expression_list" | "tuple" | "list" | "pattern_list")
}

fn is_tensor_type(annotation: &str) -> bool {
    let annotation = annotation.trim_matches(['"', '\'']);
    let inner = annotation.strip_prefix("Optional[").and_then(|rest| rest.strip_suffix(']')).unwrap_or(annotation);
    let inner = inner.strip_suffix("| None").unwrap_or(inner).trim();
    inner.rsplit('.').next().is_some_and(|name| name.ends_with("Tensor"))
}

/// What a default value says of its parameter; `None` (the Python one) says nothing.
fn literal_kind(value: Node<'_>) -> Option<Kind> {
    match value.kind() {
        "integer" | "float" | "string" | "true" | "false" | "unary_operator" => Some(Kind::Host),
        "list" | "tuple" | "dictionary" | "set" => Some(Kind::Collection),
        _ => None,
    }
}

/// What an annotation says, if it is plain enough to tell.
fn annotated_kind(annotation: &str) -> Option<Kind> {
    let annotation = annotation.trim_matches(['"', '\'']);
    let annotation = annotation.strip_prefix("Optional[").unwrap_or(annotation);
    match annotation.split(|character: char| !character.is_alphanumeric()).next()? {
        "int" | "float" | "bool" | "str" | "bytes" => Some(Kind::Host),
        "list" | "tuple" | "dict" | "set" | "List" | "Tuple" | "Dict" | "Set" | "Sequence" => Some(Kind::Collection),
        _ => None,
    }
}
