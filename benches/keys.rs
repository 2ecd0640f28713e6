//! How long a key waits for its answer while both engines work.
//!
//!     T2M_TORCH=… T2M_MLX=… cargo bench --bench keys -- CHECKPOINT   # without a checkpoint: the demo
//!
//! The program runs in a pseudo-terminal, all layers are measured, and keys go down and up the tree meanwhile. A key is answered
//! when the mark of the selection has been written anew; a frame comes every 16 ms at most.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

/// Keys that are pressed, and the pause before each.
const KEYS: usize = 400;
const PAUSE: Duration = Duration::from_millis(40);
/// What counts as no answer.
const LOST: Duration = Duration::from_secs(2);

fn main() {
    let file = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or("demo".to_owned());
    let size = PtySize { rows: 48, cols: 160, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_t2m-tui"));
    // What is on record would not be measured.
    command.args([&file, "--session", "none"]);
    command.env("TERM", "xterm-256color");
    command.env("T2M_TRIALS", "200");
    let mut child = pair.slave.spawn_command(command).unwrap();
    let mut reader = pair.master.try_clone_reader().unwrap();
    let mut writer = pair.master.take_writer().unwrap();
    let (bytes, arrived) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            let _ = bytes.send((Instant::now(), buffer[..count].to_vec()));
        }
    });
    wait_for(&arrived, "Modules");
    writer.write_all(b"a").unwrap();
    wait_for(&arrived, "running");
    let mut took = Vec::new();
    let mut lost = 0;
    for key in 0..KEYS {
        thread::sleep(PAUSE);
        while arrived.try_recv().is_ok() {}
        let pressed = Instant::now();
        // Down and up in turns: the selection moves with each, so that a frame has something to draw.
        writer.write_all(if key % 2 == 0 { b"j" } else { b"k" }).unwrap();
        match answer(&arrived) {
            Some(at) => took.push(at.saturating_duration_since(pressed)),
            None => lost += 1,
        }
    }
    writer.write_all(b"\x03").unwrap();
    let _ = child.wait();
    took.sort();
    let at = |share: f64| took.get(((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1))).copied();
    let shown = |share| at(share).unwrap_or_default().as_secs_f64() * 1e3;
    let within = took.iter().filter(|took| **took <= Duration::from_millis(16)).count();
    println!("{file}: {} keys while both engines work, {lost} without an answer", took.len());
    println!(
        "median {:.1} ms, 95 % {:.1} ms, 99 % {:.1} ms, longest {:.1} ms",
        shown(0.5),
        shown(0.95),
        shown(0.99),
        shown(1.0)
    );
    println!("{within} of {} within 16 ms", took.len());
}

/// When the mark of the selection was written.
fn answer(arrived: &Receiver<(Instant, Vec<u8>)>) -> Option<Instant> {
    let mark = "▌".as_bytes();
    loop {
        let (at, bytes) = arrived.recv_timeout(LOST).ok()?;
        if bytes.windows(mark.len()).any(|part| part == mark) {
            return Some(at);
        }
    }
}

/// Wait until this text has been written.
fn wait_for(arrived: &Receiver<(Instant, Vec<u8>)>, text: &str) {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        seen.extend(arrived.recv_timeout(Duration::from_secs(60)).unwrap().1);
    }
}
