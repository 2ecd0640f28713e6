//! Conversions of a layer of which something is not known: one with each plausible value of it. Where all of them move the
//! weights alike, a run of all says that the weights are converted right, whatever the value is.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::recipes::{self, Asked, Site};
use super::weights::same_moves;
use super::{Move, Plan, Refusal};
use crate::model::{Model, ModuleId, reparametrized};
use crate::registry::constructors::constructor;
use crate::registry::plausible::{By, plausible};
use crate::registry::{Layer, Registry};
use t2m_checkpoint::Checkpoint;

/// The name under which a class stands among what is not known; no attribute has it.
pub const CLASS: &str = "class";

/// Conversions of one module that are run.
const MOST_PLANS: usize = 8;
/// Hyper-parameters of one module that may be unknown.
const MOST_UNKNOWN: usize = 8;
/// Combinations that are looked at to choose from.
const MOST_COMBINATIONS: usize = 1024;
/// Numbers in a head, the likeliest first.
const HEADS: [u64; 5] = [64, 32, 128, 16, 8];
/// Values of one hyper-parameter.
const MOST_VALUES: usize = 6;

/// What is tried where something is not known.
#[derive(Debug, Clone, PartialEq)]
pub struct Assumed {
    /// What is not known, each with the list of the values that are tried; a class is [`CLASS`].
    pub values: Map<String, Value>,
    /// The conversion with the likeliest of them. All others move the weights in the same way.
    pub likeliest: Plan,
    ways: Vec<Way>,
}

/// What the module may be: a class, and plausible values of what is not known then.
#[derive(Debug, Clone, PartialEq)]
struct Way {
    row: Layer,
    attributes: Map<String, Value>,
    unknown: IndexMap<String, Vec<Value>>,
}

/// One conversion.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// What was taken for what is not known.
    pub with: Map<String, Value>,
    /// The conversion; or why there is none with these values.
    pub plan: Result<Plan, Refusal>,
}

impl Tried {
    /// `stride=2, padding=0`
    pub fn words(&self) -> String {
        let each = self.with.iter().map(|(name, value)| format!("{name}={}", value_words(name, value)));
        each.collect::<Vec<_>>().join(", ")
    }
}

impl Assumed {
    /// `stride 1 or 2; padding 0 or 1`
    pub fn words(&self) -> String {
        self.listed().map(|(name, values)| format!("{name} {values}")).collect::<Vec<_>>().join("; ")
    }

    /// What is not known, each with its values in words: `1 or 2`.
    pub fn listed(&self) -> impl Iterator<Item = (&str, String)> {
        self.values.iter().map(|(name, values)| {
            let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
            let values: Vec<String> = values.iter().map(|value| value_words(name, value)).collect();
            (name.as_str(), values.join(" or "))
        })
    }
}

/// A value as Python writes it; of a class its last part.
pub fn value_words(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(class) if name == CLASS => class.rsplit('.').next().unwrap_or(class).to_owned(),
        Value::String(text) => format!("'{text}'"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| value_words(name, item)).collect();
            format!("({}{})", items.join(", "), if items.len() == 1 { "," } else { "" })
        }
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) if number != 0.0 && number.abs() < 0.01 => format!("{number:e}"),
            _ => number.to_string(),
        },
        Value::Object(_) => value.to_string(),
    }
}

/// What is tried of a module whose class is known; `open` are values that something beside the file leaves open.
///
/// # Errors
/// Nothing: no value is plausible, or the weights would move in another way with another value. Names what is not known, as far
/// as that is known.
pub fn of_class(site: &Site<'_>, open: Option<&Map<String, Value>>) -> Result<Assumed, Vec<String>> {
    let way = way(site, site.row, site.attributes().clone(), open)?;
    let unknown = || way.0.unknown.keys().cloned().collect();
    of_ways(site, vec![way.clone()], open).ok_or_else(unknown)
}

/// What is tried of a module that may be of several classes, which are rows of the registry: each of them, with each plausible
/// value of what it does not know. `None` where one of them cannot be run, or moves the weights in another way.
pub fn of_classes(site: &Site<'_>, rows: &[Layer], open: Option<&Map<String, Value>>) -> Option<Assumed> {
    let ways = rows.iter().map(|row| {
        let site = Site { row, ..*site };
        way(&site, row, attributes_as(&site, &row.class, open), open).ok()
    });
    of_ways(site, ways.collect::<Option<_>>()?, open)
}

