//! The unpickling machine: a stack, marks and a memo, as `pickle.py` describes them.

use std::cell::Cell;
use std::collections::HashMap;

use super::super::progress::{self, Of};
use super::cursor::{Cursor, Step, Wrong};
use super::globals::Interner;
use super::{
    Chain, Encoding, Extra, Fault, How, NOTHING, Node, NodeId, Object, Pickle, Run, Span, WORK, WORK_PER_BYTE, opcode,
    split,
};

/// Bytes between two words about how far it is.
const TOLD: usize = 1 << 20;
/// The longest module or class name, in bytes: names are copied, and one text can serve many globals.
const LONGEST_NAME: u32 = 1_000;

impl Pickle {
    /// Read one pickle that begins at `start` in `data`.
    ///
    /// # Errors
    /// The fault, and what was read up to it (its globals are worth reporting).
    pub fn load(data: Vec<u8>, start: usize) -> Result<Pickle, (Fault, Box<Pickle>)> {
        let work = WORK.saturating_add((data.len() as u64).saturating_mul(WORK_PER_BYTE));
        // torch writes some eight bytes for each value. What is reserved and not used costs nothing.
        let likely = data.len() / 8;
        let pickle = Pickle {
            data,
            nodes: Vec::with_capacity(likely),
            pool: Vec::with_capacity(likely),
            runs: Vec::new(),
            objects: Vec::new(),
            extras: Vec::new(),
            globals: Vec::new(),
            extensions: Vec::new(),
            persistent: Vec::new(),
            root: NodeId(0),
            end: start,
            work: Cell::new(work),
            wants: None,
        };
        let mut machine = Machine {
            pickle,
            position: start,
            opcode: start,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::with_capacity(likely),
            far_memo: HashMap::new(),
            interner: Interner::default(),
        };
        match machine.run() {
            Ok(()) => Ok(machine.pickle),
            Err(wrong) => {
                let (what, wants) = wrong.parts();
                machine.pickle.wants = wants;
                Err((Fault { offset: machine.opcode as u64, what }, Box::new(machine.pickle)))
            }
        }
    }
}

struct Machine {
    pickle: Pickle,
    position: usize,
    /// Offset of the opcode at work.
    opcode: usize,
    stack: Vec<NodeId>,
    /// Stack heights.
    marks: Vec<u32>,
    /// Picklers number their memo from 0 without gaps; other numbers go to `far_memo`.
    memo: Vec<NodeId>,
    far_memo: HashMap<u32, NodeId>,
    interner: Interner,
}

/// Functions that run for every opcode are `#[inline(always)]`: the compiler's own choice costs an eighth more
/// instructions.
impl Machine {
    fn run(&mut self) -> Step {
        // Offsets and indices have 31 bits: no pickle makes more values than it has bytes.
        if self.pickle.data.len() > i32::MAX as usize {
            return Err("the pickle is longer than 2 GiB, which is not read".into());
        }
        let length = self.pickle.data.len() as u64;
        let mut next = 0;
        loop {
            self.opcode = self.position;
            if self.position >= next {
                progress::tell(Of::Bytes, self.position as u64, length);
                next = self.position + TOLD;
            }
            let Some(&code) = self.pickle.data.get(self.position) else {
                return Err(Wrong::cut("the pickle ends without STOP: it is cut off".to_owned(), self.position + 1));
            };
            self.position += 1;
            if code == opcode::STOP {
                self.pickle.root = self.pop()?;
                self.pickle.end = self.position;
                return Ok(());
            }
            self.step(code)?;
        }
    }

