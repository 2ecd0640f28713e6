//! Pickles as data.
//!
//! [`Pickle::load`] interprets every opcode of protocols 0 to 5, but imports, builds and calls nothing: a call becomes an
//! [`Object`] that says what would have been called. Values live in one arena, or where they stand in the pickle's bytes, and
//! refer to each other by index, so shared and cyclic values cost nothing, nothing is recursive, and memory is proportional to the
//! pickle.

mod cursor;
mod globals;
mod machine;
mod opcode;
mod report;
mod text;
mod values;

use std::borrow::Cow;
use std::cell::Cell;

use cursor::Cursor;
pub use globals::Global;
pub use report::report;
pub use values::Printer;
pub(super) use values::{class_of, key_text};

/// A value: an index in the arena, or the place of a scalar in the pickle's bytes, from which it is read each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

/// Tells places from indices: neither has more than 31 bits.
const IN_PLACE: u32 = 1 << 31;

impl NodeId {
    fn in_place(offset: u32) -> NodeId {
        NodeId(offset | IN_PLACE)
    }

    /// Where the scalar's opcode is.
    fn place(self) -> Option<u32> {
        (self.0 & IN_PLACE != 0).then_some(self.0 & !IN_PLACE)
    }
}

/// What is wrong with a pickle, and at which of its bytes.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Offset of the opcode.
    pub offset: u64,
    /// What is wrong, in words.
    pub what: String,
}

/// A value. Containers are read through [`Pickle::items`] and [`Pickle::entries`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Node {
    None,
    Bool(bool),
    /// The bits of an `i64`: halves keep the node at 12 bytes.
    Int([u32; 2]),
    /// The bits of an `f64`.
    Float([u32; 2]),
    /// A little-endian two's complement integer of more than 8 bytes, in place.
    BigInt(Span),
    /// A decimal integer too large for 8 bytes, in place.
    Digits(Span),
    Text(Span, Encoding),
    Bytes(Span),
    Tuple(Span),
    FrozenSet(Span),
    List(Chain),
    Set(Chain),
    /// Keys and values in turn.
    Dict(Chain),
    Global(u32),
    Object(u32),
    Persistent(NodeId),
    Extension(u32),
    /// A buffer that is not in the pickle.
    Buffer,
}

/// A run of bytes in the pickle, or of node indices in the pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    fn of(self, data: &[u8]) -> &[u8] {
        let start = self.start as usize;
        data.get(start..start + self.length as usize).unwrap_or_default()
    }
}

/// How a text is written in the pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    /// Strings of Python 2.
    Latin1,
    /// A quoted literal with escapes (protocol 0).
    Quoted,
    /// Latin-1 with `\u` escapes (protocol 0).
    RawUnicode,
}

/// A list that grows: first and last of its runs, [`NOTHING`] while it is empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain {
    first: u32,
    last: u32,
}

/// No index.
const NOTHING: u32 = u32::MAX;

impl Chain {
    const EMPTY: Chain = Chain { first: NOTHING, last: NOTHING };
}

/// Consecutive node indices in the pool, and the run that continues them.
#[derive(Debug, Clone, Copy)]
struct Run {
    span: Span,
    next: u32,
}

/// How an object would have been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// `callable(*args)`
    Call,
    /// `callable.__new__(callable, *args)`
    New,
}

/// What a pickle wanted to build.
#[derive(Debug, Clone, Copy)]
pub struct Object {
    /// Whether it would have been called, or made by `__new__`.
    pub how: How,
    /// What would have been called: a global, in honest files.
    pub callable: NodeId,
    /// Positional arguments: a tuple, in honest files.
    pub args: NodeId,
    /// Whether the call gives a tensor or a parameter, by its [`Global`].
    pub makes_tensor: bool,
    extra: u32,
}

/// What was done to an object after it was made.
#[derive(Debug, Clone, Copy)]
struct Extra {
    state: Option<NodeId>,
    items: Chain,
    appended: Chain,
}

/// A pickle, read. Nothing in it was executed.
#[derive(Debug)]
pub struct Pickle {
    data: Vec<u8>,
    nodes: Vec<(Node, u32)>,
    pool: Vec<NodeId>,
    runs: Vec<Run>,
    objects: Vec<(Object, NodeId)>,
    extras: Vec<Extra>,
    globals: Vec<Global>,
    /// Uses of extension codes, by offset.
    extensions: Vec<(u32, u32)>,
    /// What each persistent id is, in the order of their opcodes.
    persistent: Vec<NodeId>,
    root: NodeId,
    end: usize,
    /// Work that may still be spent on reading the values.
    work: Cell<u64>,
    /// See [`Pickle::wants`].
    wants: Option<usize>,
}

