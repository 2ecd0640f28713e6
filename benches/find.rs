//! How long a key of the search, of the filter and of the order takes in a model of 100,000 modules: until the state has changed and
//! a frame is drawn. Each is the median of several, and the worst of them.
//!
//!     cargo bench --bench find

#![allow(clippy::unwrap_used, missing_docs)]

// What other benches make is not used here.
#[allow(dead_code)]
mod generate;

use std::sync::Arc;
use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use t2m_tui::open::{Options, open};
use t2m_tui::tui::action::{Action, Command};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::draw::render;
use t2m_tui::tui::keymap::Keymap;
use t2m_tui::tui::panels::Name;
use t2m_tui::tui::state::State;
use t2m_tui::tui::theme::Theme;
use t2m_tui::tui::update::update;

/// How often each key is pressed.
const TIMES: usize = 15;

/// A mixture of experts: 80 layers of 312.
fn experts() -> Vec<generate::Wanted> {
    let layer = |layer: usize| {
        let projection = move |expert: usize| {
            ["gate_proj", "up_proj", "down_proj"]
                .map(|name| (format!("model.layers.{layer}.mlp.experts.{expert}.{name}.weight"), vec![8, 8]))
        };
        (0..312).flat_map(projection)
    };
    (0..80).flat_map(layer).collect()
}

fn frame(state: &mut State) {
    let area = Rect::new(0, 0, 160, 48);
    render(state, area, &mut Buffer::empty(area));
}

/// Milliseconds of an action and the frame behind it, and the state that it leaves.
fn measured(before: &State, action: &Action) -> (f64, f64, State) {
    let mut times = Vec::new();
    let mut after = before.clone();
    for _ in 0..TIMES {
        after = before.clone();
        let started = Instant::now();
        update(&mut after, action.clone());
        frame(&mut after);
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    (times[TIMES / 2], times[TIMES - 1], after)
}

fn typed(state: &State, open: Command, text: &str) {
    let mut state = state.clone();
    let (median, worst, opened) = measured(&state, &Action::Command(open));
    println!("  {:28} {median:8.2} ms {worst:8.2} ms", "opened");
    state = opened;
    let mut so_far = String::new();
    for letter in text.chars() {
        let (median, worst, after) = measured(&state, &Action::Text(letter));
        so_far.push(letter);
        println!("  {so_far:28} {median:8.2} ms {worst:8.2} ms");
        state = after;
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("experts.safetensors");
    generate::safetensors(&path, &experts(), generate::Kind::Float32);
    let opened = open(&Options { checkpoint: path, ..Options::default() }).unwrap();
    let document = Document::of(&opened);
    println!("{} modules; median and worst of {TIMES}", document.len());
    let theme = Theme::load("dark", |_| None).unwrap();
    let mut state = State::new("experts".to_owned(), theme, Keymap::built_in().unwrap());
    update(&mut state, Action::Opened(Arc::new(document)));
    frame(&mut state);
    println!("/");
    typed(&state, Command::Open(Name::Find), "mlp.ex.31.gate");
    println!("/ with letters left out");
    typed(&state, Command::Open(Name::Find), "l7e31dwn");
    println!("f");
    typed(&state, Command::Open(Name::Filter), "class:Linear params>1 gate");
}
