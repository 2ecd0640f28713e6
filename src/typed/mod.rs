//! Hyper-parameters and classes that the user has typed: what nothing else says of a module, or what is to be taken instead.

use std::collections::BTreeMap;
use std::sync::Arc;

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{Evidence, Model, Module, ModuleId, Origin};
use crate::registry::bounds;
use crate::registry::constructors::{Constructor, constructor};
use crate::registry::plausible::plausible;
use crate::registry::{Registry, RowStatus};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::{Checkpoint, Tensor};

/// The name under which a class is typed.
pub const CLASS: &str = "class";
/// Names of attributes that a message lists.
const MOST_NAMED: usize = 12;

/// One attribute that was typed, for one module or for several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Of which modules.
    pub modules: Which,
    /// Its name, or [`CLASS`].
    pub attribute: String,
    /// Its value; of a class its name.
    pub value: Value,
}

/// The modules that an edit is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// The one at this path.
    Path(String),
    /// Those whose path matches and whose class has the attribute.
    Glob(String),
    /// Those of this class that nothing else says the attribute of.
    Like(String),
}

impl Edit {
    /// `stride=2 of layer1.0.conv1`
    pub fn words(&self) -> String {
        let value = match &self.value {
            Value::String(text) if self.attribute == CLASS => text.clone(),
            value => value.to_string(),
        };
        let of = match &self.modules {
            Which::Path(path) if path.is_empty() => "the root".to_owned(),
            Which::Path(path) => path.clone(),
            Which::Glob(glob) => format!("modules at {glob}"),
            Which::Like(class) => {
                format!("every {} of which it is not known", class.rsplit('.').next().unwrap_or(class))
            }
        };
        format!("{}={value} of {of}", self.attribute)
    }
}

/// What was typed of a checkpoint, and what of it each module has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Typed {
    /// In the order in which it was typed; a later edit wins.
    pub edits: Vec<Edit>,
    /// For each module the attributes that were typed, each with the place of its edit.
    modules: BTreeMap<ModuleId, BTreeMap<String, usize>>,
    /// What could not be used or kept, in sentences.
    pub warnings: Vec<String>,
}

impl Typed {
    /// The attributes of a module that were typed, each with the place of its edit.
    pub fn of(&self, id: ModuleId) -> Option<&BTreeMap<String, usize>> {
        self.modules.get(&id)
    }

    /// In how many modules an edit holds.
    pub fn count(&self, edit: usize) -> usize {
        self.modules.values().filter(|own| own.values().any(|at| *at == edit)).count()
    }

    /// What was typed, in lines.
    pub fn lines(&self) -> Vec<String> {
        let line = |(at, edit): (usize, &Edit)| match (&edit.modules, self.count(at)) {
            (Which::Path(_), 1) => edit.words(),
            (_, 1) => format!("{}, 1 module", edit.words()),
            (_, count) => format!("{}, {count} modules", edit.words()),
        };
        self.edits.iter().enumerate().map(line).collect()
    }

    /// Give the model's modules what was typed of them.
    pub fn apply(edits: Vec<Edit>, checkpoint: &Checkpoint, model: &mut Model, registry: &Registry) -> Typed {
        let mut typed = Typed { edits, ..Typed::default() };
        for (at, edit) in typed.edits.iter().enumerate() {
            let modules = match matching(edit, model) {
                Ok(modules) => modules,
                Err(reason) => {
                    typed.warnings.push(format!("What was typed cannot be used: {}: {reason}", edit.words()));
                    continue;
                }
            };
            let mut refused = None;
            for id in modules {
                let Some(module) = model.modules.get(id) else { continue };
                match with(module, edit, weight(module, &checkpoint.tensors), registry) {
                    Ok(changed) => {
                        typed.modules.entry(id).or_default().insert(edit.attribute.clone(), at);
                        if let Some(module) = model.modules.get_mut(id) {
                            changed.put(module);
                            module.told_by.insert(&edit.attribute, Origin::Typed);
                        }
                    }
                    Err(reason) => refused = refused.or(Some(format!("{}: {reason}", module.path))),
                }
            }
            if let Some(reason) = refused {
                typed.warnings.push(format!("What was typed cannot be used everywhere: {}: {reason}", edit.words()));
            }
        }
        for id in typed.modules.keys() {
            if let Some(module) = model.modules.get_mut(*id) {
                complete(module);
            }
        }
        typed
    }
}

