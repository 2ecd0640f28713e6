//! `t2m-tui CHECKPOINT` on a terminal: the screen.

use std::path::PathBuf;

use super::{Color, Common, Failure};
use crate::exit::Exit;
use crate::session;
use crate::tui::runtime::{self, RunOptions};
use crate::tui::state::Trials;
use crate::tui::theme::Level;

/// Open the screen and stay until the user leaves.
///
/// # Errors
/// The terminal, the theme or the keymap cannot be used.
pub fn run(common: &Common, checkpoint: PathBuf) -> Result<Exit, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    Ok(runtime::run(RunOptions {
        open: common.options(checkpoint),
        theme: common.theme.clone(),
        level: level(common.color, variable),
        ascii: common.ascii || !speaks_utf8(variable),
        mouse: true,
        trials: Trials::default(),
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
