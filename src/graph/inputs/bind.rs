//! What each parameter is given, out of what the call says.

use serde_json::Value as Json;

use super::asked::{Asked, members, missing, tensors, wanted};
use super::{Given, Inputs, Source};
use crate::architecture::spec::{InputSpec, written};
use crate::graph::plan::computed;
use crate::plan::Input;
use crate::plan::input::Values;
use crate::script::signature::{Argument, Kind, Names};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::graph::TensorMeta;
use t2m_checkpoint::{Checkpoint, Dtype, TensorData};

/// Ids are drawn below this, where nothing says how many there are: every vocabulary has them.
const IDS_BELOW: u64 = 2;

/// Gives each parameter what the call says of it.
pub(super) struct Binder<'a> {
    asked: &'a [Asked],
    source: Source<'a>,
    /// What of the call was not used yet.
    left: Vec<Option<&'a InputSpec>>,
    seed: u64,
    /// Tensors of the file that were used.
    used: Vec<bool>,
    inputs: Inputs,
}

impl<'a> Binder<'a> {
    pub fn new(asked: &'a [Asked], source: Source<'a>) -> Binder<'a> {
        let (specs, seed) = match source {
            Source::File(_, specs, seed) | Source::Specs(specs, seed) => (specs, seed),
            Source::Seed(seed) => (&[][..], seed),
            Source::Sample(_) => (&[][..], 0),
        };
        let files = if let Source::File(file, ..) = source { file.tensors.len() } else { 0 };
        let left = specs.iter().map(Some).collect();
        Binder { asked, source, left, seed, used: vec![false; files], inputs: Inputs::default() }
    }

    /// What a parameter is given.
    pub fn argument(&mut self, asked: &Asked) -> Result<Argument, String> {
        if let Some(fixed) = &asked.fixed {
            return self.fixed(asked, fixed);
        }
        let given = self.bind(asked, &asked.kind, &mut Names::of(&asked.name), !asked.has_default)?;
        Ok(given.unwrap_or(Argument::Default))
    }

    /// Everything, once all parameters were given theirs.
    pub fn finish(self) -> Result<Inputs, String> {
        if let Some(spec) = self.left.iter().flatten().next() {
            let names: Vec<&str> = self.asked.iter().map(|one| one.name.as_str()).collect();
            let takes = quoted(&names.join(", ")).into_owned();
            return Err(format!("--input {spec}: it is one too many; the graph takes {takes}"));
        }
        let mut inputs = self.inputs;
        if let Source::File(file, ..) = self.source {
            let unused = file.tensors.iter().zip(&self.used).filter(|(_, used)| !**used);
            inputs.ignored = unused.map(|(tensor, _)| tensor.name.to_string()).collect();
        }
        Ok(inputs)
    }

    /// Check that every name that the call says is one, and is said once.
    pub fn check(&self) -> Result<(), String> {
        let mut seen: Vec<&str> = Vec::new();
        for spec in self.left.iter().flatten() {
            let Some(name) = spec.name.as_deref() else { continue };
            if !self.asked.iter().any(|asked| asked.is_named(name)) {
                return Err(format!("--input {spec}: no input has this name; {}", wanted(self.asked)));
            }
            if seen.contains(&name) {
                return Err(format!("--input {spec}: this input is given twice"));
            }
            seen.push(name);
        }
        Ok(())
    }

    /// What an export fixed may be said again, but not be changed.
    fn fixed(&mut self, asked: &Asked, fixed: &Json) -> Result<Argument, String> {
        let Some(spec) = self.named(&asked.name) else { return Ok(Argument::Default) };
        let is_same = spec.value().is_some_and(|value| match (value.as_f64(), fixed.as_f64()) {
            (Some(value), Some(fixed)) => value == fixed,
            _ => value == *fixed,
        });
        match is_same {
            true => Ok(Argument::Plain(fixed.clone())),
            false => Err(format!(
                "--input {spec}: the export made `{}` part of the graph as {}; export it again with another value",
                quoted(&asked.name),
                written(fixed)
            )),
        }
    }

    /// Take what the call says of a name.
    fn named(&mut self, name: &str) -> Option<&'a InputSpec> {
        let found = self.left.iter_mut().find(|spec| spec.is_some_and(|spec| spec.name.as_deref() == Some(name)));
        found.and_then(Option::take)
    }

    /// Take what the call says of a name, or else the next that it says of none.
    fn said(&mut self, name: &str) -> Option<&'a InputSpec> {
        self.named(name).or_else(|| {
            self.left.iter_mut().find(|spec| spec.is_some_and(|spec| spec.name.is_none())).and_then(Option::take)
        })
    }

    fn is_said(&self, name: &str) -> bool {
        self.left.iter().flatten().any(|spec| spec.name.as_deref().is_none_or(|own| own == name))
    }

    /// What is said of a name and is a value: None, a list of numbers.
    fn whole(&mut self, name: &str, fits: impl Fn(&Json) -> bool) -> Option<Json> {
        let spec = self.left.iter().flatten().find(|spec| spec.name.as_deref() == Some(name))?;
        let value = spec.value().filter(|value| spec.tensor().is_none() && fits(value))?;
        self.named(name);
        Some(value)
    }

    /// An argument of a type; `None` where nothing is said of it and it is not needed.
    fn bind(
        &mut self,
        asked: &Asked,
        kind: &Kind,
        names: &mut Names<'_>,
        needed: bool,
    ) -> Result<Option<Argument>, String> {
        match kind {
            Kind::Tensor => self.tensor(asked, names, needed),
            Kind::Int | Kind::Float | Kind::Bool | Kind::Number | Kind::Text => self.plain(asked, kind, names, needed),
            Kind::Optional(inner) => {
                if self.whole(&names.peek(), Json::is_null).is_some() {
                    self.describe(names.take(), Json::Null, "call");
                    return Ok(Some(Argument::Plain(Json::Null)));
                }
                self.bind(asked, inner, names, needed)
            }
            Kind::List(inner) if tensors(inner) == 0 => self.list(kind, names, needed),
            Kind::List(inner) => {
                let mut items = Vec::new();
                while let Some(item) = self.bind(asked, inner, names, needed && items.is_empty())? {
                    items.push(item);
                }
                Ok((!items.is_empty()).then_some(Argument::List(items)))
            }
            Kind::Tuple(members, _) if members.iter().all(|member| tensors(member) == 0) => {
                self.list(kind, names, needed)
            }
            Kind::Tuple(members, own) => {
                let mut items = Vec::new();
                for (at, member) in members.iter().enumerate() {
                    match self.bind(asked, member, names, needed || at > 0)? {
                        Some(item) => items.push(item),
                        None => return Ok(None),
                    }
                }
                Ok(Some(Argument::Tuple(items, own.clone())))
            }
            Kind::Dict(inner) => self.dict(asked, inner, names, needed),
            Kind::Other(_) => match needed || self.is_said(&names.peek()) {
                false => Ok(None),
                true => Err(format!("the input `{}` is of a type that cannot be given: {kind}", quoted(&names.peek()))),
            },
        }
    }

    /// A list or tuple of values, said as one: `sizes=(2,3)`.
    fn list(&mut self, kind: &Kind, names: &mut Names<'_>, needed: bool) -> Result<Option<Argument>, String> {
        let name = names.take();
        let Some(spec) = self.said(&name) else {
            return if needed { Err(missing(self.asked, &name)) } else { Ok(None) };
        };
        let value = spec.value().filter(|value| spec.tensor().is_none() || !value.is_array());
        let argument = value.as_ref().and_then(|value| coerced(value, kind));
        let argument = argument.ok_or_else(|| format!("--input {spec}: `{}` is {kind}", quoted(&name)))?;
        self.describe(name, value.unwrap_or_default(), "call");
        Ok(Some(argument))
    }

    /// A dict's members, each by its key: `batch.image=1x3x8x8`.
    fn dict(
        &mut self,
        asked: &Asked,
        inner: &Kind,
        names: &mut Names<'_>,
        needed: bool,
    ) -> Result<Option<Argument>, String> {
        let begins = format!("{}.", names.peek());
        let said = self.left.iter().flatten().filter_map(|spec| spec.name.as_deref()?.strip_prefix(&begins));
        let mut keys: Vec<String> = said.map(str::to_owned).collect();
        if let Source::File(file, ..) = self.source {
            let held = file.tensors.iter().filter_map(|tensor| tensor.name.strip_prefix(&begins));
            keys.extend(held.map(str::to_owned));
        }
        let keys = members(keys, inner);
        let mut pairs: Vec<(String, Argument)> = Vec::new();
        for key in keys {
            let name = format!("{begins}{key}");
            if let Some(item) = self.bind(asked, inner, &mut Names::of(&name), true)? {
                pairs.push((key, item));
            }
        }
        match (pairs.is_empty(), needed) {
            (true, true) => Err(missing(self.asked, &asked.name)),
            (true, false) => Ok(None),
            (false, _) => {
                names.take();
                Ok(Some(Argument::Dict(pairs)))
            }
        }
    }

    /// A number, a truth value, a text.
    fn plain(
        &mut self,
        asked: &Asked,
        kind: &Kind,
        names: &mut Names<'_>,
        needed: bool,
    ) -> Result<Option<Argument>, String> {
        let name = names.take();
        let Some(spec) = self.said(&name) else {
            if let Some(number) = self.held_number(&name, kind)? {
                return Ok(Some(Argument::Plain(number)));
            }
            return if needed { Err(missing(self.asked, &name)) } else { Ok(None) };
        };
        let argument = spec.value().as_ref().and_then(|value| coerced(value, kind));
        let Some(Argument::Plain(value)) = argument else {
            let example = asked.takes().example.join(" ");
            return Err(format!("--input {spec}: `{}` is {kind}, and no tensor: {example}", quoted(&name)));
        };
        self.describe(name, value.clone(), "call");
        Ok(Some(Argument::Plain(value)))
    }

    /// A number that a file of inputs holds as a tensor of one element.
    fn held_number(&mut self, name: &str, kind: &Kind) -> Result<Option<Json>, String> {
        let Source::File(file, ..) = self.source else { return Ok(None) };
        let Some(at) = file.tensors.iter().position(|tensor| tensor.name == name) else { return Ok(None) };
        let tensor = file.read(at).map_err(|error| error.to_string())?;
        let number = match (tensor.to_f64().unwrap_or_default().as_slice(), tensor.dtype) {
            ([number], Dtype::Bool) => Json::from(*number != 0.0),
            ([number], dtype) if dtype.is_floating() => Json::from(*number),
            ([number], _) => Json::from(*number as i64),
            _ => Json::Null,
        };
        let Some(Argument::Plain(number)) = coerced(&number, kind) else {
            return Err(format!("--inputs: `{}` is {kind} in the graph", quoted(name)));
        };
        self.used[at] = true;
        self.describe(name.to_owned(), number.clone(), "file");
        Ok(Some(number))
    }

    fn describe(&mut self, name: String, value: Json, from: &'static str) {
        let dtype = python(&value);
        self.inputs.given.push(Given { name, dtype, shape: Vec::new(), value: Some(value), from });
    }

    /// A tensor; `None` where there is none and it is not needed.
    fn tensor(&mut self, asked: &Asked, names: &mut Names<'_>, needed: bool) -> Result<Option<Argument>, String> {
        let (name, place) = (names.peek(), names.taken());
        // A list has as many as there are: behind those that the file tells of, all are like the last.
        let is_list = matches!(&asked.kind, Kind::List(_));
        let meta = asked.metas.get(place);
        let like = meta.or_else(|| asked.metas.last().filter(|_| is_list));
        let at = self.inputs.tensors.len();
        let (tensor, from) = match self.source {
            Source::Sample(samples) => {
                if at >= samples.tensors.len() && !needed {
                    return Ok(None);
                }
                let read = samples.read(at).map_err(|error| error.to_string());
                (read.map_err(|reason| format!("its sample input {at}: {reason}"))?, "sample")
            }
            Source::Seed(seed) => {
                let Some(meta) = meta else {
                    return if needed { Err(self.untold(&name)) } else { Ok(None) };
                };
                let shape = meta.sizes.iter().map(|size| size.and_then(|size| usize::try_from(size).ok()));
                let shape: Option<Vec<usize>> = shape.collect();
                let shape = shape.ok_or_else(|| {
                    format!("input `{name}` has no sizes in the file; give it with --input or --inputs")
                })?;
                (draw(shape, meta.dtype, None, seed, at)?, "seed")
            }
            Source::File(file, ..) if !self.left.iter().flatten().any(|spec| spec.name.as_ref() == Some(&name)) => {
                match self.held(file, &name, at)? {
                    Some(tensor) => {
                        fits("--inputs", &name, like, (tensor.dtype, &tensor.shape))?;
                        (tensor, "file")
                    }
                    None if needed => {
                        let position = position(at);
                        return Err(format!("--inputs holds no tensor `{name}` and none `{position}`"));
                    }
                    None => return Ok(None),
                }
            }
            Source::File(..) | Source::Specs(..) => {
                let Some(spec) = self.said(&name) else {
                    return if needed { Err(missing(self.asked, &name)) } else { Ok(None) };
                };
                let Some(tensor) = spec.tensor() else {
                    let example = asked.takes().example.join(" ");
                    return Err(format!("--input {spec}: `{}` is a tensor: {example}", quoted(&name)));
                };
                let shape: Option<Vec<usize>> = tensor.shape.iter().map(|size| usize::try_from(*size).ok()).collect();
                let shape = shape.ok_or_else(|| format!("--input {spec}: it is too large"))?;
                fits(&format!("--input {spec}"), &name, like, (tensor.dtype, &shape))?;
                (draw(shape, tensor.dtype, tensor.below, self.seed, at)?, "seed")
            }
        };
        names.take();
        let sizes = tensor.shape.iter().map(|size| Some(*size as u64)).collect();
        let meta = TensorMeta { dtype: computed(tensor.dtype), sizes };
        let (dtype, shape) = (tensor.dtype.name(), tensor.shape.clone());
        self.inputs.given.push(Given { name: name.clone(), dtype, shape, value: None, from });
        self.inputs.tensors.push(tensor);
        Ok(Some(Argument::Tensor(name, Some(meta))))
    }

    /// That nothing is known of an input, and how it is given.
    fn untold(&self, name: &str) -> String {
        let wanted = wanted(self.asked);
        format!("the file does not say what input `{name}` is; give it with --input or --inputs: {wanted}")
    }

    /// A tensor of the file of inputs, by its name or its place.
    fn held(&mut self, file: &Checkpoint, name: &str, at: usize) -> Result<Option<TensorData>, String> {
        let position = position(at);
        let find = |name: &str| file.tensors.iter().position(|tensor| tensor.name == name);
        let python = self.asked.iter().find(|asked| asked.name == name).and_then(|asked| asked.python.as_deref());
        let Some(found) = find(name).or_else(|| find(python?)).or_else(|| find(&position)) else { return Ok(None) };
        if let Some(used) = self.used.get_mut(found) {
            *used = true;
        }
        file.read(found).map(Some).map_err(|error| error.to_string())
    }
}

