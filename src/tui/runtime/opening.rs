//! Opening the file, at first and again in another way.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use super::workers::{Loaded, StartConverter, StartFn, StartGraph, StartMeasurer};
use super::{DEADLINE, Error, RunOptions, run_again};
use crate::exit::Exit;
use crate::graph::runner;
use crate::open::watch::{Stage, Watch};
use crate::open::{self, TypedFrom};
use crate::session::Place;
use crate::tui::converting;
use crate::tui::document::Document;
use crate::tui::measuring;
use crate::tui::offer::Offer;
use crate::tui::panels::build::Wanted;
use crate::tui::work::Keeping;
use crate::typed::Edit;
use crate::verify;

/// Opens the checkpoint, on a thread of its own.
pub type OpenFn = Box<dyn FnOnce() -> Result<Loaded, String> + Send>;

/// The same file in another way.
#[derive(Debug, Clone)]
pub enum Again {
    /// With this dict as the model.
    Dict(String),
    /// With these attributes typed.
    Typed(Vec<Edit>),
    /// With the model that the user's Python builds, and what ends that Python once it is set.
    Build(Box<Wanted>, Arc<AtomicBool>),
}

/// Opens the same file in another way, on a thread of its own.
pub type OpenAgainFn = Box<dyn Fn(Again) -> Result<Loaded, String> + Send + Sync>;

/// Open the screen, stay until the user leaves, and return how it ended: wrong input where the checkpoint could
/// not be opened. After ctrl-c or a signal it does not return: the process ends, as [`crate::interrupt::leave`] says. The terminal is
/// as it was before, whatever happened.
///
/// # Errors
/// The theme cannot be used, or there is no terminal.
pub fn run(mut options: RunOptions) -> Result<Exit, Error> {
    options.open.watch = Some(Watch::default());
    // What was chosen on the screen holds for whatever is opened next.
    let request = Mutex::new(open::Options { identify: true, ..options.open.clone() });
    let place = match &options.open.typed {
        TypedFrom::Kept(place) => place.clone(),
        TypedFrom::Nothing | TypedFrom::Given(_) => Place::Nowhere,
    };
    let ask = options.ask;
    let played = options.show.play.is_some();
    let load = move |again: Option<Again>| {
        let now = {
            let mut request = request.lock().unwrap_or_else(PoisonError::into_inner);
            match &again {
                Some(Again::Dict(key)) => {
                    request.key = Some(key.clone());
                    request.typed = TypedFrom::Kept(place.clone());
                }
                Some(Again::Typed(edits)) => request.typed = TypedFrom::Given(edits.clone()),
                Some(Again::Build(..)) | None => {}
            }
            let mut request = request.clone();
            if let Some(Again::Build(wanted, stop)) = &again {
                let Wanted { model, python, inputs } = (**wanted).clone();
                (request.model, request.python, request.inputs) = (Some(model), Some(python.into()), inputs);
                request.stop = Some(Arc::clone(stop));
            }
            request
        };
        let opened = open::open(&now).map_err(|error| error.to_string())?;
        if let Some(Again::Build(..)) = &again {
            // The answer holds for this file: what is typed later is typed of the model that was built.
            *request.lock().unwrap_or_else(PoisonError::into_inner) = open::Options { stop: None, ..now.clone() };
        }
        if let Some(watch) = &now.watch {
            watch.begin(Stage::Showing);
        }
        let mut document = Document::of(&opened);
        document.offer = Offer::of(&opened, &now);
        document.asks &= now.inputs.is_empty();
        document.arguments = now.arguments();
        if matches!(again, None | Some(Again::Dict(_))) {
            let keeping = Keeping::of(&opened, &place, ask);
            document.keeping = if played { keeping.untouched() } else { keeping };
        }
        let document = Arc::new(document);
        let converted = opened.clone();
        let read = opened.clone();
        let measurer: StartMeasurer = Box::new(move |events| Box::new(measuring::Worker::start(read, events)));
        let graph = opened.job().map(|job| -> StartGraph {
            let specs = now.inputs.clone();
            Box::new(move |reports| Box::new(runner::Runner::start(job, specs, DEADLINE, reports)))
        });
        let verifier: StartFn = Box::new(move |events| Box::new(verify::Runner::start(opened, DEADLINE, events)));
        let converter: StartConverter = Box::new(move |events| {
            let folder = std::env::current_dir().unwrap_or_default();
            Box::new(converting::Worker::start(converted, folder, events))
        });
        Ok(Loaded { document, verifier, converter, measurer: Some(measurer), graph })
    };
    let again = Arc::new(load);
    let first = Arc::clone(&again);
    run_again(options, Box::new(move || first(None)), Some(Box::new(move |how| again(Some(how)))))
}
