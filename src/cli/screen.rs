//! `t2m-tui CHECKPOINT` on a terminal: the screen.

use std::path::PathBuf;
use std::time::Duration;

use super::{Color, Common, Failure};
use crate::afar;
use crate::config::Config;
use crate::exit::Exit;
use crate::session;
use crate::stderr;
use crate::tui::runtime::{self, RunOptions};
use crate::tui::show::Wanted;
use crate::tui::state::{Bell, Notify, Trials};
use crate::tui::theme::Level;
use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::escape;

/// What is recorded and played.
#[derive(Debug, Clone, clap::Args)]
pub struct Show {
    /// Record what the screen draws, as asciinema plays it (version 2), into a file that is not there yet
    #[arg(long, value_name = "FILE.cast")]
    record: Option<PathBuf>,
    /// Play a script on the screen: lines such as `keys j enter`, `type layer1`, `wait 800ms`, `wait-for measured`, `say TEXT`.
    /// Without a terminal it is played on a screen that nobody sees, for --record
    #[arg(long, value_name = "SCRIPT")]
    play: Option<PathBuf>,
    /// Play it on a screen of so many columns and rows that nobody sees, even where there is a terminal
    #[arg(long, value_name = "COLUMNSxROWS", value_parser = size)]
    size: Option<(u16, u16)>,
}

impl Show {
    /// Whether anything of it was asked for.
    pub fn is_wanted(&self) -> bool {
        self.record.is_some() || self.play.is_some() || self.size.is_some()
    }

    /// What the screen is asked for, on a terminal or without one.
    ///
    /// # Errors
    /// Nobody would press a key.
    pub fn wanted(&self, terminal: bool) -> Result<Wanted, Failure> {
        if self.play.is_none() && (self.size.is_some() || (!terminal && self.record.is_some())) {
            return Err("nobody presses a key with --size or without a terminal: give --play SCRIPT as well".into());
        }
        let size = self.size.or((!terminal && self.play.is_some()).then_some(SIZE));
        Ok(Wanted { record: self.record.clone(), play: self.play.clone(), size })
    }
}

/// The size of a screen that nobody sees, unless another is asked for.
const SIZE: (u16, u16) = (120, 36);

/// Columns and rows: `120x36`.
fn size(text: &str) -> Result<(u16, u16), String> {
    let expected = || "columns and rows are expected, as 120x36; 20x5 to 1000x500".to_owned();
    let (columns, rows) = text.split_once(['x', '×']).ok_or_else(expected)?;
    let size = columns.trim().parse().ok().zip(rows.trim().parse().ok());
    size.filter(|(columns, rows)| (20..=1000).contains(columns) && (5..=500).contains(rows)).ok_or_else(expected)
}

/// Open the screen and stay until the user leaves.
///
/// # Errors
/// The terminal or the theme cannot be used.
pub fn run(common: &Common, checkpoint: PathBuf, show: Wanted, config: &Config) -> Result<Exit, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    let by = match config.text("notify") {
        "osc9" => Bell::Osc9,
        "off" => Bell::Off,
        _ => Bell::Bell,
    };
    let shown = afar::shown(&checkpoint).into_owned();
    let exit = runtime::run(RunOptions {
        open: common.options(checkpoint),
        theme: common.theme.clone(),
        level: level(common.color, variable),
        show,
        ascii: common.ascii,
        mouse: config.flag("mouse"),
        trials: Trials { device: common.device(), tf32: common.tf32, ..trials(config) },
        keymap: config.keymap.clone(),
        notify: Notify { by, after: Duration::from_secs(config.number("notify-after")) },
        ask: common.session.is_none() && session::store::answer().is_none(),
    })?;
    if let Some(fetched) = afar::fetched(&shown) {
        stderr::line(&format!("{}: {}", escape(&shown.to_string_lossy()), afar::words(fetched, None)));
    }
    Ok(exit)
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