/// Those of one module, if all of them move its weights alike. Without weights there is nothing that holds whatever a value is: then
/// only what something says the values of is tried.
fn of_ways(site: &Site<'_>, ways: Vec<(Way, Plan)>, open: Option<&Map<String, Value>>) -> Option<Assumed> {
    let first = ways.first()?.1.clone();
    let shape = |name: &str| site.tensor(name).and_then(|id| Some(site.checkpoint.tensors.get(id)?.shape.as_slice()));
    let mut values: Map<String, Value> = Map::new();
    let mut note = |name: &str, value: Value| {
        if let Value::Array(values) = values.entry(name.to_owned()).or_insert_with(|| json!([]))
            && !values.contains(&value)
        {
            values.push(value);
        }
    };
    let same = |moves: &[Move]| same_moves(&first.weights, moves, shape);
    let is_told = |name: &str| open.is_some_and(|open| open.contains_key(name));
    // Where the class alone does not say how they move, the conversions are held against one another.
    let mut certain = true;
    for (way, plan) in &ways {
        let own = Site { row: &way.row, assumed: Some(&way.attributes), ..*site };
        // Without the values: what is moved then is moved so with each of them.
        let always = if plan.weights.is_empty() { Ok(Vec::new()) } else { recipes::moves_by_class(&own) };
        certain &= always.as_ref().is_ok_and(|always| same_moves(always, &plan.weights, shape));
        if !same(&plan.weights) {
            return None;
        }
        let told = way.unknown.keys().all(|name| is_told(name))
            && (way.row.class == site.module().class.as_str() || is_told(&way.row.class));
        if plan.weights.is_empty() && !told {
            return None;
        }
        if ways.len() > 1 {
            note(CLASS, json!(way.row.class));
        }
        way.unknown.iter().for_each(|(name, all)| all.iter().for_each(|value| note(name, value.clone())));
    }
    let assumed = Assumed { values, likeliest: first.clone(), ways: ways.into_iter().map(|(way, _)| way).collect() };
    let alike = |tried: &Tried| tried.plan.as_ref().is_ok_and(|plan| same(&plan.weights));
    let all = || assumed.plans(site.checkpoint, site.model, site.registry, site.id);
    (certain || all().iter().all(alike)).then_some(assumed)
}

/// The rows of these classes, each for torch's own layer or what stands for it; `None` where one has no row.
pub fn rows<'c>(registry: &Registry, classes: impl Iterator<Item = &'c str>) -> Option<Vec<Layer>> {
    let row = |class: &str| {
        let row = registry.layer(class)?;
        let torch = row.torch.clone().or_else(|| Some(class.to_owned()));
        Some(Layer { class: class.to_owned(), torch, ..row.clone() })
    };
    classes.map(row).collect()
}

/// The hyper-parameters of a module if it is of this class: what was told of it, or what its weight tells and what was inferred under
/// the same name.
fn attributes_as(site: &Site<'_>, class: &str, open: Option<&Map<String, Value>>) -> Map<String, Value> {
    let own = site.attributes();
    if let Some(told) = open.and_then(|open| open.get(class)?.as_object()) {
        return told.clone();
    }
    let Some(constructor) = constructor(class).filter(|_| site.module().class != class) else { return own.clone() };
    let mut attributes = Map::new();
    if let Some(shape) = weight_shape(site) {
        // A shape that contradicts the class leaves nothing: its recipe says so.
        let _ = constructor.fill(shape, &mut attributes);
    }
    for name in constructor.names() {
        if let Some(value) = own.get(name).filter(|_| !attributes.contains_key(name)) {
            attributes.insert(name.to_owned(), value.clone());
        }
    }
    attributes
}

