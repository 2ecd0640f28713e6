//! Small files that the user names: registry files and themes. Each is read to a bound, and a message about it quotes no
//! more than a line.

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use t2m_checkpoint::escape::quoted;

/// Why such a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system said no.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// It is no regular file.
    #[error("is {0}; give a file")]
    NotAFile(&'static str),
    /// It is longer than the bound, in bytes.
    #[error("has more than {} KiB, and no file of its kind is read that long", .0 / 1024)]
    TooLong(u64),
    /// It is no text.
    #[error("byte {0} is no UTF-8: it is no text file")]
    NotText(usize),
}

/// The text of a file that has no more than so many bytes.
///
/// # Errors
/// It cannot be read, is no regular file, is longer or is no text.
pub fn read(path: &Path, most: u64) -> Result<String, Error> {
    // Asked before opening: opening a pipe would wait for its other end.
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(Error::NotAFile("a folder"));
    }
    if !kind.is_file() {
        return Err(Error::NotAFile("a device or a pipe"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Error::TooLong(most));
    }
    String::from_utf8(bytes).map_err(|error| Error::NotText(error.utf8_error().valid_up_to()))
}

/// Read TOML as what it should be.
///
/// # Errors
/// It is not that. The message says where, shows the line unless it is long, and is never longer than a few hundred
/// characters, whatever the file holds.
pub fn parse_toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let message = short(error.message());
        match error.span() {
            Some(span) => format!("{}{message}", place(text, span.start)),
            None => message,
        }
    })
}

/// `line 3, column 7: <the line> : `
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let (line, column) = (before.matches('\n').count() + 1, before[start..].chars().count() + 1);
    let shown = text[start..].lines().next().unwrap_or_default().trim();
    // A long line would hide what is said of it.
    let shown = if shown.is_empty() || shown.len() > 120 { String::new() } else { format!(" ({})", quoted(shown)) };
    format!("line {line}, column {column}{shown}: ")
}

/// The parser's words, with what they quote cut: parts between backticks or quotes, and the whole for what hides in them.
fn short(message: &str) -> String {
    const MOST: usize = 600;
    let mut rest = message;
    let mut short = String::new();
    while short.len() < MOST {
        let Some(open) = rest.find(['`', '"']) else { break };
        let mark = if rest[open..].starts_with('`') { '`' } else { '"' };
        let Some(length) = rest[open + 1..].find(mark) else { break };
        short.push_str(&quoted(&rest[..open]));
        short.push(mark);
        short.push_str(&quoted(&rest[open + 1..open + 1 + length]));
        short.push(mark);
        rest = &rest[open + 2 + length..];
    }
    short.push_str(&quoted(rest.trim_end()));
    short.replace("\\u{a}", " ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MOST: u64 = 64;

    #[test]
    fn a_file_is_read_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(&path, "a = 1").unwrap();
        assert_eq!(read(&path, MOST).unwrap(), "a = 1");
        std::fs::write(&path, "#".repeat(64)).unwrap();
        assert_eq!(read(&path, MOST).unwrap().len(), 64);
        std::fs::write(&path, "#".repeat(65)).unwrap();
        assert!(matches!(read(&path, MOST), Err(Error::TooLong(MOST))));
        // A file of 3 GB that is nothing but a hole costs no more.
        std::fs::File::create(&path).unwrap().set_len(3 << 30).unwrap();
        assert!(matches!(read(&path, MOST), Err(Error::TooLong(MOST))));
        std::fs::write(&path, b"a = \"\xff\"").unwrap();
        assert!(matches!(read(&path, MOST), Err(Error::NotText(5))));
        assert!(matches!(read(folder.path(), MOST), Err(Error::NotAFile("a folder"))));
        assert!(matches!(read(&folder.path().join("none"), MOST), Err(Error::Io(_))));
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_pipes_are_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            assert!(matches!(read(path, MOST), Err(Error::NotAFile("a device or a pipe"))), "{path:?}");
        }
    }

    #[test]
    fn a_fault_has_its_place_and_an_end() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code)]
        struct Row {
            name: String,
            count: Option<u8>,
        }
        let fault = |text: &str| parse_toml::<Row>(text).unwrap_err();
        assert_eq!(
            fault("name = \"a\"\n\ncounts = 1\n"),
            "line 3, column 1 (counts = 1): unknown field `counts`, expected `name` or `count`"
        );
        assert!(fault("name = 1").starts_with("line 1, column 8 (name = 1): "));
        let long = "x".repeat(300_000);
        let quotes = "`a` \\\" ".repeat(20_000);
        let hostile = [
            format!("{long} = 1"),
            format!("name = \"{long}\"\nname = \"{long}\""),
            format!("name = [\"{long}\"]"),
            format!("name = \"a\"\ncount = \"{long}\""),
            format!("name = \"a\"\ncount = \"{quotes}\""),
            format!("\"{quotes}\" = 1"),
            format!("name = '{long}"),
            format!("[{long}"),
            format!("name = {}", "[".repeat(100_000)),
            format!("{} = 1", "a.".repeat(100_000)),
        ];
        for text in hostile {
            let said = fault(&text);
            assert!(said.chars().count() < 1000, "{}: {}", said.chars().count(), &said[..300]);
            assert!(said.lines().count() == 1 && !said.is_empty());
        }
    }
}
