//! What leaves the screen: a text for the clipboard, a line for the editor, a picture.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::World;
use crate::files::{self, Inputs, Kind, Wanted};
use crate::tui::clipboard;
use crate::tui::draw::draw;
use crate::tui::editor;
use crate::tui::png::png;
use crate::tui::state::{Screen, State};
use crate::tui::svg::svg;

/// Most pictures of one file in a folder.
const MOST_PICTURES: usize = 10_000;

/// Give a text to the terminal's clipboard.
pub(super) fn copy(text: &str, world: &mut World<'_>) -> io::Result<()> {
    let within_tmux = std::env::var_os("TMUX").is_some_and(|value| !value.is_empty());
    world.console.send(clipboard::sequence(text, within_tmux).as_bytes())
}

/// Let the user's editor show a line of a file, and come back when it ends. Returns what to say, if anything.
pub(super) fn edit(file: &str, line: usize, world: &mut World<'_>) -> io::Result<Option<String>> {
    let Some(named) = editor::named(|name| std::env::var(name).ok()) else {
        return Ok(Some("no editor is named: set VISUAL or EDITOR, as in EDITOR=vim".to_owned()));
    };
    // As git does: the shell reads what else stands in the variable.
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("{named} \"$@\"")).arg(&named).args(editor::arguments(&named, file, line));
    if !io::stdin().is_terminal()
        && let Ok(terminal) = File::open("/dev/tty")
    {
        command.stdin(Stdio::from(terminal));
    }
    world.workers.input.pause();
    let mut ended = None;
    let back = world.console.away(&mut || ended = Some(command.status()));
    world.workers.input.resume();
    world.clear = true;
    back?;
    Ok(match ended {
        Some(Ok(status)) if status.success() => None,
        Some(Ok(status)) => match status.code() {
            Some(126 | 127) => Some(format!("the editor cannot be run: VISUAL or EDITOR is {named}")),
            Some(code) => Some(format!("the editor ended with exit code {code}: {named}")),
            None => Some(format!("the editor was ended by a signal: {named}")),
        },
        Some(Err(error)) => Some(format!("the editor cannot be run: {error}: {named}")),
        None => None,
    })
}

/// Write the screen as pictures, as SVG and as PNG, into the current folder; returns what to say.
pub(super) fn picture(state: &State, area: Rect) -> String {
    let mut buffer = Buffer::empty(area);
    draw(state, area, &mut buffer);
    let raster = match png(&buffer, &state.theme) {
        Ok(raster) => raster,
        Err(why) => return why,
    };
    let pictures = [("svg", svg(&buffer, &state.theme).into_bytes()), ("png", raster)];
    let name = match &state.screen {
        Screen::Open(view) => view.document.name.clone(),
        Screen::Opening(_) | Screen::Failed(_) => "screen".to_owned(),
    };
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' };
    let name: String = name.chars().map(plain).take(80).collect();
    for number in 1..MOST_PICTURES {
        let path = |end: &str| PathBuf::from(format!("t2m-tui-{name}-{number}.{end}"));
        // Both have one number.
        if pictures.iter().any(|(end, _)| path(end).symlink_metadata().is_ok()) {
            continue;
        }
        let write = |(end, picture): &(&str, Vec<u8>)| {
            let wanted = Wanted { path: path(end), kind: Kind::Picture };
            files::write_whole(&Inputs::default(), wanted, false, |out| out.write_all(picture))
        };
        return match pictures.iter().try_for_each(write) {
            Ok(()) => {
                let folder = std::env::current_dir().unwrap_or_default();
                format!("the screen is in {} and .png", folder.join(path("svg")).display())
            }
            Err(error) => error.to_string(),
        };
    }
    "there are too many pictures of it in this folder".to_owned()
}
