//! Pickled modules: found by their structure, walked as `named_modules(remove_duplicate=False)` walks them.

use compact_str::{CompactString, format_compact};

use super::error::name_for_message;
use super::members::{is_optimizer, parts};
use super::pickle::{Fault, NodeId, Pickle, Printer, class_of, key_text};
use super::rebuild::Rebuilder;
use super::{FoundModule, OwnTensor, TensorKind};

/// Deeper than any model, shallower than any stack.
const DEEPEST: usize = 500;
/// Work that a module costs: the memory that it takes, more or less.
const MODULE_WORK: u64 = 500;
/// Containers around a module are looked through to this depth.
pub(super) const MOST_CONTAINERS: usize = 4;

/// Dicts of hooks that a module carries, and what becomes different without them. Hooks around saving and loading a state
/// dict have done their work.
const HOOKS: [(&str, &str); 4] = [
    ("_forward_hooks", "the model may compute something else"),
    ("_forward_pre_hooks", "the model may compute something else"),
    ("_backward_hooks", "gradients may be others"),
    ("_backward_pre_hooks", "gradients may be others"),
];

/// Modules whose forward is that of the module that they wrap, and the name that it has in them.
const WRAPPERS: [(&str, &str); 12] = [
    ("torch.nn.parallel.data_parallel.DataParallel", "module"),
    ("torch.nn.parallel.distributed.DistributedDataParallel", "module"),
    ("torch.optim.swa_utils.AveragedModel", "module"),
    ("torch._dynamo.eval_frame.OptimizedModule", "_orig_mod"),
    ("torch.distributed.algorithms._checkpoint.checkpoint_wrapper.CheckpointWrapper", "_checkpoint_wrapped_module"),
    ("torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel", "_fsdp_wrapped_module"),
    ("apex.parallel.distributed.DistributedDataParallel", "module"),
    ("deepspeed.runtime.engine.DeepSpeedEngine", "module"),
    ("opacus.grad_sample.grad_sample_module.GradSampleModule", "_module"),
    ("lightning.fabric.wrappers._FabricModule", "_forward_module"),
    ("timm.utils.model_ema.ModelEmaV2", "module"),
    ("timm.utils.model_ema.ModelEmaV3", "module"),
];
/// A module is wrapped so many times at most.
const MOST_WRAPPED: usize = 8;
/// So many places of wrappers are named.
const MOST_NAMED: usize = 16;

/// The `__dict__` of a module: any object whose state has `_modules` and `_parameters`, whatever its class. Classes that
/// reduce to a call, such as `GraphModule`, have it among their arguments.
pub(super) fn module_state(pickle: &Pickle, id: NodeId) -> Option<NodeId> {
    let object = pickle.object(id)?;
    let is_module = |state: &NodeId| {
        let has = |key: &str| pickle.get(*state, key).is_some_and(|value| pickle.is_dict(value));
        has("_modules") && has("_parameters")
    };
    let state = pickle.state(&object);
    // With __slots__ the state is a pair: the __dict__ and the slots.
    let pair = state.and_then(|state| pickle.tuple(state)).unwrap_or_default();
    let args = pickle.tuple(object.args).unwrap_or_default().iter().take(4);
    state.iter().chain(pair.first()).chain(args).copied().find(is_module)
}

struct Level {
    id: NodeId,
    path: CompactString,
    /// Children not visited yet, the next one last.
    children: Children,
}

/// All modules from a root down, each with its tensors, which are added to the rebuilder. The root is a module, or a
/// container that [holds modules](holds_module): containers then stand as modules without a class.
///
/// # Errors
/// Modules contain themselves, are too deep, or unfold to too many paths; or a tensor is wrong.
pub(super) fn modules(rebuilder: &mut Rebuilder<'_>, root: NodeId) -> Result<Vec<FoundModule>, Fault> {
    walk(rebuilder, root, &|rebuilder, path, id| {
        let pickle = rebuilder.pickle;
        let id = unwrapped(rebuilder, path, id);
        if module_state(pickle, id).is_none() && holds_module(rebuilder, id, MOST_CONTAINERS) {
            return container(rebuilder, path, id);
        }
        let module = module(rebuilder, path, id)?;
        Ok((module, children(rebuilder, path, id)))
    })
}

