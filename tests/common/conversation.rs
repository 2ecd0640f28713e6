//! Plays a conversation with an engine that says anything at any time, and holds the client's side to its promises. The
//! property tests and the fuzzer make the bytes that say what happens.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::conversation::{Asked, Conversation, LAST_LOOK, Outcome, Wants};
use t2m_engine::graph::{Ran, RanHeader, ResultHeader};
use t2m_engine::memory::Memory;
use t2m_engine::protocol::{Payload, Reply, TensorHeader, VERSION, read_frame_in, write_frame};
use t2m_engine::{EngineInfo, Side};

/// Memory that a conversation may take beside what has arrived, and how many times that. JSON takes more as values than as
/// text, and a growing buffer twice itself.
pub const MEMORY: usize = 1 << 20;
pub const MEMORY_RATIO: usize = 64;

/// What a conversation came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Bytes that the engine wrote, or put into memory.
    pub heard: usize,
    /// Answers that were taken.
    pub answers: usize,
    /// Whether it was over before its end.
    pub over: bool,
}

/// Plays what the bytes say, to the end.
pub fn play(script: &[u8]) -> Played {
    let mut table = Table::new();
    let mut script = Script(script);
    while let Some(step) = script.next() {
        table.step(step, &mut script);
    }
    table.end();
    table.played
}

/// Numbers out of bytes; zeros where there are none left.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or_default()
    }

    /// Mostly small, at times anything.
    fn number(&mut self) -> u64 {
        match self.byte() {
            255 => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            254 => u64::from(u32::from_le_bytes(std::array::from_fn(|_| self.byte()))),
            small => u64::from(small),
        }
    }
}

/// Both sides, and what is known of them independently.
struct Table {
    talk: Conversation,
    now: Instant,
    /// All that the engine wrote.
    written: Vec<u8>,
    waits: Option<Wait>,
    last_id: u64,
    /// What the engine puts into it.
    memory: Memory,
    shared: Option<Arc<Memory>>,
    played: Played,
}

/// A wait as the test knows it.
struct Wait {
    asked: Option<Asked>,
    settles: bool,
    /// How much had been written before.
    from: usize,
    until: Instant,
    noticed: Option<Instant>,
}

impl Table {
    fn new() -> Table {
        let (now, patience) = (Instant::now(), Duration::from_millis(1000));
        let waits = Some(Wait { asked: None, settles: false, from: 0, until: now + patience, noticed: None });
        let talk = Conversation::new(Side::Mlx, now, patience);
        let ours = Memory::new().expect("there is memory");
        let memory = Memory::accept(ours.offer()).expect("it is here");
        let mut table = Table {
            talk,
            now,
            written: Vec::new(),
            waits,
            last_id: 0,
            memory,
            shared: None,
            played: Played::default(),
        };
        table.shared = Some(Arc::new(ours));
        table
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        match step % 8 {
            0 => self.ask(script),
            1 | 2 => {
                let frame = self.frame(script);
                let cut = usize::from(script.byte()).min(frame.len());
                let (first, second) = frame.split_at(cut);
                self.hear(first);
                self.hear(second);
            }
            // What was asked for, as it should be.
            3 => {
                let frame = self.right_frame();
                self.hear(&frame);
            }
            4 => {
                let length = usize::from(script.byte() % 32);
                let bytes: Vec<u8> = (0..length).map(|_| script.byte()).collect();
                self.hear(&bytes);
            }
            5 => {
                self.now += Duration::from_millis(u64::from(script.byte()) * 10);
                let outcome = self.talk.tick(self.now);
                self.told(outcome);
            }
            6 => self.settle(u64::from(script.byte()) * 10),
            _ => match script.byte() {
                // Rarely: little comes after it.
                0 => {
                    let outcome = self.talk.closed();
                    self.told(Some(outcome));
                }
                // Before that an answer in memory is a mistake.
                1..60 => self.shared.iter().for_each(|memory| self.talk.share(Arc::clone(memory))),
                60..120 => {
                    let (reply, payload) = self.right_reply();
                    let length = payload.iter().map(|tensor| tensor.bytes.len()).sum::<usize>();
                    self.put(payload);
                    self.hear(&in_memory(frame(&reply, &[]), length as u64));
                }
                120.. => {
                    let (frame, claimed) = self.begun(script);
                    let length = (claimed as usize).min(300);
                    self.put(vec![TensorData { dtype: Dtype::Int8, shape: vec![length], bytes: vec![7; length] }]);
                    self.hear(&in_memory(frame, claimed));
                }
            },
        }
    }

    fn put(&mut self, payload: Vec<TensorData>) {
        self.memory.put(&payload.iter().collect::<Vec<_>>()).expect("there is room");
        self.played.heard += payload.iter().map(|tensor| tensor.bytes.len()).sum::<usize>();
    }

