//! `torch.jit.save` archives, scripted and traced.
//!
//! The pickle holds objects of classes whose code is in the archive as text. That text says which
//! parameters, buffers and constants a class has; nothing is compiled or run.

mod code;
mod debug;
mod places;
mod script;

use std::path::Path;

use serde_json::{Map, Value};

use compact_str::format_compact;

use super::archive::Archive;
use super::error::name_for_message;
use super::graph::TensorMeta;
use super::objects::{self, Children, join};
use super::pickle::{self, Fault, NodeId, Pickle, Printer, key_text};
use super::rebuild::{self, Rebuilder};
use super::script::Script;
use super::torch_zip::{PICKLE, byte_order, check_folder, storages};
use super::{Bytes, Checkpoint, Content, Error, Format, FoundModule, OwnTensor, PickleReport, TensorKind, hyper};
use code::{Code, demangle};

/// torch's own mark of a TorchScript archive.
const CONSTANTS: &str = "constants.pkl";
/// Written where a module was traced.
const TRACED: &str = "traced_inputs.pkl";
/// Tuples of traced inputs are looked into to this depth.
const MOST_NESTED: usize = 4;
/// Work that one of them costs.
const TRACED_WORK: u64 = 300;
/// Code of torch's own modules, whose source needs no archive.
const TORCH_CODE: &str = "code/__torch__/torch/";

/// Whether an archive is TorchScript's.
pub(super) fn is_torchscript(archive: &Archive) -> bool {
    archive.find(CONSTANTS).is_some() && archive.find(PICKLE).is_some()
}

/// Read an archive: its directory, its pickles and its code, no tensor.
///
/// # Errors
/// It is damaged, or its object is no module.
pub(super) fn read(
    path: &Path,
    bytes: Bytes,
    mut archive: Archive,
    pickle: Option<(Pickle, Option<String>)>,
) -> Result<Checkpoint, Error> {
    check_folder(path, &archive)?;
    let big_endian = byte_order(path, &bytes, &mut archive)?;
    let mut code = Code::read(path, &bytes, &mut archive)?;
    let debug = debug_records(path, &bytes, &mut archive, &mut code);
    let data = match pickle {
        Some((pickle, warning)) => {
            archive.warnings.extend(warning);
            checked(path, PICKLE, pickle)?
        }
        None => load(path, &bytes, &mut archive, PICKLE)?,
    };
    let constants = load(path, &bytes, &mut archive, CONSTANTS)?;
    let traced = traced_inputs(path, &bytes, &mut archive);
    let mut warnings = std::mem::take(&mut archive.warnings);
    warnings.extend(traced_warning(&debug));

    let find = storages(&archive, "data");
    let mut rebuilder = Rebuilder::new(&data, &find, big_endian);
    let modules = modules(&mut rebuilder, &code).map_err(|reason| fault(path, PICKLE, reason, &data))?;
    warnings.extend(rebuilder.finish_warnings());
    let script = Script {
        files: std::mem::take(&mut code.texts),
        objects: script::objects(&rebuilder),
        traced: traced.and_then(|traced| traced_tensors(&traced, &archive)).unwrap_or_default(),
    };
    let mut checkpoint = Checkpoint {
        script: Some(script),
        bytes: bytes.length(),
        tensors: rebuilder.tensors,
        storages: rebuilder.storages,
        metadata: metadata(&archive),
        pickle: Some(report(&data)),
        sources: debug.finish(),
        warnings,
        ..Checkpoint::new(path, Format::TorchScript, Content::Modules(modules))
    };
    let find = storages(&archive, "constants");
    let mut rebuilder = Rebuilder::new(&constants, &find, big_endian);
    add_constants(&mut rebuilder).map_err(|reason| fault(path, CONSTANTS, reason, &constants))?;
    checkpoint.warnings.extend(rebuilder.finish_warnings());
    checkpoint.warnings.extend(constants_warning(rebuilder.tensors.len()));
    checkpoint.append(rebuilder.tensors, rebuilder.storages);
    checkpoint.files.push(bytes);
    Ok(checkpoint)
}

fn load(path: &Path, bytes: &Bytes, archive: &mut Archive, name: &str) -> Result<Pickle, Error> {
    let Some(record) = archive.find(name) else {
        let what = format!("is a TorchScript archive without `{name}`; save it again");
        return Err(Error::Format { path: path.to_path_buf(), what });
    };
    let data = archive.read(path, bytes, name, record)?;
    let pickle = Pickle::load(data, 0).map_err(|(reason, pickle)| fault(path, name, reason, &pickle))?;
    checked(path, name, pickle)
}

