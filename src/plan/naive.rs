//! Deliberate mistakes: what a converter does that looks only at names and shapes. Each is a sample with one thing
//! changed, and running it has to end in `drift` or `broken`.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::assets;
use crate::plan::weights::{Fold, Layout, Move};
use crate::plan::{Plan, Rule, rename};
use t2m_engine::ModuleSpec;

const MISTAKES: &str = include_str!("../../assets/samples/mistakes.toml");

/// One mistake: a plan changed in one place.
#[derive(Debug, Clone, Deserialize)]
pub struct Mistake {
    /// What is done wrong, in words.
    pub name: String,
    /// The Python expression of the sample.
    pub build: String,
    /// What a run says: `drift`, `broken`, or `failed` where MLX itself refuses.
    pub expect: String,
    /// Whether it is what a plain rename does: shown beside the right conversion as its naive twin.
    #[serde(default)]
    pub naive: bool,
    /// What is changed.
    #[serde(flatten)]
    change: Change,
}

/// Changes of a plan.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Change {
    /// Another MLX layer, with its arguments, in place of everything.
    layer: Option<OtherLayer>,
    /// Another name for the MLX layer; its arguments stay.
    mlx: Option<String>,
    /// Arguments of the layer (or of every layer and step that has them) that get another value.
    args: Map<String, Value>,
    /// Arguments that are left out.
    without: Vec<String>,
    /// Calls of the program that return their first input.
    skip: Vec<String>,
    /// Calls of the program under another name.
    calls: Map<String, Value>,
    /// MLX tensors that stay as torch has them.
    as_they_are: Vec<String>,
    /// Axes of MLX tensors, instead of the rule's.
    axes: Map<String, Value>,
    /// MLX tensors that are made of the first source only.
    first: Vec<String>,
    /// MLX tensors that are made of the sum of all sources.
    sum: Vec<String>,
    /// Pairs of MLX tensors that are swapped.
    swap: Vec<[String; 2]>,
    /// Inputs and outputs stay in torch's layout.
    channels_first: bool,
    /// The layer is run without the program around it.
    layer_alone: bool,
    /// Numbers in the program that become others.
    numbers: Vec<[f64; 2]>,
}

/// A layer that stands in for the right one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct OtherLayer {
    kind: String,
    #[serde(default)]
    args: Map<String, Value>,
}

/// The built-in mistakes.
///
/// # Errors
/// The file is not what it should be, which a test rules out.
pub fn built_in() -> Result<Vec<Mistake>, toml::de::Error> {
    #[derive(Deserialize)]
    struct File {
        mistake: Vec<Mistake>,
    }
    toml::from_str::<File>(MISTAKES).map(|file| file.mistake)
}

/// What a plain rename would make of a layer's plan: its naive twins, by what is done wrong.
pub fn twins(plan: &Plan) -> Vec<(String, Plan)> {
    static NAIVE: LazyLock<Vec<Mistake>> = LazyLock::new(|| {
        let all = assets::built_in("mistakes.toml", built_in());
        all.into_iter().filter(|mistake| mistake.naive && mistake.is_general()).collect()
    });
    let torch = plan.torch.kind.strip_prefix("torch.nn.modules.");
    let class = torch.and_then(|rest| rest.rsplit_once('.')).map_or("", |(_, class)| class);
    let mut twins: Vec<(String, Plan)> = Vec::new();
    for mistake in NAIVE.iter().filter(|mistake| mistake.short_class() == class) {
        let mut twin = plan.clone();
        if mistake.shows_in(plan) && mistake.make(&mut twin).is_ok() && !twins.iter().any(|(_, known)| *known == twin) {
            twins.push((mistake.name.clone(), twin));
        }
    }
    for (name, twin) in rename::twins(plan) {
        if !twins.iter().any(|(_, known)| *known == twin) {
            twins.push((name, twin));
        }
    }
    twins
}

impl Mistake {
    /// `Conv2d` of `nn.Conv2d(3, 8, 3)`.
    fn short_class(&self) -> &str {
        let call = self.build.split('(').next().unwrap_or_default();
        call.strip_prefix("nn.").unwrap_or(call)
    }

    /// Whether it can be made in any configuration: it contains no number of the sample.
    fn is_general(&self) -> bool {
        self.change.numbers.is_empty() && self.change.layer.as_ref().is_none_or(|layer| layer.args.is_empty())
    }

    /// Whether it makes a difference: which channels a group has does not matter where there is one of them, or one channel in each.
    fn shows_in(&self, plan: &Plan) -> bool {
        let number = |name: &str| {
            let layers = plan.mlx.program.iter().flat_map(|program| program.layers.values().map(|layer| &layer.args));
            std::iter::once(&plan.mlx.args).chain(layers).find_map(|args| args.get(name)?.as_u64())
        };
        let (groups, channels) = (number("num_groups"), number("dims"));
        let trivial = groups == Some(1) || groups.is_some() && groups == channels;
        let Change { args, without, .. } = &self.change;
        let forgets =
            args.contains_key("pytorch_compatible") || without.iter().any(|name| name == "pytorch_compatible");
        !(trivial && forgets)
    }

