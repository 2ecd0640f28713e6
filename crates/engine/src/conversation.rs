//! The client's side of a conversation with an engine, without the engine: bytes and the time go in, their meaning
//! comes out.
//!
//! It keeps its promises whatever arrives. A wait ends by the clock, not by what comes. Memory holds only what has
//! arrived or lies in what is shared, and is bounded by the request: a greeting has no payload, an answer only what its header
//! lists. An answer counts only if it names the id and generation of the waiting request; anything else is skipped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::graph::{Ran, RanHeader};
use super::memory::Memory;
use super::protocol::{
    Lengths, MAX_PAYLOAD, NOT_A_FRAME, PREFIX, Payload, Reply, TensorHeader, VERSION, payload_length, split_payload,
};
use super::{EngineInfo, Side};
use t2m_checkpoint::TensorData;

/// How long an answer that has arrived when its time is over may still take to be read. If this program was stopped and
/// continued, nobody read in between.
pub const LAST_LOOK: Duration = Duration::from_millis(100);
/// A wait that never ends.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// Longest header of a greeting, in bytes. A real one has 200.
const MAX_GREETING: u32 = 64 << 10;
/// Longest header of any other reply, in bytes: an error message or the shapes of outputs.
const MAX_HEADER: u32 = 256 << 10;

/// The outputs of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The tensors, in the dtypes that the engine gave; one or more.
    pub tensors: Vec<TensorData>,
    /// Time of the forward alone.
    pub milliseconds: f64,
}

/// A request that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The request's id.
    pub id: u64,
    /// The generation of its run.
    pub generation: u64,
    /// The answer that it may get.
    pub wants: Wants,
}

/// The kind of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// That the layer is loaded.
    Loaded,
    /// Outputs of at most this many bytes.
    Outputs {
        /// All tensors together.
        bound: u64,
    },
    /// What came of so many runs of a graph's call, of at most this many bytes.
    Steps {
        /// The runs.
        runs: usize,
        /// All tensors together.
        bound: u64,
    },
}

/// The result of a wait.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The engine is the right one and ready.
    Greeted(EngineInfo),
    /// The layer is loaded.
    Loaded,
    /// The layer was run.
    Ran(Output),
    /// The call of a graph was run.
    Stepped(Vec<Ran>),
    /// The engine refused, in its own words.
    Refused(String),
    /// The unwanted request is done.
    Settled,
    /// The conversation is over, and the engine is to be ended.
    Over(End),
}

/// Why a conversation is over, as the end of a sentence that begins with "engine".
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum End {
    /// Its time is over.
    #[error("did not answer within {} s and was ended", .0.as_secs_f64())]
    Late(Duration),
    /// It never said that it is ready.
    #[error(
        "did not greet within {} s and was ended; `t2m-tui verify --deadline SECONDS` waits longer", .0.as_secs_f64()
    )]
    Silent(Duration),
    /// It goes on with what is not wanted any more.
    #[error("did not stop and was ended")]
    Unsettled,
    /// Its output is closed: it died or is about to.
    #[error("closed its output and was ended")]
    Closed,
    /// It wrote something that is not a frame.
    #[error("wrote what is not its protocol and was ended: {0}")]
    Garbage(String),
    /// Its first frame is not a greeting.
    #[error("did not greet and was ended")]
    Unfriendly,
    /// It is the other engine.
    #[error("is none: the program is a {}; {} has to name a {}", .found, .side.variable(), .side.program())]
    Other {
        /// Its name, as it says.
        found: String,
        /// The engine that was wanted.
        side: Side,
    },
    /// It is of another version.
    #[error("speaks protocol {0}, this program speaks {VERSION}; install both from the same version")]
    Protocol(u32),
    /// The answer does not fit the request.
    #[error("answered another question and was ended")]
    Mistaken,
    /// A payload where there should be none.
    #[error("sent {0} bytes behind a reply that has none and was ended")]
    Surplus(u64),
    /// More bytes than the request can give.
    #[error("sent an output of {bytes} bytes where at most {bound} were expected and was ended")]
    TooLarge {
        /// As its frame says.
        bytes: u64,
        /// As the request allows.
        bound: u64,
    },
    /// The answer has no tensor.
    #[error("sent no output and was ended")]
    Empty,
    /// The tensors do not add up.
    #[error("sent a broken output and was ended: {0}")]
    Broken(String),
}

