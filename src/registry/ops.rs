//! Rows of `ops.toml`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;

use super::conditions::{Call, Condition};
use super::{Error, parse_toml};
use crate::assets;

/// One torch op as called in a `forward`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Op {
    /// The call; `x.` marks a method of tensors, `F.` a function of torch.nn.functional.
    pub torch: String,
    /// Other names for it.
    #[serde(default)]
    pub also: Vec<String>,
    /// What to call instead; `no_op` if the call can be left out, `none` if there is nothing.
    pub mlx: String,
    /// What to call in mlx-rs.
    pub mlx_rs: Option<String>,
    /// How far the two agree.
    pub status: OpStatus,
    /// Argument names that change.
    #[serde(default)]
    pub renames: BTreeMap<String, String>,
    /// What goes wrong and what to write.
    pub trap: Option<String>,
    /// Arguments with which the trap fires, any of them; without this row and the next it always does. Otherwise the call is direct.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// Arguments with which it does not, whatever else is given.
    #[serde(default)]
    pub unless: Vec<Condition>,
    /// What more is to be said of calls with certain arguments.
    #[serde(default)]
    pub says: Vec<Says>,
    /// Its trap is of channels-last activations alone: where it is known what comes in, that decides.
    #[serde(default)]
    pub of_axes: bool,
    /// Inputs of the examples by name: `normal 3x5`, `ids(4) 2x3`, `int32 2 [-7, 7]`.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// Python for torch; the result is that of the last statement.
    pub torch_example: Option<String>,
    /// Python for MLX that computes the same.
    pub mlx_example: Option<String>,
    /// What one would write by renaming alone; a run has to catch it.
    pub naive_example: Option<String>,
    /// What rounding explains, in the words of [`crate::compare::tolerance::Bound`]; if missing, it follows from the
    /// calls.
    pub bound: Option<String>,
    /// Why there is no example.
    pub unmeasured: Option<String>,
    /// Whether the project's first support matrix listed it.
    #[serde(default)]
    pub seed: bool,
}

/// What is to be said of calls with certain arguments.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Says {
    /// Arguments that the call has, all of them.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// Arguments that it does not have, any of them.
    #[serde(default)]
    pub unless: Vec<Condition>,
    /// What happens, and what to write.
    pub text: String,
}

impl OpStatus {
    /// The word in JSON and reports.
    pub fn name(self) -> &'static str {
        match self {
            OpStatus::Direct => "direct",
            OpStatus::Recipe => "recipe",
            OpStatus::Trap => "trap",
            OpStatus::Axis => "axis",
            OpStatus::None => "none",
            OpStatus::Unknown => "unknown",
        }
    }

    /// What people read.
    pub fn words(self) -> &'static str {
        match self {
            OpStatus::Unknown => "unknown here",
            known => known.name(),
        }
    }
}

impl Op {
    /// How far the two agree; renamed arguments count separately.
    pub fn agreement(&self) -> Agreement {
        self.agreement_as(self.status)
    }

    /// The same, where a call has another status than the row.
    pub fn agreement_as(&self, status: OpStatus) -> Agreement {
        match status {
            OpStatus::Direct if self.renames.is_empty() => Agreement::Direct,
            OpStatus::Direct => Agreement::Renames,
            OpStatus::Recipe => Agreement::Recipe,
            OpStatus::Trap => Agreement::Trap,
            OpStatus::Axis => Agreement::Axis,
            OpStatus::None => Agreement::None,
            OpStatus::Unknown => Agreement::Unknown,
        }
    }

    /// How far the two agree where the op is called with these arguments.
    pub fn status_of(&self, call: &Call) -> OpStatus {
        let fires = self.when.is_empty() || self.when.iter().any(|condition| condition.holds(call));
        let spared = self.unless.iter().any(|condition| condition.holds(call));
        match self.status {
            OpStatus::Trap if !fires || spared => OpStatus::Direct,
            status => status,
        }
    }

    /// What more is to be said of a call with these arguments.
    pub fn says(&self, call: &Call) -> impl Iterator<Item = &str> {
        let holds = |says: &&Says| {
            says.when.iter().all(|condition| condition.holds(call))
                && !says.unless.iter().any(|condition| condition.holds(call))
        };
        self.says.iter().filter(holds).map(|says| says.text.as_str())
    }