/// A pickle whose persistent ids are storages.
fn checked(path: &Path, name: &str, pickle: Pickle) -> Result<Pickle, Error> {
    rebuild::check_persistent_ids(&pickle).map_err(|reason| fault(path, name, reason, &pickle))?;
    Ok(pickle)
}

fn fault(path: &Path, record: &str, fault: Fault, pickle: &Pickle) -> Error {
    Error::Pickle {
        path: path.to_path_buf(),
        record: record.to_owned(),
        offset: fault.offset,
        what: fault.what + &refused_globals(pickle),
    }
}

/// As [`Pickle::refused_globals`], the archive's own classes left out.
fn refused_globals(pickle: &Pickle) -> String {
    match pickle.globals().iter().any(|global| !global.allowed && !is_own(&global.name)) {
        true => pickle.refused_globals(),
        false => String::new(),
    }
}

/// Classes that are in the archive, and functions that TorchScript's own reader knows.
fn is_own(name: &str) -> bool {
    name.starts_with("__torch__.") || name.starts_with("torch.jit._pickle.")
}

fn report(pickle: &Pickle) -> PickleReport {
    let mut report = pickle::report(pickle);
    report.refused.retain(|call| !is_own(call));
    for global in report.globals.iter_mut().filter(|global| is_own(&global.name)) {
        global.allowed = true;
    }
    report
}

/// Source of the user's classes. A debug record that cannot be read is left out, with a warning.
fn debug_records(path: &Path, bytes: &Bytes, archive: &mut Archive, code: &mut Code) -> debug::Collector {
    let mut collector = debug::Collector::default();
    for ((file, places), text) in code.files.iter().zip(&mut code.texts) {
        let name = format!("{file}.debug_pkl");
        let Some(record) = archive.find(&name) else { continue };
        if file.starts_with(TORCH_CODE) {
            continue;
        }
        let data = archive.read(path, bytes, &name, record).map_err(|error| error.to_string());
        match data.and_then(|data| Pickle::load(data, 0).map_err(|(fault, _)| fault.what)) {
            Ok(pickle) => {
                text.places = places::places(&pickle);
                if !places.is_empty() {
                    collector.add(&name, &pickle, places);
                }
            }
            Err(why) => {
                let name = name_for_message(&name);
                archive.warnings.push(format!("The source in `{name}` cannot be read: {why}."));
            }
        }
    }
    collector
}

/// What a module was traced with. What is wrong with it is no fault of the model's.
fn traced_inputs(path: &Path, bytes: &Bytes, archive: &mut Archive) -> Option<Pickle> {
    let record = archive.find(TRACED)?;
    let data = archive.read(path, bytes, TRACED, record).ok()?;
    let pickle = Pickle::load(data, 0).ok()?;
    rebuild::check_persistent_ids(&pickle).ok()?;
    Some(pickle)
}

/// The types and sizes of the tensors that a module was traced with, in order; their elements are not in the file. Empty where
/// there was anything else among them.
fn traced_tensors(pickle: &Pickle, archive: &Archive) -> Option<Vec<TensorMeta>> {
    let given = pickle.get(pickle.root(), "forward")?;
    let find = storages(archive, "traced_inputs");
    let rebuilder = Rebuilder::new(pickle, &find, false);
    let mut tensors = Vec::new();
    let mut waiting = vec![(given, 0)];
    while let Some((value, depth)) = waiting.pop() {
        if !pickle.spend(TRACED_WORK) {
            return None;
        }
        if let Some(sizes) = rebuilder.shape(value) {
            let storage = *pickle.tuple(pickle.object(value)?.args)?.first()?;
            let dtype = rebuild::storage_id(pickle, pickle.persistent_id(storage)?)?.ok()?.dtype?.ok()?;
            tensors.push(TensorMeta { dtype, sizes: sizes.iter().map(|size| Some(*size)).collect() });
        } else {
            // A tuple of tensors is as many inputs; anything else is none that can be given.
            let items: Vec<NodeId> = pickle.items(value).filter(|_| depth < MOST_NESTED)?.collect();
            waiting.extend(items.into_iter().rev().map(|item| (item, depth + 1)));
        }
    }
    Some(tensors)
}

/// Say that tracing kept no source, and where it is.
fn traced_warning(debug: &debug::Collector) -> Option<String> {
    let (class, file) = debug.traced.iter().next()?;
    let others = match debug.traced.len() - 1 {
        0 => String::new(),
        1 => " and one more class".to_owned(),
        more => format!(" and {more} more classes"),
    };
    let (class, file) = (name_for_message(class), name_for_message(file));
    Some(format!(
        "Tracing kept no source of `{class}`{others}; it was traced from {file}, which --source can name. What depended on the input's values is fixed in the graph."
    ))
}