/// A conversation from its beginning. Every call gets the time, which never goes back.
#[derive(Debug)]
pub struct Conversation {
    side: Side,
    awaits: Awaits,
    part: Part,
    memory: Option<Arc<Memory>>,
}

/// What it waits for.
#[derive(Debug)]
enum Awaits {
    Greeting(Deadline),
    Nothing,
    Answer(Asked, Deadline),
    /// The answer to an unwanted request, to know when the engine is free.
    Rest(Asked, Deadline),
    /// Nothing any more.
    Over(End),
}

#[derive(Debug, Clone, Copy)]
struct Deadline {
    until: Instant,
    patience: Duration,
    looked: bool,
}

impl Deadline {
    fn new(now: Instant, patience: Duration) -> Deadline {
        // A time beyond the clock's range means for ever.
        let until = now.checked_add(patience).unwrap_or(now + FOR_EVER);
        Deadline { until, patience, looked: false }
    }

    /// Whether the time is over. Whoever checks late for the first time may look once more, for [`LAST_LOOK`].
    fn is_over(&mut self, now: Instant) -> bool {
        if now < self.until {
            return false;
        }
        self.until = if self.looked { self.until } else { now + LAST_LOOK };
        std::mem::replace(&mut self.looked, true)
    }
}

/// The part of a frame that comes next.
#[derive(Debug)]
enum Part {
    Prefix(Vec<u8>),
    Header {
        bytes: Vec<u8>,
        lengths: Lengths,
    },
    Outputs {
        headers: Vec<TensorHeader>,
        of: Of,
        bytes: Vec<u8>,
        length: usize,
    },
    /// A payload that nobody wants. `settles` if the frame is the one that [`Awaits::Rest`] waits for.
    Skipped {
        left: u64,
        settles: bool,
    },
}

/// What tensors that arrive are the outputs of.
#[derive(Debug)]
enum Of {
    /// A layer that took so many milliseconds.
    Layer(f64),
    /// Runs of a graph's call.
    Steps(Vec<RanHeader>),
}

impl Part {
    fn start() -> Part {
        Part::Prefix(Vec::new())
    }
}

impl Conversation {
    /// A conversation that waits for the greeting.
    pub fn new(side: Side, now: Instant, patience: Duration) -> Conversation {
        Conversation { side, awaits: Awaits::Greeting(Deadline::new(now, patience)), part: Part::start(), memory: None }
    }

    /// Answers may lie in this memory from now on.
    pub fn share(&mut self, memory: Arc<Memory>) {
        self.memory = Some(memory);
    }

    /// A request was sent; wait for its answer from now on. One at a time.
    pub fn ask(&mut self, now: Instant, asked: Asked, patience: Duration) {
        if matches!(self.awaits, Awaits::Nothing) {
            self.awaits = Awaits::Answer(asked, Deadline::new(now, patience));
        }
    }

    /// The request that waits for its answer.
    pub fn asked(&self) -> Option<Asked> {
        match self.awaits {
            Awaits::Answer(asked, _) | Awaits::Rest(asked, _) => Some(asked),
            _ => None,
        }
    }

    /// The answer is no longer wanted: wait this long for it, and drop it.
    pub fn settle(&mut self, now: Instant, patience: Duration) {
        if let Awaits::Answer(asked, _) = self.awaits {
            self.awaits = Awaits::Rest(asked, Deadline::new(now, patience));
            // The part of its payload that has arrived is useless, too.
            if let Part::Outputs { bytes, length, .. } = &self.part {
                let left = length.saturating_sub(bytes.len()) as u64;
                self.part = Part::Skipped { left, settles: true };
            }
        }
    }

