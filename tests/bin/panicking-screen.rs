//! The screen with a bug: it panics once the checkpoint is open. For the test that the terminal is given back all the same.

use std::process::ExitCode;
use std::sync::Arc;

use t2m_tui::open::{self, Options};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::keymap::Keymap;
use t2m_tui::tui::runtime::{Loaded, RunOptions, run_with};
use t2m_tui::tui::state::{Notify, Trials};
use t2m_tui::tui::theme::Level;

#[allow(clippy::panic)]
fn main() -> ExitCode {
    let open = Options { checkpoint: "demo".into(), ..Options::default() };
    let options = RunOptions {
        open: open.clone(),
        theme: "dark".to_owned(),
        level: Level::True,
        ascii: false,
        mouse: true,
        trials: Trials::default(),
        show: Default::default(),
        keymap: Keymap::default(),
        notify: Notify::default(),
        ask: false,
    };
    let load = move || {
        let opened = open::open(&open).map_err(|error| error.to_string())?;
        let verifier = Box::new(|_| panic!("a panic on the screen's thread"));
        let converter = Box::new(|_| panic!("a panic on the screen's thread"));
        Ok(Loaded { document: Arc::new(Document::of(&opened)), verifier, converter, measurer: None, graph: None })
    };
    match run_with(options, Box::new(load)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
