//! What in source stops a port: `assets/registry/blockers.toml`.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::assets;

/// How bad a blocker is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The port does not run.
    Breaks,
    /// It runs and computes something else.
    Differs,
    /// It is harmless, but worth knowing.
    Harmless,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Severity; 3] = [Severity::Breaks, Severity::Differs, Severity::Harmless];

    /// The word in JSON and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Breaks => "breaks",
            Severity::Differs => "differs",
            Severity::Harmless => "harmless",
        }
    }
}

/// The part of a class in which a pattern is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Where {
    /// `forward` and the methods of the class that it uses.
    Forward,
    /// The whole class body, its nested classes left out.
    Class,
}

/// What must hold of a match beyond its syntax.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Nothing.
    #[default]
    None,
    /// It is a method of tensors, on what may be a tensor.
    Method,
    /// The full name of what is called, or mentioned, is one of the row's `calls`.
    Call,
    /// The full name is one of the row's `calls`, and the call does not turn training off.
    Training,
    /// The value is an array, and Python asks for its truth value.
    Truth,
    /// The value is an array that becomes a Python number.
    Number,
    /// The index is an array of booleans.
    Mask,
    /// The target shares memory with another name through a view.
    View,
    /// The target is an attribute that holds an array.
    State,
    /// It is part of the condition of a branch; the condition is reported.
    Condition,
    /// The call overwrites its argument.
    Inplace,
    /// The name refers to a function that Triton compiles.
    Kernel,
    /// The target of an augmented assignment may be an array.
    Array,
    /// The name refers to a `torch.autograd.Function`.
    Autograd,
}

/// How bad a match is, and the two texts a person reads.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grade {
    /// How bad.
    pub severity: Severity,
    /// What happens.
    pub explanation: String,
    /// What to write instead.
    pub hint: String,
}

/// One pattern: a row of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Its name (`.item()`), unique.
    pub name: String,
    /// Its query, `assets/queries/python/<query>.scm`.
    pub query: String,
    /// Where it is looked for.
    pub place: Where,
    /// What else must hold.
    pub check: Check,
    /// Full names that a call may have, `*` for any part: `torch.nonzero`, `x.nonzero` for a method, `torch.ops.*`.
    pub calls: Vec<String>,
    /// What a match means.
    pub grade: Grade,
    /// What it means for a target that shares memory with another name through a view, or an argument that is used again.
    pub view: Option<Grade>,
    /// One of the six patterns of torch2mlx.
    pub seed: bool,
}

/// A table of blockers that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not TOML, or not of this form.
    #[error("blockers.toml: {0}")]
    Syntax(#[from] toml::de::Error),
    /// Two rows have one name.
    #[error("blockers.toml: two rows are named `{0}`; give each pattern one row")]
    Duplicate(String),
    /// A text that a person would read is missing.
    #[error("blockers.toml: `{0}` has an empty name, query, explanation or hint; fill it in")]
    Empty(String),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    blocker: Vec<Row>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    pattern: String,
    query: String,
    #[serde(rename = "where")]
    place: Where,
    #[serde(default)]
    check: Check,
    #[serde(default)]
    calls: Vec<String>,
    severity: Severity,
    explanation: String,
    hint: String,
    view: Option<Grade>,
    #[serde(default)]
    seed: bool,
}

/// Read a table of blockers.
///
/// # Errors
/// It does not follow the format, names a pattern twice, or leaves a text empty.
pub fn parse(text: &str) -> Result<Vec<Pattern>, Error> {
    let table: Table = toml::from_str(text)?;
    let mut names = HashSet::new();
    let mut patterns = Vec::with_capacity(table.blocker.len());
    for row in table.blocker {
        let pattern = Pattern::from(row);
        if !names.insert(pattern.name.clone()) {
            return Err(Error::Duplicate(pattern.name));
        }
        if !pattern.is_complete() {
            return Err(Error::Empty(pattern.name));
        }
        patterns.push(pattern);
    }
    Ok(patterns)
}

/// The built-in table, read once.
pub fn built_in() -> &'static [Pattern] {
    static BUILT_IN: LazyLock<Vec<Pattern>> =
        LazyLock::new(|| assets::built_in("blockers.toml", parse(include_str!("../../assets/registry/blockers.toml"))));
    &BUILT_IN
}

impl Pattern {
    fn is_complete(&self) -> bool {
        let grades = std::iter::once(&self.grade).chain(&self.view);
        let texts = grades.flat_map(|grade| [&grade.explanation, &grade.hint]);
        texts.chain([&self.name, &self.query]).all(|text| !text.trim().is_empty())
    }
}

impl From<Row> for Pattern {
    fn from(row: Row) -> Pattern {
        Pattern {
            name: row.pattern,
            query: row.query,
            place: row.place,
            check: row.check,
            calls: row.calls,
            grade: Grade { severity: row.severity, explanation: row.explanation, hint: row.hint },
            view: row.view,
            seed: row.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ROW: &str = "[[blocker]]\npattern = 'p'\nquery = 'q'\nwhere = 'class'\nseverity = 'differs'\n";

    #[test]
    fn the_built_in_table_holds_the_six_seed_patterns() {
        let seeds: Vec<&str> = built_in().iter().filter(|row| row.seed).map(|row| row.name.as_str()).collect();
        let expected =
            [".copy_(", "torch.autograd.Function", ".item()", "register_forward_hook", "register_backward_hook", "+="];
        assert_eq!(seeds, expected);
    }

    #[test]
    fn rows_of_what_is_overwritten_have_two_grades() {
        for row in built_in() {
            assert_eq!(row.view.is_some(), matches!(row.check, Check::Array | Check::Inplace), "{}", row.name);
        }
    }

    #[test]
    fn rows_are_checked() {
        let good = format!("{ROW}explanation = 'e'\nhint = 'h'\n");
        let rows = parse(&good).unwrap();
        assert_eq!((rows[0].place, rows[0].check, rows[0].seed), (Where::Class, Check::None, false));
        assert!(matches!(parse(&format!("{good}{good}")), Err(Error::Duplicate(name)) if name == "p"));
        assert!(matches!(parse(&format!("{ROW}explanation = ' '\nhint = 'h'\n")), Err(Error::Empty(_))));
        assert!(matches!(parse(&format!("{good}colour = 'red'\n")), Err(Error::Syntax(_))));
        assert!(matches!(parse(ROW), Err(Error::Syntax(_))));
    }
}