/// Give a module of which arguments were typed the constructor's defaults for those that were not and that matter, as the call
/// would: they are told as defaults, and can be typed as well.
fn complete(module: &mut Module) {
    let typed = module.told_by.iter().any(|(name, origin)| name != CLASS && *origin == Origin::Typed);
    let Some(constructor) = constructor(&module.class).filter(|_| typed) else { return };
    let given = module.attributes.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
    let all = constructor.attributes(given, true);
    let matters = |name: &String| !module.attributes.contains_key(name) && plausible(&module.class, name).is_some();
    let new: Vec<_> = all.into_iter().filter(|(name, _)| matters(name)).collect();
    for (name, value) in new {
        module.told_by.insert(&name, Origin::Default);
        Arc::make_mut(&mut module.attributes).insert(name, value);
    }
}

/// The modules that an edit is for.
fn matching(edit: &Edit, model: &Model) -> Result<Vec<ModuleId>, String> {
    let all = |wanted: &dyn Fn(&Module) -> bool| -> Vec<ModuleId> {
        let modules = model.modules.iter().enumerate().filter(|(_, module)| wanted(module));
        modules.map(|(id, _)| id).collect()
    };
    Ok(match &edit.modules {
        Which::Path(path) => vec![model.find(path).ok_or("the model has no such module")?],
        Which::Glob(glob) => {
            let glob = glob_of(glob)?;
            all(&|module| glob.is_match(module.path.as_str()) && has(module, &edit.attribute))
        }
        Which::Like(class) => all(&|module| module.class == *class && is_like(module, &edit.attribute)),
    })
}

fn glob_of(text: &str) -> Result<GlobMatcher, String> {
    Ok(Glob::new(text).map_err(|error| error.to_string())?.compile_matcher())
}

/// Whether a class has an attribute of this name, as far as torch's constructors tell.
fn has(module: &Module, attribute: &str) -> bool {
    if attribute == CLASS {
        return !module.class.is_empty() && module.evidence != Evidence::Exact;
    }
    constructor(&module.class).is_some_and(|known| known.names().any(|name| name == attribute))
}

/// Whether nothing says this of a module: of one that it can be typed of.
pub fn is_like(module: &Module, attribute: &str) -> bool {
    let is_default = module.told_by.get(attribute) == Some(&Origin::Default);
    let known = match attribute {
        CLASS => module.alternatives.is_empty(),
        attribute => module.attributes.contains_key(attribute) && !is_default,
    };
    module.evidence != Evidence::Exact && !known
}

/// What an edit makes of a module.
enum Changed {
    Attributes(Map<String, Value>),
    Class(String, Map<String, Value>),
}

impl Changed {
    fn put(self, module: &mut Module) {
        match self {
            Changed::Attributes(attributes) => module.attributes = Arc::new(attributes),
            Changed::Class(class, attributes) => {
                (module.class, module.confidence) = (class.into(), 1.0);
                (module.alternatives, module.attributes) = (Arc::default(), Arc::new(attributes));
            }
        }
    }
}

/// Whether an edit may be made of a module.
///
/// # Errors
/// In words: the file itself says it, the class has no such attribute, or the weight has another shape.
pub fn check(edit: &Edit, module: &Module, checkpoint: &Checkpoint, registry: &Registry) -> Result<(), String> {
    with(module, edit, weight(module, &checkpoint.tensors), registry).map(drop)
}

