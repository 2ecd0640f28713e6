//! Asking an engine: one request at a time, with a deadline; its death is an answer, too. [`Conversation`] decides what
//! may be said and when; this carries it to and from the program.

use std::borrow::Borrow;
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, select};

use super::conversation::{Asked, Conversation, End, Outcome, Wants};
use super::graph::{Call, Ran, Run};
use super::memory::Memory;
use super::process::{PIECES, Process, Program};
use super::protocol::{self, Request, TensorHeader};
use super::{EngineInfo, EngineState, ModuleSpec, Side};
use t2m_checkpoint::{Dtype, TensorData};

pub use super::conversation::Output;

/// How long a cancelled computation may go on before the engine is ended.
const GRACE: Duration = Duration::from_secs(2);
/// How long an engine may take to greet where the deadline is shorter. libtorch takes about a second from a cold disk.
const GREETING: Duration = Duration::from_secs(5);
/// How often a wait looks whether the engine is still there: its output may be held open by what it has started.
const LOOK: Duration = Duration::from_millis(50);
/// How many bytes the outputs of a run may take, besides [`OUTPUT_RATIO`].
const OUTPUT_FLOOR: u64 = 256 << 20;
/// How many times as large as a layer and its inputs its outputs may be. Most are smaller; an upsampling by eight in
/// two axes gives 64 times as much.
const OUTPUT_RATIO: u64 = 64;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The engine is not there, cannot be started, died, hung, or speaks another protocol. It is gone; the next request
    /// starts it again.
    #[error("{0}")]
    Down(String),
    /// The engine is well, and refused.
    #[error("{0}")]
    Refused(String),
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Is called with every change of an engine's state.
pub type Listener = Box<dyn Fn(Side, EngineState) + Send>;

/// Ends the current waits of its clients, from any thread.
///
/// It needs no reset: each cancellation begins a new generation. A request names the generation in which its run began,
/// and is refused if that is over.
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    generation: AtomicU64,
    ended: AtomicBool,
    last: Mutex<Option<Instant>>,
    waiting: Mutex<Vec<Sender<()>>>,
}

impl CancelToken {
    /// Cancel everything that runs now. An engine that does not stop within two seconds is ended.
    pub fn cancel(&self) {
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|client| !matches!(client.try_send(()), Err(TrySendError::Disconnected(()))));
    }

    /// Cancel for good: an engine that is still working is ended at once.
    pub fn end(&self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cancel();
    }

    /// How often it has been cancelled. A run that began at another number is cancelled.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::SeqCst)
    }

    /// A channel that wakes with every cancellation.
    fn listen(&self) -> Receiver<()> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// How long an engine that was asked to stop may go on.
    fn patience(&self) -> Duration {
        if self.shared.ended.load(Ordering::SeqCst) {
            return Duration::ZERO;
        }
        let last = *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner);
        GRACE.saturating_sub(last.map_or(Duration::ZERO, |last| last.elapsed()))
    }
}

/// One engine, started when first asked, and started again after a death.
///
/// A request is two calls, so that one thread can let both engines work at once: start both, then finish both. Dropping
/// the client ends the engine.
pub struct Client {
    side: Side,
    program: Option<Program>,
    arguments: Vec<OsString>,
    deadline: Duration,
    greeting: Duration,
    /// Whether memory is shared with the engine, if there is some.
    shares: bool,
    cancel: CancelToken,
    cancelled: Receiver<()>,
    listener: Listener,
    running: Option<Running>,
    /// Begun, and not yet waited for.
    begun: Option<Result<Begun, Error>>,
    /// Why it could not be started. It is not tried again until somebody asks for that, since each attempt may take
    /// long.
    unstartable: Option<String>,
    /// How often it was started.
    starts: usize,
    last_id: u64,
}