    /// What is contradictory in the row.
    fn fault(&self) -> Option<&'static str> {
        let (torch, mlx) = (self.torch_example.is_some(), self.mlx_example.is_some());
        let none = self.status == OpStatus::None;
        if self.status != OpStatus::Direct && self.trap.is_none() {
            return Some("what is not direct needs a `trap`: what goes wrong, and what to write");
        }
        if self.status != OpStatus::Trap && !(self.when.is_empty() && self.unless.is_empty()) {
            return Some("`when` and `unless` are a trap's");
        }
        if self.status == OpStatus::Unknown || self.status == OpStatus::Axis {
            return Some("a row knows its op, whose axes depend on what comes in");
        }
        if self.says.iter().any(|says| says.text.trim().is_empty() || says.when.is_empty() && says.unless.is_empty()) {
            return Some("what is said needs a `text`, and `when` with the arguments that it is said of");
        }
        if self.of_axes && (self.status != OpStatus::Trap || !self.when.is_empty()) {
            return Some("`of_axes` is of a trap that always fires");
        }
        if torch == self.unmeasured.is_some() {
            return Some("there has to be a torch_example, or `unmeasured` with the reason");
        }
        if mlx && (!torch || none) || torch && !mlx && !none {
            return Some("mlx_example goes with torch_example, and with a status other than none");
        }
        (self.naive_example.is_some() && !torch).then_some("naive_example needs a torch_example to be held against")
    }
}

/// How far a torch op and its MLX counterpart agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpStatus {
    /// MLX's op means the same; arguments may have other names.
    Direct,
    /// MLX has no function of it; the row has the composition that computes it.
    Recipe,
    /// Another meaning in some uses; the row says which.
    Trap,
    /// The same op, called with an axis that is another one where channels are last.
    #[serde(skip)]
    Axis,
    /// MLX has no counterpart; the row says what to do.
    None,
    /// The registry has no row.
    #[serde(skip)]
    Unknown,
}

/// How far a torch op and its MLX counterpart agree, as reports say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// MLX's op means the same and takes the same arguments.
    Direct,
    /// MLX's op means the same; arguments have other names.
    Renames,
    /// MLX has no function of it, and a composition computes it.
    Recipe,
    /// Another meaning in some uses.
    Trap,
    /// Another axis where channels are last.
    Axis,
    /// Nothing in MLX.
    None,
    /// No row of the registry.
    Unknown,
}

impl Agreement {
    /// The word on screen and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Agreement::Direct => "direct",
            Agreement::Renames => "renames",
            Agreement::Recipe => "recipe",
            Agreement::Trap => "trap",
            Agreement::Axis => "axis",
            Agreement::None => "none",
            Agreement::Unknown => "unknown",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    op: Vec<Op>,
}

/// The rows, and which of them is an op's by each of its names.
#[derive(Debug)]
pub(super) struct Ops {
    rows: Vec<Op>,
    by_name: HashMap<String, usize>,
}

/// The built-in table, read once: its 139 kB take a third of what a checkpoint without source is opened in.
pub(super) fn built_in() -> &'static Ops {
    static BUILT_IN: LazyLock<Ops> = LazyLock::new(|| {
        let (name, text) = ("ops.toml", include_str!("../../assets/registry/ops.toml"));
        Ops::of(assets::built_in(name, parse(Path::new(name), text)))
    });
    &BUILT_IN
}

impl Ops {
    fn of(rows: Vec<Op>) -> Ops {
        let names = |op: &Op| std::iter::once(op.torch.clone()).chain(op.also.clone()).collect::<Vec<String>>();
        let by_name =
            rows.iter().enumerate().flat_map(|(index, op)| names(op).into_iter().map(move |name| (name, index)));
        Ops { by_name: by_name.collect(), rows }
    }

    pub(super) fn rows(&self) -> &[Op] {
        &self.rows
    }

    /// The row of an op, by any of its spellings.
    pub(super) fn row(&self, called: &str) -> Option<&Op> {
        spellings(called).iter().find_map(|name| self.rows.get(*self.by_name.get(name)?))
    }
}

