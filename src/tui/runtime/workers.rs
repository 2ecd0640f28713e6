//! The threads that work for the screen, and how they are started.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;

use super::Message;
use super::input::Input;
use super::opening::Again;
use crate::graph::runner;
use crate::open::watch::Watch;
use crate::session::{Change, Keeper, Screen};
use crate::tui::converting::{self, Converter};
use crate::tui::document::Document;
use crate::tui::measuring::{self, Measurer};
use crate::tui::panels::build::Wanted;
use crate::tui::reporting::{self, Order};
use crate::tui::show::Showing;
use crate::verify;

/// Runs measurements, as [`verify::Runner`] does.
pub trait Verifier {
    /// Ask for a run.
    fn submit(&self, request: verify::Request);
    /// End what runs.
    fn cancel(&self);
}

impl Verifier for verify::Runner {
    fn submit(&self, request: verify::Request) {
        verify::Runner::submit(self, request);
    }

    fn cancel(&self) {
        verify::Runner::cancel(self);
    }
}

/// Starts a verifier that sends its events there.
pub type StartFn = Box<dyn FnOnce(Sender<verify::Event>) -> Box<dyn Verifier> + Send>;

/// Runs the graph, as [`runner::Runner`] does.
pub trait GraphRunner {
    /// Ask for a run.
    fn submit(&self, request: runner::Request);
    /// End what runs.
    fn cancel(&self);
}

impl GraphRunner for runner::Runner {
    fn submit(&self, request: runner::Request) {
        runner::Runner::submit(self, request);
    }

    fn cancel(&self) {
        runner::Runner::cancel(self);
    }
}

/// Starts a runner of graphs that sends its reports there, each with the run's number.
pub type StartGraph = Box<dyn FnOnce(Sender<runner::Told>) -> Box<dyn GraphRunner> + Send>;

/// Starts a converter that sends its events there.
pub type StartConverter = Box<dyn FnOnce(Sender<converting::Event>) -> Box<dyn Converter> + Send>;

/// Starts a thread that reads tensors and sends its events there.
pub type StartMeasurer = Box<dyn FnOnce(Sender<measuring::Event>) -> Box<dyn Measurer> + Send>;

/// An opened checkpoint, and how to measure and convert it.
pub struct Loaded {
    /// What is shown.
    pub document: Arc<Document>,
    /// Called once, on the screen's thread.
    pub verifier: StartFn,
    /// Starts the thread that converts; called once, on the screen's thread.
    pub converter: StartConverter,
    /// Starts the thread that reads tensors, where there is a file; called once, on the screen's thread.
    pub measurer: Option<StartMeasurer>,
    /// Starts the thread that runs the graph, where there is one; called once, on the screen's thread.
    pub graph: Option<StartGraph>,
}

/// Who measures, who converts and who runs the graph, once the checkpoint is open. Dropping them waits for all.
#[derive(Default)]
pub struct Workers {
    pub(super) verifier: Option<Box<dyn Verifier>>,
    pub(super) converter: Option<Box<dyn Converter>>,
    pub(super) graph: Option<Box<dyn GraphRunner>>,
    pub(super) measurer: Option<Box<dyn Measurer>>,
    /// Who keeps what is done, where that is wanted.
    pub(super) keeper: Option<Keeper>,
    pub(super) reopener: Option<Reopener>,
    /// The checkpoint, where it is elsewhere.
    pub(super) afar: Option<PathBuf>,
    /// What is recorded and played.
    pub(super) show: Showing,
    /// How far the opening is.
    pub(super) watch: Option<Watch>,
    /// Who reads the keyboard.
    pub(super) input: Input,
    /// Where threads that are started on the way say what came of it.
    pub(super) messages: Option<Sender<Message>>,
    /// How many models were asked for, and what ends the Python that builds the last.
    pub(super) built: u64,
    pub(super) building: Option<Arc<AtomicBool>>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop_building();
    }
}

impl Workers {
    /// Keep where the user is, if somebody keeps anything.
    pub(super) fn keep_place(&self, screen: Option<Screen>) {
        if let (Some(keeper), Some(screen)) = (&self.keeper, screen) {
            keeper.keep(Change::Screen(Box::new(screen)));
        }
    }

    /// End the Python that builds a model, if one does; what it says is not heard.
    pub(super) fn stop_building(&mut self) {
        if let Some(stop) = self.building.take() {
            stop.store(true, Ordering::SeqCst);
        }
    }

    /// Start to build a model; one that is being built is given up.
    pub(super) fn build(&mut self, wanted: Wanted) -> io::Result<()> {
        self.stop_building();
        let stop = Arc::new(AtomicBool::new(false));
        self.built += 1;
        self.building = Some(Arc::clone(&stop));
        let how = Again::Build(Box::new(wanted), stop);
        self.reopener.as_ref().map_or(Ok(()), |reopen| reopen(how, Some(self.built)))
    }
}

impl Workers {
    /// Write a report, on a thread of its own.
    pub(super) fn report(&self, order: Order) -> io::Result<()> {
        let Some(messages) = self.messages.clone() else { return Ok(()) };
        super::spawn("report", messages, move |messages| {
            drop(messages.send(Message::Reported(reporting::write(order))))
        })
    }
}

/// Starts a thread that opens the file again; with a number it answers as `Message::Built`.
pub(super) type Reopener = Box<dyn Fn(Again, Option<u64>) -> io::Result<()>>;
