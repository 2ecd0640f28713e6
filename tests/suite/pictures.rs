//! The pictures of the README are of this screen: what a picture shows whatever was measured has to be what the program draws now.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::common::sample::act;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::sync::Arc;
use t2m_tui::open::{Options, open};
use t2m_tui::tui::action::{Action, Command};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::draw::render;
use t2m_tui::tui::keymap::Keymap;
use t2m_tui::tui::panels::Name;
use t2m_tui::tui::show::script::{self, Act};
use t2m_tui::tui::state::State;
use t2m_tui::tui::svg::svg;
use t2m_tui::tui::theme::Theme;

fn screenshot(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("screenshots").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words of a picture by the height at which they stand.
fn words(picture: &str) -> BTreeMap<String, Vec<String>> {
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in picture.split("<text ").skip(1) {
        let y = text.split("y=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let (_, rest) = text.split_once('>').unwrap();
        let words = rest.split("</text>").next().unwrap();
        rows.entry(y.to_owned()).or_default().extend(words.split_whitespace().map(str::to_owned));
    }
    rows
}

#[test]
fn the_picture_of_the_help_has_the_keys_of_today() {
    let opened = open(&Options { checkpoint: "demo".into(), ..Options::default() }).unwrap();
    let theme = Theme::load("dark", |_| None).unwrap();
    let mut state = State::new("demo".to_owned(), theme.clone(), Keymap::built_in().unwrap());
    act(&mut state, Action::Opened(Arc::new(Document::of(&opened))));
    act(&mut state, Action::Command(Command::Open(Name::Help)));
    let area = Rect::new(0, 0, 160, 45);
    let mut buffer = Buffer::empty(area);
    render(&mut state, area, &mut buffer);
    // Only what the panel shows: around it stand numbers that were measured.
    let inside = state.areas.panel.unwrap().area;
    let mut panel = Buffer::empty(area);
    for (x, y) in (inside.top()..inside.bottom()).flat_map(|y| (inside.left()..inside.right()).map(move |x| (x, y))) {
        panel[(x, y)] = buffer[(x, y)].clone();
    }
    let (now, then) = (words(&svg(&panel, &theme)), words(&screenshot("help.svg")));
    assert!(now.len() > 20, "{now:?}");
    for (y, words) in now {
        let there = then.get(&y).cloned().unwrap_or_default();
        let missing: Vec<&String> = words.iter().filter(|word| !there.contains(word)).collect();
        assert!(missing.is_empty(), "screenshots/ are stale: `make screenshots` draws them anew ({missing:?} at {y})");
    }
}

#[test]
fn the_animation_is_of_the_script() {
    let script = include_str!("../../examples/tour.play");
    let picture = screenshot("tour.svg");
    let all: Vec<String> = words(&picture).into_values().flatten().collect();
    let mut captions = 0;
    for step in script::parse(script).unwrap() {
        if let Act::Say(caption) = step.act {
            captions += usize::from(!caption.is_empty());
            let missing: Vec<&str> =
                caption.split_whitespace().filter(|word| !all.iter().any(|at| at == word)).collect();
            assert!(
                missing.is_empty(),
                "screenshots/tour.svg is stale: `make screenshots` draws it anew ({missing:?})"
            );
        }
    }
    assert!(captions > 3 && picture.contains("<animate "));
}
