//! An engine without a library, for the tests of the client: it gives its input back, or misbehaves in the way that the
//! layer's kind (`abort`, `hang`, …) or the program's argument (`--stale`, …) names.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use serde_json::Map;
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::memory::Memory;
use t2m_engine::protocol::{Reply, Request, TensorHeader, VERSION, read_frame, read_frame_in, write_frame};
use t2m_engine::serve::{Engine, serve};
use t2m_engine::{EngineInfo, ModuleSpec};

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).as_deref() {
        None => return serve("fake-engine", Fake::default),
        Some("--other-protocol") => raw(VERSION + 1, false),
        Some("--stale") => raw(VERSION, true),
        Some("--garbage") => garbage(),
        Some("--huge-greeting") => claim(64 << 30, b"{}"),
        Some("--endless-greeting") => endless_greeting(),
        Some("--dripping-greeting") => dripping_greeting(),
        Some("--dripping-answer") => dripping_answer(),
        Some("--huge-output") => huge_output(&[1 << 33]),
        Some("--overflowing-output") => huge_output(&[1 << 62, 1 << 62]),
        Some("--flood") => flood(),
        Some("--deaf") => deaf(),
        Some("--closing") => closing(),
        Some("--memory-unasked") => in_memory(false),
        Some("--memory-cut") => in_memory(true),
        Some("--silent") => {
            eprintln!("no licence");
            return ExitCode::from(3);
        }
        Some(other) => {
            eprintln!("fake-engine: {other}?");
            return ExitCode::from(2);
        }
    };
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn info(protocol: u32) -> EngineInfo {
    let text = |text: &str| text.to_owned();
    EngineInfo { protocol, engine: text("t2m-mlx"), version: text("1.2.3"), device: text("cpu"), flags: Map::new() }
}

#[derive(Default)]
struct Fake {
    kind: String,
    /// A file that says that a run has begun.
    started: Option<PathBuf>,
    /// A file for the number of a process that this one starts.
    child: Option<PathBuf>,
}

impl Fake {
    /// Start a program that holds this one's pipes, standard input apart, and does not obey.
    fn start_child(&self) -> io::Result<()> {
        let child = Command::new("/bin/sh").args(["-c", "trap '' TERM HUP; while :; do sleep 1; done"]).spawn()?;
        self.child.iter().try_for_each(|path| std::fs::write(path, child.id().to_string()))
    }
}

impl Engine for Fake {
    fn info(&self) -> EngineInfo {
        let mut info = info(VERSION);
        let tf32 = std::env::var("MLX_ENABLE_TF32").unwrap_or_default();
        info.flags.insert("MLX_ENABLE_TF32".to_owned(), tf32.into());
        info
    }

    fn load(&mut self, module: &ModuleSpec, tensors: Vec<(String, TensorData)>) -> Result<(), String> {
        self.kind.clone_from(&module.kind);
        match self.kind.as_str() {
            "refuse" => Err(format!("no layer of {} tensors", tensors.len())),
            "die-idle" => {
                thread::spawn(|| {
                    thread::sleep(Duration::from_millis(50));
                    std::process::exit(7);
                });
                Ok(())
            }
            _ => {
                let path = |name| module.args.get(name).and_then(|path| path.as_str()).map(Into::into);
                (self.started, self.child) = (path("started"), path("child"));
                Ok(())
            }
        }
    }

    #[allow(clippy::panic)]
    fn run(&mut self, mut inputs: Vec<TensorData>, _compute: Dtype) -> Result<(Vec<TensorData>, f64), String> {
        if let Some(path) = &self.started {
            std::fs::write(path, "").map_err(|error| error.to_string())?;
        }
        match self.kind.as_str() {
            "abort" => {
                eprintln!("first words\ncorrupted \x1b[31msize vs. prev_size");
                std::process::abort();
            }
            "exit" => std::process::exit(3),
            "leave-child" => {
                self.start_child().map_err(|error| error.to_string())?;
                std::process::exit(3);
            }
            "hang-with-child" => {
                self.start_child().map_err(|error| error.to_string())?;
                hang();
            }
            "flood-errors" => loop {
                io::stderr().write_all(&[b'x'; 4096]).map_err(|error| error.to_string())?;
            },
            "hang" => hang(),
            "slow" => thread::sleep(Duration::from_millis(300)),
            "late" => thread::sleep(Duration::from_millis(1500)),
            "print" => {
                println!("a library that prints on standard output");
                io::stdout().flush().map_err(|error| error.to_string())?;
            }
            "panic" => panic!("shapes (2,3) and (4,5) do not fit"),
            _ => {}
        }
        Ok((vec![inputs.pop().ok_or("no input")?], 0.25))
    }
}

/// A protocol loop by hand: another version, or a reply to an older request in front of each reply.
fn raw(protocol: u32, stale: bool) -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some((request, payload)) = read_frame::<Request>(&mut input)? {
        match request {
            Request::Hello { .. } => write_frame(&mut output, &Reply::Hello(info(protocol)), &[])?,
            Request::Load { id, generation, .. } => {
                if stale {
                    let message = "an old failure".to_owned();
                    write_frame(&mut output, &Reply::Failed { id: id - 1, generation, message }, &[])?;
                }
                write_frame(&mut output, &Reply::Loaded { id, generation }, &[])?;
            }
            Request::Run { id, generation, inputs, .. } => {
                let old = TensorData { dtype: Dtype::Int8, shape: vec![1], bytes: vec![99] };
                let header = TensorHeader::of("", &old);
                let reply = Reply::Ran { id: id - 1, generation, outputs: vec![header], milliseconds: 9.0 };
                write_frame(&mut output, &reply, &[&old])?;
                if let Some(header) = inputs.into_iter().next() {
                    let input = TensorData { dtype: header.dtype, shape: header.shape.clone(), bytes: payload };
                    let reply = Reply::Ran { id, generation, outputs: vec![header], milliseconds: 0.25 };
                    write_frame(&mut output, &reply, &[&input])?;
                }
            }
            Request::Step { .. } | Request::Cancel { .. } => {}
        }
    }
    Ok(())
}