/// What is not known of a module of this class, with plausible values, and its conversion with the likeliest.
///
/// # Errors
/// No value of something is plausible: names what is not known so far.
fn way(
    site: &Site<'_>,
    row: &Layer,
    attributes: Map<String, Value>,
    open: Option<&Map<String, Value>>,
) -> Result<(Way, Plan), Vec<String>> {
    let mut unknown: IndexMap<String, Vec<Value>> = IndexMap::new();
    let mut all = attributes.clone();
    loop {
        let asked = Asked::of(&site.module().path);
        let planned = recipes::plan(&Site { row, assumed: Some(&all), asked: Some(&asked), ..*site });
        let (module, attribute, like) = match planned {
            Ok(plan) => {
                let asked = asked.names();
                unknown.retain(|name, _| asked.contains(name));
                if let Some(constructor) = constructor(site.torch_class()) {
                    // In the order of the constructor's arguments, whichever the recipe asks for first.
                    let place = |name: &str| constructor.names().position(|known| known == name);
                    unknown.sort_by(|one, _, other, _| place(one).cmp(&place(other)));
                }
                return Ok((Way { row: row.clone(), attributes, unknown }, plan));
            }
            Err(Refusal::Missing { module, attribute, like }) => (module, attribute, like),
            Err(_) => return Err(unknown.into_keys().collect()),
        };
        let own = module == site.module().path;
        let known = unknown.contains_key(&attribute) || unknown.len() == MOST_UNKNOWN;
        let values = if own && !known { values_of(site, &all, open, [&attribute, &like]) } else { Vec::new() };
        let Some(likeliest) = values.first() else {
            let here = own && !known;
            return Err(unknown.into_keys().chain(here.then_some(attribute)).collect());
        };
        all.insert(attribute.clone(), spread(site.torch_class(), &attribute, likeliest));
        let is_first = unknown.is_empty();
        unknown.insert(attribute, values);
        if is_first {
            others(site, &mut all, open, &mut unknown);
        }
    }
}

/// Fill in what else a layer of this class may be asked for, so that it need not be planned once for each.
fn others(
    site: &Site<'_>,
    all: &mut Map<String, Value>,
    open: Option<&Map<String, Value>>,
    unknown: &mut IndexMap<String, Vec<Value>>,
) {
    let Some(constructor) = constructor(site.torch_class()) else { return };
    for name in constructor.names() {
        // Under which name the class keeps what torch's layer calls so is its recipe's to say.
        if all.contains_key(name) || site.row.attributes.contains_key(name) || unknown.len() == MOST_UNKNOWN {
            continue;
        }
        let values = values_of(site, all, open, [name, name]);
        if let Some(likeliest) = values.first() {
            all.insert(name.to_owned(), spread(site.torch_class(), name, likeliest));
            unknown.insert(name.to_owned(), values);
        }
    }
}

/// A value as a layer of this class keeps it.
fn spread(class: &str, name: &str, value: &Value) -> Value {
    constructor(class).map_or_else(|| value.clone(), |constructor| constructor.spread(name, value.clone()))
}

impl Assumed {
    /// The conversions of the module that it is of: one at least, each value in one of them.
    pub fn plans(&self, checkpoint: &Checkpoint, model: &Model, registry: &Registry, id: ModuleId) -> Vec<Tried> {
        let most = (MOST_PLANS / self.ways.len().max(1)).max(1);
        let of_way = |way: &Way| {
            let own = Site::new(checkpoint, model, registry, id, &way.row);
            let class = own.torch_class();
            let with = |chosen: &Map<String, Value>| {
                let mut all = way.attributes.clone();
                all.extend(chosen.iter().map(|(name, value)| (name.clone(), spread(class, name, value))));
                all
            };
            let chosen = combinations(&way.unknown, most, |chosen| is_possible(class, &with(chosen)));
            let tried = chosen.into_iter().map(|mut chosen| {
                let plan = recipes::plan(&Site { assumed: Some(&with(&chosen)), ..own });
                if self.ways.len() > 1 {
                    chosen.shift_insert(0, CLASS.to_owned(), json!(way.row.class));
                }
                Tried { with: chosen, plan }
            });
            tried.collect::<Vec<_>>()
        };
        self.ways.iter().flat_map(of_way).collect()
    }
}

