//! As much of XML as S3's listings and refusals are made of: elements without attributes, texts with the five entities.

/// The text of the first element of a name.
pub fn first(text: &str, name: &str) -> Option<String> {
    elements(text, name).next().map(unescape)
}

/// What is inside of each element of a name, as it stands there.
pub fn elements<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once(open.as_str())?;
        let (inside, behind) = behind.split_once(close.as_str())?;
        rest = behind;
        Some(inside)
    })
}

/// A text without its entities.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        plain.push_str(before);
        let known = [("lt;", '<'), ("gt;", '>'), ("amp;", '&'), ("quot;", '"'), ("apos;", '\'')];
        match known.iter().find_map(|(name, letter)| Some((behind.strip_prefix(name)?, letter))) {
            Some((behind, letter)) => {
                plain.push(*letter);
                rest = behind;
            }
            None => {
                plain.push('&');
                rest = behind;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_and_their_texts_read() {
        let text = "<L><Key>a&amp;b&lt;1&#1;</Key><Key>second</Key><Key>open";
        assert_eq!(first(text, "Key").as_deref(), Some("a&b<1&#1;"));
        assert_eq!(elements(text, "Key").count(), 2);
        assert_eq!(first(text, "Size"), None);
    }
}