    fn ask(&mut self, script: &mut Script<'_>) {
        self.last_id += 1;
        let generation = u64::from(script.byte() % 3);
        let wants = match script.byte() {
            // More than may be taken beforehand.
            bound @ 200.. => Wants::Outputs { bound: u64::from(bound) << 20 },
            bound @ 150.. => Wants::Steps { runs: usize::from(bound % 3), bound: u64::from(bound) },
            bound @ 1.. => Wants::Outputs { bound: u64::from(bound) },
            0 => Wants::Loaded,
        };
        let asked = Asked { id: self.last_id, generation, wants };
        let patience = Duration::from_millis(u64::from(script.byte()) * 10);
        let free = self.waits.is_none() && !self.played.over;
        self.talk.ask(self.now, asked, patience);
        assert_eq!(free, self.talk.asked() == Some(asked), "one request at a time");
        if free {
            let from = self.written.len();
            let until = self.now + patience;
            self.waits = Some(Wait { asked: Some(asked), settles: false, from, until, noticed: None });
        }
    }

    fn settle(&mut self, milliseconds: u64) {
        let patience = Duration::from_millis(milliseconds);
        self.talk.settle(self.now, patience);
        if let Some(wait) = self.waits.as_mut().filter(|wait| wait.asked.is_some() && !wait.settles) {
            (wait.settles, wait.until, wait.noticed) = (true, self.now + patience, None);
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.written.extend_from_slice(bytes);
        self.played.heard += bytes.len();
        let outcome = self.talk.heard(self.now, bytes);
        self.told(outcome);
        // What followed the answer may have ended it.
        let outcome = self.talk.tick(self.now);
        self.told(outcome);
    }

    /// Hold what the conversation tells against what is known.
    fn told(&mut self, outcome: Option<Outcome>) {
        let over = matches!(outcome, Some(Outcome::Over(_)));
        assert!(!self.played.over || over, "it began anew: {outcome:?}");
        if over {
            self.played.over = true;
            self.waits = None;
            return;
        }
        if let Some(outcome) = outcome {
            let wait = self.waits.take().expect("nobody waits");
            self.justified(&outcome, &wait);
            self.played.answers += 1;
        }
        let Some(wait) = &mut self.waits else {
            assert_eq!(self.talk.until(), None);
            return;
        };
        // A wait passes its deadline by a last look and a step, whatever came meanwhile.
        if self.now >= wait.until {
            let noticed = *wait.noticed.get_or_insert(self.now);
            assert!(self.now < noticed + LAST_LOOK, "its time was over");
        }
    }

    /// Whether the engine wrote a frame that is this answer, since it was asked. Frames are found by the other reader.
    fn justified(&self, outcome: &Outcome, wait: &Wait) {
        let mut reader = Cursor::new(&self.written);
        while let Ok(Some((reply, payload))) = read_frame_in::<Reply>(&mut reader) {
            let since = reader.position() as usize > wait.from;
            if since && is(outcome, wait, &reply, payload, &self.memory) {
                return;
            }
        }
        panic!("nothing the engine wrote is {outcome:?}, for {:?}", wait.asked);
    }

    /// What the engine would write if it were well.
    fn right_frame(&self) -> Vec<u8> {
        let (reply, payload) = self.right_reply();
        frame(&reply, &payload.iter().collect::<Vec<_>>())
    }

    fn right_reply(&self) -> (Reply, Vec<TensorData>) {
        let Some(Asked { id, generation, wants }) = self.talk.asked() else { return (hello(), Vec::new()) };
        let tensor =
            |length: usize| TensorData { dtype: Dtype::Int8, shape: vec![length], bytes: vec![id as u8; length] };
        match wants {
            Wants::Loaded => (Reply::Loaded { id, generation }, Vec::new()),
            Wants::Outputs { bound } => {
                let output = tensor(bound.min(200) as usize);
                let outputs = vec![TensorHeader::of("", &output)];
                (Reply::Ran { id, generation, outputs, milliseconds: 1.0 }, vec![output])
            }
            Wants::Steps { runs, bound } => {
                let tensor = tensor((bound / runs.max(1) as u64).min(50) as usize);
                let headers = vec![stepped(&tensor); runs];
                (Reply::Stepped { id, generation, runs: headers }, vec![tensor; runs])
            }
        }
    }

    /// A frame that is right in part.
    fn frame(&self, script: &mut Script<'_>) -> Vec<u8> {
        let (mut frame, claimed) = self.begun(script);
        frame.extend(std::iter::repeat_n(7, (claimed as usize).min(300)));
        frame
    }

    /// Its beginning, and the length that it claims of its payload.
    fn begun(&self, script: &mut Script<'_>) -> (Vec<u8>, u64) {
        let id = self.last_id.wrapping_add(script.number()).wrapping_sub(1);
        let generation = script.number() % 4;
        let length = script.number();
        let outputs = || {
            let header = |shape| TensorHeader { name: String::new(), dtype: Dtype::Int8, shape };
            vec![header(vec![length as usize]); 1]
        };
        let reply = match script.byte() % 6 {
            0 => hello(),
            1 => Reply::Loaded { id, generation },
            2 => Reply::Failed { id, generation, message: "no".repeat(length as usize % 1000) },
            3 => Reply::Ran { id, generation, outputs: Vec::new(), milliseconds: 1.0 },
            4 => {
                let header = TensorHeader { name: String::new(), dtype: Dtype::Int8, shape: vec![length as usize] };
                let results = vec![
                    ResultHeader::Nothing,
                    ResultHeader::Tensor { header, place: None, sent: length.is_multiple_of(2) },
                ];
                let failure = length.is_multiple_of(3).then(|| "no".to_owned());
                Reply::Stepped { id, generation, runs: vec![RanHeader { results, milliseconds: 1.0, failure }] }
            }
            _ => Reply::Ran { id, generation, outputs: outputs(), milliseconds: 1.0 },
        };
        let mut frame = frame(&reply, &[]);
        let claimed = if script.byte().is_multiple_of(2) { length } else { script.number() };
        frame[4..12].copy_from_slice(&claimed.to_le_bytes());
        (frame, claimed)
    }

    /// However it went, no wait is for ever.
    fn end(&mut self) {
        for _ in 0..8 {
            self.now += Duration::from_secs(1);
            let outcome = self.talk.tick(self.now);
            self.told(outcome);
        }
        assert!(self.waits.is_none(), "it waits on");
    }
}

fn frame(reply: &Reply, payload: &[&TensorData]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, reply, payload).expect("a vector takes everything");
    frame
}

