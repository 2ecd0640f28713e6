//! The thread that keeps a session: it writes a moment after a change, and once more at the end.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::entries::{About, GraphRun, Mark, Measured, Note, Screen, Session};
use super::store::Store;
use super::time::Time;
use crate::typed::Edit;

/// How long after the first change that is not written yet.
const MOMENT: Duration = Duration::from_millis(250);
/// Of the time at most one part in so many is spent writing, however long a session is.
const SHARE: u32 = 10;
/// How long the end of the program waits for the last writing.
const LEAVING: Duration = Duration::from_secs(3);

/// Something changed that is to be kept. The keeper dates it.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The mark and the note of a module or a class.
    Noted(About, Option<Mark>, String),
    /// What was measured of the module at this path.
    Measured(String, Box<Measured>),
    /// The attributes that were typed before, and those that are now.
    Typed(Vec<Edit>, Vec<Edit>),
    /// A run of the graph.
    Graph(Box<GraphRun>),
    /// Where the user is.
    Screen(Box<Screen>),
    /// Keep it here from now on, and no longer where it was; or nowhere: then what is kept stays.
    Move(Option<Store>),
}

/// What the keeper tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// It is written; with the entries that another program has kept meanwhile, where there are any.
    Kept(Option<Box<Session>>),
    /// It is not written: why, in a sentence. It is tried again with the next change.
    Unkept(String),
}

enum Order {
    Change(Change),
    Flush(Sender<()>),
}

/// The thread, as long as this lives. Dropping it writes what is not written yet.
#[derive(Debug)]
pub struct Keeper {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Start it with the session as it was read. Without a store nothing is written until there is one.
    pub fn start(store: Option<Store>, session: Session, tell: impl Fn(Told) + Send + 'static) -> Keeper {
        let (orders, inbox) = unbounded();
        let keeping = Keeping { store, session, tell, due: None, pause: MOMENT };
        let thread = std::thread::Builder::new().name("keeper".to_owned()).spawn(move || keeping.run(&inbox)).ok();
        Keeper { orders: Some(orders), thread }
    }

    /// Keep a change.
    pub fn keep(&self, change: Change) {
        if let Some(orders) = &self.orders {
            // The thread ends with this handle.
            let _ = orders.send(Order::Change(change));
        }
    }

    /// Wait until everything is written, or for three seconds: the disk may hang.
    pub fn flush(&self) {
        let (done, wait) = bounded(1);
        if let Some(orders) = &self.orders
            && orders.send(Order::Flush(done)).is_ok()
        {
            let _ = wait.recv_timeout(LEAVING);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.flush();
        self.orders = None;
        // It may hang with the disk.
        drop(self.thread.take().filter(|thread| thread.is_finished()).map(JoinHandle::join));
    }
}

struct Keeping<F> {
    store: Option<Store>,
    session: Session,
    tell: F,
    /// When what has changed is written.
    due: Option<Instant>,
    pause: Duration,
}

impl<F: Fn(Told)> Keeping<F> {
    fn run(mut self, inbox: &Receiver<Order>) {
        loop {
            let order = match self.due {
                Some(due) => inbox.recv_deadline(due),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Change(change)) => {
                    self.take(change);
                    self.due = self.due.or_else(|| Some(Instant::now() + self.pause));
                }
                Ok(Order::Flush(done)) => {
                    self.write_due();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.write_due(),
                Err(RecvTimeoutError::Disconnected) => return self.write_due(),
            }
        }
    }

    fn take(&mut self, change: Change) {
        let at = Time::now();
        match change {
            Change::Noted(about, mark, note) => {
                self.session.notes.insert(about, Note { mark, note, at });
            }
            Change::Measured(path, measured) => {
                self.session.results.insert(path, Measured { at, ..*measured });
            }
            Change::Typed(before, now) => self.session.type_in(&before, &now, at),
            Change::Graph(run) => self.session.graph = Some(GraphRun { at, ..*run }),
            Change::Screen(screen) => self.session.screen = Some(Screen { at, ..*screen }),
            Change::Move(None) => {
                self.write_due();
                self.store = None;
            }
            Change::Move(store) => {
                let before = std::mem::replace(&mut self.store, store);
                if let Some(before) = before.filter(|before| self.store.as_ref() != Some(before)) {
                    self.leave(&before);
                }
            }
        }
    }

    /// Take a session away from where it was, once it is where it is to be.
    fn leave(&mut self, before: &Store) {
        if let Ok(Some(other)) = before.read() {
            self.session.merge(other);
        }
        if self.write()
            && let Err(why) = before.remove()
        {
            (self.tell)(Told::Unkept(why));
        }
    }

    fn write_due(&mut self) {
        if self.due.take().is_some() {
            self.write();
        }
    }

    /// Write it where it is kept; whether that went well.
    fn write(&mut self) -> bool {
        let Some(store) = &self.store else { return true };
        let begun = Instant::now();
        let own = self.session.clone();
        let written = store.write(&mut self.session);
        self.pause = MOMENT.max(begun.elapsed() * SHARE);
        match written {
            Ok(()) => {
                let others = self.session.without(&own);
                let none = others == Session::default();
                (self.tell)(Told::Kept((!none).then(|| Box::new(others))));
                true
            }
            Err(why) => {
                (self.tell)(Told::Unkept(why));
                false
            }
        }
    }
}