/// Greets, then answers with what is no frame.
fn garbage() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some((request, _)) = read_frame::<Request>(&mut input)? {
        if matches!(request, Request::Hello { .. }) {
            write_frame(&mut output, &Reply::Hello(info(VERSION)), &[])?;
        } else {
            output.write_all(b"Segmentation fault, I think. Sorry about that.\n")?;
            output.flush()?;
        }
    }
    Ok(())
}

/// Never comes back.
fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

/// Read the hello and greet.
fn greet(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    read_frame::<Request>(input)?;
    write_frame(output, &Reply::Hello(info(VERSION)), &[])
}

/// The beginning of a frame: the payload's length as claimed, and the header.
fn claim(payload: u64, header: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(&(header.len() as u32).to_le_bytes())?;
    output.write_all(&payload.to_le_bytes())?;
    output.write_all(header)?;
    output.flush()?;
    hang();
}

/// A greeting with a payload that goes on for as long as somebody reads.
fn endless_greeting() -> io::Result<()> {
    let mut output = io::stdout().lock();
    let mut frame = Vec::new();
    write_frame(&mut frame, &Reply::Hello(info(VERSION)), &[])?;
    frame[4..12].copy_from_slice(&(64u64 << 30).to_le_bytes());
    output.write_all(&frame)?;
    loop {
        output.write_all(&[0; 4096])?;
    }
}

/// A greeting that says nothing, a byte at a time.
fn dripping_greeting() -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(&60_000u32.to_le_bytes())?;
    output.write_all(&0u64.to_le_bytes())?;
    drip(&mut output)
}

/// An answer that never becomes one, a byte at a time.
fn dripping_answer() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    greet(&mut input, &mut output)?;
    output.write_all(&60_000u32.to_le_bytes())?;
    output.write_all(&0u64.to_le_bytes())?;
    drip(&mut output)
}

fn drip(output: &mut impl Write) -> io::Result<()> {
    loop {
        output.write_all(b" ")?;
        output.flush()?;
        thread::sleep(Duration::from_millis(5));
    }
}

/// An output of a size that nobody asked for, and zeros for as long as somebody reads.
fn huge_output(shape: &[usize]) -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    greet(&mut input, &mut output)?;
    while let Some((request, _)) = read_frame::<Request>(&mut input)? {
        match request {
            Request::Load { id, generation, .. } => {
                write_frame(&mut output, &Reply::Loaded { id, generation }, &[])?;
            }
            Request::Run { id, generation, .. } => {
                let header = TensorHeader { name: String::new(), dtype: Dtype::Float32, shape: shape.to_vec() };
                let mut frame = Vec::new();
                write_frame(&mut frame, &Reply::Ran { id, generation, outputs: vec![header], milliseconds: 1.0 }, &[])?;
                let bytes = shape.iter().fold(4u64, |product, &axis| product.wrapping_mul(axis as u64));
                frame[4..12].copy_from_slice(&bytes.to_le_bytes());
                output.write_all(&frame)?;
                loop {
                    output.write_all(&[0; 4096])?;
                }
            }
            Request::Hello { .. } | Request::Step { .. } | Request::Cancel { .. } => {}
        }
    }
    Ok(())
}

/// Answers requests that nobody made, without an end.
fn flood() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    greet(&mut input, &mut output)?;
    loop {
        for (id, generation) in [(0, 0), (1, 7), (1 << 40, 0)] {
            write_frame(&mut output, &Reply::Loaded { id, generation }, &[])?;
        }
    }
}

/// Greets, and reads nothing more.
fn deaf() -> io::Result<()> {
    greet(&mut io::stdin().lock(), &mut io::stdout().lock())?;
    hang();
}

/// Answers a run in memory: in none that it took, or in one that it cut off.
fn in_memory(takes: bool) -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some((request, _)) = read_frame_in::<Request>(&mut input)? {
        match request {
            Request::Hello { memory, .. } => {
                if let Some(offer) = memory.filter(|_| takes) {
                    Memory::accept(offer).ok_or(io::ErrorKind::NotFound)?;
                    std::fs::File::options()
                        .write(true)
                        .open(format!("/dev/fd/{}", offer.descriptor))?
                        .set_len(5000)?;
                }
                write_frame(&mut output, &Reply::Hello(info(VERSION)), &[])?;
            }
            Request::Load { id, generation, .. } => write_frame(&mut output, &Reply::Loaded { id, generation }, &[])?,
            Request::Run { id, generation, .. } => {
                let header = TensorHeader { name: String::new(), dtype: Dtype::Int8, shape: vec![100_000] };
                let mut frame = Vec::new();
                write_frame(&mut frame, &Reply::Ran { id, generation, outputs: vec![header], milliseconds: 1.0 }, &[])?;
                frame[4..12].copy_from_slice(&(100_000u64 | 1 << 63).to_le_bytes());
                output.write_all(&frame)?;
                output.flush()?;
            }
            Request::Step { .. } | Request::Cancel { .. } => {}
        }
    }
    Ok(())
}

/// Closes its output at the first request, and lives on.
fn closing() -> io::Result<()> {
    let mut input = io::stdin().lock();
    greet(&mut input, &mut io::stdout().lock())?;
    read_frame::<Request>(&mut input)?;
    rustix::stdio::dup2_stdout(std::fs::File::open("/dev/null")?)?;
    hang();
}
