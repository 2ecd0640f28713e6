//! The user's editor: what it is, and how it is told a line.

use std::path::Path;

/// How an editor is told which line to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `+12 file`
    Plus,
    /// `--goto file:12`
    Goto,
    /// `file:12`
    Colon,
    /// `--line 12 file`
    Line,
    /// It is not: the file alone.
    Unknown,
}

/// How these editors are told, by the names of their programs.
const WAYS: [(&str, Way); 33] = [
    ("vi", Way::Plus),
    ("vim", Way::Plus),
    ("nvim", Way::Plus),
    ("view", Way::Plus),
    ("gvim", Way::Plus),
    ("mvim", Way::Plus),
    ("neovide", Way::Plus),
    ("nano", Way::Plus),
    ("pico", Way::Plus),
    ("emacs", Way::Plus),
    ("emacsclient", Way::Plus),
    ("mg", Way::Plus),
    ("jmacs", Way::Plus),
    ("joe", Way::Plus),
    ("jed", Way::Plus),
    ("ne", Way::Plus),
    ("kak", Way::Plus),
    ("micro", Way::Plus),
    ("gedit", Way::Plus),
    ("less", Way::Plus),
    ("helix", Way::Colon),
    ("hx", Way::Colon),
    ("subl", Way::Colon),
    ("sublime_text", Way::Colon),
    ("code", Way::Goto),
    ("code-insiders", Way::Goto),
    ("codium", Way::Goto),
    ("cursor", Way::Goto),
    ("windsurf", Way::Goto),
    ("zed", Way::Colon),
    ("zeditor", Way::Colon),
    ("kate", Way::Line),
    ("mate", Way::Line),
];

/// The editor that the environment names: `$VISUAL`, or `$EDITOR`.
pub fn named(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    ["VISUAL", "EDITOR"].iter().find_map(|name| variable(name).filter(|value| !value.trim().is_empty()))
}

/// What it is given to show a line, as arguments behind those that its variable has.
pub fn arguments(editor: &str, file: &str, line: usize) -> Vec<String> {
    let program = program(editor);
    let name = Path::new(&program).file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let way = WAYS.iter().find(|(known, _)| *known == name).map_or(Way::Unknown, |(_, way)| *way);
    // One that begins with a dash would be an option.
    let file = if file.starts_with(['-', '+']) { format!("./{file}") } else { file.to_owned() };
    match way {
        Way::Plus => vec![format!("+{line}"), file],
        Way::Goto => vec!["--goto".to_owned(), format!("{file}:{line}")],
        Way::Colon => vec![format!("{file}:{line}")],
        Way::Line => vec!["--line".to_owned(), line.to_string(), file],
        Way::Unknown => vec![file],
    }
}

/// The first word of a command line, without the quotes or backslashes that keep it together.
fn program(editor: &str) -> String {
    let (mut word, mut quote, mut letters) = (String::new(), None, editor.trim_start().chars());
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(end), letter) if letter == end => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            (None, '\\') => word.extend(letters.next()),
            (None, letter) if letter.is_whitespace() => break,
            (_, letter) => word.push(letter),
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_are_told_the_line_in_their_way() {
        let of = |editor: &str| arguments(editor, "/a b/net.py", 12).join(" ");
        for editor in ["vim", "/usr/bin/nvim -p", "'/opt/my editor/vi'", "emacsclient -t", "nano --mouse", "kak"] {
            assert_eq!(of(editor), "+12 /a b/net.py", "{editor}");
        }
        for editor in ["code --wait", "codium", "/opt/My\\ Apps/cursor -w"] {
            assert_eq!(of(editor), "--goto /a b/net.py:12", "{editor}");
        }
        for editor in ["hx", "subl -w", "zed --wait"] {
            assert_eq!(of(editor), "/a b/net.py:12", "{editor}");
        }
        assert_eq!(of("kate"), "--line 12 /a b/net.py");
        assert_eq!(of("ed"), "/a b/net.py");
        assert_eq!(arguments("vi", "-rf", 1), ["+1", "./-rf"]);
    }

    #[test]
    fn visual_comes_first_and_an_empty_one_is_none() {
        let with = |pairs: &'static [(&str, &str)]| {
            named(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(with(&[("EDITOR", "vi"), ("VISUAL", "code -w")]).as_deref(), Some("code -w"));
        assert_eq!(with(&[("EDITOR", "vi"), ("VISUAL", " ")]).as_deref(), Some("vi"));
        assert_eq!(with(&[]), None);
    }
}
