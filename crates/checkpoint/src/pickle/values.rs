//! Values of a pickle as JSON, bounded in depth and size: a pickle of a few bytes can stand for more values than there are
//! atoms, or for itself.

use compact_str::CompactString;
use serde_json::{Map, Value, json};

use super::machine::is_tensor_call;
use super::{Entries, Items, Node, NodeId, Object, Pickle, join, text};

/// Deepest nesting that is written out.
const DEEPEST: usize = 16;
/// Work that a value costs: the memory that its JSON takes, more or less.
const VALUE_WORK: u64 = 64;
/// Stands for what is left out.
const ELLIPSIS: &str = "…";

/// Turns values into JSON until its budget is used up.
///
/// Tuples and sets become arrays, functions and classes their full path, infinities and NaN the texts `inf`, `-inf` and
/// `nan`, objects `{"class": …}`. What is left out for its depth or size becomes `…`.
#[derive(Debug)]
pub struct Printer {
    budget: usize,
    longest_text: usize,
    expand: bool,
    /// A key is being written. Containers that are keys in it are left out: a dict can be its own key.
    in_key: bool,
}

enum Frame<'a> {
    Array { id: NodeId, rest: Items<'a>, done: Vec<Value> },
    Map { id: NodeId, rest: Option<Entries<'a>>, key: String, done: Map<String, Value> },
}

/// A value, or the container that it must be collected in.
enum Begun<'a> {
    Whole(Value),
    Array(Items<'a>),
    Map(Option<Entries<'a>>, Map<String, Value>),
}

impl Printer {
    /// For attributes: objects are only named.
    pub fn for_attributes() -> Printer {
        Printer { budget: 1_000, longest_text: 1_000, expand: false, in_key: false }
    }

    /// For metadata: objects show their state, such as the fields of an `argparse.Namespace`.
    pub fn for_metadata() -> Printer {
        Printer { budget: 20_000, longest_text: 10_000, expand: true, in_key: false }
    }

    /// For a line of text.
    pub fn for_messages() -> Printer {
        Printer { budget: 12, longest_text: 80, expand: false, in_key: false }
    }

    /// One value.
    pub fn value(&mut self, pickle: &Pickle, id: NodeId) -> Value {
        let mut frames: Vec<Frame<'_>> = Vec::new();
        let mut next = Some(id);
        loop {
            let finished = match next.map(|id| (id, self.begin(pickle, id, &frames))) {
                Some((_, Begun::Whole(value))) => value,
                Some((id, Begun::Array(rest))) => {
                    frames.push(Frame::Array { id, rest, done: Vec::new() });
                    next = frames.last_mut().and_then(|frame| self.next(pickle, frame));
                    continue;
                }
                Some((id, Begun::Map(rest, done))) => {
                    frames.push(Frame::Map { id, rest, key: String::new(), done });
                    next = frames.last_mut().and_then(|frame| self.next(pickle, frame));
                    continue;
                }
                None => frames.pop().map_or(Value::Null, Frame::finish),
            };
            let Some(frame) = frames.last_mut() else { return finished };
            frame.add(finished);
            next = self.next(pickle, frame);
        }
    }

    /// The next member of a container. Without a budget the rest of it is one `…`.
    fn next(&self, pickle: &Pickle, frame: &mut Frame<'_>) -> Option<NodeId> {
        let next = frame.next(pickle, self)?;
        if self.budget == 0 {
            frame.add(Value::from(ELLIPSIS));
            return None;
        }
        Some(next)
    }

    /// A call as Python would write it: `posix.system("true")`.
    pub fn call(&mut self, pickle: &Pickle, object: &Object) -> String {
        let callable = pickle.callable_name(object).unwrap_or("something that is no function");
        let arguments: Vec<String> = match pickle.items(object.args) {
            Some(items) => {
                items.map_while(|item| (self.budget > 0).then(|| self.value(pickle, item).to_string())).collect()
            }
            None => Vec::new(),
        };
        format!("{callable}({})", arguments.join(", "))
    }

    /// A value in a sentence: an object as the call that would have made it, anything else as JSON.
    pub fn describe(&mut self, pickle: &Pickle, id: NodeId) -> String {
        match pickle.object(id) {
            Some(object) => self.call(pickle, &object),
            None => self.value(pickle, id).to_string(),
        }
    }

    fn begin<'a>(&mut self, pickle: &'a Pickle, id: NodeId, frames: &[Frame<'_>]) -> Begun<'a> {
        if self.budget == 0 || frames.len() >= DEEPEST {
            return Begun::Whole(Value::from(ELLIPSIS));
        }
        self.budget -= 1;
        pickle.spend(VALUE_WORK);
        if frames.iter().any(|frame| frame.id() == id) {
            return Begun::Whole(Value::from(format!("(back to byte {})", pickle.offset(id))));
        }
        if let Some(items) = pickle.items(id) {
            return Begun::Array(items);
        }
        if let Some(entries) = pickle.entries(id) {
            return Begun::Map(Some(entries), Map::new());
        }
        match pickle.object(id) {
            Some(object) => self.begin_object(pickle, &object),
            None => Begun::Whole(self.scalar(pickle, id)),
        }
    }

    fn begin_object<'a>(&self, pickle: &'a Pickle, object: &Object) -> Begun<'a> {
        let class = match pickle.callable_name(object) {
            Some("_codecs.encode" | "builtins.bytearray" | "builtins.bytes") => "bytes",
            Some("torch.device") => {
                let parts = pickle.items(object.args).into_iter().flatten();
                let parts: Vec<String> = parts
                    .filter_map(|part| {
                        pickle.text(part).map(Into::into).or_else(|| pickle.int(part).map(|int| int.to_string()))
                    })
                    .collect();
                return Begun::Whole(Value::from(parts.join(":")));
            }
            Some("torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state") => {
                "torch.nn.parameter.Parameter"
            }
            Some(name) if is_tensor_call(name) => "torch.Tensor",
            _ => class_of(pickle, object).unwrap_or("object"),
        };
        let mut done = Map::new();
        done.insert("class".to_owned(), Value::from(class));
        let state = pickle.state(object).filter(|state| pickle.get(*state, "_modules").is_none());
        Begun::Map(state.filter(|_| self.expand).and_then(|state| pickle.entries(state)), done)
    }

    fn scalar(&self, pickle: &Pickle, id: NodeId) -> Value {
        match pickle.node(id) {
            Node::Bool(value) => Value::from(value),
            Node::Int(halves) => Value::from(join(halves) as i64),
            Node::Float(halves) => match f64::from_bits(join(halves)) {
                value if value.is_finite() => Value::from(value),
                value if value.is_nan() => Value::from("nan"),
                value => Value::from(if value > 0.0 { "inf" } else { "-inf" }),
            },
            Node::BigInt(span) => Value::from(text::decimal(pickle.span(span))),
            Node::Digits(span) => Value::from(self.cut(&String::from_utf8_lossy(pickle.span(span)))),
            Node::Text(..) => Value::from(self.cut(&pickle.text(id).unwrap_or_default())),
            Node::Bytes(span) => json!({"class": "bytes", "length": span.length}),
            Node::Global(_) => Value::from(pickle.global_name(id).unwrap_or_default()),
            Node::Persistent(_) => json!({"class": "torch.storage.UntypedStorage"}),
            Node::Extension(code) => Value::from(format!("extension code {code}")),
            Node::Buffer => json!({"class": "bytes"}),
            _ => Value::Null,
        }
    }

    fn cut(&self, text: &str) -> String {
        match text.char_indices().nth(self.longest_text) {
            Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + ELLIPSIS,
            None => text.to_owned(),
        }
    }
}

impl Frame<'_> {
    fn id(&self) -> NodeId {
        match self {
            Frame::Array { id, .. } | Frame::Map { id, .. } => *id,
        }
    }

    fn add(&mut self, value: Value) {
        match self {
            Frame::Array { done, .. } => done.push(value),
            Frame::Map { key, done, .. } => {
                done.insert(std::mem::take(key), value);
            }
        }
    }

    fn next(&mut self, pickle: &Pickle, printer: &Printer) -> Option<NodeId> {
        match self {
            Frame::Array { rest, .. } => rest.next(),
            Frame::Map { rest, key, .. } => {
                let (name, value) = rest.as_mut()?.next()?;
                *key = match pickle.text(name) {
                    Some(text) => text.into_owned(),
                    None if printer.in_key => ELLIPSIS.to_owned(),
                    None => key_text(pickle, name).into(),
                };
                Some(value)
            }
        }
    }

    fn finish(self) -> Value {
        match self {
            Frame::Array { done, .. } => Value::Array(done),
            Frame::Map { done, .. } => Value::Object(done),
        }
    }
}

/// A dict key as text, whatever its type: `0`, `None`, `(1, 2)` as `[1,2]`.
pub(crate) fn key_text(pickle: &Pickle, key: NodeId) -> CompactString {
    match pickle.text(key) {
        Some(text) => text.into(),
        None => match (Printer { in_key: true, ..Printer::for_messages() }).value(pickle, key) {
            Value::String(text) => text.into(),
            other => other.to_string().into(),
        },
    }
}

/// The class of an object: its callable, or what `copyreg` was given to construct.
pub(crate) fn class_of<'a>(pickle: &'a Pickle, object: &Object) -> Option<&'a str> {
    match pickle.callable_name(object) {
        Some("copyreg._reconstructor" | "copyreg.__newobj__") => {
            pickle.tuple(object.args).and_then(|args| pickle.global_name(*args.first()?))
        }
        name => name,
    }
}