/// Shared values make a small pickle stand for very many: reading may take this much work (values gone through, bytes of
/// text, bytes of memory for what they become), whatever the length of the pickle …
const WORK: u64 = 8 << 20;
/// … and this much more for each of its bytes. A state dict takes some 4, a pickled module some 10.
const WORK_PER_BYTE: u64 = 24;

/// The values in a container, in order.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    pickle: &'a Pickle,
    span: Span,
    next: u32,
}

impl Iterator for Items<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        if !self.pickle.spend(1) {
            return None;
        }
        while self.span.length == 0 {
            let run = self.pickle.runs.get(self.next as usize)?;
            (self.span, self.next) = (run.span, run.next);
        }
        let item = self.pickle.pool.get(self.span.start as usize).copied();
        self.span.start += 1;
        self.span.length -= 1;
        item
    }
}

impl Pickle {
    /// The value that the pickle stands for.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// Where the pickle ends in its bytes: one past STOP.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Where a damaged pickle is cut off: as many bytes as these would have been needed to read on.
    pub fn wants(&self) -> Option<usize> {
        self.wants
    }

    /// Length of the bytes it was read from.
    pub fn length(&self) -> u64 {
        self.data.len() as u64
    }

    /// Spend work on this pickle; false if none is left. Containers then end early and texts are missing, so the caller
    /// must call [`Pickle::check_work`] at the end.
    pub fn spend(&self, work: u64) -> bool {
        let left = self.work.get().saturating_sub(work);
        self.work.set(left);
        left > 0
    }

    /// The fault of a pickle that unfolds to more work than it may take.
    ///
    /// # Errors
    /// It does.
    pub fn check_work(&self) -> Result<(), Fault> {
        if self.work.get() > 0 {
            return Ok(());
        }
        let what = "the values unfold to far more than were written, as in no checkpoint".to_owned();
        Err(Fault { offset: self.offset(self.root), what })
    }

    /// Offset of the opcode that made a value.
    pub fn offset(&self, id: NodeId) -> u64 {
        let offset = id.place().or_else(|| self.nodes.get(id.0 as usize).map(|(_, offset)| *offset));
        offset.unwrap_or_default().into()
    }

    /// Every global that is mentioned, in first-seen order.
    pub fn globals(&self) -> &[Global] {
        &self.globals
    }

    pub(crate) fn node(&self, id: NodeId) -> Node {
        match id.place() {
            Some(place) => self.scalar(place as usize).unwrap_or(Node::None),
            None => self.stored(id).unwrap_or(Node::None),
        }
    }

    /// A value in the arena: none that is read in place.
    fn stored(&self, id: NodeId) -> Option<Node> {
        self.nodes.get(id.0 as usize).map(|(node, _)| *node)
    }

    fn scalar(&self, place: usize) -> Option<Node> {
        let code = *self.data.get(place)?;
        Cursor { data: &self.data, position: place + 1 }.scalar(code).ok()?
    }

    fn span(&self, span: Span) -> &[u8] {
        span.of(&self.data)
    }

