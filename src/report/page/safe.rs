//! Text of a file as HTML and as Markdown: whatever it holds, it is read and never obeyed.

use std::borrow::Cow;
use std::fmt::Write;

use t2m_checkpoint::escape::escape;

/// Text for an element or for an attribute in double quotes. Characters that a reader would not see are written out.
pub(super) fn html(text: &str) -> Cow<'_, str> {
    let safe = escape(text);
    if !safe.contains(['&', '<', '>', '"', '\'']) {
        return safe;
    }
    let mut out = String::with_capacity(safe.len() + 16);
    for character in safe.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// Text for a cell of a Markdown table, or for a line: no markup of Markdown's or HTML's survives in it.
pub(super) fn markdown(text: &str) -> String {
    let safe = escape(text);
    let mut out = String::with_capacity(safe.len() + 16);
    for character in safe.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '!' | '#' | '~' | '$' => {
                out.push('\\');
                out.push(character);
            }
            _ => out.push(character),
        }
    }
    // What looks like an address would become a link.
    out.replace("://", "&#58;//").replace("www.", "www&#46;")
}

/// Text as code in Markdown; where it has backticks of its own, between more of them.
pub(super) fn code(text: &str) -> String {
    let safe = escape(text);
    let mut longest = 0;
    let mut now = 0;
    for character in safe.chars() {
        now = if character == '`' { now + 1 } else { 0 };
        longest = longest.max(now);
    }
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 { " " } else { "" };
    let mut out = String::with_capacity(safe.len() + 4);
    // A cell ends at a bar even within code. Writing to a String cannot fail.
    let _ = write!(out, "{fence}{pad}{}{pad}{fence}", safe.replace('|', "\\|"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hostile_is_left() {
        let name = "</script><img src=x onerror=alert(1)>\u{202e}\"' `|[a](javascript:x) https://a www.b";
        let safe = html(name);
        assert!(!safe.contains(['<', '>', '"', '\'', '\u{202e}']), "{safe}");
        assert!(safe.starts_with("&lt;/script&gt;&lt;img") && safe.contains("&quot;&#39;"), "{safe}");
        let safe = markdown(name);
        assert!(!safe.contains(['<', '>', '\u{202e}']) && safe.contains("\\|\\[a\\](javascript:x)"), "{safe}");
        assert!(safe.ends_with("https&#58;//a www&#46;b"), "{safe}");
        assert_eq!(code("a`b|c"), "`` a`b\\|c ``");
        assert_eq!(code("plain"), "`plain`");
    }
}
