//! The dotted path of a class: its parts, and the modules that they may name.

/// Parts of a dotted path; a hostile checkpoint may name a class with thousands.
const PARTS: usize = 32;
/// Bytes of a part: what file systems take.
const PART_LENGTH: usize = 200;

/// A class's path in parts, each fit to be a file's name: a checkpoint may claim any path, `../../etc/passwd` too.
pub(super) fn split(class: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = class.split('.').take(PARTS + 1).collect();
    let fit = |part: &&str| {
        let mut characters = part.chars();
        let begins = characters.next().is_some_and(|first| first.is_alphabetic() || first == '_');
        begins
            && part.len() <= PART_LENGTH
            && characters.all(|character| character.is_alphanumeric() || character == '_')
    };
    let named = parts.iter().all(|part| fit(part) || *part == "<locals>");
    (named && parts.len() <= PARTS).then_some(parts)
}

/// Every way to read parts as a module and a qualified name in it, the shortest name first.
pub(super) fn splits<'a>(parts: &'a [&'a str]) -> impl DoubleEndedIterator<Item = (&'a [&'a str], String)> {
    (0..parts.len()).rev().map(|at| {
        let (module, name) = parts.split_at(at);
        (module, name.join("."))
    })
}