    #[inline(always)]
    fn step(&mut self, code: u8) -> Step {
        use opcode::*;
        match code {
            BINGET => {
                let index = self.read(|cursor| cursor.byte())?;
                self.recall(index.into())
            }
            LONG_BINGET => {
                let index = self.read(|cursor| cursor.u32())?;
                self.recall(index)
            }
            GET => {
                let index = self.read(|cursor| cursor.decimal())?;
                self.recall(index)
            }
            BINPUT => {
                let index = self.read(|cursor| cursor.byte())?;
                self.remember(index.into())
            }
            LONG_BINPUT => {
                let index = self.read(|cursor| cursor.u32())?;
                self.remember(index)
            }
            PUT => {
                let index = self.read(|cursor| cursor.decimal())?;
                self.remember(index)
            }
            MEMOIZE => self.remember((self.memo.len() + self.far_memo.len()) as u32),
            MARK => {
                self.marks.push(self.stack.len() as u32);
                Ok(())
            }
            POP => match self.marks.last() {
                // As in pickle.py: POP right behind MARK takes the mark.
                Some(&mark) if mark as usize == self.stack.len() => self.pop_mark().map(|_| ()),
                _ => self.pop().map(|_| ()),
            },
            POP_MARK => {
                let mark = self.pop_mark()?;
                self.stack.truncate(mark);
                Ok(())
            }
            DUP => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            PROTO => match self.read(|cursor| cursor.byte())? {
                0..=5 => Ok(()),
                other => Err(format!("pickle protocol {other} is not known; the highest is 5").into()),
            },
            FRAME => self.read(|cursor| cursor.u64()).map(|_| ()),
            NEXT_BUFFER => self.push(Node::Buffer),
            READONLY_BUFFER => self.top().map(|_| ()),
            TUPLE | TUPLE1 | TUPLE2 | TUPLE3 | LIST | EMPTY_LIST | DICT | EMPTY_DICT | EMPTY_SET | FROZENSET => {
                self.container(code)
            }
            APPEND | APPENDS | SETITEM | SETITEMS | ADDITEMS => self.fill(code),
            GLOBAL | STACK_GLOBAL | REDUCE | NEWOBJ | NEWOBJ_EX | INST | OBJ | BUILD | EXT1 | EXT2 | EXT4 | PERSID
            | BINPERSID => self.object(code),
            _ => self.scalar(code),
        }
    }

    #[inline(always)]
    fn scalar(&mut self, code: u8) -> Step {
        use opcode::*;
        if self.read(|cursor| cursor.scalar(code))?.is_some() {
            self.stack.push(NodeId::in_place(self.opcode as u32));
            return Ok(());
        }
        let node = match code {
            INT | LONG => self.integer_line()?,
            FLOAT => {
                let line = self.line()?;
                let text = std::str::from_utf8(self.pickle.span(line)).unwrap_or_default().trim();
                let value: f64 = text.parse().map_err(|_| "FLOAT is not followed by a number")?;
                Node::Float(split(value.to_bits()))
            }
            STRING => Node::Text(self.line()?, Encoding::Quoted),
            UNICODE => Node::Text(self.line()?, Encoding::RawUnicode),
            _ => return Err(format!("0x{code:02x} is no pickle opcode: the pickle is damaged").into()),
        };
        self.push(node)
    }

    fn container(&mut self, code: u8) -> Step {
        use opcode::*;
        let count = match code {
            TUPLE1 => 1,
            TUPLE2 => 2,
            TUPLE3 => 3,
            TUPLE | LIST | DICT | FROZENSET => self.stack.len() - self.pop_mark()?,
            _ => 0,
        };
        if code == DICT && count % 2 == 1 {
            return Err("DICT has a key without a value".into());
        }
        let span = self.take(count)?;
        let node = match code {
            LIST | EMPTY_LIST => Node::List(self.chain(span)),
            DICT | EMPTY_DICT => Node::Dict(self.chain(span)),
            EMPTY_SET => Node::Set(Chain::EMPTY),
            FROZENSET => Node::FrozenSet(span),
            _ => Node::Tuple(span),
        };
        self.push(node)
    }

