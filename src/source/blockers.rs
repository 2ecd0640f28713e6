//! What in a class stands in the way of a port: the patterns of `assets/registry/blockers.toml`, found as syntax.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::LazyLock;

use globset::{Glob, GlobSet, GlobSetBuilder};
use streaming_iterator::StreamingIterator;
use tree_sitter::{Node, Query, QueryCursor};

use super::Blocker;
use super::checks::{Context, Found};
use super::held::Facts;
use super::python::Module;
use super::reach::{Lineage, Member};
use super::reading::Reading;
use crate::assets::built_in;
use crate::grammar;
use crate::registry::blockers::{self, Grade, Pattern, Where};

/// The queries that rows of the table name, by their file names.
const QUERIES: &[(&str, &str)] = &[
    ("autograd_function", include_str!("../../assets/queries/python/autograd_function.scm")),
    ("backward_hook", include_str!("../../assets/queries/python/backward_hook.scm")),
    ("call", include_str!("../../assets/queries/python/call.scm")),
    ("condition", include_str!("../../assets/queries/python/condition.scm")),
    ("copy", include_str!("../../assets/queries/python/copy.scm")),
    ("device", include_str!("../../assets/queries/python/device.scm")),
    ("dtype", include_str!("../../assets/queries/python/dtype.scm")),
    ("forward_hook", include_str!("../../assets/queries/python/forward_hook.scm")),
    ("in_place_add", include_str!("../../assets/queries/python/in_place_add.scm")),
    ("in_place_method", include_str!("../../assets/queries/python/in_place_method.scm")),
    ("in_place_operator", include_str!("../../assets/queries/python/in_place_operator.scm")),
    ("index", include_str!("../../assets/queries/python/index.scm")),
    ("item", include_str!("../../assets/queries/python/item.scm")),
    ("kernel", include_str!("../../assets/queries/python/kernel.scm")),
    ("memory_format", include_str!("../../assets/queries/python/memory_format.scm")),
    ("mention", include_str!("../../assets/queries/python/mention.scm")),
    ("number", include_str!("../../assets/queries/python/number.scm")),
    ("numpy", include_str!("../../assets/queries/python/numpy.scm")),
    ("out_argument", include_str!("../../assets/queries/python/out_argument.scm")),
    ("repeats", include_str!("../../assets/queries/python/repeats.scm")),
    ("single_argument", include_str!("../../assets/queries/python/single_argument.scm")),
    ("size", include_str!("../../assets/queries/python/size.scm")),
    ("state", include_str!("../../assets/queries/python/state.scm")),
    ("tolist", include_str!("../../assets/queries/python/tolist.scm")),
    ("view_write", include_str!("../../assets/queries/python/view_write.scm")),
];
/// Matches of one class that are kept; text made by hand has a handful.
const HIT_LIMIT: usize = 5_000;
/// Steps for asking all queries of one node, which takes some three microseconds.
const QUERY_STEPS: usize = 40;
/// Characters that are looked at for a construct, and for the white space in front of it.
const LOOKED_AT: usize = 4_096;
/// Characters of a construct that are kept.
const TEXT_LIMIT: usize = 120;

/// All queries that are asked of one part of a class, as one: the tree is walked once.
struct Lints {
    query: Query,
    /// For each pattern of the query, the group of rules that it belongs to.
    owners: Vec<usize>,
    /// The rules of each file of queries.
    groups: Vec<Vec<Rule>>,
    /// Numbers of the captures @blocker, @name, @target, @value.
    captures: [Option<u32>; 4],
}

/// A pattern with the names that its calls may have.
struct Rule {
    pattern: &'static Pattern,
    calls: GlobSet,
}

/// One match.
struct Hit<'t> {
    /// Byte of the place that is reported.
    start: usize,
    /// Byte of its name: of a chain of calls each is another.
    name: usize,
    blocker: Node<'t>,
    pattern: &'static Pattern,
    grade: &'static Grade,
}

