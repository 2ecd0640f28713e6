//! The table of keys as documentation: docs/keys.md, and the section KEYS of the manual.

use std::fmt::Write;

use super::SETTINGS;
use crate::tui::keymap::{Binding, Keymap};

/// Rows of the table by heading, in order.
fn groups(keymap: &Keymap) -> Vec<(&str, Vec<&Binding>)> {
    let mut groups: Vec<(&str, Vec<&Binding>)> = Vec::new();
    for binding in keymap.bindings.iter() {
        match groups.iter_mut().find(|(heading, _)| *heading == binding.group) {
            Some((_, rows)) => rows.push(binding),
            None => groups.push((&binding.group, vec![binding])),
        }
    }
    groups
}

/// `docs/keys.md`: every key with the name of its command, and every setting.
pub fn markdown(keymap: &Keymap) -> String {
    let mut out = String::from(
        "# Keys and settings\n\n\
         Made from `assets/keymap.toml` and the table of settings; a test compares. The help (`?`) and the palette (`:`) show the same.\n",
    );
    // Writing to a String cannot fail.
    let _ = keys_markdown(&mut out, keymap);
    let _ = settings_markdown(&mut out);
    out
}

fn keys_markdown(out: &mut String, keymap: &Keymap) -> std::fmt::Result {
    let code = |text: &str| format!("`{text}`");
    for (heading, rows) in groups(keymap) {
        let mode = rows.first().and_then(|row| row.mode);
        let table = mode.map_or("keys".to_owned(), |panel| format!("keys.{}", panel.name()));
        writeln!(out, "\n## {heading}\n\n| keys | what they do | command in `[{table}]` |\n|---|---|---|")?;
        for row in rows {
            let keys: Vec<String> = row.keys.iter().map(|key| code(&key.replace('|', "\\|"))).collect();
            let keys = if keys.is_empty() { "–".to_owned() } else { keys.join(" ") };
            writeln!(out, "| {keys} | {} | `{}` |", row.help.replace('|', "\\|"), row.command.name())?;
        }
    }
    Ok(())
}

fn settings_markdown(out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "\n## Settings\n\n\
         `$XDG_CONFIG_HOME/t2m-tui/config.toml`, else `~/.config/t2m-tui/config.toml`, on macOS also\n\
         `~/Library/Application Support/t2m-tui/config.toml`; `T2M_CONFIG` names another one. A variable of the environment counts more\n\
         than the file, an option of the call more than both. Relative paths are meant from the file's folder. `t2m-tui --print-config`\n\
         prints what is in force and where each value is from; `doctor` names the file.\n\n\
         | setting | default | in the environment | what it does |\n|---|---|---|---|"
    )?;
    for setting in &SETTINGS {
        let (name, default) = (setting.name, setting.default_value().toml());
        writeln!(out, "| `{name}` | `{default}` | `{}` | {} |", setting.variable(), setting.help)?;
    }
    writeln!(
        out,
        "\nKeys are set by their commands' names: those that a command has then are these alone, and `[]` is none. A key that two commands\n\
         of one table would have is told, and so is a name that there is not.\n\n\
         ```toml\ntheme = \"light\"\ntrials = 16\n\n[keys]\nrun = [\"space\", \"f5\"]\ncancel = [\"ctrl-x\"]\nmouse = []\n\n[keys.help]\ndismiss = [\"esc\"]\n```"
    )
}

/// The section KEYS of the manual, in roff.
pub fn man(keymap: &Keymap) -> String {
    let mut out = String::from(".SH KEYS\n");
    let safe = |text: &str| text.replace('\\', "\\e").replace('-', "\\-");
    for (heading, rows) in groups(keymap) {
        let _ = writeln!(out, ".SS \"{}\"", safe(heading));
        for row in rows.iter().filter(|row| !row.keys.is_empty()) {
            // A line that begins with a dot or an apostrophe would be a request.
            let _ = writeln!(out, ".TP\n\\fB\\&{}\\fR\n\\&{}", safe(&row.keys.join(" ")), safe(&row.help));
        }
    }
    out
}
