//! Words as a shell takes them, for commands that are shown or copied.

use t2m_checkpoint::escape::escape;

/// A word as a shell takes it. One with characters that a terminal would obey or hide has them written out, as bash and zsh read them.
pub fn word(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-+=:,@".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if escape(word) != word {
        return written_out(word);
    }
    if word.contains('\'') && !word.contains(['"', '$', '`', '\\', '!']) {
        return format!("\"{word}\"");
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// `$'a\nb'`
fn written_out(word: &str) -> String {
    let mut text = String::from("$'");
    for character in word.chars() {
        match character {
            '\\' | '\'' => {
                text.push('\\');
                text.push(character);
            }
            ' '..='~' => text.push(character),
            _ => text += &format!("\\U{:08x}", u32::from(character)),
        }
    }
    text + "'"
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::word;

    #[test]
    fn words_are_those_of_a_shell() {
        assert_eq!(word("/usr/bin/python3"), "/usr/bin/python3");
        assert_eq!(word("timm.create_model('a')"), "\"timm.create_model('a')\"");
        assert_eq!(word("f('a', \"$x\")"), "'f('\\''a'\\'', \"$x\")'");
        assert_eq!(word(""), "''");
        assert_eq!(word("größe"), "'größe'");
        // Nothing that a terminal obeys: the end of a paste, a line end.
        assert_eq!(word("a\u{1b}[201~\n'x"), "$'a\\U0000001b[201~\\U0000000a\\'x'");
    }

    #[test]
    fn a_shell_reads_them_back() {
        for hostile in ["a b", "it's", "$(touch x)", "`x`", "a\"b'c$d", "-n", "*", "größe\t\n\u{202e}end", "\\"] {
            let command = format!("printf %s {}", word(hostile));
            let output = std::process::Command::new("bash").env("LC_ALL", "C.UTF-8").args(["-c", &command]).output();
            assert_eq!(String::from_utf8_lossy(&output.unwrap().stdout), hostile, "{command}");
        }
    }
}
