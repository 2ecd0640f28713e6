//! Where what is known of a module's attributes comes from, where its evidence alone does not say it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;

/// What says a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A published architecture.
    Architecture,
    /// A line of source.
    Source {
        /// The file, as it is shown.
        file: Arc<str>,
        /// 1-based.
        line: usize,
    },
    /// A value of the config beside the weights.
    Config {
        /// Its key.
        key: Arc<str>,
    },
    /// Shapes of tensors in the file.
    Shapes,
    /// The user.
    Typed,
    /// The default of the class's constructor, beside what the user typed of the module.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Architecture => out.write_str("architecture"),
            Origin::Source { file, line } => write!(out, "source {file}:{line}"),
            Origin::Config { key } => write!(out, "config.json {key}"),
            Origin::Shapes => out.write_str("shapes"),
            Origin::Typed => out.write_str("typed"),
            Origin::Default => out.write_str("default"),
        }
    }
}

/// What says each attribute of a module. One that is not in it is told by the module's evidence. Modules may share it, and an
/// empty one takes no memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToldBy(Option<Arc<BTreeMap<CompactString, Origin>>>);

impl ToldBy {
    /// Every one of these attributes by the same.
    pub fn all<'n>(names: impl IntoIterator<Item = &'n str>, origin: &Origin) -> ToldBy {
        names.into_iter().map(|name| (CompactString::from(name), origin.clone())).collect()
    }

    /// Say what tells an attribute.
    pub fn insert(&mut self, attribute: &str, origin: Origin) {
        Arc::make_mut(self.0.get_or_insert_default()).insert(attribute.into(), origin);
    }

    /// What tells an attribute; `None` where the module's evidence does.
    pub fn get(&self, attribute: &str) -> Option<&Origin> {
        self.0.as_ref()?.get(attribute)
    }

    /// Attributes by name, with what tells them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.0.iter().flat_map(|told| told.iter()).map(|(name, origin)| (name.as_str(), origin))
    }

    /// Whether the module's evidence tells all of them.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl FromIterator<(CompactString, Origin)> for ToldBy {
    fn from_iter<T: IntoIterator<Item = (CompactString, Origin)>>(pairs: T) -> ToldBy {
        let told: BTreeMap<CompactString, Origin> = pairs.into_iter().collect();
        ToldBy((!told.is_empty()).then(|| Arc::new(told)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attribute_says_where_it_is_from() {
        let line = Origin::Source { file: "net.py".into(), line: 41 };
        let mut told = ToldBy::all(["stride", "padding"], &line);
        let shared = told.clone();
        told.insert("stride", Origin::Typed);
        told.insert("rope", Origin::Config { key: "rope_theta".into() });
        let words: Vec<String> = told.iter().map(|(name, origin)| format!("{name}: {origin}")).collect();
        assert_eq!(words, ["padding: source net.py:41", "rope: config.json rope_theta", "stride: typed"]);
        assert_eq!((shared.get("stride"), shared.get("eps")), (Some(&line), None));
        assert!(ToldBy::all([], &line).is_empty() && !told.is_empty());
        assert_eq!(std::mem::size_of::<ToldBy>(), std::mem::size_of::<usize>());
    }
}