/// Blockers of a class in one of the files that it and its bases are in, by line and column.
///
/// Of bases in other files than the one with `forward` only what runs is looked at: a library's base class has methods that
/// no model calls.
pub(super) fn find<'t>(
    lineage: &Lineage<'t>,
    facts: &Facts,
    readings: &[Reading<'t, '_>],
    file: &Module,
) -> Vec<Blocker> {
    let mut hits: Vec<Hit<'_>> = Vec::new();
    for reading in readings.iter().filter(|reading| std::ptr::eq(reading.module, file)) {
        let context = Context { lineage, reading, overwriting: &facts.overwriting };
        search(&FORWARD, reading.module, reading.function, &mut hits, |rule, found| {
            context.judge(rule.pattern, &rule.calls, found)
        });
    }
    let entry = lineage.entry().is_none_or(|entry| std::ptr::eq(entry.module, file));
    for member in lineage.members.iter().filter(|member| std::ptr::eq(member.module, file)) {
        let made = member.class.method("__init__").map(|method| method.node);
        let region = if entry { Some(member.class.node) } else { made };
        region.into_iter().for_each(|region| search_class(member, region, &mut hits));
    }
    // Of two matches of one pattern at one place, the longer.
    hits.sort_by_key(|hit| (hit.start, std::cmp::Reverse(hit.blocker.end_byte())));
    let mut seen = HashSet::new();
    hits.retain(|hit| seen.insert((hit.start, hit.name, hit.pattern.name.as_str())));
    report(file.text(), &hits)
}

static FORWARD: LazyLock<Lints> = LazyLock::new(|| built_in("blockers.toml", Lints::of(Where::Forward)));
static CLASS: LazyLock<Lints> = LazyLock::new(|| built_in("blockers.toml", Lints::of(Where::Class)));

impl Lints {
    /// Those of the rows that look at this part.
    fn of(place: Where) -> Result<Lints, String> {
        let (mut text, mut starts) = (String::new(), Vec::new());
        let (mut names, mut groups): (Vec<&str>, Vec<Vec<Rule>>) = (Vec::new(), Vec::new());
        for pattern in blockers::built_in().iter().filter(|pattern| pattern.place == place) {
            let calls = calls(pattern).map_err(|error| format!("{}: {error}", pattern.name))?;
            let rule = Rule { pattern, calls };
            if let Some(group) = names.iter().position(|name| *name == pattern.query).and_then(|at| groups.get_mut(at))
            {
                group.push(rule);
                continue;
            }
            let query = QUERIES.iter().find(|(known, _)| *known == pattern.query);
            let (_, query) = query.ok_or_else(|| format!("{}: there is no query `{}`", pattern.name, pattern.query))?;
            starts.push(text.len());
            text.push_str(query);
            names.push(&pattern.query);
            groups.push(vec![rule]);
        }
        let query = Query::new(&grammar::python(), &text).map_err(|error| error.to_string())?;
        let owner =
            |at: usize| starts.partition_point(|start| *start <= query.start_byte_for_pattern(at)).saturating_sub(1);
        let owners = (0..query.pattern_count()).map(owner).collect();
        let captures = ["blocker", "name", "target", "value"].map(|name| query.capture_index_for_name(name));
        Ok(Lints { query, owners, groups, captures })
    }

    /// The matches that begin at a node.
    fn at<'t>(
        &'static self,
        cursor: &mut QueryCursor,
        module: &'t Module,
        node: Node<'t>,
        hits: &mut Vec<Hit<'t>>,
        judge: &impl Fn(&'static Rule, &Found<'t>) -> Option<(Node<'t>, &'static Grade)>,
    ) {
        let mut matches = cursor.matches(&self.query, node, module.text().as_bytes());
        while let Some(found) = matches.next() {
            let [Some(construct), name, target, value] = self.captures.map(|index| {
                found.captures().iter().find(|capture| Some(capture.index) == index).map(|capture| capture.node)
            }) else {
                continue;
            };
            let rules = self.owners.get(found.pattern_index).and_then(|owner| self.groups.get(*owner));
            let found = Found { blocker: construct, name, target, value, full: OnceCell::new() };
            for rule in rules.into_iter().flatten() {
                if let Some((blocker, grade)) = judge(rule, &found) {
                    let own = found.name.filter(|_| blocker.id() == construct.id());
                    let start = place(module.text(), blocker, own);
                    let name = own.map_or(start, |name| name.start_byte());
                    hits.push(Hit { start, name, blocker, pattern: rule.pattern, grade });
                }
            }
        }
    }
}

/// The names of a row as one set.
fn calls(pattern: &Pattern) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for name in &pattern.calls {
        set.add(Glob::new(name)?);
    }
    set.build()
}