/// The beginning of a frame whose payload, of that length, lies in memory.
fn in_memory(mut frame: Vec<u8>, length: u64) -> Vec<u8> {
    frame[4..12].copy_from_slice(&(length | 1 << 63).to_le_bytes());
    frame
}

/// A run whose only result is this tensor, sent.
fn stepped(tensor: &TensorData) -> RanHeader {
    let header = TensorHeader::of("", tensor);
    RanHeader {
        results: vec![ResultHeader::Tensor { header, place: None, sent: true }],
        milliseconds: 1.0,
        failure: None,
    }
}

fn hello() -> Reply {
    let text = || "x".to_owned();
    let engine = Side::Mlx.program().to_owned();
    Reply::Hello(EngineInfo { protocol: VERSION, engine, version: text(), device: text(), flags: Default::default() })
}

/// Whether that reply is what was told.
fn is(outcome: &Outcome, wait: &Wait, reply: &Reply, payload: Payload, memory: &Memory) -> bool {
    let address = match reply {
        Reply::Hello(_) => None,
        Reply::Loaded { id, generation }
        | Reply::Ran { id, generation, .. }
        | Reply::Stepped { id, generation, .. }
        | Reply::Failed { id, generation, .. } => Some((*id, *generation)),
    };
    if address != wait.asked.map(|asked| (asked.id, asked.generation)) {
        return false;
    }
    let wants = wait.asked.map(|asked| asked.wants);
    let length = match &payload {
        Payload::Behind(bytes) => bytes.len() as u64,
        Payload::InMemory(length) => *length,
    };
    match (outcome, reply) {
        (Outcome::Settled, _) => wait.settles,
        (Outcome::Greeted(info), Reply::Hello(said)) => info == said && length == 0,
        (Outcome::Loaded, Reply::Loaded { .. }) => wants == Some(Wants::Loaded) && length == 0,
        (Outcome::Refused(message), Reply::Failed { message: said, .. }) => message == said && length == 0,
        (Outcome::Ran(output), Reply::Ran { outputs, .. }) => {
            let within = matches!(wants, Some(Wants::Outputs { bound }) if length <= bound);
            within && payload.tensors(outputs, Some(memory)).is_ok_and(|tensors| tensors == output.tensors)
        }
        (Outcome::Stepped(ran), Reply::Stepped { runs, .. }) => {
            let Some(Wants::Steps { runs: asked, bound }) = wants else { return false };
            let sent: Vec<TensorHeader> = runs.iter().flat_map(RanHeader::sent).cloned().collect();
            let within = length <= bound && runs.len() == asked;
            within
                && payload.tensors(&sent, Some(memory)).is_ok_and(|tensors| {
                    let mut tensors = tensors.into_iter();
                    let told: Vec<Ran> = runs.iter().map(|run| Ran::from_header(run.clone(), &mut tensors)).collect();
                    told == *ran
                })
        }
        _ => false,
    }
}
