//! `t2m-tui CHECKPOINT` on a terminal: the screen.

use std::path::PathBuf;

use super::{Color, Common, Failure};
use crate::exit::Exit;
use crate::session;
use crate::tui::runtime::{self, RunOptions};
use crate::tui::show::Wanted;
use crate::tui::state::Trials;
use crate::tui::theme::Level;

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
            return Err("without a terminal somebody has to press the keys: give --play SCRIPT as well".into());
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
/// The terminal, the theme or the keymap cannot be used.
pub fn run(common: &Common, checkpoint: PathBuf, show: Wanted) -> Result<Exit, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    Ok(runtime::run(RunOptions {
        open: common.options(checkpoint),
        theme: common.theme.clone(),
        level: level(common.color, variable),
        ascii: common.ascii || !speaks_utf8(variable),
        mouse: true,
        trials: Trials::default(),
        show,
        ask: common.session.is_none() && session::store::answer().is_none(),
    })?)
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

/// Whether the locale is UTF-8. If none is set, as over many ssh connections, the terminal probably is.
fn speaks_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
    set.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::speaks_utf8;

    #[test]
    fn the_first_locale_that_is_set_counts() {
        let with = |pairs: &'static [(&str, &str)]| {
            speaks_utf8(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        assert!(with(&[]));
        assert!(with(&[("LANG", "de_DE.UTF-8")]));
        assert!(with(&[("LC_ALL", ""), ("LANG", "C.utf8")]));
        assert!(!with(&[("LANG", "C")]));
        assert!(!with(&[("LC_ALL", "POSIX"), ("LANG", "en_US.UTF-8")]));
    }
}