/// The modules that an edit is for, where it may be made of one of them at least.
///
/// # Errors
/// In words: a pattern that cannot be read, or of which no module has that attribute, or why none can have it.
pub fn wanted(edit: &Edit, model: &Model, checkpoint: &Checkpoint, registry: &Registry) -> Result<usize, String> {
    let modules = matching(edit, model)?;
    let mut refused = None;
    let mut count = 0;
    for module in modules.iter().filter_map(|id| model.modules.get(*id)) {
        match check(edit, module, checkpoint, registry) {
            Ok(()) => count += 1,
            Err(reason) => refused = refused.or(Some(reason)),
        }
    }
    match (count, refused) {
        (0, Some(reason)) => Err(reason),
        (0, None) => Err(format!("no module there has `{}`", quoted(&edit.attribute))),
        _ => Ok(count),
    }
}

fn weight<'a>(module: &Module, tensors: &'a [Tensor]) -> Option<&'a [u64]> {
    Some(tensors.get(module.tensor("weight")?)?.shape.as_slice())
}

fn with(module: &Module, edit: &Edit, weight: Option<&[u64]>, registry: &Registry) -> Result<Changed, String> {
    if module.evidence == Evidence::Exact {
        return Err("the file itself says what this module is".to_owned());
    }
    if edit.attribute == CLASS {
        let named = edit.value.as_str().ok_or("a class has a name")?;
        let class = class_named(named, module, registry)?;
        let Some(constructor) = constructor(&class) else {
            return Ok(Changed::Class(class, Map::clone(&module.attributes)));
        };
        let own = module.attributes.iter().filter(|(name, _)| constructor.names().any(|known| known == *name));
        let mut attributes: Map<String, Value> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        if let Some(shape) = weight
            && constructor.refill(shape, &mut attributes).is_none()
        {
            return Err(format!("its `weight` has shape {shape:?}, which no {} has", quoted(named)));
        }
        return Ok(Changed::Class(class, attributes));
    }
    let known = constructor(&module.class);
    if let Some(known) = known.filter(|known| !known.names().any(|name| name == edit.attribute)) {
        return Err(format!("{} has no `{}`; it has {}", module.short_class(), quoted(&edit.attribute), listed(known)));
    }
    if let Some(reason) =
        known.and_then(|known| bounds::refusal(known, &edit.attribute, &edit.value, &module.attributes))
    {
        return Err(reason);
    }
    let mut attributes = Map::clone(&module.attributes);
    let value = known.map_or_else(|| edit.value.clone(), |known| known.spread(&edit.attribute, edit.value.clone()));
    attributes.insert(edit.attribute.clone(), value);
    if let (Some(known), Some(shape)) = (known, weight)
        && known.weight.iter().any(|axis| axis.tells(&edit.attribute))
        && known.fill(shape, &mut attributes).is_none()
    {
        return Err(format!("its `weight` has shape {shape:?}, which contradicts it"));
    }
    Ok(Changed::Attributes(attributes))
}

fn listed(known: &Constructor) -> String {
    let names: Vec<&str> = known.names().take(MOST_NAMED).collect();
    names.join(", ")
}

/// The full path of the class that is meant: one that the module may have, or one of torch.
fn class_named(named: &str, module: &Module, registry: &Registry) -> Result<String, String> {
    let mut possible = std::iter::once(&module.class).chain(module.alternatives.iter());
    if let Some(class) = possible.find(|class| class.as_str() == named || class.rsplit('.').next() == Some(named)) {
        return Ok(class.to_string());
    }
    let short = named.trim_start_matches("torch.").trim_start_matches("nn.");
    let class = [named.to_owned(), format!("torch.nn.{short}")];
    let class = class.iter().find_map(|name| registry.torch_class(name));
    let layer = class.filter(|class| registry.layer(class).is_some_and(|row| row.status != RowStatus::Unsupported));
    layer.map(str::to_owned).ok_or_else(|| format!("the registry has no row of {} that converts", quoted(named)))
}
