//! The client and an engine that misbehaves in every way: each end is told in words, and the next run works.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::assert_gone;
use crossbeam_channel::{Receiver, unbounded};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client::{CancelToken, Client, Error, Output};
use t2m_engine::process::Program;
use t2m_engine::{EngineState, ModuleSpec, Side};

struct Bench {
    client: Client,
    cancel: CancelToken,
    states: Receiver<(Side, EngineState)>,
}

/// An engine that misbehaves in the way that its argument names.
fn fake_engine() -> PathBuf {
    env!("CARGO_BIN_EXE_fake-engine").into()
}

fn bench(arguments: &[&str], deadline: Duration) -> Bench {
    let (sender, states) = unbounded();
    let cancel = CancelToken::default();
    let program = Program { arguments: arguments.iter().map(Into::into).collect(), ..Program::at(fake_engine()) };
    let listener = Box::new(move |side, state| drop(sender.send((side, state))));
    let client = Client::new(Side::Mlx, deadline, cancel.clone(), listener).with_program(program);
    Bench { client, cancel, states }
}

fn patient() -> Bench {
    bench(&[], Duration::from_secs(60))
}

fn input() -> TensorData {
    TensorData { dtype: Dtype::Float32, shape: vec![2, 1], bytes: vec![0, 1, 2, 3, 4, 5, 6, 7] }
}

impl Bench {
    fn start(&mut self, kind: &str) -> Result<(), Error> {
        let module = ModuleSpec { kind: kind.to_owned(), ..ModuleSpec::default() };
        self.client.start_load(self.cancel.generation(), &module, &[("weight".to_owned(), input())])?;
        self.client.finish_load()?;
        self.client.start_run(self.cancel.generation(), &[input()], Dtype::Float32)
    }

    fn run(&mut self, kind: &str) -> Result<Output, Error> {
        self.start(kind)?;
        self.client.finish_run()
    }

    /// Loads and runs a layer that leaves a process behind, and returns how that went, and the process's number.
    fn run_with_child(&mut self, kind: &str) -> (Result<Output, Error>, String) {
        let folder = tempfile::tempdir().unwrap();
        let child = folder.path().join("child");
        let mut args = serde_json::Map::new();
        args.insert("child".to_owned(), child.to_str().unwrap().into());
        let module = ModuleSpec { kind: kind.to_owned(), args, ..ModuleSpec::default() };
        self.client.start_load(self.cancel.generation(), &module, &[]).unwrap();
        self.client.finish_load().unwrap();
        self.client.start_run(self.cancel.generation(), &[input()], Dtype::Float32).unwrap();
        let result = self.client.finish_run();
        (result, std::fs::read_to_string(&child).unwrap())
    }

    /// Runs a layer that works, on whatever is left of the engine.
    fn works(&mut self) {
        assert_eq!(self.run("echo"), Ok(Output { tensors: vec![input()], milliseconds: 0.25 }));
    }

    /// What the screen would have heard so far.
    fn heard(&self) -> Vec<String> {
        let word = |(side, state)| {
            assert_eq!(side, Side::Mlx);
            match state {
                EngineState::Idle => "idle".to_owned(),
                EngineState::Starting => "starting".to_owned(),
                EngineState::Ready(info) => format!("ready: {} {}", info.engine, info.version),
                EngineState::Down(reason) => format!("down: {reason}"),
            }
        };
        self.states.try_iter().map(word).collect()
    }
}

#[test]
fn a_layer_is_loaded_and_run_on_an_engine_started_once() {
    let mut bench = patient();
    assert_eq!(bench.heard(), [] as [String; 0]);
    bench.works();
    bench.works();
    assert_eq!(bench.heard(), ["starting", "ready: t2m-mlx 1.2.3"]);
    assert_eq!(bench.client.info().unwrap().flags["MLX_ENABLE_TF32"], "0");
}