/// Values and one call of a graph.
#[derive(Debug)]
pub struct Step<'a> {
    /// Values to hold first, by the caller's numbers.
    pub values: Vec<(u64, &'a TensorData)>,
    /// What is called.
    pub call: Call,
    /// How often, and on what.
    pub runs: Vec<Run>,
    /// Values that are no longer needed afterwards.
    pub drops: Vec<u64>,
}

/// An engine that was started and has not greeted.
#[derive(Debug)]
struct Begun {
    process: Process,
    talk: Conversation,
    memory: Option<Memory>,
    generation: u64,
}

#[derive(Debug)]
struct Running {
    process: Process,
    talk: Conversation,
    info: EngineInfo,
    /// Where large payloads go, if the engine has it as well.
    memory: Option<Arc<Memory>>,
    /// Bytes of the layer that it holds.
    held: u64,
}

impl Client {
    /// A client for one side; `listener` is called with every change, on the thread that uses the client. Nothing is
    /// started yet. `deadline` is for each request, and for the greeting, which is given five seconds at least.
    pub fn new(side: Side, deadline: Duration, cancel: CancelToken, listener: Listener) -> Client {
        let cancelled = cancel.listen();
        Client {
            side,
            program: None,
            arguments: Vec::new(),
            deadline,
            greeting: deadline.max(GREETING),
            shares: true,
            cancel,
            cancelled,
            listener,
            running: None,
            begun: None,
            unstartable: None,
            starts: 0,
            last_id: 0,
        }
    }

    /// Use this program instead of the one that [`Program::find`] finds.
    pub fn with_program(self, program: Program) -> Client {
        Client { program: Some(program), begun: None, unstartable: None, ..self }
    }

    /// Start the program that is found with these arguments.
    pub fn with_arguments(self, arguments: Vec<OsString>) -> Client {
        Client { arguments, ..self }
    }

    /// Give the engine so much time for its greeting, whatever the deadline is.
    pub fn with_greeting(self, greeting: Duration) -> Client {
        Client { greeting, ..self }
    }

    /// Whether the engine has greeted, and was not seen to end since.
    pub fn is_ready(&self) -> bool {
        self.running.is_some()
    }

    /// Send all through the pipe.
    pub fn by_pipe(self) -> Client {
        Client { shares: false, ..self }
    }

