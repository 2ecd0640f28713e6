//! The loop inside the engine programs: read a request, do it, answer.
//!
//! Standard output is for frames only. What a library prints goes to standard error, its panics become a
//! [`Reply::Failed`], and a closed pipe ends the program.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;
use rustix::process::{Signal, getpid, kill_process};

use super::graph::{Call, Outcome, Ran, Run};
use super::memory::Memory;
use super::protocol::{Payload, Reply, Request, TensorHeader, VERSION, read_frame_in, write_frame_in};
use super::{EngineInfo, ModuleSpec};
use t2m_checkpoint::{Dtype, TensorData};

/// How long a computation may go on after the client has gone.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The longest message of a [`Reply::Failed`], in bytes. As JSON it is at most six times as long, which the client
/// accepts.
const LONGEST_MESSAGE: usize = 16 << 10;

/// A library that builds one layer at a time and runs it.
pub trait Engine {
    /// What the engine says about itself.
    fn info(&self) -> EngineInfo;

    /// Build a layer from its tensors, under the layer's names for them. It replaces the previous one.
    ///
    /// # Errors
    /// Why the layer cannot be built. No layer is loaded then.
    fn load(&mut self, module: &ModuleSpec, tensors: Vec<(String, TensorData)>) -> Result<(), String>;

    /// Run the layer on its positional inputs, with floating-point tensors cast to `compute`. Returns the outputs in the
    /// dtypes that came out, and the milliseconds of the forward alone.
    ///
    /// # Errors
    /// The library's message.
    fn run(&mut self, inputs: Vec<TensorData>, compute: Dtype) -> Result<(Vec<TensorData>, f64), String>;

    /// Hold a value of a graph under a number.
    ///
    /// # Errors
    /// The library has no such tensors, or runs no graphs.
    fn hold(&mut self, _value: u64, _tensor: &TensorData) -> Result<(), String> {
        Err("this engine runs no graphs".to_owned())
    }

    /// Run a call of a graph on values that are held.
    ///
    /// # Errors
    /// The library's message.
    fn step(&mut self, _call: &Call, _run: &Run) -> Result<(Vec<Outcome>, f64), String> {
        Err("this engine runs no graphs".to_owned())
    }

    /// Let a value of a graph go.
    fn release(&mut self, _value: u64) {}
}

/// The main function of an engine program. `start` makes the engine once standard output is safe.
pub fn serve<E: Engine>(program: &str, start: impl FnOnce() -> E) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [flag] if flag == "--version" || flag == "-V" => {
            let info = start().info();
            let package = env!("CARGO_PKG_VERSION");
            println!("{program} {package}, protocol {VERSION}, library {}, device {}", info.version, info.device);
            return ExitCode::SUCCESS;
        }
        [] if !io::stdin().is_terminal() => {}
        _ => {
            eprintln!(
                "{program} is an engine of t2m-tui, which starts it and talks to it over a pipe; try `t2m-tui verify`"
            );
            return ExitCode::from(2);
        }
    }
    let output = match take_stdout() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("{program}: standard output cannot be set aside: {error}");
            return ExitCode::from(2);
        }
    };
    quiet_caught_panics();
    match serve_on(start(), EndsWithPipe(io::stdin()), output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::from(2)
        }
    }
}