#[test]
fn an_engine_that_was_begun_is_the_one_that_runs() {
    let mut bench = patient();
    bench.client.begin();
    bench.client.begin();
    assert_eq!((bench.heard(), bench.client.is_ready()), (vec!["starting".to_owned()], false));
    bench.works();
    assert_eq!((bench.heard(), bench.client.starts()), (vec!["ready: t2m-mlx 1.2.3".to_owned()], 1));
    bench.client.begin();
    assert!(bench.heard().is_empty() && bench.client.is_ready(), "it runs already");
    let mut missing = patient().client.with_program(Program::at("/nowhere/t2m-mlx".into()));
    missing.begin();
    assert!(missing.info().is_err() && !missing.is_ready());
}

#[test]
fn a_missing_program_is_named() {
    let mut bench = patient();
    let gone = Program::at("/nowhere/t2m-mlx".into());
    bench.client = bench.client.with_program(gone);
    let reason = bench.client.info().unwrap_err().to_string();
    assert!(reason.starts_with("/nowhere/t2m-mlx cannot be started: No such file"), "{reason}");
    assert_eq!(bench.heard(), ["starting".to_owned(), format!("down: {reason}")]);
    bench.client = bench.client.with_program(Program::at(fake_engine()));
    bench.works();
}

#[test]
fn an_abort_in_the_middle_of_a_run_is_a_result() {
    let mut bench = patient();
    let reason = "t2m-mlx: engine crashed: signal 6 (SIGABRT); \
                  it said: first words / corrupted \\u{1b}[31msize vs. prev_size";
    assert_eq!(bench.run("abort"), Err(Error::Down(reason.to_owned())));
    bench.works();
    let ready = "ready: t2m-mlx 1.2.3";
    assert_eq!(bench.heard(), ["starting", ready, &format!("down: {reason}"), "starting", ready]);
}

#[test]
fn an_exit_is_told_with_its_code() {
    let mut bench = patient();
    assert_eq!(bench.run("exit"), Err(Error::Down("t2m-mlx: engine exited with code 3".to_owned())));
    bench.works();
    let mut silent = self::bench(&["--silent"], Duration::from_secs(60));
    let reason = "t2m-mlx: engine exited with code 3; it said: no licence";
    let down = || Err(Error::Down(reason.to_owned()));
    assert_eq!(silent.client.info(), down());
    // It is not tried again for every layer of a run, only when somebody asks for another.
    assert_eq!(silent.client.info(), down());
    assert_eq!(silent.heard(), ["starting".to_owned(), format!("down: {reason}")]);
    silent.client.allow_start();
    assert_eq!(silent.client.info(), down());
    assert_eq!(silent.heard(), ["starting".to_owned(), format!("down: {reason}")]);
}

#[test]
fn the_other_engine_in_its_place_is_noticed() {
    let program = Program::at(fake_engine());
    let listener = Box::new(|_, _| ());
    let mut client = Client::new(Side::Torch, Duration::from_secs(60), CancelToken::default(), listener);
    client = client.with_program(program);
    let reason = "t2m-torch: engine is none: the program is a t2m-mlx; T2M_TORCH has to name a t2m-torch".to_owned();
    assert_eq!(client.info(), Err(Error::Down(reason)));
}

#[test]
fn a_death_between_two_requests_is_noticed_at_the_next() {
    let mut bench = patient();
    let module = ModuleSpec { kind: "die-idle".to_owned(), ..ModuleSpec::default() };
    bench.client.start_load(0, &module, &[]).unwrap();
    bench.client.finish_load().unwrap();
    thread::sleep(Duration::from_millis(300));
    let reason = "t2m-mlx: engine exited with code 7".to_owned();
    assert_eq!(bench.client.start_run(0, &[input()], Dtype::Float32), Err(Error::Down(reason)));
    bench.works();
}

#[test]
fn an_engine_that_hangs_is_ended_at_the_deadline() {
    let mut bench = bench(&[], Duration::from_millis(500));
    let reason = "t2m-mlx: engine did not answer within 0.5 s and was ended".to_owned();
    assert_eq!(bench.run("hang"), Err(Error::Down(reason)));
    bench.works();
}

#[test]
fn another_protocol_is_told_with_both_numbers() {
    let mut bench = bench(&["--other-protocol"], Duration::from_secs(60));
    let reason = "t2m-mlx: engine speaks protocol 7, this program speaks 6; install both from the same version";
    assert_eq!(bench.client.info(), Err(Error::Down(reason.to_owned())));
    bench.client = bench.client.with_program(Program::at(fake_engine()));
    bench.works();
}