/// Say that tensors were made constants of the code.
fn constants_warning(count: usize) -> Option<String> {
    (count > 0).then(|| {
        format!(
            "{count} of the tensors are constants of the code and belong to no module. torch.jit.freeze makes weights so; save the model without it to see its layers."
        )
    })
}

fn metadata(archive: &Archive) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("traced".to_owned(), Value::Bool(archive.find(TRACED).is_some()));
    let mut extra: Vec<&str> = archive.names().filter_map(|name| name.strip_prefix("extra/")).collect();
    extra.sort_unstable();
    if !extra.is_empty() {
        metadata.insert("extra_files".to_owned(), Value::from(extra));
    }
    metadata
}

/// Tensors that the code names as `CONSTANTS.c0` and so on. They belong to no module.
fn add_constants(rebuilder: &mut Rebuilder<'_>) -> Result<(), Fault> {
    let pickle = rebuilder.pickle;
    for (number, value) in pickle.items(pickle.root()).into_iter().flatten().enumerate() {
        rebuilder.add(value, format_compact!("CONSTANTS.c{number}"))?;
    }
    Ok(())
}

fn modules(rebuilder: &mut Rebuilder<'_>, code: &Code) -> Result<Vec<FoundModule>, Fault> {
    let pickle = rebuilder.pickle;
    let root = pickle.root();
    if class_of(pickle, code, root).is_none() {
        let value = name_for_message(&Printer::for_messages().describe(pickle, root));
        let what = format!("holds {value}, which is no module of the archive's code; save a ScriptModule");
        return Err(Fault { offset: pickle.offset(root), what });
    }
    objects::walk(rebuilder, root, &|rebuilder, path, id| module(rebuilder, code, path, id))
}

/// Name of the class of an object and its declarations, if it is a module.
fn class_of<'a>(pickle: &'a Pickle, code: &'a Code, id: NodeId) -> Option<(&'a str, &'a code::Class)> {
    let object = pickle.object(id)?;
    let name = pickle.callable_name(&object)?;
    Some((name, code.classes.get(name)?))
}

fn module(
    rebuilder: &mut Rebuilder<'_>,
    code: &Code,
    path: &str,
    id: NodeId,
) -> Result<(FoundModule, Children), Fault> {
    let pickle = rebuilder.pickle;
    let empty = code::Class::default();
    let (name, class) = class_of(pickle, code, id).unwrap_or(("", &empty));
    let state = pickle.object(id).and_then(|object| pickle.state(&object));
    let mut module =
        FoundModule { path: path.to_owned(), class: demangle(name), attributes: Map::new(), tensors: Vec::new() };
    let mut children = Vec::new();
    let mut printer = Printer::for_attributes();
    for (key, value) in state.and_then(|state| pickle.entries(state)).into_iter().flatten() {
        let name = key_text(pickle, key);
        let kind = match name.as_str() {
            name if class.parameters.contains(name) => Some(TensorKind::Parameter),
            name if class.buffers.contains(name) => Some(TensorKind::Buffer),
            _ => None,
        };
        if class_of(pickle, code, value).is_some() {
            children.push((name, value));
        } else if rebuilder.is_tensor(value) {
            let tensor = rebuilder.add(value, join(path, name.clone()))?;
            // A tensor that is a plain attribute is no parameter and no buffer, and in no state dict.
            module.tensors.extend(kind.map(|kind| OwnTensor { name, kind, tensor }));
        } else if let Some(kind) = kind.filter(|_| pickle.is_none(value)) {
            module.tensors.push(OwnTensor { name, kind, tensor: None });
        } else if is_hyper_parameter(&name) {
            module.attributes.insert(name.into(), printer.value(pickle, value));
        }
    }
    // Parameters first, as everywhere.
    module.tensors.sort_by_key(|own| own.kind != TensorKind::Parameter);
    for (name, value) in class.constants.iter().filter(|(name, _)| is_hyper_parameter(name)) {
        module.attributes.insert(name.clone(), value.clone());
    }
    let shape = |name: &str| {
        let own = module.tensors.iter().find(|own| own.name == name)?;
        Some(rebuilder.tensors.get(own.tensor?)?.shape.as_slice())
    };
    for (name, value) in hyper::attributes(&module.class, &class.calls, &shape) {
        module.attributes.entry(name).or_insert(value);
    }
    Ok((module, children))
}

fn is_hyper_parameter(name: &str) -> bool {
    !name.starts_with('_') && name != "training"
}
