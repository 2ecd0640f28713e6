//! A recording of what the screen draws, as asciinema's version 2: a line of JSON for the size, and a line for each change. Each line is
//! written in one piece, so that of a program that is killed at any moment a recording is left that plays.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use serde_json::json;

/// The cursor is hidden and the screen is empty.
const BLANK: &str = "\x1b[?25l\x1b[0m\x1b[2J\x1b[H";

/// Writes the recording.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    clock: Clock,
    title: String,
    /// What a player shows after everything that was written.
    shown: Option<Buffer>,
    /// What is drawn and will be shown when the clock goes on; nothing where the clock goes by itself.
    pending: Option<Buffer>,
}

/// What says how late it is.
#[derive(Debug)]
enum Clock {
    /// Time itself, from the first frame on.
    Real(Option<Instant>),
    /// Whoever plays.
    Told(Duration),
}

impl Recorder {
    /// Begin a recording in a file that is not there yet. Where the clock is `told`, time passes only by [`Recorder::pass`], so that what
    /// is played is the same to the byte each time.
    ///
    /// # Errors
    /// The file is there already, or cannot be made.
    pub fn create(path: &Path, title: &str, told: bool) -> io::Result<Recorder> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        let clock = if told { Clock::Told(Duration::ZERO) } else { Clock::Real(None) };
        Ok(Recorder { file, clock, title: title.to_owned(), shown: None, pending: None })
    }

    /// A frame was drawn.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn frame(&mut self, buffer: &Buffer) -> io::Result<()> {
        match &mut self.clock {
            Clock::Told(_) => {
                self.pending = Some(buffer.clone());
                Ok(())
            }
            Clock::Real(began) => {
                let at = began.get_or_insert_with(Instant::now).elapsed();
                self.write(buffer.clone(), at)
            }
        }
    }

    /// So much time has passed: what was drawn last is what was on show until now.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn pass(&mut self, time: Duration) -> io::Result<()> {
        let Clock::Told(at) = &mut self.clock else { return Ok(()) };
        let now = *at;
        *at += time;
        self.pending.take().map_or(Ok(()), |buffer| self.write(buffer, now))
    }

    /// The recording is over: what is on show now is its last picture.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(&mut self) -> io::Result<()> {
        self.pass(Duration::ZERO)
    }

    fn write(&mut self, buffer: Buffer, at: Duration) -> io::Result<()> {
        let size = format!("{}x{}", buffer.area.width, buffer.area.height);
        let mut bytes = Vec::new();
        match &self.shown {
            None => {
                let (width, height) = (buffer.area.width, buffer.area.height);
                let env = json!({"TERM": "xterm-256color"});
                let head = json!({"version": 2, "width": width, "height": height, "title": self.title, "env": env});
                self.line(&head)?;
                bytes.extend_from_slice(BLANK.as_bytes());
                changes(&Buffer::empty(buffer.area), &buffer, &mut bytes)?;
            }
            Some(shown) if shown.area != buffer.area => {
                self.line(&json!([seconds(at), "r", size]))?;
                bytes.extend_from_slice(BLANK.as_bytes());
                changes(&Buffer::empty(buffer.area), &buffer, &mut bytes)?;
            }
            Some(shown) => changes(shown, &buffer, &mut bytes)?,
        }
        self.shown = Some(buffer);
        if bytes.is_empty() {
            return Ok(());
        }
        self.line(&json!([seconds(at), "o", String::from_utf8_lossy(&bytes)]))
    }

    /// One line in one write.
    fn line(&mut self, value: &serde_json::Value) -> io::Result<()> {
        self.file.write_all(format!("{value}\n").as_bytes())
    }
}

/// To the microsecond, as asciinema writes it.
fn seconds(at: Duration) -> f64 {
    at.as_micros() as f64 / 1e6
}

/// What a terminal is sent so that it shows one buffer after the other.
fn changes(before: &Buffer, after: &Buffer, bytes: &mut Vec<u8>) -> io::Result<()> {
    let changed = before.diff(after);
    if changed.is_empty() {
        return Ok(());
    }
    CrosstermBackend::new(bytes).draw(changed.into_iter())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ratatui::layout::Rect;
    use ratatui::style::{Color, Style};

    use super::*;

    fn drawn(width: u16, words: &str) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, 3));
        buffer.set_string(1, 1, words, Style::new().fg(Color::Rgb(1, 2, 3)));
        buffer
    }

    #[test]
    fn what_is_on_show_at_the_end_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.cast");
        let mut recorder = Recorder::create(&path, "t", true).unwrap();
        recorder.frame(&drawn(20, "only")).unwrap();
        recorder.end().unwrap();
        recorder.end().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("only"));
    }

    #[test]
    fn every_prefix_of_lines_plays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.cast");
        let mut recorder = Recorder::create(&path, "t \"x\"", true).unwrap();
        for (width, words) in [(20, "größe 漢"), (20, "größe 漢"), (20, "other"), (30, "wider")] {
            recorder.frame(&drawn(width, words)).unwrap();
            recorder.pass(Duration::from_millis(250)).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["version"], &lines[0]["width"], &lines[0]["height"]), (&json!(2), &json!(20), &json!(3)));
        let told: Vec<(f64, &str)> =
            lines[1..].iter().map(|line| (line[0].as_f64().unwrap(), line[1].as_str().unwrap())).collect();
        assert_eq!(told, [(0.0, "o"), (0.5, "o"), (0.75, "r"), (0.75, "o")], "what does not change is no event");
        let mut player = vt100::Parser::new(3.try_into().unwrap(), 20.try_into().unwrap(), 0);
        let mut shown = Vec::new();
        for line in &lines[1..] {
            match (line[1].as_str().unwrap(), line[2].as_str().unwrap()) {
                ("r", size) => assert_eq!(size, "30x3"),
                (_, data) => player.process(data.as_bytes()),
            }
            shown.push(player.screen().contents().trim().to_owned());
        }
        assert_eq!(shown, ["größe 漢", "other", "other", "wider"]);
        // A recording is never written over.
        assert_eq!(Recorder::create(&path, "", true).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