#[test]
fn garbage_on_the_pipe_ends_the_engine() {
    let mut bench = bench(&["--garbage"], Duration::from_secs(60));
    let reason = "t2m-mlx: engine wrote what is not its protocol and was ended: \
                  this is not a frame of the engine protocol";
    assert_eq!(bench.run("echo"), Err(Error::Down(reason.to_owned())));
    bench.client = bench.client.with_program(Program::at(fake_engine()));
    bench.works();
}

#[test]
fn a_library_may_print_and_panic() {
    let mut bench = patient();
    assert_eq!(bench.run("print").unwrap().tensors[0], input());
    assert_eq!(bench.run("panic"), Err(Error::Refused("shapes (2,3) and (4,5) do not fit".to_owned())));
    assert_eq!(bench.run("refuse"), Err(Error::Refused("no layer of 1 tensors".to_owned())));
    bench.works();
    assert_eq!(bench.heard(), ["starting", "ready: t2m-mlx 1.2.3"], "it is one engine all the time");
}

#[test]
fn replies_to_older_requests_are_dropped() {
    let mut bench = bench(&["--stale"], Duration::from_secs(60));
    bench.works();
    bench.works();
}

#[test]
fn a_cancelled_run_ends_at_once_where_the_engine_goes_along() {
    let mut bench = patient();
    bench.start("slow").unwrap();
    let cancel = bench.cancel.clone();
    let canceller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        cancel.cancel();
    });
    assert_eq!(bench.client.finish_run(), Err(Error::Cancelled));
    canceller.join().unwrap();
    bench.works();
    assert_eq!(bench.heard(), ["starting", "ready: t2m-mlx 1.2.3"], "nobody was killed");
}

#[test]
fn a_cancelled_run_that_goes_on_is_killed_after_a_grace_period() {
    let mut bench = patient();
    let folder = tempfile::tempdir().unwrap();
    let started = folder.path().join("started");
    let mut args = serde_json::Map::new();
    args.insert("started".to_owned(), started.to_str().unwrap().into());
    bench.client.start_load(0, &ModuleSpec { kind: "hang".to_owned(), args, ..ModuleSpec::default() }, &[]).unwrap();
    bench.client.finish_load().unwrap();
    bench.client.start_run(0, &[input()], Dtype::Float32).unwrap();
    let begun = Instant::now();
    while !started.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the run never began");
        thread::sleep(Duration::from_millis(5));
    }
    bench.cancel.cancel();
    let begun = Instant::now();
    assert_eq!(bench.client.finish_run(), Err(Error::Cancelled));
    assert!(begun.elapsed() < Duration::from_secs(30), "it did not wait for the deadline");
    assert_eq!(bench.heard(), ["starting", "ready: t2m-mlx 1.2.3", "idle"]);
    bench.works();
}

#[test]
fn an_abandoned_request_does_not_answer_the_next_one() {
    let mut bench = patient();
    bench.start("slow").unwrap();
    bench.works();
    assert_eq!(bench.heard(), ["starting", "ready: t2m-mlx 1.2.3"]);
}

#[test]
fn a_run_needs_a_layer() {
    let mut bench = patient();
    let reason = "t2m-mlx: engine holds no layer; load one first".to_owned();
    assert_eq!(bench.client.start_run(0, &[input()], Dtype::Float32), Err(Error::Down(reason)));
    let reason = "t2m-mlx: engine was asked nothing".to_owned();
    assert_eq!(bench.client.finish_run(), Err(Error::Down(reason)));
}

#[test]
fn dropping_the_client_ends_the_engine() {
    let mut bench = patient();
    bench.start("hang").unwrap();
    let begun = Instant::now();
    drop(bench.client);
    assert!(begun.elapsed() < Duration::from_secs(30), "it did not wait for the run");
}

/// Long enough for a machine that is busy with other things, and soon over.
const DEADLINE: Duration = Duration::from_millis(500);

fn late() -> Result<Output, Error> {
    Err(Error::Down("t2m-mlx: engine did not answer within 0.5 s and was ended".to_owned()))
}

#[test]
fn a_flood_of_answers_to_nobody_does_not_move_the_deadline() {
    assert_eq!(bench(&["--flood"], DEADLINE).run("echo"), late());
}