/// Values of one hyper-parameter, by the class's own name and by torch's, the likeliest first: those that candidates differ in, or
/// those of the table.
fn values_of(
    site: &Site<'_>,
    known: &Map<String, Value>,
    open: Option<&Map<String, Value>>,
    [own, like]: [&str; 2],
) -> Vec<Value> {
    let open = open.and_then(|open| open.get(own)?.as_array());
    let mut values = match (open, plausible(site.torch_class(), like)) {
        (Some(open), _) if !open.is_empty() => open.clone(),
        (_, Some(row)) => {
            let none = row.none.then_some(Value::Null);
            let mut values: Vec<Value> = none.into_iter().chain(row.values.iter().cloned()).collect();
            values.extend(row.by.iter().flat_map(|by| follow(*by, site, known)));
            let of = row.divides.as_ref().and_then(|of| known.get(of)?.as_u64());
            values.retain(|value| of.is_none_or(|of| value.as_u64().is_some_and(|by| by > 0 && of % by == 0)));
            values
        }
        (_, None) => Vec::new(),
    };
    let mut seen: Vec<Value> = Vec::new();
    values.retain(|value| {
        !seen.contains(value) && {
            seen.push(value.clone());
            true
        }
    });
    values.truncate(MOST_VALUES);
    values
}

/// Values that follow from the module's tensors.
fn follow(by: By, site: &Site<'_>, known: &Map<String, Value>) -> Vec<Value> {
    let weight = weight_shape(site).unwrap_or_default();
    let kernel = weight.get(2..).unwrap_or_default();
    match by {
        By::Patch if !kernel.is_empty() && kernel.iter().all(|size| *size > 2 && size % 2 == 0) => vec![one(kernel)],
        By::HalfKernel => vec![one(&kernel.iter().map(|size| size / 2).collect::<Vec<_>>())],
        By::Dilated if kernel.iter().any(|size| *size > 1) => vec![json!(2)],
        By::Groups => {
            let (first, second) = (weight.first().copied().unwrap_or(1), weight.get(1).copied().unwrap_or(1));
            // Of a plain one the second axis is one group's inputs, as many as its outputs; a transposed one may have a group for
            // each input.
            let second = if site.torch_class().contains("ConvTranspose") { 1 } else { second };
            let most = first.checked_div(second).filter(|most| most * second == first && *most > 1);
            std::iter::once(json!(1)).chain(most.map(|most| json!(most))).collect()
        }
        By::Heads => {
            let out =
                site.tensor("out_proj.weight").and_then(|id| site.checkpoint.tensors.get(id)?.shape.get(1).copied());
            let width = known.get("embed_dim").and_then(Value::as_u64).or(out).unwrap_or(0);
            let likely =
                HEADS.iter().filter(|head| width > 0 && width.is_multiple_of(**head)).map(|head| json!(width / head));
            likely.chain((width > 0).then(|| json!(1))).take(4).collect()
        }
        By::Length => match weight {
            [length] => vec![json!(length)],
            _ => Vec::new(),
        },
        By::Patch | By::Dilated => Vec::new(),
    }
}

/// One number where all are the same.
fn one(numbers: &[u64]) -> Value {
    match numbers.first() {
        Some(first) if numbers.iter().all(|number| number == first) => json!(first),
        Some(_) => json!(numbers),
        None => json!(0),
    }
}

fn weight_shape<'a>(site: &Site<'a>) -> Option<&'a [u64]> {
    let computed = || reparametrized::weight(site.model, site.id).map(|(_, tensor)| tensor);
    let id = site.tensor("weight").or_else(computed)?;
    Some(site.checkpoint.tensors.get(id)?.shape.as_slice())
}

/// Whether torch accepts values beside one another: an `output_padding` is smaller than a stride or a dilation.
fn is_possible(class: &str, all: &Map<String, Value>) -> bool {
    let most = |name: &str| match all.get(name) {
        Some(Value::Array(each)) => each.iter().filter_map(Value::as_u64).max(),
        value => value.and_then(Value::as_u64),
    };
    !class.contains("ConvTranspose")
        || most("output_padding").unwrap_or(0) < most("stride").max(most("dilation")).unwrap_or(1).max(1)
}