/// The module that stands for one at a path: what it wraps, where it is a wrapper with nothing else in it than counters.
fn unwrapped(rebuilder: &mut Rebuilder<'_>, path: &str, id: NodeId) -> NodeId {
    let pickle = rebuilder.pickle;
    let mut id = id;
    for _ in 0..MOST_WRAPPED {
        let class = pickle.object(id).and_then(|object| class_of(pickle, &object)).unwrap_or_default();
        let Some((_, name)) = WRAPPERS.iter().find(|(wrapper, _)| *wrapper == class) else { break };
        let Some(state) = module_state(pickle, id) else { break };
        let own = |dict: &str| pickle.get(state, dict).and_then(|dict| pickle.entries(dict)).into_iter().flatten();
        let mut children = own("_modules");
        let (first, more) = (children.next(), children.next());
        let inner = first.filter(|(key, _)| more.is_none() && pickle.is_text(*key, name)).map(|(_, inner)| inner);
        let Some(inner) = inner.filter(|inner| module_state(pickle, *inner).is_some()) else { break };
        if own("_parameters").next().is_some() || own("_buffers").any(|(key, _)| !pickle.is_text(key, "n_averaged")) {
            break;
        }
        let place = if path.is_empty() { format!("{name}.") } else { format!("{path}.{name}.") };
        if rebuilder.wrappers.len() < MOST_NAMED {
            rebuilder.wrappers.push(place);
        }
        id = inner;
    }
    id
}

/// Whether a dict, list, tuple or plain object contains a module, or contains such a container, to a limited depth.
pub(super) fn holds_module(rebuilder: &Rebuilder<'_>, container: NodeId, depth: usize) -> bool {
    let pickle = rebuilder.pickle;
    depth > 0
        && parts(pickle, container).any(|(_, value)| {
            !rebuilder.is_tensor(value)
                && (module_state(pickle, value).is_some() || holds_module(rebuilder, value, depth - 1))
        })
}

/// A container that holds modules: those are its children, and the tensors beside them its own.
fn container(rebuilder: &mut Rebuilder<'_>, path: &str, id: NodeId) -> Result<(FoundModule, Children), Fault> {
    let pickle = rebuilder.pickle;
    let object = pickle.object(id).filter(|_| !pickle.is_dict(id) && pickle.items(id).is_none());
    let class = object.and_then(|object| class_of(pickle, &object).map(str::to_owned)).unwrap_or_default();
    let mut found = FoundModule { path: path.to_owned(), class, ..FoundModule::default() };
    let mut children = Vec::new();
    for (key, value) in parts(pickle, id) {
        let name = key.text(pickle);
        if rebuilder.is_tensor(value) {
            let tensor = rebuilder.add(value, join(path, name.clone()))?;
            found.tensors.push(OwnTensor { name, kind: TensorKind::Unknown, tensor });
        } else if module_state(pickle, value).is_some() || holds_module(rebuilder, value, MOST_CONTAINERS) {
            children.push((name, value));
        } else if !is_optimizer(pickle, value) && parts(pickle, value).any(|(_, inner)| rebuilder.is_tensor(inner)) {
            let name = name_for_message(&join(path, name));
            rebuilder.warn(format!("`{name}` holds tensors beside the modules, which are not shown."));
        }
    }
    Ok((found, children))
}

/// Names and values of the modules in a module.
pub(super) type Children = Vec<(CompactString, NodeId)>;