/// Serve requests from `input` until it closes or asks to stop.
///
/// # Errors
/// The input is not a frame, or the output is closed.
pub fn serve_on<E: Engine>(mut engine: E, input: impl Read + Send + 'static, mut output: impl Write) -> io::Result<()> {
    let unwanted = Unwanted::default();
    let (sender, requests) = crossbeam_channel::unbounded();
    let reader = unwanted.clone();
    thread::spawn(move || read_requests(input, &reader, &sender));
    let mut greeted = false;
    let mut memory: Option<Memory> = None;
    for request in requests {
        let (request, payload) = request?;
        match request {
            Request::Hello { protocol, memory: offer } => {
                memory = offer.and_then(Memory::accept);
                // A caller of another protocol gets the greeting, and nothing else.
                greeted = protocol == VERSION;
                write_frame_in(memory.as_ref(), &mut output, &Reply::Hello(engine.info()), &[])?;
            }
            Request::Load { id, generation, module, tensors } => {
                let done = allowed(greeted, &unwanted, generation).and_then(|()| {
                    let names: Vec<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
                    let data = payload.tensors(&tensors, memory.as_ref()).map_err(|error| error.to_string())?;
                    caught(|| engine.load(&module, names.into_iter().zip(data).collect()))
                });
                let reply = match done {
                    Ok(()) => Reply::Loaded { id, generation },
                    Err(message) => failed(id, generation, message),
                };
                write_frame_in(memory.as_ref(), &mut output, &reply, &[])?;
            }
            Request::Run { id, generation, inputs, compute } => {
                let done = allowed(greeted, &unwanted, generation).and_then(|()| {
                    let data = payload.tensors(&inputs, memory.as_ref()).map_err(|error| error.to_string())?;
                    caught(|| engine.run(data, compute))
                });
                match done {
                    Ok((tensors, milliseconds)) => {
                        let outputs = tensors.iter().map(|tensor| TensorHeader::of("", tensor)).collect();
                        let reply = Reply::Ran { id, generation, outputs, milliseconds };
                        write_frame_in(memory.as_ref(), &mut output, &reply, &tensors.iter().collect::<Vec<_>>())?;
                    }
                    Err(message) => {
                        write_frame_in(memory.as_ref(), &mut output, &failed(id, generation, message), &[])?
                    }
                }
            }
            Request::Step { id, generation, values, tensors, call, runs, drops } => {
                let held = allowed(greeted, &unwanted, generation).and_then(|()| {
                    let data = payload.tensors(&tensors, memory.as_ref()).map_err(|error| error.to_string())?;
                    values.iter().zip(&data).try_for_each(|(value, tensor)| caught(|| engine.hold(*value, tensor)))
                });
                if let Err(message) = held {
                    write_frame_in(memory.as_ref(), &mut output, &failed(id, generation, message), &[])?;
                    continue;
                }
                let ran: Vec<Ran> = runs.iter().map(|run| step(&mut engine, &call, run)).collect();
                drops.iter().for_each(|value| engine.release(*value));
                let mut sent = Vec::new();
                let headers = ran.iter().map(|ran| {
                    let (header, tensors) = ran.header();
                    sent.extend(tensors);
                    header
                });
                let reply = Reply::Stepped { id, generation, runs: headers.collect() };
                write_frame_in(memory.as_ref(), &mut output, &reply, &sent)?;
            }
            Request::Cancel { .. } => {}
        }
    }
    Ok(())
}

/// One run of a graph's call; a failure is an answer like any other.
fn step<E: Engine>(engine: &mut E, call: &Call, run: &Run) -> Ran {
    match caught(|| engine.step(call, run)) {
        Ok((outcomes, milliseconds)) => Ran { results: Ok(outcomes), milliseconds },
        Err(message) => Ran { results: Err(shortened(message)), milliseconds: 0.0 },
    }
}

/// Generations below this number are cancelled.
#[derive(Debug, Clone, Default)]
struct Unwanted(Arc<AtomicU64>);

impl Unwanted {
    fn up_to(&self, generation: u64) {
        self.0.fetch_max(generation.saturating_add(1), Ordering::SeqCst);
    }

    fn contains(&self, generation: u64) -> bool {
        generation < self.0.load(Ordering::SeqCst)
    }
}

/// Reads on its own thread, so that a cancellation overtakes the requests still queued.
fn read_requests(mut input: impl Read, unwanted: &Unwanted, requests: &Sender<io::Result<(Request, Payload)>>) {
    let mut input = BufReader::new(&mut input);
    while let Some(frame) = read_frame_in::<Request>(&mut input).transpose() {
        if let Ok((Request::Cancel { generation }, _)) = &frame {
            unwanted.up_to(*generation);
        }
        let broken = frame.is_err();
        if requests.send(frame).is_err() || broken {
            return;
        }
    }
}