    /// APPEND(S), SETITEM(S) and ADDITEMS: they fill the container below their items.
    fn fill(&mut self, code: u8) -> Step {
        use opcode::*;
        let name = opcode::name(code).unwrap_or_default();
        let count = match code {
            APPEND => 1,
            SETITEM => 2,
            _ => self.stack.len() - self.pop_mark()?,
        };
        let pairs = matches!(code, SETITEM | SETITEMS);
        if pairs && count % 2 == 1 {
            return Err(format!("{name} has a key without a value").into());
        }
        let items = self.take(count)?;
        let target = self.top()?;
        let chain = match (self.pickle.node(target), code) {
            (Node::List(chain), APPEND | APPENDS) | (Node::Set(chain), ADDITEMS) => chain,
            (Node::Dict(chain), SETITEM | SETITEMS) => chain,
            (Node::Object(_), _) => return self.fill_object(target, items, pairs, name),
            (other, _) => return Err(format!("{name} on {}, which no checkpoint does", kind(other)).into()),
        };
        let grown = self.extend(chain, items);
        if let Some((Node::List(chain) | Node::Set(chain) | Node::Dict(chain), _)) =
            self.pickle.nodes.get_mut(target.0 as usize)
        {
            *chain = grown;
        }
        Ok(())
    }

    fn fill_object(&mut self, target: NodeId, items: Span, pairs: bool, name: &str) -> Step {
        let callable =
            self.pickle.object(target).and_then(|object| self.pickle.callable_name(&object)).unwrap_or_default();
        if is_tensor_call(callable) {
            return Err(format!(
                "{name} on a tensor, which corrupts memory in torch before 2.10 (CVE-2026-24747); refused"
            )
            .into());
        }
        let Some(extra) = self.extra(target) else { return Ok(()) };
        let chain = if pairs { extra.items } else { extra.appended };
        let grown = self.extend(chain, items);
        if let Some(extra) = self.extra_mut(target) {
            *(if pairs { &mut extra.items } else { &mut extra.appended }) = grown;
        }
        Ok(())
    }