/// Look through a class body or a part of it, its nested classes left out.
fn search_class<'t>(member: &Member<'t>, region: Node<'t>, hits: &mut Vec<Hit<'t>>) {
    let class = &member.class;
    let mut nested = Vec::new();
    member.module.preorder(region, |node, _| {
        let inner = node.kind() == "class_definition" && node.id() != class.node.id();
        if inner {
            nested.push(node.byte_range());
        }
        !inner
    });
    search(&CLASS, member.module, region, hits, |rule, found| {
        // In order, and none within another.
        let start = found.blocker.start_byte();
        let before = nested.partition_point(|range| range.start <= start).checked_sub(1);
        let own = !before.and_then(|at| nested.get(at)).is_some_and(|range| range.contains(&start));
        own.then_some((found.blocker, &rule.pattern.grade))
    });
}

fn search<'t>(
    lints: &'static Lints,
    module: &'t Module,
    region: Node<'t>,
    hits: &mut Vec<Hit<'t>>,
    judge: impl Fn(&'static Rule, &Found<'t>) -> Option<(Node<'t>, &'static Grade)>,
) {
    let mut cursor = QueryCursor::new();
    // Each node is asked whether a match begins there. Left to itself the cursor keeps every match open that has begun, one for
    // each call in the receiver of another, and looks through all of them at each node: the square of that depth.
    cursor.set_max_start_depth(Some(0));
    module.preorder(region, |node, _| {
        if hits.len() < HIT_LIMIT && module.budget().burn(QUERY_STEPS) {
            lints.at(&mut cursor, module, node, hits, &judge);
        }
        true
    });
}

/// The first byte of the construct on the line that its name is on: a chain of calls may begin lines above.
fn place(text: &str, blocker: Node<'_>, name: Option<Node<'_>>) -> usize {
    let (start, Some(name)) = (blocker.start_byte(), name) else { return blocker.start_byte() };
    if name.start_position().row == blocker.start_position().row {
        return start;
    }
    let line = name.start_byte().saturating_sub(name.start_position().column);
    let before = text.get(line..name.start_byte()).unwrap_or_default();
    let code = before.char_indices().take(LOOKED_AT).find(|(_, character)| !character.is_whitespace());
    line + code.map_or(before.len(), |(at, _)| at)
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
            at: (hit.pattern.place == Where::Forward).then_some(hit.name),
        });
    }
    blockers
}

/// White space made single, the end cut off where it is long.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut kept = 0;
    for character in text.chars().take(LOOKED_AT) {
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
    use crate::registry::blockers::Check;

    #[test]
    fn each_row_has_a_query_and_each_query_a_row() {
        let rows = blockers::built_in();
        let lints = [&FORWARD, &CLASS];
        assert_eq!(lints.iter().flat_map(|lints| &lints.groups).map(Vec::len).sum::<usize>(), rows.len());
        let mut named: Vec<&str> = rows.iter().map(|row| row.query.as_str()).collect();
        let mut known: Vec<&str> = QUERIES.iter().map(|(name, _)| *name).collect();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/queries/python");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<String> = files.map(|file| file.trim_end_matches(".scm").to_owned()).collect();
        named.sort_unstable();
        named.dedup();
        known.sort_unstable();
        files.sort_unstable();
        assert_eq!(named, known);
        assert_eq!(files, known);
    }

    #[test]
    fn queries_capture_what_their_checks_ask_for() {
        for pattern in blockers::built_in() {
            let (_, text) = QUERIES.iter().find(|(name, _)| *name == pattern.query).unwrap();
            let query = Query::new(&grammar::python(), text).unwrap();
            let needed: &[&str] = match pattern.check {
                Check::None | Check::Method | Check::Autograd | Check::Condition | Check::Kernel => {
                    &["blocker", "name"]
                }
                Check::Call | Check::Training | Check::Inplace => &["blocker"],
                Check::Array | Check::View | Check::State => &["blocker", "target", "value"],
                Check::Truth | Check::Number | Check::Mask => &["blocker", "value"],
            };
            for name in needed {
                assert!(query.capture_index_for_name(name).is_some(), "{} captures @{name}", pattern.name);
            }
            assert!(pattern.check == Check::None || pattern.place == Where::Forward, "checks need a method");
            let named = matches!(pattern.check, Check::Call | Check::Training | Check::Condition);
            assert!(named || pattern.calls.is_empty(), "{} has calls that nothing reads", pattern.name);
        }
    }

    #[test]
    fn a_construct_is_told_on_one_line() {
        assert_eq!(one_line("x.copy_(\n\ty,\r\n  z)"), "x.copy_( y, z)");
        assert_eq!(one_line(&"é".repeat(500)).chars().count(), TEXT_LIMIT + 1);
    }
}
