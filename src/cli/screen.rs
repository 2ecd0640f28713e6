//! `t2m-tui CHECKPOINT` on a terminal: the screen.

use std::path::PathBuf;
use std::time::Duration;

use super::{Color, Common, Failure};
use crate::config::Config;
use crate::exit::Exit;
use crate::session;
use crate::tui::runtime::{self, RunOptions};
use crate::tui::state::{Bell, Notify, Trials};
use crate::tui::theme::Level;
use t2m_checkpoint::Dtype;

/// Open the screen and stay until the user leaves.
///
/// # Errors
/// The terminal or the theme cannot be used.
pub fn run(common: &Common, checkpoint: PathBuf, config: &Config) -> Result<Exit, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    let by = match config.text("notify") {
        "osc9" => Bell::Osc9,
        "off" => Bell::Off,
        _ => Bell::Bell,
    };
    Ok(runtime::run(RunOptions {
        open: common.options(checkpoint),
        theme: common.theme.clone(),
        level: level(common.color, variable),
        ascii: common.ascii,
        mouse: config.flag("mouse"),
        trials: trials(config),
        keymap: config.keymap.clone(),
        notify: Notify { by, after: Duration::from_secs(config.number("notify-after")) },
        ask: common.session.is_none() && session::store::answer().is_none(),
    })?)
}

/// What a run does, as configured.
fn trials(config: &Config) -> Trials {
    let usual = Trials::default();
    let count = usize::try_from(config.number("trials")).unwrap_or(usual.count);
    Trials { count, dtypes: dtypes(config), seed: config.number("seed"), ..usual }
}

/// The dtypes that are configured, f32 first.
fn dtypes(config: &Config) -> Vec<Dtype> {
    let also = [("f16", Dtype::Float16), ("bf16", Dtype::BFloat16)];
    let wanted = also.into_iter().filter(|(name, _)| config.list("dtypes").iter().any(|dtype| dtype == name));
    std::iter::once(Dtype::Float32).chain(wanted.map(|(_, dtype)| dtype)).collect()
}

fn level(color: Color, variable: impl Fn(&str) -> Option<String>) -> Level {
    match color {
        Color::Auto => Level::detect(variable),
        Color::Never => Level::Never,
        Color::Ansi => Level::Ansi16,
        Color::Indexed => Level::Ansi256,
        Color::True => Level::True,
    }
}
