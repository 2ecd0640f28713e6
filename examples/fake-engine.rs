//! An engine without a library, for the tests of the client: it gives its input back, or misbehaves in the way that the
//! layer's kind (`abort`, `hang`, …) or the program's argument (`--stale`, …) names.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::Map;
use t2m_tui::checkpoint::{Dtype, TensorData};
use t2m_tui::engine::protocol::{Reply, Request, TensorHeader, VERSION, read_frame, write_frame};
use t2m_tui::engine::serve::{Engine, serve};
use t2m_tui::engine::{EngineInfo, ModuleSpec};

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).as_deref() {
        None => return serve("fake-engine", Fake::default),
        Some("--other-protocol") => raw(VERSION + 1, false),
        Some("--stale") => raw(VERSION, true),
        Some("--garbage") => garbage(),
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
                self.started = module.args.get("started").and_then(|path| path.as_str()).map(Into::into);
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
            "hang" => loop {
                thread::sleep(Duration::from_secs(60));
            },
            "slow" => thread::sleep(Duration::from_millis(300)),
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
            Request::Cancel { .. } => {}
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