#[test]
fn a_flood_between_two_requests_holds_up_nobody() {
    let mut bench = bench(&["--flood"], DEADLINE);
    bench.client.info().unwrap();
    thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    bench.client.info().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30), "it read on for as long as something came");
    assert_eq!(bench.run("echo"), late());
}

#[test]
fn an_answer_that_comes_a_byte_at_a_time_does_not_move_the_deadline() {
    assert_eq!(bench(&["--dripping-answer"], DEADLINE).run("echo"), late());
}

#[test]
fn a_greeting_that_comes_a_byte_at_a_time_is_given_up() {
    let mut bench = bench(&["--dripping-greeting"], Duration::from_secs(3600));
    bench.client = bench.client.with_greeting(DEADLINE);
    assert_eq!(bench.run("echo"), silent("0.5"));
}

fn silent(seconds: &str) -> Result<Output, Error> {
    let how =
        format!("did not greet within {seconds} s and was ended; `t2m-tui verify --deadline SECONDS` waits longer");
    Err(Error::Down(format!("t2m-mlx: engine {how}")))
}

/// What the user gives an engine for its answers it has for its start, and no less than a start needs.
#[test]
fn the_deadline_is_that_of_the_greeting_too() {
    thread::scope(|scope| {
        for (deadline, waited) in [(Duration::from_millis(100), "5"), (Duration::from_millis(5500), "5.5")] {
            scope.spawn(move || assert_eq!(bench(&["--dripping-greeting"], deadline).run("echo"), silent(waited)));
        }
    });
}

#[test]
fn an_engine_that_does_not_read_is_ended_at_the_deadline() {
    let mut bench = bench(&["--deaf"], DEADLINE);
    // More than a pipe holds.
    let large = TensorData { dtype: Dtype::Int8, shape: vec![8 << 20], bytes: vec![0; 8 << 20] };
    bench.client.start_load(0, &ModuleSpec::default(), &[("weight".to_owned(), large)]).unwrap();
    assert_eq!(bench.client.finish_load(), late().map(|_| ()));
}

#[test]
fn an_answer_after_the_deadline_is_none() {
    let mut bench = bench(&[], DEADLINE);
    assert_eq!(bench.run("late"), late());
    bench.works();
}

#[test]
fn an_engine_that_floods_its_standard_error_is_ended_at_the_deadline() {
    let mut bench = bench(&[], DEADLINE);
    assert_eq!(bench.run("flood-errors"), late());
    bench.works();
}

#[test]
fn an_engine_that_closes_its_output_and_lives_is_ended() {
    let mut bench = bench(&["--closing"], Duration::from_secs(3600));
    let reason = "t2m-mlx: engine closed its output and was ended".to_owned();
    assert_eq!(bench.run("echo"), Err(Error::Down(reason)));
}

#[test]
fn a_greeting_has_no_payload() {
    let sent = "sent 68719476736 bytes behind a reply that has none and was ended";
    for fault in ["--huge-greeting", "--endless-greeting"] {
        let mut bench = bench(&[fault], Duration::from_secs(3600));
        assert_eq!(bench.client.info(), Err(Error::Down(format!("t2m-mlx: engine {sent}"))), "{fault}");
    }
}

#[test]
fn an_output_is_as_large_as_its_request_allows() {
    // 8 bytes of layer and 8 of input.
    let bound = (256 << 20) + 64 * 16;
    let mut huge = bench(&["--huge-output"], Duration::from_secs(3600));
    let reason = format!(
        "t2m-mlx: engine sent an output of {} bytes where at most {bound} were expected and was ended",
        4u64 << 33
    );
    assert_eq!(huge.run("echo"), Err(Error::Down(reason)));
    let mut overflowing = bench(&["--overflowing-output"], Duration::from_secs(3600));
    let reason = "t2m-mlx: engine sent a broken output and was ended: \
                  a frame's payload is not as long as its header says";
    assert_eq!(overflowing.run("echo"), Err(Error::Down(reason.to_owned())));
}

/// More than goes behind a header.
fn large() -> TensorData {
    let bytes: Vec<u8> = (0..400_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 9) as u8).collect();
    TensorData { dtype: Dtype::Float32, shape: vec![100, 1000], bytes }
}