    /// A text, wherever one can be read; bytes that are no text are replaced.
    pub fn text(&self, id: NodeId) -> Option<Cow<'_, str>> {
        match self.node(id) {
            Node::Text(span, encoding) => {
                self.spend(span.length.into()).then(|| text::decode(self.span(span), encoding))
            }
            _ => None,
        }
    }

    /// How many bytes a text has in the pickle.
    pub fn text_length(&self, id: NodeId) -> Option<usize> {
        match self.node(id) {
            Node::Text(span, _) => Some(span.length as usize),
            _ => None,
        }
    }

    /// Whether a text has bytes that are no text.
    pub fn is_broken_text(&self, id: NodeId) -> bool {
        matches!(self.node(id), Node::Text(span, Encoding::Utf8) if std::str::from_utf8(self.span(span)).is_err())
    }

    /// An integer that fits.
    pub fn int(&self, id: NodeId) -> Option<i64> {
        match self.node(id) {
            Node::Int(halves) => Some(join(halves) as i64),
            _ => None,
        }
    }

    /// A number of floating point.
    pub fn float(&self, id: NodeId) -> Option<f64> {
        match self.node(id) {
            Node::Float(halves) => Some(f64::from_bits(join(halves))),
            _ => None,
        }
    }

    /// True or False.
    pub fn bool(&self, id: NodeId) -> Option<bool> {
        match self.node(id) {
            Node::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// Whether it is None.
    pub fn is_none(&self, id: NodeId) -> bool {
        matches!(self.node(id), Node::None)
    }

    /// A class or function, also where it is stored with its source.
    pub fn global(&self, id: NodeId) -> Option<&Global> {
        match self.stored(id)? {
            Node::Global(index) => self.globals.get(index as usize),
            Node::Persistent(id) => match self.stored(self.stored_class(id)?.0)? {
                Node::Global(index) => self.globals.get(index as usize),
                _ => None,
            },
            _ => None,
        }
    }

    /// A class that is stored with its source: class, file and text out of the persistent id `('module', class, file,
    /// text)`, or `(class, file, text)` of the oldest files.
    pub fn stored_class(&self, persistent_id: NodeId) -> Option<(NodeId, NodeId, NodeId)> {
        let (class, file, text) = match *self.tuple(persistent_id)? {
            [word, class, file, text] if self.is_text(word, "module") => (class, file, text),
            [class, file, text] => (class, file, text),
            _ => return None,
        };
        matches!(self.node(class), Node::Global(_)).then_some((class, file, text))
    }

    /// The full name of a class or function (`collections.OrderedDict`).
    pub fn global_name(&self, id: NodeId) -> Option<&str> {
        self.global(id).map(|global| global.name.as_str())
    }

    /// An object.
    pub fn object(&self, id: NodeId) -> Option<Object> {
        match self.stored(id)? {
            Node::Object(index) => self.objects.get(index as usize).map(|(object, _)| *object),
            _ => None,
        }
    }

    /// The object's callable, where it is a global.
    pub fn callable_name(&self, object: &Object) -> Option<&str> {
        self.global_name(object.callable)
    }

    /// What `BUILD` would have given to the object's `__setstate__` or `__dict__`.
    pub fn state(&self, object: &Object) -> Option<NodeId> {
        self.extra(object)?.state
    }

    /// The persistent id of a value that is stored outside the pickle.
    pub fn persistent_id(&self, id: NodeId) -> Option<NodeId> {
        match self.stored(id)? {
            Node::Persistent(id) => Some(id),
            _ => None,
        }
    }

    /// Every persistent id, in the order of their opcodes.
    pub fn persistent_ids(&self) -> impl ExactSizeIterator<Item = NodeId> {
        self.persistent.iter().copied()
    }

    /// Every object that a call of this function would have made, in the order of their opcodes.
    pub fn calls(&self, name: &str) -> impl Iterator<Item = Object> {
        let function = self.globals.iter().position(|global| global.name == name);
        let calls = self.objects.iter().map(|(object, _)| *object);
        calls.filter(move |call| {
            matches!((self.node(call.callable), function), (Node::Global(at), Some(function)) if at as usize == function)
        })
    }

    fn extra(&self, object: &Object) -> Option<Extra> {
        self.extras.get(object.extra as usize).copied()
    }

    /// The members of a tuple.
    pub fn tuple(&self, id: NodeId) -> Option<&[NodeId]> {
        match self.node(id) {
            Node::Tuple(span) => Some(self.pool_span(span)),
            _ => None,
        }
    }

    fn pool_span(&self, span: Span) -> &[NodeId] {
        let start = span.start as usize;
        self.pool.get(start..start + span.length as usize).unwrap_or_default()
    }

    /// The members of a tuple, list or set, those of `torch.Size`, `set` and `list` calls and of TorchScript's typed lists,
    /// and what was appended to an object.
    pub fn items(&self, id: NodeId) -> Option<Items<'_>> {
        match self.node(id) {
            Node::Tuple(span) | Node::FrozenSet(span) => Some(Items { pickle: self, span, next: NOTHING }),
            Node::List(chain) | Node::Set(chain) => Some(self.chain(chain)),
            Node::Object(_) => {
                let object = self.object(id)?;
                let plain = matches!(
                    self.callable_name(&object)?,
                    "torch.Size" | "builtins.set" | "builtins.frozenset" | "builtins.list" | "builtins.tuple"
                    // How TorchScript writes typed lists; the other arguments are type names.
                    | "torch.jit._pickle.build_intlist" | "torch.jit._pickle.build_doublelist"
                    | "torch.jit._pickle.build_boollist" | "torch.jit._pickle.build_tensorlist"
                    | "torch.jit._pickle.restore_type_tag"
                );
                if plain {
                    let inner = *self.tuple(object.args)?.first()?;
                    return match self.node(inner) {
                        Node::Object(_) => None,
                        _ => self.items(inner),
                    };
                }
                let appended = self.extra(&object)?.appended;
                (appended.first != NOTHING).then(|| self.chain(appended))
            }
            _ => None,
        }
    }

    fn chain(&self, chain: Chain) -> Items<'_> {
        Items { pickle: self, span: Span { start: 0, length: 0 }, next: chain.first }
    }

    /// Keys and values of a dict or of an object that is filled like one (`OrderedDict`, `defaultdict`, `Counter`), in the
    /// order they were set. A key may come twice; Python keeps the first place and the last value.
    pub fn entries(&self, id: NodeId) -> Option<Entries<'_>> {
        match self.node(id) {
            Node::Dict(chain) => Some(Entries { given: None, pairs: None, items: self.chain(chain) }),
            Node::Object(_) => {
                let object = self.object(id)?;
                let items = self.extra(&object).map_or(Chain::EMPTY, |extra| extra.items);
                let is_dict = items.first != NOTHING
                    || matches!(
                        self.callable_name(&object),
                        Some(
                            "collections.OrderedDict"
                                | "builtins.dict"
                                | "collections.Counter"
                                | "collections.defaultdict"
                                | "torch.jit._pickle.restore_type_tag"
                        )
                    );
                let (given, pairs) = self.given_entries(&object);
                is_dict.then(|| Entries { given, pairs, items: self.chain(items) })
            }
            _ => None,
        }
    }

    /// Entries that a dict-like object got as arguments: a dict, or a list of pairs as Python 2 wrote it.
    fn given_entries(&self, object: &Object) -> (Option<Items<'_>>, Option<Items<'_>>) {
        let Some(first) = self.tuple(object.args).and_then(|args| args.first()) else { return (None, None) };
        match self.node(*first) {
            Node::Dict(chain) => (Some(self.chain(chain)), None),
            Node::List(chain) => (None, Some(self.chain(chain))),
            _ => (None, None),
        }
    }

    /// Whether [`Pickle::entries`] finds something: a dict, empty or not.
    pub fn is_dict(&self, id: NodeId) -> bool {
        self.entries(id).is_some()
    }

    /// The value under a text key, the last one as in Python.
    pub fn get(&self, dict: NodeId, key: &str) -> Option<NodeId> {
        self.entries(dict)?.filter(|(name, _)| self.is_text(*name, key)).last().map(|(_, value)| value)
    }

    /// Whether a value is that text.
    pub fn is_text(&self, id: NodeId, expected: &str) -> bool {
        match self.node(id) {
            Node::Text(span, Encoding::Utf8 | Encoding::Latin1) if expected.is_ascii() => {
                self.span(span) == expected.as_bytes()
            }
            Node::Text(..) => self.text(id).is_some_and(|text| text == expected),
            _ => false,
        }
    }
}

/// Keys and values, in order.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    given: Option<Items<'a>>,
    pairs: Option<Items<'a>>,
    items: Items<'a>,
}

impl Iterator for Entries<'_> {
    type Item = (NodeId, NodeId);

    fn next(&mut self) -> Option<(NodeId, NodeId)> {
        if let Some(given) = &mut self.given {
            if let (Some(key), Some(value)) = (given.next(), given.next()) {
                return Some((key, value));
            }
            self.given = None;
        }
        while let Some(pairs) = &mut self.pairs {
            match pairs.next() {
                Some(pair) => {
                    let mut pair = pairs.pickle.items(pair).into_iter().flatten();
                    if let (Some(key), Some(value)) = (pair.next(), pair.next()) {
                        return Some((key, value));
                    }
                }
                None => self.pairs = None,
            }
        }
        Some((self.items.next()?, self.items.next()?))
    }
}

fn split(bits: u64) -> [u32; 2] {
    [bits as u32, (bits >> 32) as u32]
}

fn join([low, high]: [u32; 2]) -> u64 {
    u64::from(low) | u64::from(high) << 32
}