    fn object(&mut self, code: u8) -> Step {
        use opcode::*;
        match code {
            GLOBAL => {
                let (module, name) = (self.line()?, self.line()?);
                self.push_global(module, name)
            }
            STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Node::Text(module, _), Node::Text(name, _)) = (self.pickle.node(module), self.pickle.node(name))
                else {
                    return Err("STACK_GLOBAL without two texts".into());
                };
                self.push_global(module, name)
            }
            REDUCE | NEWOBJ => {
                let (args, callable) = (self.pop()?, self.pop()?);
                match self.nested_class(callable, args) {
                    Some(global) => self.push(Node::Global(global)),
                    None => self.push_object(if code == REDUCE { How::Call } else { How::New }, callable, args),
                }
            }
            NEWOBJ_EX => {
                let (_keywords, args, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.push_object(How::New, callable, args)
            }
            INST => {
                let (module, name) = (self.line()?, self.line()?);
                let count = self.stack.len() - self.pop_mark()?;
                let args = self.take(count)?;
                self.push_global(module, name)?;
                let callable = self.pop()?;
                self.push(Node::Tuple(args))?;
                let args = self.pop()?;
                self.push_object(How::Call, callable, args)
            }
            OBJ => {
                let count = self.stack.len() - self.pop_mark()?;
                let args = self.take(count.checked_sub(1).ok_or("OBJ without a class")?)?;
                let callable = self.pop()?;
                self.push(Node::Tuple(args))?;
                let args = self.pop()?;
                self.push_object(How::Call, callable, args)
            }
            BUILD => {
                let state = self.pop()?;
                let target = self.top()?;
                if !matches!(self.pickle.node(target), Node::Object(_)) {
                    return Err(format!("BUILD on {}, which no checkpoint does", kind(self.pickle.node(target))).into());
                }
                if let Some(extra) = self.extra_mut(target) {
                    extra.state = Some(state);
                }
                Ok(())
            }
            EXT1 | EXT2 | EXT4 => {
                let number = match code {
                    EXT1 => self.read(|cursor| cursor.byte())?.into(),
                    EXT2 => self.read(|cursor| cursor.u16())?.into(),
                    _ => self.read(|cursor| cursor.u32())?,
                };
                self.pickle.extensions.push((self.opcode as u32, number));
                self.push(Node::Extension(number))
            }
            PERSID => {
                let line = self.line()?;
                self.push(Node::Text(line, Encoding::RawUnicode))?;
                self.persistent()
            }
            _ => self.persistent(),
        }
    }

    /// The value on top is a persistent id.
    #[inline(always)]
    fn persistent(&mut self) -> Step {
        let id = self.pop()?;
        self.pickle.persistent.push(id);
        self.push(Node::Persistent(id))
    }

    #[inline(always)]
    fn push(&mut self, node: Node) -> Step {
        self.stack.push(NodeId(self.pickle.nodes.len() as u32));
        self.pickle.nodes.push((node, self.opcode as u32));
        Ok(())
    }

    fn push_global(&mut self, module: Span, name: Span) -> Step {
        let length = module.length.max(name.length);
        if length > LONGEST_NAME {
            return Err(format!("a class or function whose name is {length} bytes long").into());
        }
        let Pickle { data, globals, .. } = &mut self.pickle;
        let part = |span: Span| data.get(span.start as usize..(span.start + span.length) as usize).unwrap_or_default();
        let index = self.interner.intern(globals, part(module), part(name), self.opcode as u64);
        self.push(Node::Global(index.ok_or("more than 100,000 different globals: this is no checkpoint")?))
    }

    /// `getattr(Outer, "Inner")`: how protocols before 4 name a class within a class. It is a name like any other.
    fn nested_class(&mut self, callable: NodeId, args: NodeId) -> Option<u32> {
        if self.pickle.global_name(callable)? != "builtins.getattr" {
            return None;
        }
        let &[outer, inner] = self.pickle.tuple(args)? else { return None };
        let (outer, inner) = (self.pickle.global_name(outer)?.to_owned(), self.pickle.text(inner)?.into_owned());
        if outer.len() + inner.len() > LONGEST_NAME as usize {
            return None;
        }
        let offset = self.opcode as u64;
        self.interner.intern(&mut self.pickle.globals, outer.as_bytes(), inner.as_bytes(), offset)
    }

    #[inline(always)]
    fn push_object(&mut self, how: How, callable: NodeId, args: NodeId) -> Step {
        let index = self.pickle.objects.len() as u32;
        let makes_tensor = self.pickle.global(callable).is_some_and(|global| global.makes_tensor);
        let object = Object { how, callable, args, makes_tensor, extra: NOTHING };
        self.pickle.objects.push((object, NodeId(self.pickle.nodes.len() as u32)));
        self.push(Node::Object(index))
    }

    fn extra_mut(&mut self, id: NodeId) -> Option<&mut Extra> {
        let Node::Object(index) = self.pickle.stored(id)? else { return None };
        let (object, _) = self.pickle.objects.get_mut(index as usize)?;
        if object.extra == NOTHING {
            object.extra = self.pickle.extras.len() as u32;
            self.pickle.extras.push(Extra { state: None, items: Chain::EMPTY, appended: Chain::EMPTY });
        }
        self.pickle.extras.get_mut(object.extra as usize)
    }

    fn extra(&mut self, id: NodeId) -> Option<Extra> {
        self.extra_mut(id).map(|extra| *extra)
    }

    /// Move the topmost values to the pool.
    #[inline(always)]
    fn take(&mut self, count: usize) -> Step<Span> {
        let floor = self.marks.last().map_or(0, |&mark| mark as usize);
        let start = self.stack.len().checked_sub(count).filter(|&start| start >= floor);
        let start = start.ok_or_else(|| self.underflow())?;
        let span = Span { start: self.pickle.pool.len() as u32, length: count as u32 };
        self.pickle.pool.extend(self.stack.drain(start..));
        Ok(span)
    }

    fn chain(&mut self, span: Span) -> Chain {
        self.extend(Chain::EMPTY, span)
    }

    /// The chain with the newest values of the pool at its end.
    fn extend(&mut self, chain: Chain, span: Span) -> Chain {
        if span.length == 0 {
            return chain;
        }
        if let Some(last) = self.pickle.runs.get_mut(chain.last as usize)
            && last.span.start + last.span.length == span.start
        {
            last.span.length += span.length;
            return chain;
        }
        let new = self.pickle.runs.len() as u32;
        self.pickle.runs.push(Run { span, next: NOTHING });
        match self.pickle.runs.get_mut(chain.last as usize) {
            Some(last) => {
                last.next = new;
                Chain { last: new, ..chain }
            }
            None => Chain { first: new, last: new },
        }
    }

    #[inline(always)]
    fn pop(&mut self) -> Step<NodeId> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The topmost value, unless a mark lies above it.
    #[inline(always)]
    fn top(&self) -> Step<NodeId> {
        let floor = self.marks.last().map_or(0, |&mark| mark as usize);
        match self.stack.last() {
            Some(&top) if self.stack.len() > floor => Ok(top),
            _ => Err(self.underflow()),
        }
    }

    #[cold]
    fn underflow(&self) -> Wrong {
        let code = self.pickle.data.get(self.opcode).and_then(|&code| opcode::name(code)).unwrap_or("an opcode");
        format!("{code} finds too few values on the stack (stack underflow)").into()
    }

    fn pop_mark(&mut self) -> Step<usize> {
        let mark = self.marks.pop().ok_or("there is no mark on the stack")? as usize;
        if mark > self.stack.len() { Err("the mark lies above the stack".into()) } else { Ok(mark) }
    }

    #[inline(always)]
    fn remember(&mut self, index: u32) -> Step {
        let value = self.top()?;
        if index as usize == self.memo.len() {
            self.memo.push(value);
        } else if let Some(place) = self.memo.get_mut(index as usize) {
            *place = value;
        } else {
            self.far_memo.insert(index, value);
        }
        Ok(())
    }

    #[inline(always)]
    fn recall(&mut self, index: u32) -> Step {
        let value = self.memo.get(index as usize).or_else(|| self.far_memo.get(&index));
        let value = *value.ok_or_else(|| format!("memo entry {index} was never set"))?;
        if let Some(Node::Global(global)) = self.pickle.stored(value)
            && let Some(global) = self.pickle.globals.get_mut(global as usize)
        {
            global.count += 1;
        }
        self.stack.push(value);
        Ok(())
    }

    /// The lines of INT and LONG: `01` and `00` are True and False, `12L` is 12.
    fn integer_line(&mut self) -> Step<Node> {
        let line = self.line()?;
        let text = std::str::from_utf8(self.pickle.span(line)).unwrap_or_default();
        let digits = text.trim().trim_end_matches('L');
        Ok(match (text, digits.parse::<i64>()) {
            ("01", _) => Node::Bool(true),
            ("00", _) => Node::Bool(false),
            (_, Ok(value)) => Node::Int(split(value as u64)),
            _ if !digits.is_empty() && digits.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()) => {
                Node::Digits(Span { start: line.start, length: digits.len() as u32 })
            }
            _ => return Err("INT or LONG is not followed by a number".into()),
        })
    }

    #[inline(always)]
    fn read<T>(&mut self, read: impl FnOnce(&mut Cursor<'_>) -> Step<T>) -> Step<T> {
        let mut cursor = Cursor { data: &self.pickle.data, position: self.position };
        let found = read(&mut cursor);
        self.position = cursor.position;
        found
    }

    fn line(&mut self) -> Step<Span> {
        self.read(|cursor| cursor.line())
    }
}

/// Calls that make a tensor or a parameter.
pub(super) fn is_tensor_call(name: &str) -> bool {
    name.starts_with("torch._utils._rebuild_")
        || matches!(name, "torch._tensor._rebuild_from_type_v2" | "torch.nn.parameter.Parameter" | "torch.Tensor")
}

fn kind(node: Node) -> &'static str {
    match node {
        Node::None => "None",
        Node::Bool(_) => "a bool",
        Node::Int(_) | Node::BigInt(_) | Node::Digits(_) => "an int",
        Node::Float(_) => "a float",
        Node::Text(..) => "a text",
        Node::Bytes(_) | Node::Buffer => "bytes",
        Node::Tuple(_) => "a tuple",
        Node::FrozenSet(_) | Node::Set(_) => "a set",
        Node::List(_) => "a list",
        Node::Dict(_) => "a dict",
        Node::Global(_) => "a class or function",
        Node::Object(_) => "an object",
        Node::Persistent(_) => "a storage",
        Node::Extension(_) => "an extension code",
    }
}
