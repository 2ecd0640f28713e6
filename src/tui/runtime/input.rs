//! The thread that reads the keyboard, and how it is made to wait while another program reads it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use ratatui::crossterm::event;

use super::Message;

/// How long the thread may take to stop reading. It may have ended, or hang on a terminal that is gone.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is woken until then.
const NUDGE: Duration = Duration::from_millis(20);

/// Who reads the keyboard.
#[derive(Debug, Clone, Default)]
pub(super) struct Input(Arc<(Mutex<Turn>, Condvar)>);

#[derive(Debug, Default)]
struct Turn {
    /// Somebody else wants to read.
    wanted: bool,
    /// The thread waits.
    waits: bool,
}

impl Input {
    /// Let the thread wait. It hangs on the terminal, so a change of size is pretended, which it takes in and then looks here.
    pub(super) fn pause(&self) {
        let (turn, changed) = &*self.0;
        let mut turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.wanted = true;
        let begun = Instant::now();
        while !turn.waits && begun.elapsed() < PATIENCE {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::WINCH);
            turn = changed.wait_timeout(turn, NUDGE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Let it read on.
    pub(super) fn resume(&self) {
        let (turn, changed) = &*self.0;
        turn.lock().unwrap_or_else(PoisonError::into_inner).wanted = false;
        changed.notify_all();
    }

    /// The thread's side: wait while somebody else reads.
    fn give_way(&self) {
        let (turn, changed) = &*self.0;
        let mut turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        while turn.wanted {
            turn.waits = true;
            changed.notify_all();
            turn = changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        turn.waits = false;
    }

    /// Read the keyboard until it is closed or nobody listens.
    pub(super) fn read(&self, messages: &Sender<Message>) {
        loop {
            self.give_way();
            let message = event::read().map_or(Message::InputClosed, Message::Input);
            let closed = matches!(message, Message::InputClosed);
            if messages.send(message).is_err() || closed {
                return;
            }
        }
    }
}