    /// Make the mistake.
    ///
    /// # Errors
    /// The plan has nothing that could be changed this way; the error says so.
    pub fn make(&self, plan: &mut Plan) -> Result<(), String> {
        let change = &self.change;
        let before = plan.clone();
        if change.layer_alone {
            let program = plan.mlx.program.take().ok_or("there is no program")?;
            let layer = program.layers.get("").cloned().ok_or("the program has no layer of its own")?;
            plan.mlx = layer;
        }
        if let Some(OtherLayer { kind, args }) = change.layer.clone() {
            plan.mlx = ModuleSpec { kind, args, ..ModuleSpec::default() };
        }
        if change.channels_first {
            plan.inputs.iter_mut().for_each(|input| input.to_mlx = None);
            plan.outputs.iter_mut().for_each(|output| output.to_torch = None);
        }
        change.rename(&mut plan.mlx);
        change.arguments(&mut plan.mlx);
        change.steps(&mut plan.mlx);
        change.weights(plan)?;
        if *plan == before { Err("the plan is the same as before".to_owned()) } else { Ok(()) }
    }
}

impl Change {
    fn rename(&self, mlx: &mut ModuleSpec) {
        if let Some(name) = &self.mlx {
            match mlx.program.as_mut().and_then(|program| program.layers.get_mut("")) {
                Some(layer) => layer.kind.clone_from(name),
                None => mlx.kind.clone_from(name),
            }
        }
    }

    /// Change arguments wherever they are: of the layer, of a program's layers and steps.
    fn arguments(&self, mlx: &mut ModuleSpec) {
        let own = std::iter::once(&mut mlx.args);
        let (layers, steps) = match &mut mlx.program {
            Some(program) => (
                program.layers.values_mut().map(|layer| &mut layer.args).collect(),
                program.steps.iter_mut().map(|step| &mut step.args).collect(),
            ),
            None => (Vec::new(), Vec::new()),
        };
        for args in own.chain(layers).chain(steps) {
            for (name, value) in &self.args {
                if let Some(old) = args.get_mut(name) {
                    *old = value.clone();
                }
            }
            args.retain(|name, _| !self.without.contains(name));
        }
    }

    fn steps(&self, mlx: &mut ModuleSpec) {
        use t2m_engine::program::Operand;
        let Some(program) = &mut mlx.program else { return };
        for step in &mut program.steps {
            if self.skip.contains(&step.call) {
                step.call = "mx.stop_gradient".to_owned();
                step.inputs.truncate(1);
                step.args.clear();
            }
            if let Some(name) = self.calls.get(&step.call).and_then(Value::as_str) {
                step.call = name.to_owned();
            }
            for operand in &mut step.inputs {
                if let Operand::Number(number) = operand
                    && let Some([_, other]) = self.numbers.iter().find(|[known, _]| (known - *number).abs() < 1e-9)
                {
                    *number = *other;
                }
            }
        }
    }

    fn weights(&self, plan: &mut Plan) -> Result<(), String> {
        let find = |plan: &Plan, to: &str| {
            let found = plan.weights.iter().position(|step| step.to == to);
            found.ok_or_else(|| format!("there is no tensor `{to}` in MLX's layer"))
        };
        for [a, b] in &self.swap {
            let (a, b) = (find(plan, a)?, find(plan, b)?);
            let names = [plan.weights[a].to.clone(), plan.weights[b].to.clone()];
            [plan.weights[b].to, plan.weights[a].to] = names;
        }
        for to in &self.as_they_are {
            let at = find(plan, to)?;
            plan.weights[at].rule = Rule::identity();
        }
        for (to, axes) in &self.axes {
            let at = find(plan, to)?;
            let axes: Vec<usize> = serde_json::from_value(axes.clone()).map_err(|error| error.to_string())?;
            plan.weights[at].rule = Rule { name: "other".to_owned(), layout: Layout::Axes { axes, groups: 1 } };
        }
        for (names, fold) in [(&self.first, Fold::One), (&self.sum, Fold::Sum)] {
            for to in names {
                let at = find(plan, to)?;
                if fold == Fold::One {
                    // torch's side still needs the tensors that MLX's no longer uses.
                    let rest = plan.weights[at].from.split_off(1);
                    plan.weights.extend(rest.iter().map(|name| Move::keep(name)));
                }
                plan.weights[at].fold = fold.clone();
            }
        }
        Ok(())
    }
}