    /// Whether tensors go by memory to the engine that runs.
    pub fn shares_memory(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.memory.is_some())
    }

    /// Start the engine if necessary, and wait for nothing: [`Client::info`] says what came of it.
    pub fn begin(&mut self) {
        self.bury_the_dead();
        if self.running.is_none() && self.begun.is_none() && self.unstartable.is_none() {
            self.tell(EngineState::Starting);
            self.begun = Some(self.launch());
        }
    }

    /// Start the engine if necessary, and return its greeting.
    ///
    /// # Errors
    /// [`Error::Down`], or [`Error::Cancelled`] while it starts.
    pub fn info(&mut self) -> Result<EngineInfo, Error> {
        self.begin();
        if let Some(running) = &self.running {
            return Ok(running.info.clone());
        }
        if let Some(reason) = &self.unstartable {
            return Err(Error::Down(reason.clone()));
        }
        let begun = self.begun.take().unwrap_or_else(|| self.launch());
        match begun.and_then(|begun| self.greeting(begun)) {
            Ok(running) => {
                let info = running.info.clone();
                self.running = Some(running);
                self.starts += 1;
                self.tell(EngineState::Ready(info.clone()));
                Ok(info)
            }
            Err(Error::Cancelled) => {
                self.tell(EngineState::Idle);
                Err(Error::Cancelled)
            }
            Err(error) => {
                self.unstartable = Some(error.to_string());
                Err(self.down(error.to_string()))
            }
        }
    }

    /// How often the engine was started: what an earlier start of it held is gone.
    pub fn starts(&self) -> usize {
        self.starts
    }

    /// Allow another attempt for an engine that could not be started.
    pub fn allow_start(&mut self) {
        self.unstartable = None;
    }

    /// Send a layer and its tensors, for the run that began in this generation. [`Client::finish_load`] waits for the
    /// reply.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn start_load(
        &mut self,
        generation: u64,
        module: &ModuleSpec,
        tensors: &[(String, TensorData)],
    ) -> Result<(), Error> {
        self.settle();
        self.info()?;
        self.check(generation)?;
        let headers = tensors.iter().map(|(name, tensor)| TensorHeader::of(name, tensor)).collect();
        let id = self.next_id();
        let request = Request::Load { id, generation, module: Box::new(module.clone()), tensors: headers };
        let tensors: Vec<&TensorData> = tensors.iter().map(|(_, tensor)| tensor).collect();
        if let Some(running) = &mut self.running {
            running.held = bytes_of(&tensors);
        }
        self.send(&request, Asked { id, generation, wants: Wants::Loaded }, &tensors)
    }

    /// Wait until the layer is built.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn finish_load(&mut self) -> Result<(), Error> {
        match self.finish()? {
            Outcome::Loaded => Ok(()),
            _ => Err(self.ended(&End::Mistaken.to_string())),
        }
    }

    /// Send inputs for the loaded layer. [`Client::finish_run`] waits for the reply.
    ///
    /// # Errors
    /// As [`Error`] says; [`Error::Down`] if the engine has died, and the layer with it.
    pub fn start_run(
        &mut self,
        generation: u64,
        inputs: &[impl Borrow<TensorData>],
        compute: Dtype,
    ) -> Result<(), Error> {
        self.settle();
        self.check(generation)?;
        if let Some(reason) = self.bury_the_dead() {
            return Err(Error::Down(reason));
        }
        let Some(running) = &self.running else {
            return Err(Error::Down(self.sentence("holds no layer; load one first")));
        };
        let inputs: Vec<&TensorData> = inputs.iter().map(Borrow::borrow).collect();
        let bound = output_bound(running.held.saturating_add(bytes_of(&inputs)));
        let headers = inputs.iter().map(|tensor| TensorHeader::of("", tensor)).collect();
        let id = self.next_id();
        let request = Request::Run { id, generation, inputs: headers, compute };
        self.send(&request, Asked { id, generation, wants: Wants::Outputs { bound } }, &inputs)
    }

    /// Wait for the outputs.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn finish_run(&mut self) -> Result<Output, Error> {
        match self.finish()? {
            Outcome::Ran(output) => Ok(output),
            _ => Err(self.ended(&End::Mistaken.to_string())),
        }
    }

    /// Start the engine if it is not running, and send values and one call of a graph. [`Client::finish_step`] waits for the
    /// reply. An engine that has died has lost the values that it held: the caller gives them again.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn start_step(&mut self, generation: u64, step: &Step<'_>) -> Result<(), Error> {
        self.settle();
        self.info()?;
        self.check(generation)?;
        let tensors: Vec<&TensorData> = step.values.iter().map(|(_, tensor)| *tensor).collect();
        let id = self.next_id();
        let request = Request::Step {
            id,
            generation,
            values: step.values.iter().map(|(value, _)| *value).collect(),
            tensors: tensors.iter().map(|tensor| TensorHeader::of("", tensor)).collect(),
            call: Box::new(step.call.clone()),
            runs: step.runs.clone(),
            drops: step.drops.clone(),
        };
        let mut bound = OUTPUT_FLOOR;
        if let Some(running) = &mut self.running {
            running.held = running.held.saturating_add(bytes_of(&tensors));
            bound = output_bound(running.held);
        }
        self.send(&request, Asked { id, generation, wants: Wants::Steps { runs: step.runs.len(), bound } }, &tensors)
    }

    /// Wait for what came of the runs.
    ///
    /// # Errors
    /// As [`Error`] says. A run that failed is no error: its result says so.
    pub fn finish_step(&mut self) -> Result<Vec<Ran>, Error> {
        match self.finish()? {
            Outcome::Stepped(runs) => Ok(runs),
            _ => Err(self.ended(&End::Mistaken.to_string())),
        }
    }

    /// Whether the run of that generation is still wanted.
    fn check(&self, generation: u64) -> Result<(), Error> {
        if generation == self.cancel.generation() { Ok(()) } else { Err(Error::Cancelled) }
    }

    /// Start the program and greet it.
    fn launch(&self) -> Result<Begun, Error> {
        let generation = self.cancel.generation();
        let program = match &self.program {
            Some(program) => program.clone(),
            None => Program { arguments: self.arguments.clone(), ..Program::find(self.side).map_err(Error::Down)? },
        };
        // Where the system has none to give there is the pipe.
        let memory = if self.shares { Memory::new().ok() } else { None };
        let process = Process::start(&program, memory.as_ref()).map_err(Error::Down)?;
        let hello = Request::Hello { protocol: protocol::VERSION, memory: memory.as_ref().map(Memory::offer) };
        process.send(encode(None, &hello, &[])?);
        let talk = Conversation::new(self.side, Instant::now(), self.greeting);
        Ok(Begun { process, talk, memory, generation })
    }

    /// Wait until it greets.
    fn greeting(&self, Begun { mut process, mut talk, memory, generation }: Begun) -> Result<Running, Error> {
        let how = match self.wait(&mut process, &mut talk, Some(generation)) {
            Some(Outcome::Greeted(info)) => {
                let memory = memory.filter(Memory::is_accepted).map(Arc::new);
                memory.iter().for_each(|memory| talk.share(Arc::clone(memory)));
                return Ok(Running { process, talk, info, memory, held: 0 });
            }
            Some(Outcome::Over(End::Closed)) => process.end(),
            Some(Outcome::Over(end)) => end.to_string(),
            Some(_) => End::Unfriendly.to_string(),
            None => return Err(Error::Cancelled),
        };
        Err(Error::Down(self.sentence(&how)))
    }

    fn send(&mut self, request: &Request, asked: Asked, payload: &[&TensorData]) -> Result<(), Error> {
        if let Some(running) = &mut self.running {
            let frame = encode(running.memory.as_deref(), request, payload)?;
            running.process.send(frame);
            running.talk.ask(Instant::now(), asked, self.deadline);
        }
        Ok(())
    }

    /// Wait for the answer to the request that was sent last.
    fn finish(&mut self) -> Result<Outcome, Error> {
        let Some((mut running, asked)) = self.take_asked() else {
            return Err(Error::Down(self.sentence("was asked nothing")));
        };
        let outcome = self.wait(&mut running.process, &mut running.talk, Some(asked.generation));
        if let Some(Outcome::Over(end)) = outcome {
            return Err(self.over(running, &end));
        }
        // Before it is asked again: now nobody reads there.
        if let (Some(_), Some(memory)) = (&outcome, &running.memory) {
            memory.let_go();
        }
        self.running = Some(running);
        match outcome {
            Some(Outcome::Refused(message)) => Err(Error::Refused(message)),
            Some(outcome) => Ok(outcome),
            None => {
                self.settle();
                Err(Error::Cancelled)
            }
        }
    }

    /// The engine, for a wait, if it was asked something.
    fn take_asked(&mut self) -> Option<(Running, Asked)> {
        let asked = self.running.as_ref()?.talk.asked()?;
        Some((self.running.take()?, asked))
    }

    /// Stop an engine whose last request is no longer wanted: ask it, wait a little, or else end it.
    fn settle(&mut self) {
        let Some((mut running, asked)) = self.take_asked() else { return };
        let mut patience = GRACE;
        // An abandoned request shares its generation with later ones, which are wanted.
        if asked.generation != self.cancel.generation() {
            patience = self.cancel.patience();
            if let Ok(frame) = encode(None, &Request::Cancel { generation: asked.generation }, &[]) {
                running.process.send(frame);
            }
        }
        running.talk.settle(Instant::now(), patience);
        match self.wait(&mut running.process, &mut running.talk, None) {
            None | Some(Outcome::Over(End::Unsettled)) => {
                drop(running);
                self.tell(EngineState::Idle);
            }
            Some(Outcome::Over(end)) => drop(self.over(running, &end)),
            Some(_) => self.running = Some(running),
        }
    }

    /// Wait until the engine's output, or the time, ends the wait. `None` once the generation has changed.
    fn wait(&self, process: &mut Process, talk: &mut Conversation, generation: Option<u64>) -> Option<Outcome> {
        loop {
            if generation.is_some_and(|generation| generation != self.cancel.generation()) {
                return None;
            }
            let now = Instant::now();
            let outcome = talk.tick(now).or_else(|| process.is_gone().then(|| talk.closed()));
            if outcome.is_some() {
                return outcome;
            }
            let left = talk.until().map_or(LOOK, |until| until.saturating_duration_since(now));
            let outcome = select! {
                recv(process.incoming()) -> bytes => match bytes {
                    Ok(bytes) => talk.heard(Instant::now(), &bytes),
                    Err(_) => Some(talk.closed()),
                },
                recv(self.cancelled) -> _ => None,
                default(left.min(LOOK)) => None,
            };
            if outcome.is_some() {
                return outcome;
            }
        }
    }

    /// Notice an engine that died between two requests. Returns how.
    fn bury_the_dead(&mut self) -> Option<String> {
        let mut running = self.running.take()?;
        // It may write as fast as this reads; only what it has written so far counts.
        for _ in 0..=PIECES {
            let outcome = match running.process.incoming().try_recv() {
                Ok(bytes) => running.talk.heard(Instant::now(), &bytes),
                Err(TryRecvError::Disconnected) => Some(running.talk.closed()),
                Err(TryRecvError::Empty) => running.talk.tick(Instant::now()),
            };
            if let Some(Outcome::Over(end)) = outcome {
                return Some(self.over(running, &end).to_string());
            }
        }
        self.running = Some(running);
        None
    }

    /// The conversation is over: the engine is ended, and the outcome is reported.
    fn over(&mut self, mut running: Running, end: &End) -> Error {
        let how = if *end == End::Closed { running.process.end() } else { end.to_string() };
        drop(running);
        self.ended(&how)
    }

    /// End the engine; `how` continues the sentence that begins with "engine".
    fn ended(&mut self, how: &str) -> Error {
        let reason = self.sentence(how);
        self.down(reason)
    }

    fn sentence(&self, how: &str) -> String {
        format!("{}: engine {how}", self.side.program())
    }

    fn down(&mut self, reason: String) -> Error {
        self.running = None;
        self.tell(EngineState::Down(reason.clone()));
        Error::Down(reason)
    }

    fn tell(&self, state: EngineState) {
        (self.listener)(self.side, state);
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

/// A request as a frame. A payload goes into the memory, if there is one.
fn encode(memory: Option<&Memory>, request: &Request, payload: &[&TensorData]) -> Result<Vec<u8>, Error> {
    let behind = if memory.is_some() { 0 } else { payload.iter().map(|tensor| tensor.bytes.len()).sum() };
    let mut frame = Vec::with_capacity(behind + 1024);
    match protocol::write_frame_in(memory, &mut frame, request, payload) {
        Ok(()) => Ok(frame),
        Err(error) => Err(Error::Refused(format!("the request cannot be written: {error}"))),
    }
}

fn bytes_of(tensors: &[&TensorData]) -> u64 {
    tensors.iter().map(|tensor| tensor.bytes.len() as u64).sum()
}

/// How many bytes the outputs of a run may take, if the layer and its inputs take `given`.
fn output_bound(given: u64) -> u64 {
    given.saturating_mul(OUTPUT_RATIO).saturating_add(OUTPUT_FLOOR).min(protocol::MAX_PAYLOAD)
}
