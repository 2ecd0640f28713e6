//! How the model classes of transformers and diffusers follow their configurations: `assets/architectures/rules.bin`, which
//! `rules.py` beside it finds, describes and writes.

mod config;
mod expression;
mod saved;

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::asset::inflate;
use super::built::Module;
use crate::assets::built_in;
use crate::rope;
use config::Config;
use expression::{Env, evaluate, is_true};
pub(super) use saved::Pieces;
use saved::{Scopes, Table};

const BYTES: &[u8] = include_bytes!("../../../assets/architectures/rules.bin");
const MAGIC: &[u8] = b"T2MRULE1";
/// A configuration may say anything: more modules than these are not made.
const MOST_MODULES: usize = 100_000;
/// Repetitions of one module.
const MOST_REPEATED: i64 = 10_000;
/// Models in models.
const DEEPEST: usize = 8;

/// Blocks by the number of their library and their type; each is read once.
type Blocks = HashMap<(usize, String), OnceLock<Option<Block>>>;
/// A class and its attributes.
type Activation = (String, Map<String, Value>);

/// The rules of every model type; each is unpacked when it is asked for.
pub struct Rules {
    index: Index,
    blocks: &'static [u8],
    known: OnceLock<Blocks>,
}

#[derive(serde::Deserialize)]
struct Index {
    libraries: Vec<(String, String)>,
    activations: Vec<HashMap<String, Activation>>,
    types: Vec<HashMap<String, (usize, usize)>>,
}

/// A model type.
#[derive(serde::Deserialize)]
struct Block {
    config: Config,
    classes: Vec<String>,
    texts: Vec<String>,
    expressions: Vec<Value>,
    nodes: Vec<Node>,
    models: IndexMap<String, (usize, usize)>,
    base: Option<String>,
    /// Tables of names in files, and which one a class has.
    saved: Vec<Table>,
    saved_as: HashMap<String, usize>,
}

impl Block {
    /// What files call the tensors of a class, where that is not what it calls them.
    fn table(&self, class: &str) -> Option<&Table> {
        self.saved.get(*self.saved_as.get(class)?)
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Node {
    /// Class, attributes, tensors, children.
    Of(Option<usize>, Vec<(usize, usize)>, Vec<(usize, u8, usize, usize)>, Vec<(Option<usize>, usize, usize)>),
    /// One of several classes.
    One { of: usize, nodes: HashMap<String, usize> },
    /// What the library has for the name of an activation.
    Activation { act: usize },
    /// Another model: its type, its class, and the key of its configuration.
    Model {
        #[serde(rename = "ref")]
        other: (Option<String>, Option<String>, String),
        /// Classes in it that others take the place of.
        #[serde(default)]
        instead: HashMap<String, String>,
    },
}

/// A model as its configuration says.
pub(super) struct Configured {
    /// Its modules, the root first.
    pub modules: Vec<Module>,
    /// Tensors that are others under a second name.
    pub ties: Vec<(String, String)>,
    /// The class's library and the version that the rules are of.
    pub library: &'static str,
    /// That version.
    pub version: &'static str,
    /// Tensors that files have under other names: the module's, and the file's.
    pub renamed: Vec<(String, String)>,
    /// Tensors that files have in pieces.
    pub pieces: Vec<Pieces>,
}

/// What a file holds, as far as the rules ask.
pub(super) struct Held<'a> {
    /// Whether there is something below a module.
    pub has: &'a dyn Fn(&str) -> bool,
    /// The sizes of a tensor.
    pub sizes: &'a dyn Fn(&str) -> Option<&'a [u64]>,
}

impl Rules {
    /// The built-in ones.
    pub fn get() -> &'static Rules {
        static RULES: LazyLock<Rules> = LazyLock::new(|| built_in("rules.bin", Rules::read(BYTES)));
        &RULES
    }