/// Combinations so that each value of one stands beside each value of every other, as far as so many can do that; every value
/// is in one. Of those that do it as well the one with the likelier values comes first.
fn combinations(
    unknown: &IndexMap<String, Vec<Value>>,
    most: usize,
    possible: impl Fn(&Map<String, Value>) -> bool,
) -> Vec<Map<String, Value>> {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for values in unknown.values() {
        let longer =
            |chosen: &Vec<usize>| (0..values.len()).map(|at| [chosen.as_slice(), &[at]].concat()).collect::<Vec<_>>();
        all = all.iter().flat_map(longer).take(MOST_COMBINATIONS).collect();
    }
    let named = |chosen: &Vec<usize>| -> Map<String, Value> {
        let pairs = unknown.iter().zip(chosen);
        pairs.filter_map(|((name, values), at)| Some((name.clone(), values.get(*at)?.clone()))).collect()
    };
    all.retain(|chosen| possible(&named(chosen)));
    let mut covered: std::collections::HashSet<[usize; 4]> = std::collections::HashSet::new();
    let pairs = |chosen: &Vec<usize>| {
        let each = chosen.clone().into_iter().enumerate();
        each.clone().flat_map(move |(i, a)| each.clone().skip(i).map(move |(j, b)| [i, a, j, b])).collect::<Vec<_>>()
    };
    let mut taken = Vec::new();
    while taken.len() < most {
        let missing = |(at, values): (usize, &Vec<Value>)| {
            (0..values.len()).filter(|value| !covered.contains(&[at, *value, at, *value])).count()
        };
        let missing = unknown.values().enumerate().map(missing).max().unwrap_or(0);
        // Values that are in none yet come first where there is just room for them.
        let urgent = taken.len() + missing >= most;
        let new = |chosen: &Vec<usize>| {
            let new = pairs(chosen).into_iter().filter(|pair| !covered.contains(pair));
            let (values, pairs): (Vec<_>, Vec<_>) = new.partition(|[i, _, j, _]| i == j);
            // Where one thing alone is unknown there are no pairs.
            let alone = if pairs.is_empty() { values.len() } else { 0 };
            (if urgent { values.len() } else { 0 }, pairs.len(), alone)
        };
        let best = all.iter().rev().max_by_key(|chosen| new(chosen));
        let Some(best) = best.filter(|best| taken.is_empty() || new(best) > (0, 0, 0)).cloned() else { break };
        covered.extend(pairs(&best));
        taken.push(named(&best));
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(each: &[(&str, usize)]) -> IndexMap<String, Vec<Value>> {
        let values = |count: usize| (0..count).map(|value| json!(value)).collect();
        each.iter().map(|(name, count)| ((*name).to_owned(), values(*count))).collect()
    }

    #[test]
    fn every_value_is_tried_beside_every_other() {
        let few = unknown(&[("stride", 2), ("padding", 2), ("dilation", 2)]);
        let chosen = combinations(&few, MOST_PLANS, |_| true);
        assert_eq!(chosen.len(), 4, "{chosen:?}");
        for (a, b) in [("stride", "padding"), ("stride", "dilation"), ("padding", "dilation")] {
            let mut seen: Vec<_> = chosen.iter().map(|chosen| [chosen[a].as_u64(), chosen[b].as_u64()]).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 4, "{a} and {b}: {chosen:?}");
        }
        assert!(chosen[0].values().all(|value| value == 0), "the likeliest come first: {chosen:?}");
    }

    #[test]
    fn every_value_is_in_one_of_few_combinations() {
        let many: Vec<(&str, usize)> = vec![("a", 6), ("b", 6), ("c", 4), ("d", 2), ("e", 2)];
        let many = unknown(&many);
        let chosen = combinations(&many, MOST_PLANS, |_| true);
        assert_eq!(chosen.len(), MOST_PLANS);
        for (name, values) in &many {
            assert!(
                values.iter().all(|value| chosen.iter().any(|chosen| chosen[name] == *value)),
                "{name}: {chosen:?}"
            );
        }
        // Nothing unknown is one combination of nothing.
        assert_eq!(combinations(&unknown(&[]), 3, |_| true), [Map::new()]);
        let odd = combinations(&unknown(&[("a", 3)]), 8, |chosen| chosen["a"] != 1);
        assert_eq!(odd.iter().map(|chosen| chosen["a"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(2)]);
    }

    #[test]
    fn values_are_written_as_python_does() {
        let words = |value: Value| value_words("x", &value);
        assert_eq!(words(json!([2])), "(2,)");
        assert_eq!(
            (words(json!(1e-12)), words(json!(0.5)), words(json!(null))),
            ("1e-12".into(), "0.5".into(), "None".into())
        );
        assert_eq!(value_words(CLASS, &json!("torch.nn.modules.linear.Linear")), "Linear");
    }
}
