//! Asking an engine: one request at a time, with a deadline; its death is an answer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, select};

use super::process::{Incoming, Process, Program};
use super::protocol::{self, Reply, Request, TensorHeader};
use super::{EngineInfo, EngineState, ModuleSpec, Side};
use crate::checkpoint::{Dtype, TensorData};

/// How long a cancelled computation may go on before the engine is killed.
const GRACE: Duration = Duration::from_secs(2);
/// How long an answer that has arrived may take to be read.
const READING: Duration = Duration::from_millis(100);
/// How long an engine may take to greet. libtorch takes about a second from a cold disk.
const GREETING: Duration = Duration::from_secs(20);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The engine is not there, cannot be started, died, hung, or speaks another protocol. It is gone; the next request
    /// starts it again.
    #[error("{0}")]
    Down(String),
    /// The engine is well and says no.
    #[error("{0}")]
    Refused(String),
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Hears of every change of an engine's state.
pub type Listener = Box<dyn Fn(Side, EngineState) + Send>;

/// What a layer gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// In the dtypes that came out; one or more.
    pub tensors: Vec<TensorData>,
    /// Time of the forward alone.
    pub milliseconds: f64,
}

/// Cuts the present waits of its clients short, from any thread.
///
/// It needs no reset: each cancellation begins a new generation. Requests name the generation that their run began in, and
/// those of an older one are refused.
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
    /// Cancel everything that runs now. An engine that does not stop by itself within two seconds is killed.
    pub fn cancel(&self) {
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|client| !matches!(client.try_send(()), Err(TrySendError::Disconnected(()))));
    }

    /// Cancel for good: an engine that is still at work is killed at once.
    pub fn end(&self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cancel();
    }

    /// How often it was cancelled so far. A run that began at another number is cancelled.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::SeqCst)
    }

    /// A channel that wakes with every cancellation.
    fn listen(&self) -> Receiver<()> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Until when an engine that was told to stop may go on.
    fn patience(&self) -> Instant {
        if self.shared.ended.load(Ordering::SeqCst) {
            return Instant::now();
        }
        let last = *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.unwrap_or_else(Instant::now) + GRACE
    }
}

/// One engine, started when first asked, and started again after a death.
///
/// A request is two calls, so that one thread can let both engines work at once: start both, then finish both. Dropping
/// the client ends the engine.
pub struct Client {
    side: Side,
    program: Option<Program>,
    deadline: Duration,
    cancel: CancelToken,
    cancelled: Receiver<()>,
    listener: Listener,
    running: Option<Running>,
    /// Why it could not be started. It is not tried again until somebody asks for that: each try may take long.
    unstartable: Option<String>,
    last_id: u64,
}

#[derive(Debug)]
struct Running {
    process: Process,
    info: EngineInfo,
    pending: Option<Pending>,
}

/// A request without its answer yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    id: u64,
    generation: u64,
    sent: Instant,
}

/// What a wait ended with.
enum Waited {
    Incoming(Incoming),
    Cancelled,
    TooLong,
}

impl Client {
    /// A client for one side; `listener` is called with every change, on the thread that uses the client. Nothing is
    /// started yet. `deadline` is for each request.
    pub fn new(side: Side, deadline: Duration, cancel: CancelToken, listener: Listener) -> Client {
        let cancelled = cancel.listen();
        Client {
            side,
            program: None,
            deadline,
            cancel,
            cancelled,
            listener,
            running: None,
            unstartable: None,
            last_id: 0,
        }
    }

    /// The same client with this program instead of the one that [`Program::find`] finds.
    pub fn with_program(self, program: Program) -> Client {
        Client { program: Some(program), unstartable: None, ..self }
    }

