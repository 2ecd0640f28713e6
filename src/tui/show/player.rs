//! Who plays a script: a thread that types like a user, and waits for what the screen shows.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use super::Told;
use super::script::{Act, Step, Until};

/// What passes between two keys, and between two letters of a text.
const KEY: Duration = Duration::from_millis(140);
const LETTER: Duration = Duration::from_millis(70);
/// How often time passes in a recording while something is waited for.
const BEAT: Duration = Duration::from_millis(100);
/// How long the screen may take for what needs no engine.
const SOON: Duration = Duration::from_secs(60);

/// What was on the screen in its last frame.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// How much of the script had arrived.
    pub played: u64,
    /// The rows.
    pub text: String,
    /// Whether the file was open, or could not be opened.
    pub opened: bool,
    /// Whether something ran.
    pub moving: bool,
    /// Whether there was a result.
    pub measured: bool,
    /// Whether the source had its colours.
    pub settled: bool,
}

/// Where the loop tells what it has drawn.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<(Mutex<Seen>, Condvar)>);

impl Watch {
    /// A frame was drawn.
    pub fn tell(&self, seen: Seen) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        self.0.1.notify_all();
    }

    /// Wait until a frame fulfils a condition, so long at most. Returns whether one did.
    fn wait(&self, patience: Duration, fulfils: impl Fn(&Seen) -> bool) -> bool {
        let seen = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(seen, patience, |seen| !fulfils(seen));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// What the player sends.
#[derive(Debug, Clone)]
pub enum Sent {
    /// A key.
    Key(Event),
    /// Anything else.
    Told(Told),
}

/// Plays a script.
pub struct Player<S: Fn(Sent) -> bool> {
    /// Where to; false once nobody listens.
    pub send: S,
    /// What was drawn.
    pub watch: Watch,
    /// Whether time passes in the recording alone, and not for whoever looks on.
    pub told: bool,
    /// Counts what was sent.
    sent: u64,
}

/// Why a script is not played to its end.
enum Stop {
    /// Nobody listens.
    Gone,
    /// In words.
    Vain(String),
}

impl<S: Fn(Sent) -> bool> Player<S> {
    /// A player that has not begun.
    pub fn new(send: S, watch: Watch, told: bool) -> Player<S> {
        Player { send, watch, told, sent: 0 }
    }

    /// Play all of it, and say that it is at its end.
    pub fn play(mut self, name: &str, steps: &[Step]) {
        // However long it takes to open the file, the recording begins with it.
        let opened = self.watch.wait(SOON, |seen| seen.opened);
        let ended = if opened { self.synchronise() } else { Err(Stop::Vain(vain(&Until::Opened))) };
        let ended = ended
            .map_err(|stop| (1, stop))
            .and_then(|()| steps.iter().try_for_each(|step| self.step(&step.act).map_err(|stop| (step.line, stop))));
        let told = match ended {
            Ok(()) => Ok(()),
            Err((_, Stop::Gone)) => return,
            Err((line, Stop::Vain(words))) => Err(format!("{name}:{line}: {words}")),
        };
        (self.send)(Sent::Told(Told::Ended(told)));
    }

    fn step(&mut self, act: &Act) -> Result<(), Stop> {
        match act {
            Act::Keys(keys) => keys.iter().try_for_each(|key| self.key(*key, KEY)),
            Act::Type(text) => text
                .chars()
                .try_for_each(|letter| self.key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE), LETTER)),
            Act::Wait(time) => self.pass(*time),
            Act::Until(until, patience) => self.until(until, *patience),
            Act::Say(words) => {
                self.say(Sent::Told(Told::Caption(Some(words.clone()).filter(|words| !words.is_empty()))))?;
                self.synchronise()
            }
        }
    }

    fn key(&mut self, key: KeyEvent, pause: Duration) -> Result<(), Stop> {
        self.say(Sent::Key(Event::Key(key)))?;
        self.synchronise()?;
        self.pass(pause)
    }

    fn say(&self, sent: Sent) -> Result<(), Stop> {
        if (self.send)(sent) { Ok(()) } else { Err(Stop::Gone) }
    }

    /// Wait until what was sent so far is on the screen, with its colours.
    fn synchronise(&mut self) -> Result<(), Stop> {
        self.sent += 1;
        let sent = self.sent;
        self.say(Sent::Told(Told::Said(sent)))?;
        if self.watch.wait(SOON, |seen| seen.played >= sent && seen.settled) {
            return Ok(());
        }
        Err(Stop::Vain(format!("the screen showed nothing for {} s", SOON.as_secs())))
    }

    fn pass(&self, time: Duration) -> Result<(), Stop> {
        if !self.told {
            thread::sleep(time);
        }
        self.say(Sent::Told(Told::Passed(time)))
    }

    fn until(&mut self, until: &Until, patience: Duration) -> Result<(), Stop> {
        let fulfils = |seen: &Seen| match until {
            Until::Opened => seen.opened,
            Until::Measured => seen.measured && !seen.moving,
            Until::Idle => !seen.moving,
            Until::Text(text) => seen.text.contains(text.as_str()),
        };
        let begun = Instant::now();
        while !self.watch.wait(BEAT, fulfils) {
            if begun.elapsed() >= patience {
                return Err(Stop::Vain(format!("{} s passed, and {}", patience.as_secs(), vain(until))));
            }
            self.say(Sent::Told(Told::Passed(BEAT)))?;
        }
        Ok(())
    }
}

fn vain(until: &Until) -> String {
    match until {
        Until::Opened => "the file is not open".to_owned(),
        Until::Measured => "the measurement is not at its end".to_owned(),
        Until::Idle => "something still runs".to_owned(),
        Until::Text(text) => format!("the screen does not show \"{text}\""),
    }
}
