//! The screen's keys for where MLX computes, and for what it gives by default.

use crate::common::sample::{self, act, command, draw, drawn, engines_ready, trial, view};
use serde_json::json;
use t2m_engine::{Device, EngineState, Side};
use t2m_tui::compare::{Apart, ByDefault, Verdict};
use t2m_tui::tui::action::{Action, Command, Effect};
use t2m_tui::tui::snapshot::rows;
use t2m_tui::tui::state::State;
use t2m_tui::verify::{Event, Request};

fn submitted(effects: &[Effect]) -> &Request {
    let request = effects.iter().find_map(|effect| match effect {
        Effect::Submit(request) => Some(request),
        _ => None,
    });
    request.unwrap_or_else(|| panic!("nothing was asked for: {effects:?}"))
}

/// MLX says where it is.
fn greet(state: &mut State, device: &str) {
    let info = json!({"protocol": 5, "engine": "t2m-mlx", "version": "0.32.2", "device": device, "flags": {"MLX_ENABLE_TF32": "0"}});
    let ready = EngineState::Ready(serde_json::from_value(info).unwrap());
    act(state, Action::Verify(Event::Engine(Side::Mlx, ready)));
    act(state, Action::Verify(Event::Done { cancelled: false }));
}

fn screen(state: &mut State) -> String {
    rows(&draw(state, 160, 45)).join("\n")
}

#[test]
fn the_key_starts_mlx_on_the_other_device_and_back() {
    let mut state = drawn();
    greet(&mut state, "gpu");
    let effects = command(&mut state, Command::Device);
    let request = submitted(&effects);
    assert_eq!((request.device, request.modules.len()), (Some(Device::Cpu), 0), "the engine starts, nothing runs");
    assert!(screen(&mut state).contains("on the CPU"));
    // While it starts the device stays.
    assert!(command(&mut state, Command::Device).is_empty());
    greet(&mut state, "cpu");
    assert_eq!(submitted(&command(&mut state, Command::Device)).device, Some(Device::Gpu));
    greet(&mut state, "gpu");
    let effects = command(&mut state, Command::RunAgain);
    assert_eq!(submitted(&effects).device, Some(Device::Gpu), "runs are there from here on");
}

#[test]
fn what_was_measured_on_another_device_is_stale_and_says_so() {
    let mut state = drawn();
    greet(&mut state, "gpu");
    let module = submitted(&command(&mut state, Command::RunAgain)).modules[0];
    act(&mut state, Action::Verify(Event::Started { module, trials: 1 }));
    act(&mut state, Action::Verify(Event::Trial { module, trial: Box::new(trial(7, 0.25)) }));
    act(&mut state, Action::Verify(Event::Finished { module, verdict: Verdict::Ok, reason: None }));
    act(&mut state, Action::Verify(Event::Done { cancelled: false }));
    assert!(view(&state).measured.layer(module).is_some_and(|layer| layer.verdict().is_some()));
    greet(&mut state, "cpu");
    let why = view(&state).stale(module).map(str::to_owned);
    let why = why.unwrap_or_else(|| panic!("it counts as measured on this device"));
    assert!(why.contains("ran it with gpu") && why.contains("runs with cpu"), "{why}");
}

#[test]
fn mlxs_default_is_run_and_shown_beside_the_exact_run() {
    let mut state = drawn();
    engines_ready(&mut state);
    assert!(!state.trials.tf32);
    command(&mut state, Command::Tf32);
    assert!(screen(&mut state).contains("runs show what MLX gives by default"));
    assert!(submitted(&command(&mut state, Command::RunAgain)).tf32);
    let module = view(&state).document.runnable_below(0)[0];
    let path = view(&state).document.module(module).unwrap().path.to_string();
    sample::select(&mut state, &path);
    let mut exact = trial(7, 0.25);
    let apart = exact.apart.clone().map(|apart| Apart { max_abs: 337.0 * exact.tolerance, ..apart });
    exact.tf32 = Some(Box::new(ByDefault { verdict: Verdict::Drift, apart, ms_mlx: 0.2, reason: None }));
    act(&mut state, Action::Verify(Event::Started { module, trials: 1 }));
    act(&mut state, Action::Verify(Event::Trial { module, trial: Box::new(exact) }));
    act(&mut state, Action::Verify(Event::Finished { module, verdict: Verdict::Ok, reason: None }));
    let shown = screen(&mut state);
    let row = shown.lines().find(|row| row.contains("MLX's default ")).unwrap_or_else(|| panic!("{shown}"));
    assert!(row.contains("drift") && row.contains("337 times the tolerance"), "{row}");
    assert!(shown.contains("25 % of the tolerance"), "the exact run's error stays where it was\n{shown}");
}
