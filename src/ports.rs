//! Ports that exist: which packages say that they have a model in MLX, `assets/ports/ports.json`. `make.py` beside it reads
//! the packages and writes it. What they say is their claim: nothing of it is measured here, and the words say so.

use std::collections::HashMap;
use std::sync::LazyLock;

use indexmap::IndexMap;
use serde_json::Value;
use t2m_checkpoint::Checkpoint;

use crate::architecture::Architecture;
use crate::assets::built_in;
use crate::model::Model;

const TEXT: &str = include_str!("../assets/ports/ports.json");

/// What a package without versions has in the list instead of one.
const NO_VERSION: &str = "no version";

/// Said wherever ports are named.
pub const CLAIM: &str = "as the package says itself; nothing of it is measured here";

/// An implementation in MLX, by its package's own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The package: `mlx-lm`.
    pub package: &'static str,
    /// Its version when the list was made; `None` where it has none.
    pub version: Option<&'static str>,
    /// The module: `mlx_lm.models.llama`.
    pub module: &'static str,
}

impl Port {
    /// `mlx-lm 0.32.2: mlx_lm.models.llama`
    pub fn words(&self) -> String {
        let version = self.version.map(|version| format!(" {version}")).unwrap_or_default();
        format!("{}{version}: {}", self.package, self.module)
    }
}

/// Ports in one line; `None` where none is known.
pub fn words(ports: &[Port]) -> Option<String> {
    let named: Vec<String> = ports.iter().map(Port::words).collect();
    (!named.is_empty()).then(|| format!("{} ({CLAIM})", named.join("; ")))
}

/// The list: ports are `package module`.
#[derive(serde::Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    packages: IndexMap<&'a str, &'a str>,
    #[serde(borrow)]
    model_types: HashMap<&'a str, Vec<&'a str>>,
    #[serde(borrow)]
    classes: HashMap<&'a str, Vec<&'a str>>,
    /// `library.name`, or `library.prefix*`.
    #[serde(borrow)]
    models: HashMap<&'a str, Vec<&'a str>>,
}

impl List<'static> {
    fn get() -> &'static List<'static> {
        static LIST: LazyLock<List<'static>> = LazyLock::new(|| built_in("ports.json", serde_json::from_str(TEXT)));
        &LIST
    }

    fn port(&self, entry: &'static str) -> Option<Port> {
        let (package, module) = entry.split_once(' ')?;
        let (package, version) = self.packages.get_key_value(package)?;
        Some(Port { package, version: Some(*version).filter(|version| *version != NO_VERSION), module })
    }

    /// Those of a published model.
    fn of_model(&self, library: &str, name: &str) -> impl Iterator<Item = &'static str> {
        let whole = format!("{library}.{name}");
        let fits = move |key: &str| match key.strip_suffix('*') {
            Some(prefix) => whole.starts_with(prefix),
            None => whole == key,
        };
        self.models.iter().filter(move |(key, _)| fits(key)).flat_map(|(_, entries)| entries).copied()
    }
}

/// Ports of the model in a checkpoint, in the order of the list's packages: known by the classes and the `model_type` of its
/// config.json, by its pickled class, or by the published architecture that it fits. Where a class decides, the same package's
/// port of the model's type is not meant.
pub fn of(checkpoint: &Checkpoint, model: &Model, architecture: Option<&Architecture>) -> Vec<Port> {
    let config = checkpoint.config();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let root = model.modules.first().map(|module| module.class.as_str()).unwrap_or_default();
    let listed = config.and_then(|config| config.get("architectures")).and_then(Value::as_array);
    let pipeline = checkpoint.metadata.get("model_index").and_then(|index| index.get("_class_name"));
    let classes = listed.into_iter().flatten().filter_map(|class| text(Some(class)));
    let classes = classes.chain(text(config.and_then(|config| config.get("_class_name")))).chain(text(pipeline));
    let own = root.strip_prefix("diffusers.").and_then(|class| class.rsplit('.').next());
    let classes = classes.chain(own.map(str::to_owned));
    let family = root.strip_prefix("transformers.models.").and_then(|rest| rest.split('.').next());
    let model_type = text(config.and_then(|config| config.get("model_type"))).or(family.map(str::to_owned));
    let published = architecture.filter(|architecture| architecture.python.is_none());
    if model_type.is_none() && published.is_none() && root.is_empty() && pipeline.is_none() && config.is_none() {
        return Vec::new();
    }
    let list = List::get();
    let mut found: Vec<Port> = Vec::new();
    let mut add = |entries: &mut dyn Iterator<Item = &'static str>| {
        let before = found.len();
        for port in entries.filter_map(|entry| list.port(entry)) {
            let known = found.iter().take(before).any(|known| known.package == port.package);
            if !known && !found.contains(&port) {
                found.push(port);
            }
        }
    };
    add(&mut classes.flat_map(|class| list.classes.get(class.as_str())).flatten().copied());
    add(&mut model_type.iter().flat_map(|family| list.model_types.get(family.as_str())).flatten().copied());
    if let Some(Architecture { library, names, .. }) = published {
        add(&mut names.iter().flat_map(|name| list.of_model(library, name)));
    }
    found.sort_by_key(|port| list.packages.get_index_of(port.package));
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "the built-in list is no input")]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_the_list_names_a_package_of_it() {
        let list = List::get();
        let entries =
            || [&list.model_types, &list.classes, &list.models].into_iter().flat_map(HashMap::values).flatten();
        assert!(entries().count() > 400, "{}", entries().count());
        assert!(entries().all(|entry| list.port(entry).is_some()));
        // Each package has something to show.
        for package in list.packages.keys() {
            assert!(entries().any(|entry| list.port(entry).unwrap().package == *package), "{package}");
        }
    }

    #[test]
    fn models_are_found_by_name_and_by_the_beginning_of_it() {
        let list = List::get();
        let modules = |library, name| list.of_model(library, name).collect::<Vec<_>>();
        assert_eq!(modules("torchvision", "resnet50"), ["mlx-image mlxim.model.resnet.resnet"]);
        assert_eq!(modules("torchvision", "resnet50_other"), Vec::<&str>::new());
        assert_eq!(modules("demucs", "htdemucs_6s"), ["demucs-mlx demucs_mlx.mlx_htdemucs"]);
        assert_eq!(modules("", ""), Vec::<&str>::new());
    }
}