    /// Start the engine if need be and return what it said of itself.
    ///
    /// # Errors
    /// [`Error::Down`], or [`Error::Cancelled`] while it starts.
    pub fn info(&mut self) -> Result<EngineInfo, Error> {
        self.bury_the_dead();
        if let Some(running) = &self.running {
            return Ok(running.info.clone());
        }
        if let Some(reason) = &self.unstartable {
            return Err(Error::Down(reason.clone()));
        }
        self.tell(EngineState::Starting);
        match self.start() {
            Ok(running) => {
                let info = running.info.clone();
                self.running = Some(running);
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

    /// Let an engine that could not be started be tried again.
    pub fn allow_start(&mut self) {
        self.unstartable = None;
    }

    /// Send a layer and its tensors, for the run that began in this generation. The reply is awaited by
    /// [`Client::finish_load`].
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
        self.send(&request, id, generation, &tensors.iter().map(|(_, tensor)| tensor).collect::<Vec<_>>())
    }

    /// Wait until the layer is built.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn finish_load(&mut self) -> Result<(), Error> {
        match self.finish()? {
            (Reply::Loaded { .. }, _) => Ok(()),
            _ => Err(self.ended("answered another question and was ended")),
        }
    }

    /// Send inputs for the loaded layer. The reply is awaited by [`Client::finish_run`].
    ///
    /// # Errors
    /// As [`Error`] says; [`Error::Down`] where the engine died since, and its layer with it.
    pub fn start_run(&mut self, generation: u64, inputs: &[TensorData], compute: Dtype) -> Result<(), Error> {
        self.settle();
        self.check(generation)?;
        if let Some(reason) = self.bury_the_dead() {
            return Err(Error::Down(reason));
        }
        if self.running.is_none() {
            return Err(Error::Down(self.sentence("holds no layer; load one first")));
        }
        let headers = inputs.iter().map(|tensor| TensorHeader::of("", tensor)).collect();
        let id = self.next_id();
        let request = Request::Run { id, generation, inputs: headers, compute };
        self.send(&request, id, generation, &inputs.iter().collect::<Vec<_>>())
    }

    /// Wait for the outputs.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn finish_run(&mut self) -> Result<Output, Error> {
        let (Reply::Ran { outputs, milliseconds, .. }, payload) = self.finish()? else {
            return Err(self.ended("answered another question and was ended"));
        };
        match protocol::split_payload(&outputs, payload) {
            Ok(tensors) if tensors.is_empty() => Err(self.ended("sent no output and was ended")),
            Ok(tensors) => Ok(Output { tensors, milliseconds }),
            Err(error) => Err(self.ended(&format!("sent a broken output and was ended: {error}"))),
        }
    }

    /// Whether the run of that generation is still wanted.
    fn check(&self, generation: u64) -> Result<(), Error> {
        if generation == self.cancel.generation() { Ok(()) } else { Err(Error::Cancelled) }
    }

    /// Start the program and greet it.
    fn start(&mut self) -> Result<Running, Error> {
        let generation = self.cancel.generation();
        let program = match &self.program {
            Some(program) => program.clone(),
            None => Program::find(self.side).map_err(Error::Down)?,
        };
        let mut process = Process::start(&program).map_err(Error::Down)?;
        process.send(encode(&Request::Hello { protocol: protocol::VERSION }, &[])?);
        let how = match self.wait(&process, Some(generation), Instant::now() + GREETING) {
            Waited::Incoming(Incoming::Reply(Reply::Hello(info), _))
                if info.protocol == protocol::VERSION && info.engine == self.side.program() =>
            {
                return Ok(Running { process, info, pending: None });
            }
            Waited::Incoming(Incoming::Reply(Reply::Hello(info), _)) if info.protocol == protocol::VERSION => format!(
                "is none: the program is a {}; {} has to name a {}",
                info.engine,
                self.side.variable(),
                self.side.program()
            ),
            Waited::Incoming(Incoming::Reply(Reply::Hello(info), _)) => format!(
                "speaks protocol {}, this program speaks {}; install both from the same version",
                info.protocol,
                protocol::VERSION
            ),
            Waited::Incoming(Incoming::Reply(..)) => "did not greet and was ended".to_owned(),
            Waited::Incoming(Incoming::Closed) => process.end(),
            Waited::Incoming(Incoming::Garbage(error)) => garbage(&error),
            Waited::TooLong => too_long(GREETING),
            Waited::Cancelled => return Err(Error::Cancelled),
        };
        Err(Error::Down(self.sentence(&how)))
    }

    fn send(&mut self, request: &Request, id: u64, generation: u64, payload: &[&TensorData]) -> Result<(), Error> {
        let frame = encode(request, payload)?;
        if let Some(running) = &mut self.running {
            running.process.send(frame);
            running.pending = Some(Pending { id, generation, sent: Instant::now() });
        }
        Ok(())
    }

    /// Wait for the answer to the request that was sent last; answers to older ones are dropped.
    fn finish(&mut self) -> Result<(Reply, Vec<u8>), Error> {
        let Some((running, pending)) = self.running.as_ref().and_then(|running| Some((running, running.pending?)))
        else {
            return Err(Error::Down(self.sentence("was asked nothing")));
        };
        let until = pending.sent + self.deadline;
        loop {
            match self.wait(&running.process, Some(pending.generation), until) {
                Waited::Incoming(Incoming::Reply(reply, payload)) => {
                    if address(&reply) == Some((pending.id, pending.generation)) {
                        self.answered();
                        return match reply {
                            Reply::Failed { message, .. } => Err(Error::Refused(message)),
                            reply => Ok((reply, payload)),
                        };
                    }
                }
                Waited::Incoming(Incoming::Closed) => return Err(self.died()),
                Waited::Incoming(Incoming::Garbage(error)) => return Err(self.ended(&garbage(&error))),
                Waited::TooLong => return Err(self.ended(&too_long(self.deadline))),
                Waited::Cancelled => {
                    self.settle();
                    return Err(Error::Cancelled);
                }
            }
        }
    }