fn allowed(greeted: bool, unwanted: &Unwanted, generation: u64) -> Result<(), String> {
    if !greeted {
        Err(format!("say hello in protocol {VERSION} first"))
    } else if unwanted.contains(generation) {
        Err("cancelled".to_owned())
    } else {
        Ok(())
    }
}

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Panics that [`caught`] turns into replies are not printed: standard error is for the cause of a death.
fn quiet_caught_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !CATCHING.get() {
            print(info);
        }
    }));
}

/// Run library code; its panic is an error with the panic's text.
fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    CATCHING.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(false);
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(text.unwrap_or("the library panicked without a word").to_owned())
    })
}

/// The reply for a refusal.
fn failed(id: u64, generation: u64, message: String) -> Reply {
    Reply::Failed { id, generation, message: shortened(message) }
}

/// A message of at most [`LONGEST_MESSAGE`] bytes.
fn shortened(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        let end = (0..=LONGEST_MESSAGE).rev().find(|&at| message.is_char_boundary(at));
        message.truncate(end.unwrap_or_default());
        message.push('…');
    }
    message
}

/// Keep standard output for frames; anything else that is printed goes to standard error from now on.
fn take_stdout() -> io::Result<File> {
    let output = rustix::io::dup(rustix::stdio::stdout())?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(File::from(output))
}

/// An input whose end ends the program, even in the middle of a long computation.
struct EndsWithPipe<R>(R);