/// The name of an input that is given by its place.
fn position(at: usize) -> String {
    format!("in{at}")
}

/// Python's word for a value's type.
fn python(value: &Json) -> &'static str {
    match value {
        Json::Null => "None",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_i64() => "int",
        Json::Number(_) => "float",
        Json::String(_) => "str",
        Json::Array(_) | Json::Object(_) => "list",
    }
}

/// A value as one of a type; `None` where it is none.
fn coerced(value: &Json, kind: &Kind) -> Option<Argument> {
    let plain = |value: Json| Some(Argument::Plain(value));
    match (kind, value) {
        (Kind::Int, Json::Number(number)) if number.is_i64() => plain(value.clone()),
        (Kind::Float, Json::Number(number)) => plain(Json::from(number.as_f64()?)),
        (Kind::Bool, Json::Bool(_)) | (Kind::Text, Json::String(_)) => plain(value.clone()),
        (Kind::Number, Json::Number(_) | Json::Bool(_)) => plain(value.clone()),
        (Kind::Optional(_), Json::Null) => plain(Json::Null),
        (Kind::Optional(inner), _) => coerced(value, inner),
        (Kind::List(inner), Json::Array(items)) => {
            items.iter().map(|item| coerced(item, inner)).collect::<Option<_>>().map(Argument::List)
        }
        (Kind::Tuple(members, names), Json::Array(items)) if members.len() == items.len() => {
            let items = items.iter().zip(members).map(|(item, member)| coerced(item, member));
            Some(Argument::Tuple(items.collect::<Option<_>>()?, names.clone()))
        }
        _ => None,
    }
}