/// Reads the module at a path, and finds its children.
pub(super) type ReadModule<'r> =
    dyn Fn(&mut Rebuilder<'_>, &str, NodeId) -> Result<(FoundModule, Children), Fault> + 'r;

/// All modules from a root down, `read` giving each with its children.
///
/// # Errors
/// As [`modules`].
pub(super) fn walk(
    rebuilder: &mut Rebuilder<'_>,
    root: NodeId,
    read: &ReadModule<'_>,
) -> Result<Vec<FoundModule>, Fault> {
    let pickle = rebuilder.pickle;
    let mut found = Vec::new();
    let mut levels: Vec<Level> = Vec::new();
    let mut next = Some((CompactString::default(), root));
    loop {
        if let Some((path, id)) = next.take() {
            let fault = |what: String| Fault { offset: pickle.offset(id), what };
            let named = || name_for_message(&path);
            if levels.iter().any(|level| level.id == id) {
                return Err(fault(format!("module `{}` contains itself", named())));
            }
            if levels.len() >= DEEPEST {
                return Err(fault(format!("module `{}` is nested deeper than {DEEPEST} levels", named())));
            }
            // One module can stand at many paths, but a few must not unfold to millions.
            if !pickle.spend(MODULE_WORK + path.len() as u64) {
                return pickle.check_work().map(|()| found);
            }
            let (module, mut children) = read(rebuilder, &path, id)?;
            found.push(module);
            children.reverse();
            levels.push(Level { id, path, children });
        }
        let Some(level) = levels.last_mut() else { return Ok(found) };
        match level.children.pop() {
            Some((name, id)) => next = Some((join(&level.path, name), id)),
            None => {
                levels.pop();
            }
        }
    }
}

fn children(rebuilder: &mut Rebuilder<'_>, path: &str, id: NodeId) -> Children {
    let pickle = rebuilder.pickle;
    let modules = module_state(pickle, id).and_then(|state| pickle.get(state, "_modules"));
    let Some(entries) = modules.and_then(|modules| pickle.entries(modules)) else { return Vec::new() };
    let mut children = Vec::new();
    for (key, child) in entries {
        if pickle.object(child).is_some() {
            children.push((key_text(pickle, key), child));
        } else if !pickle.is_none(child) {
            let child = name_for_message(&join(path, key_text(pickle, key)));
            rebuilder.warn(format!("`{child}` stands among the modules but is none."));
        }
    }
    children
}

fn module(rebuilder: &mut Rebuilder<'_>, path: &str, id: NodeId) -> Result<FoundModule, Fault> {
    let pickle = rebuilder.pickle;
    let class = pickle.object(id).and_then(|object| class_of(pickle, &object).map(str::to_owned)).unwrap_or_default();
    let class = match class.as_str() {
        "torch.fx.graph_module.reduce_graph_module" => "torch.fx.graph_module.GraphModule".to_owned(),
        _ => class,
    };
    let mut module =
        FoundModule { path: path.to_owned(), class, attributes: serde_json::Map::new(), tensors: Vec::new() };
    let Some(state) = module_state(pickle, id) else { return Ok(module) };
    for (dict, kind) in [("_parameters", TensorKind::Parameter), ("_buffers", TensorKind::Buffer)] {
        let Some(entries) = pickle.get(state, dict).and_then(|dict| pickle.entries(dict)) else { continue };
        for (key, value) in entries {
            let name = key_text(pickle, key);
            let tensor = match pickle.is_none(value) {
                true => None,
                false => rebuilder.add(value, join(path, name.clone()))?,
            };
            if tensor.is_none() && !pickle.is_none(value) {
                let name = name_for_message(&join(path, name));
                rebuilder.warn(format!("`{name}` stands among the tensors but is none."));
            } else {
                module.tensors.push(OwnTensor { name, kind, tensor });
            }
        }
    }
    let mut printer = Printer::for_attributes();
    for (key, value) in pickle.entries(state).into_iter().flatten() {
        let name = key_text(pickle, key);
        if let Some((_, consequence)) = HOOKS.iter().find(|(hook, _)| *hook == name) {
            let mut hooks = pickle.entries(value).into_iter().flatten();
            if hooks.any(|(_, hook)| !is_torchs_own(pickle, hook)) {
                let path = if path.is_empty() {
                    "the root module".to_owned()
                } else {
                    format!("`{}`", name_for_message(path))
                };
                // A hook around forward changes what the module computes: it is kept with the hyper-parameters.
                if matches!(name.as_str(), "_forward_hooks" | "_forward_pre_hooks") {
                    module.attributes.insert(name.to_string(), printer.value(pickle, value));
                }
                let hooks = name.trim_start_matches('_').replace('_', " ");
                rebuilder.warn(format!("Saved with {path} are {hooks}, which are not run: {consequence}."));
            }
        } else if !name.starts_with('_') && name != "training" {
            module.attributes.insert(name.into(), printer.value(pickle, value));
        }
    }
    Ok(module)
}

/// Hooks of weight norm, spectral norm and pruning, whose tensors tell what they do, and those that lazy modules wait with.
fn is_torchs_own(pickle: &Pickle, hook: NodeId) -> bool {
    let Some(object) = pickle.object(hook) else { return false };
    let name = pickle.callable_name(&object).unwrap_or_default();
    let waits = || {
        let method = pickle.tuple(object.args).and_then(|args| args.get(1).copied());
        name == "builtins.getattr" && method.is_some_and(|method| pickle.is_text(method, "_infer_parameters"))
    };
    ["torch.nn.utils.weight_norm.", "torch.nn.utils.spectral_norm.", "torch.nn.utils.prune."]
        .iter()
        .any(|module| name.starts_with(module))
        || waits()
}

/// A dotted path.
pub(super) fn join(path: &str, name: CompactString) -> CompactString {
    if path.is_empty() { name } else { format_compact!("{path}.{name}") }
}
