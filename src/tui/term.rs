//! The terminal: taking it, giving it back however the program ends, suspending, and the signals that ask for that.
//!
//! [`restore`] switches off again, in reverse order, whatever was switched on. It may be called at any time and any
//! number of times: when the guard is dropped, by the panic hook, before a stop.

use std::io::{self, Write};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use signal_hook::consts::{SIGCONT, SIGTSTP};
use signal_hook::iterator::{Handle, Signals};

use crate::interrupt;
use t2m_checkpoint::escape::escape;

/// How long a terminal may take to be given back at a signal.
const FAREWELL: Duration = Duration::from_millis(30);

/// Whether the terminal is ours at the moment.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether another program works in the terminal: ctrl-z there stops it and us alike.
static AWAY: AtomicBool = AtomicBool::new(false);

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// End: a signal says so, which waits a little.
    End,
    /// Stop until continued.
    Suspend,
    /// We were continued, whoever stopped us: the terminal may be in any state.
    Continued,
}

/// What the loop needs of a terminal besides drawing.
pub trait Console {
    /// A frame begins.
    ///
    /// # Errors
    /// The terminal is gone.
    fn begin_frame(&mut self) -> io::Result<()>;
    /// The frame is complete.
    ///
    /// # Errors
    /// The terminal is gone.
    fn end_frame(&mut self) -> io::Result<()>;
    /// Capture the mouse or let it go.
    ///
    /// # Errors
    /// The terminal is gone.
    fn set_mouse(&mut self, on: bool) -> io::Result<()>;
    /// Tell whoever is elsewhere that something long is over: by the bell, or in words by OSC 9.
    ///
    /// # Errors
    /// The terminal is gone.
    fn notify(&mut self, _words: Option<&str>) -> io::Result<()> {
        Ok(())
    }
    /// Give the terminal back, stop, and take it again when continued.
    ///
    /// # Errors
    /// The terminal is gone.
    fn suspend(&mut self) -> io::Result<()>;
    /// Take the terminal again, whatever state it is in.
    ///
    /// # Errors
    /// The terminal is gone.
    fn retake(&mut self) -> io::Result<()>;
    /// Send the terminal something that it does not show.
    ///
    /// # Errors
    /// The terminal is gone.
    fn send(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
    /// Give the terminal back for as long as another program works in it, and take it again.
    ///
    /// # Errors
    /// The terminal is gone.
    fn away(&mut self, work: &mut dyn FnMut()) -> io::Result<()> {
        work();
        Ok(())
    }
}

type Hook = dyn Fn(&panic::PanicHookInfo<'_>) + Send + Sync;

/// Holds the terminal. Dropping it gives back the terminal and the previous panic hook.
pub struct Guard {
    mouse: bool,
    /// We stopped and took the terminal again ourselves: the signal that says so has not arrived yet.
    resumed: bool,
    hook: Arc<Hook>,
}

impl Guard {
    /// Take the terminal: raw, on the alternate screen, with bracketed paste and, if asked for, the mouse.
    ///
    /// A panic of this thread then gives the terminal back before it is printed. A panic of any other thread leaves the
    /// terminal alone; its message goes to `panics`.
    ///
    /// # Errors
    /// There is no terminal.
    pub fn take(mouse: bool, panics: impl Fn(String) + Send + Sync + 'static) -> io::Result<Guard> {
        let hook: Arc<Hook> = Arc::from(panic::take_hook());
        let (before, screen) = (hook.clone(), thread::current().id());
        panic::set_hook(Box::new(move |info| {
            if thread::current().id() == screen {
                restore();
                before(info);
            } else {
                panics(describe(info));
            }
        }));
        let guard = Guard { mouse, resumed: false, hook };
        take(mouse)?;
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
        // A panicking thread cannot change the hook, and need not.
        if !thread::panicking() {
            let hook = self.hook.clone();
            panic::set_hook(Box::new(move |info| hook(info)));
        }
    }
}

impl Console for Guard {
    fn begin_frame(&mut self) -> io::Result<()> {
        execute!(io::stdout(), BeginSynchronizedUpdate)
    }

    fn end_frame(&mut self) -> io::Result<()> {
        execute!(io::stdout(), EndSynchronizedUpdate)
    }

    fn set_mouse(&mut self, on: bool) -> io::Result<()> {
        self.mouse = on;
        if on { execute!(io::stdout(), EnableMouseCapture) } else { execute!(io::stdout(), DisableMouseCapture) }
    }

    fn notify(&mut self, words: Option<&str>) -> io::Result<()> {
        let mut out = io::stdout();
        match words {
            // What begins so is taken as text up to the bell, which ends it.
            Some(words) => write!(out, "\x1b]9;{}\x07", escape(words))?,
            None => out.write_all(b"\x07")?,
        }
        out.flush()
    }

    fn suspend(&mut self) -> io::Result<()> {
        restore();
        // The whole group, so that a shell or a script above us sees the job stop.
        rustix::process::kill_current_process_group(rustix::process::Signal::STOP)?;
        self.resumed = true;
        take(self.mouse)
    }

    fn retake(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.resumed) {
            return Ok(());
        }
        // Another program may have changed the modes, so they are set again.
        let _ = disable_raw_mode();
        take(self.mouse)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(bytes)?;
        out.flush()
    }

    fn away(&mut self, work: &mut dyn FnMut()) -> io::Result<()> {
        restore();
        AWAY.store(true, Ordering::SeqCst);
        interrupt::leave_keyboard(true);
        work();
        interrupt::leave_keyboard(false);
        AWAY.store(false, Ordering::SeqCst);
        take(self.mouse)
    }
}

fn take(mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, Hide)?;
    if mouse { execute!(io::stdout(), EnableMouseCapture) } else { Ok(()) }
}