    /// Bring an engine whose last request is not wanted any more to rest: tell it, wait a little, else end it.
    fn settle(&mut self) {
        let Some((running, pending)) = self.running.as_ref().and_then(|running| Some((running, running.pending?)))
        else {
            return;
        };
        let mut until = Instant::now() + GRACE;
        // A request that was only abandoned shares its generation with those to come, which are wanted.
        if pending.generation != self.cancel.generation() {
            until = self.cancel.patience();
            if let Ok(frame) = encode(&Request::Cancel { generation: pending.generation }, &[]) {
                running.process.send(frame);
            }
        }
        loop {
            match self.wait(&running.process, None, until) {
                Waited::Incoming(Incoming::Reply(reply, _)) => {
                    if address(&reply) == Some((pending.id, pending.generation)) {
                        return self.answered();
                    }
                }
                Waited::Incoming(Incoming::Closed) => {
                    self.died();
                    return;
                }
                Waited::Incoming(Incoming::Garbage(error)) => {
                    self.ended(&garbage(&error));
                    return;
                }
                Waited::TooLong | Waited::Cancelled => {
                    self.running = None;
                    return self.tell(EngineState::Idle);
                }
            }
        }
    }

    /// Wait for something to come from the engine, until the time is over or the generation is another.
    fn wait(&self, process: &Process, generation: Option<u64>, until: Instant) -> Waited {
        loop {
            if generation.is_some_and(|generation| generation != self.cancel.generation()) {
                return Waited::Cancelled;
            }
            let left = until.saturating_duration_since(Instant::now());
            select! {
                recv(process.incoming()) -> incoming => return Waited::Incoming(incoming.unwrap_or(Incoming::Closed)),
                recv(self.cancelled) -> _ => {}
                // Where this program was stopped and continued, the answer may be there and not read yet.
                default(left) => return match process.incoming().recv_timeout(READING) {
                    Ok(incoming) => Waited::Incoming(incoming),
                    Err(_) => Waited::TooLong,
                },
            }
        }
    }

    /// Notice an engine that died between two requests. Returns how.
    fn bury_the_dead(&mut self) -> Option<String> {
        let running = self.running.as_ref()?;
        loop {
            match running.process.incoming().try_recv() {
                Ok(Incoming::Reply(..)) => {}
                Ok(Incoming::Garbage(error)) => return Some(self.ended(&garbage(&error)).to_string()),
                Ok(Incoming::Closed) | Err(crossbeam_channel::TryRecvError::Disconnected) => {
                    return Some(self.died().to_string());
                }
                Err(crossbeam_channel::TryRecvError::Empty) => return None,
            }
        }
    }

    fn answered(&mut self) {
        if let Some(running) = &mut self.running {
            running.pending = None;
        }
    }

    /// The engine's output is closed: say how it ended.
    fn died(&mut self) -> Error {
        let how = self.running.as_mut().map(|running| running.process.end());
        self.ended(&how.unwrap_or_else(|| "ended".to_owned()))
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

fn encode(request: &Request, payload: &[&TensorData]) -> Result<Vec<u8>, Error> {
    let length: usize = payload.iter().map(|tensor| tensor.bytes.len()).sum();
    let mut frame = Vec::with_capacity(length + 1024);
    match protocol::write_frame(&mut frame, request, payload) {
        Ok(()) => Ok(frame),
        Err(error) => Err(Error::Refused(format!("the request cannot be written: {error}"))),
    }
}

/// Which request a reply answers: id and generation.
fn address(reply: &Reply) -> Option<(u64, u64)> {
    match reply {
        Reply::Hello(_) => None,
        Reply::Loaded { id, generation } | Reply::Ran { id, generation, .. } | Reply::Failed { id, generation, .. } => {
            Some((*id, *generation))
        }
    }
}

fn garbage(error: &str) -> String {
    format!("wrote what is not its protocol and was ended: {error}")
}

fn too_long(patience: Duration) -> String {
    format!("did not answer within {} s and was ended", patience.as_secs_f64())
}