/// What the engine makes of a large layer and a large input, and whether they went by memory.
fn echoed(client: &mut Client) -> (Result<Output, Error>, bool) {
    let module = ModuleSpec { kind: "echo".to_owned(), ..ModuleSpec::default() };
    client.start_load(0, &module, &[("weight".to_owned(), large())]).unwrap();
    client.finish_load().unwrap();
    client.start_run(0, &[large()], Dtype::Float32).unwrap();
    (client.finish_run(), client.shares_memory())
}

#[test]
fn what_goes_by_memory_arrives_as_by_the_pipe() {
    let output = Ok(Output { tensors: vec![large()], milliseconds: 0.25 });
    let mut shared = patient();
    assert_eq!(echoed(&mut shared.client), (output.clone(), true));
    assert_eq!(echoed(&mut shared.client), (output.clone(), true), "it is used again");
    assert_eq!(echoed(&mut patient().client.by_pipe()), (output, false));
}

#[test]
fn an_engine_that_does_not_get_the_memory_is_talked_to_by_the_pipe() {
    let closes = "for file in /dev/fd/*; do number=${file##*/}; [ $number -gt 2 ] && eval \"exec $number>&-\"; done; \
                  exec \"$0\"";
    let arguments = vec!["-c".into(), closes.into(), fake_engine().into()];
    let mut client = patient().client.with_program(Program { arguments, ..Program::at("/bin/bash".into()) });
    assert_eq!(echoed(&mut client), (Ok(Output { tensors: vec![large()], milliseconds: 0.25 }), false));
}

#[test]
fn an_answer_in_memory_that_is_not_there_ends_the_engine() {
    let none = "t2m-mlx: engine sent a broken output and was ended: a frame's payload is in memory, and none is shared";
    assert_eq!(bench(&["--memory-unasked"], DEADLINE * 10).run("echo"), Err(Error::Down(none.to_owned())));
    let cut = "t2m-mlx: engine sent a broken output and was ended: it is longer than the memory that it is in";
    assert_eq!(bench(&["--memory-cut"], DEADLINE * 10).run("echo"), Err(Error::Down(cut.to_owned())));
}

#[test]
fn an_engine_that_exits_is_not_waited_for_where_its_child_holds_the_pipes() {
    let mut bench = bench(&[], Duration::from_secs(3600));
    let (result, child) = bench.run_with_child("leave-child");
    assert_eq!(result, Err(Error::Down("t2m-mlx: engine exited with code 3".to_owned())));
    assert_gone(&child);
    bench.works();
}

#[test]
fn what_an_engine_has_started_ends_with_it() {
    // Time enough to start it.
    let mut bench = bench(&[], Duration::from_secs(5));
    let (result, child) = bench.run_with_child("hang-with-child");
    let reason = "t2m-mlx: engine did not answer within 5 s and was ended".to_owned();
    assert_eq!(result, Err(Error::Down(reason)));
    assert_gone(&child);
}

/// Without its keeper an engine is on its own: it has to see that its input has closed.
#[test]
fn an_engine_ends_with_its_input_in_the_middle_of_a_run() {
    use t2m_engine::protocol::{Reply, Request, TensorHeader, VERSION, read_frame, write_frame};
    let mut command = std::process::Command::new(fake_engine());
    let mut engine = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (engine.stdin.take().unwrap(), engine.stdout.take().unwrap());
    let module = Box::new(ModuleSpec { kind: "hang".to_owned(), ..ModuleSpec::default() });
    let inputs = vec![TensorHeader::of("", &self::input())];
    write_frame(&mut input, &Request::Hello { protocol: VERSION, memory: None }, &[]).unwrap();
    write_frame(&mut input, &Request::Load { id: 1, generation: 0, module, tensors: Vec::new() }, &[]).unwrap();
    let run = Request::Run { id: 2, generation: 0, inputs, compute: Dtype::Float32 };
    write_frame(&mut input, &run, &[&self::input()]).unwrap();
    for _ in 0..2 {
        read_frame::<Reply>(&mut output).unwrap().unwrap();
    }
    drop(input);
    engine.wait().unwrap();
}