/// Hold a tensor against what the graph takes. Sizes may be others where they were symbols, which the nodes tell.
fn fits(told: &str, name: &str, meta: Option<&TensorMeta>, is: (Dtype, &[usize])) -> Result<(), String> {
    let Some(meta) = meta else { return Ok(()) };
    let kind = |dtype: Dtype| if dtype.is_floating() { "numbers with a point" } else { "whole numbers" };
    let (dtype, shape) = is;
    if meta.sizes.len() != shape.len() {
        let (own, axes) = (meta.sizes.len(), shape.len());
        return Err(format!("{told}: `{}` has {own} axes in the graph, not {axes}", quoted(name)));
    }
    if is_number(meta.dtype) && meta.dtype.is_floating() != dtype.is_floating() {
        let (own, other) = (kind(meta.dtype), dtype.name());
        return Err(format!(
            "{told}: `{}` is {} in the graph, {own}, and not {other}",
            quoted(name),
            meta.dtype.name()
        ));
    }
    Ok(())
}

/// Whether a type is of plain numbers or truth values.
fn is_number(dtype: Dtype) -> bool {
    !matches!(dtype, Dtype::Unknown | Dtype::Complex32 | Dtype::Complex64 | Dtype::Complex128)
}

/// An input at random: standard normal numbers, or whole ones below a bound.
fn draw(shape: Vec<usize>, dtype: Dtype, below: Option<u64>, seed: u64, at: usize) -> Result<TensorData, String> {
    let values = if dtype.is_floating() { Values::Normal(1.0) } else { Values::Ids(below.unwrap_or(IDS_BELOW)) };
    let drawn = Input::new(shape, values).generate(seed, at, Dtype::Float32);
    drawn.cast(dtype).ok_or_else(|| format!("inputs in {} are not drawn: give them with --inputs", dtype.name()))
}
