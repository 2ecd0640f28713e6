//! What in a class stands in the way of a port: the patterns of `assets/registry/blockers.toml`, found as syntax.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::LazyLock;

use streaming_iterator::StreamingIterator;
use tree_sitter::{Node, Query, QueryCursor};

use super::names::{Attributes, Effect, Names};
use super::python::{Module, preorder};
use super::reach::{Lineage, Member, Reached};
use super::{Blocker, autograd};
use crate::registry::blockers::{self, Check, Grade, Pattern, Where};

/// The queries that rows of the table name, by their file names.
const QUERIES: [(&str, &str); 9] = [
    ("copy", include_str!("../../assets/queries/python/copy.scm")),
    ("autograd_function", include_str!("../../assets/queries/python/autograd_function.scm")),
    ("item", include_str!("../../assets/queries/python/item.scm")),
    ("forward_hook", include_str!("../../assets/queries/python/forward_hook.scm")),
    ("backward_hook", include_str!("../../assets/queries/python/backward_hook.scm")),
    ("in_place_add", include_str!("../../assets/queries/python/in_place_add.scm")),
    ("in_place_operator", include_str!("../../assets/queries/python/in_place_operator.scm")),
    ("in_place_method", include_str!("../../assets/queries/python/in_place_method.scm")),
    ("host_value", include_str!("../../assets/queries/python/host_value.scm")),
];
/// Matches of one class that are kept; text made by hand has a handful.
const HIT_LIMIT: usize = 5_000;
/// Matches that may be begun at once, one for each call in the receiver of another: without a limit the time grows with the
/// square of that depth.
const OPEN_MATCHES: u32 = 64;
/// Characters of a construct that are kept.
const TEXT_LIMIT: usize = 120;

/// A pattern with its query.
struct Rule {
    pattern: &'static Pattern,
    query: Query,
}

/// One match.
struct Hit<'t> {
    /// Byte of the place that is reported.
    start: usize,
    blocker: Node<'t>,
    pattern: &'static Pattern,
    grade: &'static Grade,
}

struct Linter<'t, 'a> {
    lineage: &'a Lineage<'t>,
    attributes: &'a Attributes,
}

/// Blockers of a class in one of the files that it and its bases are in, by line and column.
///
/// Of bases in other files than the one with `forward` only what runs is looked at: a library's base class has methods that
/// no model calls.
pub(super) fn find(lineage: &Lineage<'_>, attributes: &Attributes, file: &Module) -> Vec<Blocker> {
    let linter = Linter { lineage, attributes };
    let reached: Vec<Reached<'_>> =
        lineage.reached().into_iter().filter(|reached| std::ptr::eq(reached.module, file)).collect();
    let mut hits: Vec<Hit<'_>> = Vec::new();
    for rule in RULES.iter() {
        match rule.pattern.place {
            Where::Forward => reached.iter().for_each(|reached| linter.search_method(rule, reached, &mut hits)),
            Where::Class => {
                let members = lineage.members.iter().filter(|member| std::ptr::eq(member.module, file));
                let entry = lineage.entry().is_none_or(|entry| std::ptr::eq(entry.module, file));
                for member in members {
                    let made = member.class.method("__init__").map(|method| method.node);
                    let region = if entry { Some(member.class.node) } else { made };
                    region.into_iter().for_each(|region| search_class(rule, member, region, &mut hits));
                }
            }
        }
    }
    // Of two matches of one pattern at one place, the longer.
    hits.sort_by_key(|hit| (hit.start, std::cmp::Reverse(hit.blocker.end_byte())));
    let mut seen = HashSet::new();
    hits.retain(|hit| seen.insert((hit.start, hit.pattern.name.as_str())));
    report(file.text(), &hits)
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let patterns = blockers::built_in().unwrap_or_default();
    patterns.iter().filter_map(|pattern| Some(Rule { pattern, query: compile(&pattern.query)? })).collect()
});

/// A query by its name; that each row of the table has one is checked by a test.
fn compile(name: &str) -> Option<Query> {
    let (_, text) = QUERIES.iter().find(|(known, _)| *known == name)?;
    Query::new(&tree_sitter_python::LANGUAGE.into(), text).ok()
}

impl<'t> Linter<'t, '_> {
    fn search_method(&self, rule: &'static Rule, reached: &Reached<'t>, hits: &mut Vec<Hit<'t>>) {
        let names: OnceCell<Names<'_, '_>> = OnceCell::new();
        search(rule, reached.module, reached.method.node, hits, |found| match rule.pattern.check {
            Check::None => (!self.is_own_method(reached, found)).then_some(&rule.pattern.grade),
            Check::Autograd => {
                let owner = self.lineage.members.get(reached.owner)?;
                is_autograd(owner, found.name?).then_some(&rule.pattern.grade)
            }
            Check::Array => {
                let new = || Names::new(reached.module, reached.method.node, self.attributes);
                match names.get_or_init(new).effect(found.target?, found.value?) {
                    Effect::NoArray => None,
                    Effect::Own => Some(&rule.pattern.grade),
                    Effect::ThroughView => Some(rule.pattern.view.as_ref().unwrap_or(&rule.pattern.grade)),
                }
            }
        });
    }

    /// Whether `self.item()` calls a method that the class itself defines: that one is read in its own place.
    fn is_own_method(&self, reached: &Reached<'t>, found: &Found<'t>) -> bool {
        let module = reached.module;
        let Some(name) = found.name.map(|name| module.slice(name)) else { return false };
        let object = found.blocker.child_by_field_name("function").and_then(|it| it.child_by_field_name("object"));
        let receiver = module.receiver(reached.method.node);
        object.is_some_and(|object| receiver == Some(module.slice(object))) && self.lineage.method(0, name).is_some()
    }
}