    fn read(bytes: &'static [u8]) -> Result<Rules, String> {
        let parts = || {
            let (length, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
            rest.split_at_checked(u32::from_le_bytes(*length) as usize)
        };
        let (index, blocks) = parts().ok_or("it is cut off, or no such file")?;
        Ok(Rules { index: inflate(index)?, blocks, known: OnceLock::new() })
    }

    fn block(&'static self, library: usize, kind: &str) -> Option<&'static Block> {
        let known = self.known.get_or_init(|| {
            let types = self.index.types.iter().enumerate();
            types.flat_map(|(at, types)| types.keys().map(move |kind| ((at, kind.clone()), OnceLock::new()))).collect()
        });
        let place = known.get(&(library, kind.to_owned()))?;
        let read = || {
            let (start, length) = *self.index.types.get(library)?.get(kind)?;
            let bytes = self.blocks.get(start..)?.get(..length)?;
            Some(built_in("a block of rules.bin", inflate(bytes)))
        };
        place.get_or_init(read).as_ref()
    }

    /// The model that a configuration describes; the file is asked what the rules leave open: by the names that the library saves
    /// tensors under, or by those of the modules. `None` where no rule is known for its class.
    pub(super) fn configured<'a>(
        &'static self,
        config: &Map<String, Value>,
        held: &'a Held<'a>,
        as_saved: bool,
    ) -> Option<Configured> {
        let text = |key: &str| config.get(key)?.as_str();
        // Code of the repository's own may be a copy of a library's, or anything.
        if config.contains_key("auto_map") {
            return None;
        }
        let (name, kind, class) = match text("_class_name") {
            Some(class) => ("diffusers", class, Some(class)),
            None => {
                ("transformers", text("model_type")?, config.get("architectures").and_then(|all| all.get(0)?.as_str()))
            }
        };
        let library = self.index.libraries.iter().position(|(library, _)| library == name)?;
        let block = self.block(library, kind)?;
        let class = class.or(block.base.as_deref())?;
        let (root, ties) = *block.models.get(class)?;
        let config = config::normalised(config, &block.config, &|kind| Some(&self.block(library, kind)?.config));
        let mut walk = Walk {
            rules: self,
            library,
            held,
            as_saved,
            scopes: Scopes::default(),
            modules: Vec::new(),
            renamed: Vec::new(),
            pieces: Vec::new(),
            is_full: false,
        };
        walk.enter(block, class, "");
        walk.module(block, root, Env { config: &config }, &[], "", 0);
        if walk.is_full || walk.modules.is_empty() {
            return None;
        }
        let ties = block.expressions.get(ties).and_then(|ties| evaluate(ties, Env { config: &config }, &[]));
        let ties = ties.as_ref().and_then(Value::as_object).into_iter().flatten();
        let (library, version) = self.index.libraries.get(library)?;
        Some(Configured {
            modules: walk.modules,
            ties: ties.filter_map(|(name, first)| Some((name.clone(), first.as_str()?.to_owned()))).collect(),
            library,
            version,
            renamed: walk.renamed,
            pieces: walk.pieces,
        })
    }
}

/// Whether the configuration has a key of an attribute's very name with another value, of which the expression knows nothing: whatever
/// the two have to do with each other was not seen where the rule was found. It is not told then.
fn is_contradicted(name: &str, expression: &Value, value: &Value, env: Env<'_>) -> bool {
    env.config.get(name).is_some_and(|given| !given.is_null() && given != value && !names(expression, name))
}

/// Whether an expression has a name anywhere in it.
fn names(expression: &Value, name: &str) -> bool {
    match expression {
        Value::String(text) => text == name,
        Value::Array(items) => items.iter().any(|item| names(item, name)),
        Value::Object(fields) => fields.iter().any(|(key, value)| key == name || names(value, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

struct Walk<'a> {
    rules: &'static Rules,
    library: usize,
    held: &'a Held<'a>,
    as_saved: bool,
    scopes: Scopes,
    modules: Vec<Module>,
    renamed: Vec<(String, String)>,
    pieces: Vec<Pieces>,
    is_full: bool,
}

impl Walk<'_> {
    /// Go into a model; whether its files have other names than its modules.
    fn enter(&mut self, block: &'static Block, class: &str, path: &str) -> bool {
        let table = block.table(class).filter(|_| self.as_saved);
        if let Some(table) = table {
            self.scopes.push(path, table);
            self.pieces.extend(self.scopes.pieces());
        }
        table.is_some()
    }

    fn module(&mut self, block: &'static Block, node: usize, env: Env<'_>, index: &[i64], path: &str, depth: usize) {
        if self.modules.len() >= MOST_MODULES || depth > DEEPEST * 16 {
            self.is_full = true;
        }
        let Some(node) = block.nodes.get(node).filter(|_| !self.is_full) else { return };
        let value = |at: usize| evaluate(block.expressions.get(at)?, env, index);
        let text = |at: usize| block.texts.get(at).map_or("", String::as_str);
        match node {
            Node::Of(class, attributes, tensors, children) => {
                let class = class.and_then(|class| block.classes.get(class)).cloned().unwrap_or_default();
                let attribute = |of: usize| self.size(block.expressions.get(of)?, path).or_else(|| value(of));
                let told = |name: &str, of: usize| {
                    let value = attribute(of)?;
                    let is_torch = class.starts_with("torch.nn.");
                    let expression = block.expressions.get(of)?;
                    (is_torch || !is_contradicted(name, expression, &value, env)).then_some(value)
                };
                let attributes =
                    attributes.iter().filter_map(|(name, of)| Some((text(*name).to_owned(), told(text(*name), *of)?)));
                let mut attributes: Map<String, Value> = attributes.collect();
                rope::derive(&mut attributes);
                let mut renamed = Vec::new();
                let tensor = |&(name, buffer, exists, shape): &(usize, u8, usize, usize)| {
                    let (exists, shape) = (value(exists), value(shape));
                    if exists.as_ref().is_some_and(|exists| !exists.is_null() && !is_true(exists)) {
                        return None;
                    }
                    let sizes = shape
                        .as_ref()
                        .and_then(Value::as_array)
                        .and_then(|sizes| sizes.iter().map(Value::as_u64).collect());
                    let whole = join(path, text(name));
                    let file = self.scopes.in_file(&whole);
                    let is_made = self.scopes.is_made(&whole) && (self.held.sizes)(&file).is_none();
                    if file != whole {
                        renamed.push((whole, file));
                    }
                    // What is not known to be there is not missed.
                    let kind = if buffer == 1 || is_made || !exists.is_some_and(|exists| is_true(&exists)) {
                        "buffer"
                    } else {
                        "parameter"
                    };
                    Some((text(name).to_owned(), kind.to_owned(), String::new(), sizes))
                };
                let tensors = tensors.iter().filter_map(tensor).collect();
                self.renamed.append(&mut renamed);
                self.modules.push(Module { path: path.to_owned(), class, attributes, tensors });
                for (name, expression, below) in children {
                    let Some(name) = name else {
                        let count = value(*expression).and_then(|count| count.as_i64());
                        for number in 0..count.filter(|count| *count <= MOST_REPEATED).unwrap_or(0) {
                            let index = [index, &[number]].concat();
                            self.module(block, *below, env, &index, &join(path, &number.to_string()), depth + 1);
                        }
                        continue;
                    };
                    let path = join(path, text(*name));
                    let is_there = value(*expression)
                        .map_or_else(|| (self.held.has)(&self.scopes.in_file(&path)), |value| is_true(&value));
                    if is_there {
                        self.module(block, *below, env, index, &path, depth + 1);
                    }
                }
            }
            Node::One { of, nodes } => {
                let class = value(*of);
                match class.as_ref().and_then(Value::as_str).and_then(|class| nodes.get(class)) {
                    Some(node) => self.module(block, *node, env, index, path, depth),
                    None => self.unknown(path),
                }
            }
            Node::Activation { act } => {
                let known = self.rules.index.activations.get(self.library);
                let name = value(*act);
                match name.as_ref().and_then(Value::as_str).and_then(|name| known?.get(name)) {
                    Some((class, attributes)) => self.modules.push(Module {
                        path: path.to_owned(),
                        class: class.clone(),
                        attributes: attributes.clone(),
                        tensors: Vec::new(),
                    }),
                    None => self.unknown(path),
                }
            }
            Node::Model { other: (kind, class, key), instead } => {
                let config = if key.is_empty() { Some(env.config) } else { env.get(key).and_then(Value::as_object) };
                let other = config.and_then(|config| {
                    let kind = kind.as_deref().or_else(|| config.get("model_type")?.as_str());
                    let other = match kind {
                        Some(kind) => self.rules.block(self.library, kind)?,
                        None => block,
                    };
                    let class = class.as_deref().or(other.base.as_deref())?;
                    Some((config, other, other.models.get(class)?.0, class))
                });
                match other {
                    Some((config, other, root, class)) => {
                        // What a class of the same type is called in it is known of the whole.
                        let has_names = !key.is_empty() && self.enter(other, class, path);
                        let first = self.modules.len();
                        self.module(other, root, Env { config }, &[], path, depth + 16);
                        for module in self.modules.iter_mut().skip(first) {
                            if let Some(class) = instead.get(&module.class) {
                                (module.class, module.attributes) = (class.clone(), Map::new());
                            }
                        }
                        if has_names {
                            self.scopes.pop();
                        }
                    }
                    None => self.unknown(path),
                }
            }
        }
    }

    /// What `["size", tensor, dimension]` says of a tensor in or below a module.
    fn size(&self, expression: &Value, path: &str) -> Option<Value> {
        let [function, tensor, dimension] = expression.as_array()?.as_slice() else { return None };
        if function != "size" {
            return None;
        }
        let sizes = (self.held.sizes)(&self.scopes.in_file(&join(path, tensor.as_str()?)))?;
        Some(Value::from(*sizes.get(dimension.as_u64()? as usize)?))
    }

    /// A module of which nothing is known but that it is there.
    fn unknown(&mut self, path: &str) {
        let module =
            Module { path: path.to_owned(), class: String::new(), attributes: Map::new(), tensors: Vec::new() };
        self.modules.push(module);
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "the built-in asset is no input")]
mod tests {
    use super::*;

    #[test]
    fn every_block_can_be_read_and_refers_to_what_is_there() {
        let rules = Rules::get();
        let mut models = 0;
        for (library, types) in rules.index.types.iter().enumerate() {
            for kind in types.keys() {
                let block = rules.block(library, kind).unwrap();
                assert!(!block.models.is_empty(), "{kind}");
                let is_expression = |at: &usize| *at < block.expressions.len();
                assert!(block.models.values().all(|(root, ties)| *root < block.nodes.len() && is_expression(ties)));
                assert!(block.saved_as.values().all(|table| *table < block.saved.len()), "{kind}");
                for node in &block.nodes {
                    let good = match node {
                        Node::Of(class, attributes, tensors, children) => {
                            class.is_none_or(|class| class < block.classes.len())
                                && attributes.iter().all(|(name, of)| *name < block.texts.len() && is_expression(of))
                                && tensors.iter().all(|(name, _, there, shape)| {
                                    *name < block.texts.len() && is_expression(there) && is_expression(shape)
                                })
                                && children.iter().all(|(name, of, below)| {
                                    name.is_none_or(|name| name < block.texts.len())
                                        && is_expression(of)
                                        && *below < block.nodes.len()
                                })
                        }
                        Node::One { of, nodes } => {
                            is_expression(of) && nodes.values().all(|at| *at < block.nodes.len())
                        }
                        Node::Activation { act } => is_expression(act),
                        // The configuration names the other's type.
                        Node::Model { other: (None, _, key), .. } if !key.is_empty() => true,
                        Node::Model { other: (kind, class, _), .. } => {
                            let other = kind.as_ref().map_or(Some(block), |kind| rules.block(library, kind));
                            class
                                .as_ref()
                                .is_none_or(|class| other.is_some_and(|other| other.models.contains_key(class)))
                        }
                    };
                    assert!(good, "{kind}");
                }
                models += block.models.len();
            }
        }
        assert!(models > 100, "{models}");
    }
}