fn parse(path: &Path, text: &str) -> Result<Vec<Op>, Error> {
    let ops = parse_toml::<File>(path, text)?.op;
    let mut seen = HashSet::new();
    for op in &ops {
        let fault =
            |message: &str| Error::Row { path: path.to_owned(), row: op.torch.clone(), message: message.to_owned() };
        let names = std::iter::once(&op.torch).chain(&op.also);
        if names.filter(|name| !seen.insert(name.as_str())).count() > 0 {
            return Err(fault("there are two rows of it; keep one"));
        }
        if let Some(message) = op.fault() {
            return Err(fault(message));
        }
    }
    Ok(ops)
}

/// The ways to write one op, `called` first: torch has most ops as a function and as a method, many in
/// torch.nn.functional as well, and some with a trailing underscore that write in place.
fn spellings(called: &str) -> Vec<String> {
    let Some((space, name)) = called.split_once('.').filter(|(space, _)| SPACES.contains(space)) else {
        return vec![called.to_owned()];
    };
    let others = SPACES.iter().filter(|other| **other != space);
    let spaces: Vec<&str> = std::iter::once(space).chain(others.copied()).collect();
    let names = std::iter::once(name).chain(name.strip_suffix('_'));
    names.flat_map(|name| spaces.iter().map(move |space| format!("{space}.{name}"))).collect()
}

const SPACES: [&str; 3] = ["torch", "F", "x"];

/// Whether tensors have a method of this name, with or without a trailing underscore, that computes a tensor.
pub fn is_tensor_method(name: &str) -> bool {
    METHODS.contains(name) || name.strip_suffix('_').is_some_and(|name| METHODS.contains(name))
}

static METHODS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let lines = include_str!("../../assets/registry/tensor_methods.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Registry;
    use super::*;

    #[test]
    fn an_op_is_found_by_any_of_its_spellings() {
        let registry = Registry::load(&[]).unwrap();
        let row = |called: &str| registry.op(called).map(|op| op.torch.as_str());
        assert_eq!(row("F.softmax"), Some("F.softmax"));
        assert_eq!(row("torch.softmax"), Some("F.softmax"));
        assert_eq!(row("x.relu_"), Some("F.relu"));
        assert_eq!(row("torch.flatten"), Some("x.flatten"));
        assert_eq!(row("torch.linalg.softmax"), None);
        assert_eq!(row("torch.concat"), Some("torch.cat"));
        assert_eq!(row("x.no_such_op"), None);
        assert_eq!(row(""), None);
    }

    #[test]
    fn faults_name_the_row() {
        let message = |text: &str| parse(Path::new("mine.toml"), text).unwrap_err().to_string();
        let row = "[[op]]\ntorch = \"torch.a\"\nmlx = \"mx.a\"\nstatus = \"direct\"\n";
        assert!(message(row).contains("torch.a") && message(row).contains("unmeasured"));
        let whole = format!("{row}torch_example = \"x\"\nmlx_example = \"x\"\n");
        assert_eq!(parse(Path::new("mine.toml"), &whole).unwrap()[0].agreement(), Agreement::Direct);
        assert!(message(&whole.repeat(2)).contains("two rows"));
        let when = format!("{whole}when = [{{ argument = \"alpha\", except = [1] }}]\n");
        assert!(message(&when).contains("are a trap's"));
        let trap = when.replace("direct", "trap") + "trap = \"t\"\n";
        assert_eq!(parse(Path::new("mine.toml"), &trap).unwrap()[0].when.len(), 1);
        assert!(message(&trap.replace("except = [1]", "is = \"often\"")).contains("`often`"));
        assert!(message(&trap.replace("argument", "named")).contains("named"));
        assert!(message(&whole.replace("direct", "none")).contains("needs a `trap`"));
        assert!(message(&whole.replace("torch_", "naive_")).contains("torch_example"));
        assert!(message(&whole.replace("mlx_example", "naive_example")).contains("mlx_example goes with"));
    }

    #[test]
    fn every_row_can_be_called() {
        for op in Registry::load(&[]).unwrap().ops() {
            let (space, name) = op.torch.split_once('.').unwrap();
            assert!(
                SPACES.contains(&space) || ["torch.linalg", "torch.fft", "torch.special", "einops"].contains(&space),
                "{}",
                op.torch
            );
            assert!(space != "x" || is_tensor_method(name) || matches!(name, "T" | "mT"), "{} is no method", op.torch);
            assert!(!op.mlx.is_empty() && op.trap.as_deref() != Some(""), "{}", op.torch);
            assert!(op.mlx_example.is_none() || op.mlx_rs.is_some(), "{} in mlx-rs", op.torch);
        }
    }
}