    /// The latest time at which to call [`Conversation::tick`].
    pub fn until(&self) -> Option<Instant> {
        match self.awaits {
            Awaits::Greeting(deadline) | Awaits::Answer(_, deadline) | Awaits::Rest(_, deadline) => {
                Some(deadline.until)
            }
            Awaits::Nothing | Awaits::Over(_) => None,
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) -> Option<Outcome> {
        let (is_over, end) = match &mut self.awaits {
            Awaits::Nothing => return None,
            Awaits::Over(end) => return Some(Outcome::Over(end.clone())),
            Awaits::Greeting(deadline) => (deadline.is_over(now), End::Silent(deadline.patience)),
            Awaits::Answer(_, deadline) => (deadline.is_over(now), End::Late(deadline.patience)),
            Awaits::Rest(_, deadline) => (deadline.is_over(now), End::Unsettled),
        };
        is_over.then(|| self.over(end))
    }

    /// The engine's output was closed.
    pub fn closed(&mut self) -> Outcome {
        match &self.awaits {
            Awaits::Over(end) => Outcome::Over(end.clone()),
            _ => self.over(End::Closed),
        }
    }

    /// Bytes arrived, cut anywhere. All are taken; one of them may complete an answer.
    pub fn heard(&mut self, now: Instant, mut bytes: &[u8]) -> Option<Outcome> {
        let mut outcome = self.tick(now);
        while !bytes.is_empty() && !matches!(self.awaits, Awaits::Over(_)) {
            let told = self.take(&mut bytes).unwrap_or_else(|end| Some(self.over(end)));
            outcome = outcome.or(told);
        }
        outcome
    }

    /// Take bytes for the part that comes next.
    fn take(&mut self, rest: &mut &[u8]) -> Result<Option<Outcome>, End> {
        match &mut self.part {
            Part::Prefix(bytes) => {
                fill(bytes, PREFIX, rest);
                let Ok(prefix) = <[u8; PREFIX]>::try_from(bytes.as_slice()) else { return Ok(None) };
                let lengths = Lengths::of(prefix);
                self.prefix(lengths)?;
                self.part = Part::Header { bytes: Vec::new(), lengths };
                Ok(None)
            }
            Part::Header { bytes, lengths } => {
                let (lengths, length) = (*lengths, lengths.header as usize);
                fill(bytes, length, rest);
                if bytes.len() < length {
                    return Ok(None);
                }
                let reply = serde_json::from_slice(bytes).map_err(|error| End::Garbage(error.to_string()))?;
                self.part = Part::start();
                self.header(reply, lengths)
            }
            Part::Outputs { bytes, length, .. } => {
                fill(bytes, *length, rest);
                if bytes.len() < *length { Ok(None) } else { self.outputs() }
            }
            Part::Skipped { left, settles } => {
                let taken = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *rest = rest.get(taken..).unwrap_or_default();
                *left -= taken as u64;
                let (left, settles) = (*left, *settles);
                Ok(self.skip(left, settles))
            }
        }
    }

    /// Whether a frame of these lengths may come now.
    fn prefix(&self, Lengths { header: length, payload, .. }: Lengths) -> Result<(), End> {
        let greeting = matches!(self.awaits, Awaits::Greeting(_));
        let longest = if greeting { MAX_GREETING } else { MAX_HEADER };
        if length == 0 || length > longest || payload > MAX_PAYLOAD {
            return Err(End::Garbage(NOT_A_FRAME.to_owned()));
        }
        if greeting && payload > 0 { Err(End::Surplus(payload)) } else { Ok(()) }
    }

    /// A header is complete, and this many bytes belong to it.
    fn header(&mut self, reply: Reply, lengths: Lengths) -> Result<Option<Outcome>, End> {
        if let Awaits::Greeting(_) = self.awaits {
            return self.greeting(reply).map(Some);
        }
        let address = address(&reply);
        let payload = lengths.payload;
        let behind = if lengths.in_memory { 0 } else { payload };
        let asked = match self.awaits {
            Awaits::Answer(asked, _) if address == Some((asked.id, asked.generation)) => asked,
            Awaits::Rest(asked, _) => return Ok(self.skip(behind, address == Some((asked.id, asked.generation)))),
            _ => return Ok(self.skip(behind, false)),
        };
        match (reply, asked.wants) {
            (Reply::Ran { outputs, milliseconds, .. }, Wants::Outputs { bound }) => {
                if outputs.is_empty() {
                    return Err(End::Empty);
                }
                self.tensors(outputs, Of::Layer(milliseconds), lengths, bound)
            }
            (Reply::Stepped { runs, .. }, Wants::Steps { runs: asked, bound }) if runs.len() == asked => {
                let sent = runs.iter().flat_map(RanHeader::sent).cloned().collect();
                self.tensors(sent, Of::Steps(runs), lengths, bound)
            }
            (Reply::Loaded { .. } | Reply::Failed { .. }, _) if payload > 0 => Err(End::Surplus(payload)),
            (Reply::Loaded { .. }, Wants::Loaded) => Ok(Some(self.answered(Outcome::Loaded))),
            (Reply::Failed { message, .. }, _) => Ok(Some(self.answered(Outcome::Refused(message)))),
            _ => Err(End::Mistaken),
        }
    }

    fn greeting(&mut self, reply: Reply) -> Result<Outcome, End> {
        match reply {
            Reply::Hello(info) if info.protocol != VERSION => Err(End::Protocol(info.protocol)),
            Reply::Hello(info) if info.engine != self.side.program() => {
                Err(End::Other { found: info.engine, side: self.side })
            }
            Reply::Hello(info) => Ok(self.answered(Outcome::Greeted(info))),
            _ => Err(End::Unfriendly),
        }
    }

    /// An answer has these tensors: they are to come, or lie in the memory that is shared.
    fn tensors(
        &mut self,
        headers: Vec<TensorHeader>,
        of: Of,
        lengths: Lengths,
        bound: u64,
    ) -> Result<Option<Outcome>, End> {
        let length = acceptable(&headers, lengths.payload, bound)?;
        if lengths.in_memory {
            let payload = Payload::InMemory(lengths.payload);
            let tensors = payload.tensors(&headers, self.memory.as_deref()).map_err(broken)?;
            return Ok(Some(self.complete(of, tensors)));
        }
        self.part = Part::Outputs { headers, of, bytes: Vec::new(), length };
        // An output without elements has no bytes.
        if length == 0 { self.outputs() } else { Ok(None) }
    }

    /// The payload of an answer is complete.
    fn outputs(&mut self) -> Result<Option<Outcome>, End> {
        let Part::Outputs { headers, of, bytes, .. } = std::mem::replace(&mut self.part, Part::start()) else {
            return Ok(None);
        };
        let tensors = split_payload(&headers, bytes).map_err(broken)?;
        Ok(Some(self.complete(of, tensors)))
    }

    fn complete(&mut self, of: Of, tensors: Vec<TensorData>) -> Outcome {
        self.answered(match of {
            Of::Layer(milliseconds) => Outcome::Ran(Output { tensors, milliseconds }),
            Of::Steps(runs) => {
                let mut tensors = tensors.into_iter();
                Outcome::Stepped(runs.into_iter().map(|run| Ran::from_header(run, &mut tensors)).collect())
            }
        })
    }

    /// Skip this many bytes, perhaps none.
    fn skip(&mut self, left: u64, settles: bool) -> Option<Outcome> {
        if left > 0 {
            self.part = Part::Skipped { left, settles };
            return None;
        }
        self.part = Part::start();
        (settles && matches!(self.awaits, Awaits::Rest(..))).then(|| self.answered(Outcome::Settled))
    }

    fn answered(&mut self, outcome: Outcome) -> Outcome {
        self.awaits = Awaits::Nothing;
        outcome
    }

    fn over(&mut self, end: End) -> Outcome {
        self.awaits = Awaits::Over(end.clone());
        self.part = Part::start();
        Outcome::Over(end)
    }
}

/// Move the bytes that `bytes` lacks to this length, or as many as there are.
fn fill(bytes: &mut Vec<u8>, length: usize, rest: &mut &[u8]) {
    let taken = rest.len().min(length.saturating_sub(bytes.len()));
    let (now, later) = rest.split_at_checked(taken).unwrap_or_default();
    bytes.extend_from_slice(now);
    *rest = later;
}

/// The length of an answer's payload, if it is acceptable: exactly what its header lists, and no more than the request
/// allows.
fn acceptable(headers: &[TensorHeader], payload: u64, bound: u64) -> Result<usize, End> {
    if payload > bound {
        return Err(End::TooLarge { bytes: payload, bound });
    }
    payload_length(headers, payload).map_err(broken)
}

fn broken(error: std::io::Error) -> End {
    End::Broken(error.to_string())
}

/// Which request a reply answers: id and generation.
fn address(reply: &Reply) -> Option<(u64, u64)> {
    match reply {
        Reply::Hello(_) => None,
        Reply::Loaded { id, generation }
        | Reply::Ran { id, generation, .. }
        | Reply::Stepped { id, generation, .. }
        | Reply::Failed { id, generation, .. } => Some((*id, *generation)),
    }
}