/// Give the terminal back, if we hold it. Errors are ignored: the terminal may be gone.
pub fn restore() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = io::stdout();
    let _ =
        execute!(out, EndSynchronizedUpdate, DisableMouseCapture, DisableBracketedPaste, Show, LeaveAlternateScreen);
    let _ = out.flush();
    let _ = disable_raw_mode();
}

/// [`restore`], by a process that is about to end: a terminal that takes no bytes is not waited for, and is cooked again all the
/// same.
fn restore_anyhow() {
    interrupt::within(FAREWELL, restore);
    // Whoever began to restore it may hang.
    let _ = disable_raw_mode();
}

/// Where a panic happened and what it said, on one line.
fn describe(info: &panic::PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let words = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    let thread = thread::current();
    let name = thread.name().unwrap_or("a thread").to_owned();
    let place = info.location().map_or(String::new(), |at| format!(" at {}:{}", at.file(), at.line()));
    format!("{name} panicked{place}: {}", words.unwrap_or("no message"))
}

/// Ends the listening when dropped.
pub struct SignalGuard(Handle);

impl Drop for SignalGuard {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Listen for the signals that end, stop and continue a program. Those that end it give the terminal back and end it even if
/// nobody takes their wish in: the terminal may take no more bytes, and who draws hang on it.
///
/// # Errors
/// The system does not let us.
pub fn listen<M: Send + 'static>(wishes: Sender<M>, message: fn(Wish) -> M) -> io::Result<SignalGuard> {
    let mut held = interrupt::hold();
    held.note(|| {
        restore_anyhow();
        Vec::new()
    });
    let ending = wishes.clone();
    held.ask(move || drop(ending.send(message(Wish::End))));
    drop(held);
    let mut signals = Signals::new([SIGTSTP, SIGCONT])?;
    let guard = SignalGuard(signals.handle());
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if AWAY.load(Ordering::SeqCst) {
                if signal == SIGTSTP {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
                continue;
            }
            let wish = match signal {
                SIGTSTP => Wish::Suspend,
                _ => Wish::Continued,
            };
            if wishes.send(message(wish)).is_err() {
                break;
            }
        }
    })?;
    Ok(guard)
}