impl<R: Read> Read for EndsWithPipe<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            thread::spawn(|| {
                thread::sleep(LAST_WORDS);
                // Not `exit`, which would run the libraries' destructors beside their own threads.
                let _ = kill_process(getpid(), Signal::KILL);
            });
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::io::Cursor;

    use serde_json::Map;

    use super::*;
    use crate::protocol::{read_frame, write_frame};

    /// Returns its input; a layer of kind `panic` panics, one of kind `no` refuses.
    struct Echo(String);

    impl Engine for Echo {
        fn info(&self) -> EngineInfo {
            let text = || "echo".to_owned();
            EngineInfo { protocol: VERSION, engine: text(), version: text(), device: text(), flags: Map::new() }
        }

        fn load(&mut self, module: &ModuleSpec, tensors: Vec<(String, TensorData)>) -> Result<(), String> {
            self.0 = module.kind.clone();
            if self.0 == "no" { Err(format!("will not, with {} tensors", tensors.len())) } else { Ok(()) }
        }

        fn run(&mut self, mut inputs: Vec<TensorData>, _: Dtype) -> Result<(Vec<TensorData>, f64), String> {
            if self.0 == "panic" {
                panic!("the library says {}", 42);
            }
            Ok((vec![inputs.pop().ok_or("no input")?], 0.5))
        }
    }

    fn load(id: u64, kind: &str) -> Request {
        let module = ModuleSpec { kind: kind.to_owned(), ..ModuleSpec::default() };
        Request::Load { id, generation: id, module: Box::new(module), tensors: Vec::new() }
    }

    /// Sends the requests, closes the pipe, and returns the replies in words.
    fn talk(requests: &[(Request, Option<&TensorData>)]) -> Vec<String> {
        let mut input = Vec::new();
        for (request, tensor) in requests {
            write_frame(&mut input, request, tensor.as_slice()).unwrap();
        }
        let mut output = Vec::new();
        serve_on(Echo(String::new()), Cursor::new(input), &mut output).unwrap();
        let mut output = Cursor::new(output);
        std::iter::from_fn(|| read_frame::<Reply>(&mut output).unwrap())
            .map(|(reply, payload)| match reply {
                Reply::Hello(info) => format!("hello from {}", info.engine),
                Reply::Loaded { id, .. } => format!("{id} loaded"),
                Reply::Ran { id, outputs, .. } => format!("{id} ran {:?} {payload:?}", outputs[0].shape),
                Reply::Stepped { id, runs, .. } => format!("{id} stepped {}", runs.len()),
                Reply::Failed { id, message, .. } => format!("{id} failed: {message}"),
            })
            .collect()
    }

    fn hello() -> (Request, Option<&'static TensorData>) {
        (Request::Hello { protocol: VERSION, memory: None }, None)
    }

    #[test]
    fn requests_are_answered_in_order_and_panics_are_answers() {
        let tensor = TensorData { dtype: Dtype::Int8, shape: vec![3], bytes: vec![1, 2, 3] };
        let run = |id| Request::Run {
            id,
            generation: id,
            inputs: vec![TensorHeader::of("", &tensor)],
            compute: Dtype::Float32,
        };
        let said = talk(&[
            hello(),
            (load(1, "yes"), None),
            (run(2), Some(&tensor)),
            (run(3), None),
            (load(4, "panic"), None),
            (run(5), Some(&tensor)),
            (load(6, "no"), None),
        ]);
        insta::assert_snapshot!(said.join("\n"), @r"
        hello from echo
        1 loaded
        2 ran [3] [1, 2, 3]
        3 failed: a frame's payload is not as long as its header says
        4 loaded
        5 failed: the library says 42
        6 failed: will not, with 0 tensors
        ");
    }

    #[test]
    fn a_payload_in_shared_memory_is_that_of_a_pipe() {
        let memory = Memory::new().unwrap();
        let bytes: Vec<u8> = (0..100_000u32).map(|at| (at * 7 % 251) as u8).collect();
        let tensor = TensorData { dtype: Dtype::Int8, shape: vec![bytes.len()], bytes };
        let inputs = vec![TensorHeader::of("", &tensor)];
        let run = Request::Run { id: 2, generation: 2, inputs: inputs.clone(), compute: Dtype::Float32 };
        let answer = |memory: Option<&Memory>| {
            let mut input = Vec::new();
            let hello = Request::Hello { protocol: VERSION, memory: memory.map(Memory::offer) };
            write_frame_in(None, &mut input, &hello, &[]).unwrap();
            write_frame_in(None, &mut input, &load(1, "yes"), &[]).unwrap();
            write_frame_in(memory, &mut input, &run, &[&tensor]).unwrap();
            let mut output = Vec::new();
            serve_on(Echo(String::new()), Cursor::new(input), &mut output).unwrap();
            let length = output.len();
            let mut output = Cursor::new(output);
            let all = std::iter::from_fn(|| read_frame_in::<Reply>(&mut output).unwrap());
            let (_, payload) = all.last().unwrap();
            (payload.tensors(&inputs, memory).unwrap(), length)
        };
        let (piped, shared) = (answer(None), answer(Some(&memory)));
        assert_eq!((&piped.0, &shared.0), (&vec![tensor.clone()], &vec![tensor.clone()]));
        assert!(shared.1 < 1000 && piped.1 > 100_000, "it went the other way");
    }

    #[test]
    fn nothing_is_done_before_a_hello_in_this_protocol() {
        let other = Request::Hello { protocol: VERSION + 1, memory: None };
        assert_eq!(
            talk(&[(load(1, "yes"), None), (other, None), (load(2, "yes"), None)]),
            ["1 failed: say hello in protocol 6 first", "hello from echo", "2 failed: say hello in protocol 6 first"]
        );
    }

    #[test]
    fn cancelled_generations_are_not_computed() {
        let unwanted = Unwanted::default();
        assert!(!unwanted.contains(0));
        unwanted.up_to(0);
        assert!(unwanted.contains(0) && !unwanted.contains(1));
        unwanted.up_to(6);
        unwanted.up_to(4);
        assert!(unwanted.contains(6) && !unwanted.contains(7));
        let said =
            talk(&[hello(), (Request::Cancel { generation: 5 }, None), (load(5, "a"), None), (load(6, "a"), None)]);
        assert_eq!(said, ["hello from echo", "5 failed: cancelled", "6 loaded"]);
    }

    #[test]
    fn a_message_without_an_end_is_cut() {
        let Reply::Failed { message, .. } = failed(1, 2, "é".repeat(1 << 20)) else { panic!("another reply") };
        assert!(message.len() <= LONGEST_MESSAGE + 3 && message.ends_with("é…"), "{} bytes", message.len());
    }

    #[test]
    fn garbage_is_an_error() {
        let error = serve_on(Echo(String::new()), Cursor::new(vec![0xff; 64]), Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "this is not a frame of the engine protocol");
    }
}
