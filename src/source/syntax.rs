//! Parsing Python, and walking through its trees.

use std::ops::ControlFlow;

use tree_sitter::{Language, Node, ParseOptions, Parser, Tree};

use super::budget::Budget;
use crate::assets::built_in;
use crate::grammar;

/// Steps between two calls of the parser's progress callback (`OP_COUNT_PER_PARSER_CALLBACK_CHECK` of tree-sitter).
const OPERATIONS: u64 = 100;
/// The line (1-based) of the last statement of the file itself that begins at or before `line`: from there, text reads as
/// from a file's start. `None` where syntax errors leave that open.
pub(super) fn statement_start(text: &str, line: usize) -> Option<usize> {
    if line <= 1 {
        return None;
    }
    let tree = parse(text, &Budget::default())?;
    let root = tree.root_node();
    let mut cursor = root.walk();
    let mut found = None;
    for child in root.children(&mut cursor) {
        if child.start_position().row + 1 > line {
            break;
        }
        if child.has_error() {
            return None;
        }
        if child.start_position().column == 0 && !child.is_extra() {
            found = Some(child.start_position().row + 1);
        }
    }
    found
}

/// What is to be visited after a node.
pub(super) enum Walk {
    /// What is below it.
    Inside,
    /// What follows behind it.
    Behind,
    /// Nothing more.
    End,
}

impl From<bool> for Walk {
    fn from(inside: bool) -> Walk {
        if inside { Walk::Inside } else { Walk::Behind }
    }
}

/// Visit the named nodes at `root` and below, with their numbers among its descendants, without recursion.
pub(super) fn preorder<'t>(root: Node<'t>, mut enter: impl FnMut(Node<'t>, usize) -> Walk) {
    let mut cursor = root.walk();
    loop {
        let node = cursor.node();
        if node.is_named() {
            match enter(node, cursor.descendant_index()) {
                Walk::Inside if cursor.goto_first_child() => continue,
                Walk::End => return,
                Walk::Inside | Walk::Behind => {}
            }
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return;
            }
        }
    }
}

/// The tree of a text; `None` where it takes more steps or memory than the budget has for a file.
pub(super) fn parse(text: &str, budget: &Budget) -> Option<Tree> {
    let language = grammar::python();
    let before = grammar::held();
    let holds = || u64::try_from(grammar::held().wrapping_sub(before)).unwrap_or(0);
    let tree = parse_within(text, &language, budget, holds)?;
    budget.hold(holds());
    Some(tree)
}

fn parse_within(text: &str, language: &Language, budget: &Budget, holds: impl Fn() -> u64) -> Option<Tree> {
    let mut parser = Parser::new();
    built_in("grammar of Python", parser.set_language(language));
    let mut allowed = budget.file();
    let mut watch = |state: &tree_sitter::ParseState| {
        let goes_on = allowed.burn(OPERATIONS, state.has_error()) && allowed.has_room(holds());
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let options = ParseOptions::new().progress_callback(&mut watch);
    let bytes = text.as_bytes();
    parser.parse_with_options(&mut |at, _| bytes.get(at..).unwrap_or_default(), None, Some(options))
}