/// Look through a class body or a part of it, its nested classes left out.
fn search_class<'t>(rule: &'static Rule, member: &Member<'t>, region: Node<'t>, hits: &mut Vec<Hit<'t>>) {
    let class = &member.class;
    let mut nested = Vec::new();
    preorder(region, |node, _| {
        let inner = node.kind() == "class_definition" && node.id() != class.node.id();
        if inner {
            nested.push(node.byte_range());
        }
        !inner
    });
    search(rule, member.module, region, hits, |found| {
        let own = !nested.iter().any(|range| range.contains(&found.blocker.start_byte()));
        own.then_some(&rule.pattern.grade)
    });
}

fn search<'t>(
    rule: &'static Rule,
    module: &'t Module,
    region: Node<'t>,
    hits: &mut Vec<Hit<'t>>,
    grade: impl Fn(&Found<'t>) -> Option<&'static Grade>,
) {
    let mut cursor = QueryCursor::new();
    cursor.set_match_limit(OPEN_MATCHES);
    let mut matches = cursor.matches(&rule.query, region, module.text().as_bytes());
    while let Some(found) = matches.next() {
        if hits.len() >= HIT_LIMIT {
            break;
        }
        let capture = |name: &str| {
            let index = rule.query.capture_index_for_name(name)?;
            found.captures().iter().find(|capture| capture.index == index).map(|capture| capture.node)
        };
        let Some(blocker) = capture("blocker") else { continue };
        let found = Found { blocker, name: capture("name"), target: capture("target"), value: capture("value") };
        if let Some(grade) = grade(&found) {
            let start = place(module.text(), &found);
            hits.push(Hit { start, blocker, pattern: rule.pattern, grade });
        }
    }
}

/// Whether a name or attribute, as written in a class, stands for a `torch.autograd.Function` or its `apply`.
fn is_autograd(owner: &Member<'_>, name: Node<'_>) -> bool {
    let module = owner.module;
    let written = module.slice(name);
    let bare = written.strip_suffix(".apply").unwrap_or(written);
    let known = module.autograd_names();
    let inside = bare.split_once('.').map(|(_, rest)| format!("{}.{rest}", owner.class.name));
    autograd::is_function(&module.resolve(bare))
        || known.contains(written)
        || known.contains(bare)
        || inside.is_some_and(|nested| known.contains(&nested))
}

/// What a match captured.
struct Found<'t> {
    blocker: Node<'t>,
    name: Option<Node<'t>>,
    target: Option<Node<'t>>,
    value: Option<Node<'t>>,
}

/// The first byte of the construct on the line that its name is on: a chain of calls may begin lines above.
fn place(text: &str, found: &Found<'_>) -> usize {
    let (start, Some(name)) = (found.blocker.start_byte(), found.name) else { return found.blocker.start_byte() };
    if name.start_position().row == found.blocker.start_position().row {
        return start;
    }
    let line = name.start_byte().saturating_sub(name.start_position().column);
    let before = text.get(line..name.start_byte()).unwrap_or_default();
    line + before.len() - before.trim_start().len()
}

/// Turn hits, sorted by place, into blockers: one pass over the text finds lines and columns.
fn report(text: &str, hits: &[Hit<'_>]) -> Vec<Blocker> {
    let (mut at, mut line, mut column) = (0, 1, 1);
    let mut blockers = Vec::with_capacity(hits.len());
    for hit in hits {
        for character in text.get(at..hit.start).unwrap_or_default().chars() {
            (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        at = hit.start;
        blockers.push(Blocker {
            pattern: hit.pattern.name.clone(),
            severity: hit.grade.severity,
            line,
            column,
            text: one_line(text.get(hit.start..hit.blocker.end_byte()).unwrap_or_default()),
            explanation: hit.grade.explanation.clone(),
            hint: hit.grade.hint.clone(),
        });
    }
    blockers
}

/// White space made single, the end cut off where it is long.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut kept = 0;
    for character in text.chars() {
        let space = character.is_whitespace();
        if space && line.ends_with(' ') {
            continue;
        }
        if kept == TEXT_LIMIT {
            line.push('…');
            break;
        }
        line.push(if space { ' ' } else { character });
        kept += 1;
    }
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_row_has_a_query_and_each_query_a_row() {
        let rows = blockers::built_in().unwrap();
        assert_eq!(RULES.len(), rows.len());
        let mut named: Vec<&str> = rows.iter().map(|row| row.query.as_str()).collect();
        let mut known: Vec<&str> = QUERIES.iter().map(|(name, _)| *name).collect();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/queries/python");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<String> = files.map(|file| file.trim_end_matches(".scm").to_owned()).collect();
        named.sort_unstable();
        known.sort_unstable();
        files.sort_unstable();
        assert_eq!(named, known);
        assert_eq!(files, known);
    }

    #[test]
    fn queries_capture_what_their_checks_ask_for() {
        for rule in RULES.iter() {
            let needed: &[&str] = match rule.pattern.check {
                Check::None | Check::Autograd => &["blocker", "name"],
                Check::Array => &["blocker", "target", "value"],
            };
            assert_eq!(rule.query.capture_names().len(), needed.len(), "{}", rule.pattern.name);
            assert!(
                needed.iter().all(|name| rule.query.capture_index_for_name(name).is_some()),
                "{}",
                rule.pattern.name
            );
            assert!(rule.pattern.check == Check::None || rule.pattern.place == Where::Forward, "checks need a method");
        }
    }

    #[test]
    fn a_construct_is_told_on_one_line() {
        assert_eq!(one_line("x.copy_(\n\ty,\r\n  z)"), "x.copy_( y, z)");
        assert_eq!(one_line(&"é".repeat(500)).chars().count(), TEXT_LIMIT + 1);
    }
}
