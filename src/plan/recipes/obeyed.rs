//! What a user's registry file sets of a row is obeyed or refused by name: a setting that nothing reads would let a wrong claim
//! pass a measurement that never heard of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::site::{Draft, Site};
use crate::plan::Refusal;
use crate::registry::constructors::{Constructor, constructor};
use crate::registry::{Field, Layer};
use t2m_checkpoint::escape::quoted;
use t2m_engine::program::python_value;
use t2m_engine::program::signatures::{Dialect, Signature, layer};

/// What a recipe has read of a row.
#[derive(Debug, Default)]
pub struct Read {
    attributes: RefCell<BTreeSet<String>>,
    tensors: RefCell<BTreeSet<String>>,
    rule: Cell<bool>,
}

impl Read {
    pub(super) fn attribute(&self, name: &str) {
        self.attributes.borrow_mut().insert(name.to_owned());
    }

    pub(super) fn tensor(&self, name: &str) {
        self.tensors.borrow_mut().insert(name.to_owned());
    }

    pub(super) fn rule(&self) {
        self.rule.set(true);
    }
}

/// Gives the row's arguments to the one layer or function of the plan that is the row's own, and takes them.
pub(super) fn arguments(draft: &mut Draft, row: &Layer) -> Result<(), Refusal> {
    for (name, value) in &row.args {
        let refused = |why| Refusal::Setting(format!("the registry sets `args.{}`, {why}: take it out", quoted(name)));
        place(draft, row, name).map_err(refused)?.insert(name.clone(), value.clone());
        draft.way.step(format!("{name}={}", python_value(value)));
    }
    Ok(())
}

/// The arguments among which the named one belongs.
fn place<'d>(draft: &'d mut Draft, row: &Layer, name: &str) -> Result<&'d mut Map<String, Value>, String> {
    let label = row.mlx.as_deref().unwrap_or_default();
    let Some(program) = &mut draft.program else {
        let kind = draft.mlx.as_deref().unwrap_or(label);
        return match layer_takes(kind, name) {
            true => Ok(&mut draft.args),
            false => Err(format!("which {kind} does not take")),
        };
    };
    let layers = program.layers.iter_mut();
    let layers = layers.filter(|(key, spec)| key.is_empty() || spec.kind == label);
    let layers = layers.filter_map(|(_, spec)| layer_takes(&spec.kind, name).then_some(&mut spec.args));
    let steps = program.steps.iter_mut().filter(|step| step.call == label);
    let steps = steps.filter_map(|step| call_takes(&step.call, name).then_some(&mut step.args));
    let mut places: Vec<&mut Map<String, Value>> = layers.chain(steps).collect();
    match (places.len(), places.pop()) {
        (1, Some(place)) => Ok(place),
        (0, _) => Err("and this configuration is computed by ops that do not take it".to_owned()),
        (many, _) => Err(format!("and {many} layers or ops of this configuration take it")),
    }
}

fn layer_takes(kind: &str, name: &str) -> bool {
    layer(kind).is_some_and(|parameters| parameters.iter().any(|parameter| parameter.name == name))
}

fn call_takes(call: &str, name: &str) -> bool {
    let parameter = Signature::of(Dialect::Mlx, call).and_then(|signature| signature.parameter(name));
    parameter.is_some_and(|parameter| !parameter.is_array())
}

/// Whether the recipe reads what else a user's file sets.
pub(super) fn fields(draft: &Draft, site: &Site<'_>, read: &Read) -> Result<(), Refusal> {
    let row = site.row;
    for field in &row.set {
        match field {
            Field::Args => {}
            Field::Mlx => mlx(draft, site)?,
            Field::Rule if draft.weights.is_empty() || read.rule.get() && is_moved_by(draft, row) => {}
            Field::Rule => return Err(ignored("rule", "this recipe moves its weight in one way alone")),
            Field::Tensors => {
                let known = read.tensors.borrow();
                if let Some(name) = row.tensors.keys().find(|name| !known.contains(*name)) {
                    return Err(unread("tensors", name, known.iter()));
                }
            }
            Field::Attributes => {
                // What the recipe leaves to torch's layer alone reaches that layer, and a difference would be measured.
                let torch = constructor(site.torch_class()).into_iter().flat_map(Constructor::names);
                let mut known: BTreeSet<String> = torch.map(str::to_owned).collect();
                known.extend(read.attributes.borrow().iter().cloned());
                if let Some(name) = row.attributes.keys().find(|name| !known.contains(*name)) {
                    return Err(unread("attributes", name, known.iter()));
                }
            }
        }
    }
    Ok(())
}

fn is_moved_by(draft: &Draft, row: &Layer) -> bool {
    draft.weights.iter().any(|step| Some(step.rule.name.as_str()) == row.rule.as_deref())
}

/// Another MLX layer is built only where the recipe builds the one that the row names. A name by which a built-in row of the
/// same recipe goes is no other layer.
fn mlx(draft: &Draft, site: &Site<'_>) -> Result<(), Refusal> {
    let row = site.row;
    let named = row.mlx.as_deref().unwrap_or_default();
    let built = match &draft.program {
        None => draft.mlx.as_deref().is_none_or(|kind| kind == named),
        Some(program) => {
            let mut layers = program.layers.values();
            layers.any(|layer| layer.kind == named) || program.steps.iter().any(|step| step.call == named)
        }
    };
    let mut built_in = site.registry.classes().map(|(_, row)| row).filter(|row| !row.set.contains(&Field::Mlx));
    let goes_by_it = |other: &Layer| other.recipe == row.recipe && other.mlx.as_deref() == Some(named);
    if built || built_in.any(goes_by_it) {
        return Ok(());
    }
    Err(ignored("mlx", &format!("this recipe does not build {}", quoted(named))))
}

/// A layer that is part of another's program is built by that program and not by its own row.
pub(super) fn part_of_another(row: &Layer, path: &str) -> Result<(), Refusal> {
    let set = match row.args.keys().next() {
        Some(name) if row.set.contains(&Field::Args) => format!("args.{}", quoted(name)),
        None if row.set.contains(&Field::Args) => "args".to_owned(),
        _ if row.set.contains(&Field::Mlx) => "mlx".to_owned(),
        _ => return Ok(()),
    };
    let (class, path) = (quoted(&row.class), quoted(path));
    Err(Refusal::Setting(format!(
        "the registry sets `{set}` for {class}, and `{path}` is computed as a part here, without its own row: take it out"
    )))
}

fn ignored(field: &str, why: &str) -> Refusal {
    Refusal::Setting(format!("the registry sets `{field}`, and {why}: take it out or name another recipe"))
}

fn unread<'n>(field: &str, name: &str, known: impl Iterator<Item = &'n String>) -> Refusal {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let known = match known.is_empty() {
        true => "it reads none".to_owned(),
        false => format!("it reads {}", known.join(", ")),
    };
    Refusal::Setting(format!("the registry sets `{field}.{}`, which this recipe does not read: {known}", quoted(name)))
}
