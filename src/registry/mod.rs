//! What is known of layers, ops, rules and blockers: `assets/registry/*.toml`, built in and checked when loaded, with a
//! user's files on top.

pub mod aten;
pub mod axes;
pub mod blockers;
pub mod bounds;
pub mod claims;
pub mod conditions;
pub mod constructors;
pub mod dtypes;
pub mod idioms;
pub mod layers;
pub mod libraries;
pub mod ops;
pub mod plausible;
mod recipe;
pub mod rules;
pub mod schemas;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files;
use t2m_checkpoint::escape::{escape, quoted};

pub use dtypes::DtypeRow;
pub use layers::{Attribute, Difficulty, Field, Layer, RowStatus, Seed};
pub use libraries::{Owner, library};
pub use ops::Op;
pub use recipe::Recipe;
pub use rules::LayoutRule;

/// The registry: built-in rows, with a user's files applied.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Layers, in file order.
    pub layers: Vec<Layer>,
    /// torch's dtypes, in file order.
    pub dtypes: Vec<DtypeRow>,
    /// Weight layouts, in file order.
    pub rules: Vec<LayoutRule>,
    /// Ops of graphs where a file changed some.
    own_aten: Option<Arc<aten::Table>>,
    by_class: HashMap<String, usize>,
    /// How many classes each row is for.
    classes_of: Vec<usize>,
}

/// A registry file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("registry file {}: {source}", escape(&path.to_string_lossy()))]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// What the system said.
        source: files::ReadError,
    },
    /// It is not TOML, or not a registry file. The message has line and column.
    #[error("registry file {}: {message}", escape(&path.to_string_lossy()))]
    Parse {
        /// Path of the file.
        path: PathBuf,
        /// The parser's message.
        message: String,
    },
    /// A row contradicts itself or the rest.
    #[error("registry file {}: the row of {}: {message}", escape(&path.to_string_lossy()), quoted(row))]
    Row {
        /// Path of the file.
        path: PathBuf,
        /// Class, op or rule.
        row: String,
        /// What is wrong and what to write.
        message: String,
    },
}

/// The longest registry file that is read, in bytes: ten times the built-in ones.
const LONGEST: u64 = 2 << 20;

const LAYERS: (&str, &str) = ("assets/registry/layers.toml", include_str!("../../assets/registry/layers.toml"));
const ZOO: (&str, &str) = ("assets/registry/zoo.toml", include_str!("../../assets/registry/zoo.toml"));
const DTYPES: (&str, &str) = ("assets/registry/dtypes.toml", include_str!("../../assets/registry/dtypes.toml"));
const RULES: (&str, &str) = ("assets/registry/rules.toml", include_str!("../../assets/registry/rules.toml"));

impl Registry {
    /// The built-in registry with the user's files applied in order: a `[[layer]]` whose class has a row changes the
    /// fields it names, any other adds a row; a line of `[ops]` takes the place of the op's program in `aten.toml`, or adds one.
    ///
    /// # Errors
    /// A file cannot be read, is not a registry file, or makes a row that contradicts itself.
    pub fn load(files: &[PathBuf]) -> Result<Registry, Error> {
        let rules = rules::parse(Path::new(RULES.0), RULES.1)?;
        let dtypes = dtypes::parse(Path::new(DTYPES.0), DTYPES.1)?;
        let mut registry = Registry {
            layers: Vec::new(),
            dtypes,
            rules,
            own_aten: None,
            by_class: HashMap::new(),
            classes_of: Vec::new(),
        };
        registry.apply(Path::new(LAYERS.0), LAYERS.1)?;
        registry.apply(Path::new(ZOO.0), ZOO.1)?;
        // What the project's own rows say is held by their samples; what a user's file says of a layer is obeyed or refused.
        registry.layers.iter_mut().for_each(|row| row.set.clear());
        for path in files {
            let text = files::read_text(path, LONGEST).map_err(|source| Error::Read { path: path.clone(), source })?;
            registry.apply(path, &text)?;
        }
        Ok(registry)
    }

    /// The row of a class, by its full path.
    pub fn layer(&self, class: &str) -> Option<&Layer> {
        self.by_class.get(class).map(|&index| &self.layers[index])
    }

    /// Every class with its row, in the rows' order.
    pub fn classes(&self) -> impl Iterator<Item = (&str, &Layer)> + Clone {
        let mut classes: Vec<(&str, usize)> =
            self.by_class.iter().map(|(class, &index)| (class.as_str(), index)).collect();
        classes.sort_unstable_by(|a, b| (a.1, a.0).cmp(&(b.1, b.0)));
        classes.into_iter().map(|(class, index)| (class, &self.layers[index]))
    }

    /// The full class path of the layer of torch that code calls this: `torch.nn.Conv2d` is
    /// `torch.nn.modules.conv.Conv2d`.
    pub fn torch_class(&self, named: &str) -> Option<&str> {
        if let Some((class, _)) = self.by_class.get_key_value(named) {
            return Some(class);
        }
        let short = named.strip_prefix("torch.nn.").filter(|short| !short.contains('.'))?;
        let mut classes = self.by_class.keys().filter(|class| class.starts_with("torch.nn.modules."));
        classes.find(|class| class.rsplit('.').next() == Some(short)).map(String::as_str)
    }

    /// Ops of graphs: the project's, read when they are first asked for, and what files change of them.
    pub fn aten(&self) -> Arc<aten::Table> {
        self.own_aten.clone().unwrap_or_else(aten::Table::shared)
    }

    /// Ops, in file order: those of the project, which no file adds to. They are read when they are first asked for.
    pub fn ops(&self) -> &'static [Op] {
        ops::built_in().rows()
    }

    /// The row of an op, called in this way (`torch.softmax`, `F.softmax`, `x.softmax`) or in another that means the same.
    pub fn op(&self, called: &str) -> Option<&'static Op> {
        ops::built_in().row(called)
    }

    /// The weight layout of that name.
    pub fn rule(&self, name: &str) -> Option<&LayoutRule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// Apply the text of a registry file; the path is for messages.
    ///
    /// # Errors
    /// As [`Registry::load`].
    pub fn apply(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        let layers::File { layer, ops } = layers::parse(path, text)?;
        for (schema, program) in &ops {
            let row_error = |message| Error::Row { path: path.to_owned(), row: schema.clone(), message };
            Arc::make_mut(self.own_aten.get_or_insert_with(aten::Table::shared))
                .set(schema, program)
                .map_err(row_error)?;
        }
        for patch in layer {
            let row_error = |message| Error::Row { path: path.to_owned(), row: patch.class.clone(), message };
            let index = match self.by_class.get(&patch.class) {
                Some(&index) => {
                    let changed = layers::changed(&self.layers[index], &patch).map_err(row_error)?;
                    // In a row for several classes only the named one changes.
                    if self.classes_of.get(index) == Some(&1) {
                        self.layers[index] = changed;
                        index
                    } else {
                        self.layers.push(changed);
                        self.layers.len() - 1
                    }
                }
                None => {
                    self.layers.push(layers::complete(&patch).map_err(row_error)?);
                    self.layers.len() - 1
                }
            };
            layers::check(&self.layers[index], &self.rules).map_err(row_error)?;
            self.classes_of.resize(self.layers.len(), 0);
            for class in std::iter::once(&patch.class).chain(patch.also.iter().flatten()) {
                let before = self.by_class.insert(class.clone(), index);
                for (row, more) in before.map(|row| (row, false)).into_iter().chain([(index, true)]) {
                    let Some(count) = self.classes_of.get_mut(row) else { continue };
                    *count = if more { *count + 1 } else { count.saturating_sub(1) };
                }
            }
        }
        Ok(())
    }
}

/// Parse a file of rows; the message carries line and column.
fn parse_toml<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, Error> {
    files::parse_toml(text).map_err(|message| Error::Parse { path: path.to_owned(), message })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const OWN: &str = r#"
        [[layer]]
        class = "mine.Linear"
        torch = "torch.nn.modules.linear.Linear"
        status = "direct"
        mlx = "nn.Linear"
        recipe = "linear"
        rule = "identity"
        reason = "A Linear."
    "#;

    fn with(text: &str) -> Result<Registry, Error> {
        let mut registry = Registry::load(&[]).unwrap();
        registry.apply(Path::new("mine.toml"), text)?;
        Ok(registry)
    }

    #[test]
    fn the_seed_is_whole() {
        let registry = Registry::load(&[]).unwrap();
        let supported = registry.layers.iter().filter(|layer| layer.seed == Some(Seed::Supported));
        assert_eq!(supported.count(), 24);
        assert_eq!(registry.ops().iter().filter(|op| op.seed).count(), 28);
        assert_eq!(registry.rules.iter().filter(|rule| rule.seed).count(), 6);
        let notable = [
            "pooling.MaxPool1d",
            "pooling.MaxPool2d",
            "pooling.MaxPool3d",
            "pooling.AvgPool1d",
            "pooling.AvgPool2d",
            "pooling.AvgPool3d",
            "pooling.AdaptiveAvgPool2d",
            "rnn.LSTM",
            "rnn.GRU",
            "rnn.RNN",
            "conv.Conv3d",
            "conv.ConvTranspose3d",
            "transformer.TransformerEncoder",
            "transformer.TransformerDecoder",
        ];
        for class in notable {
            let row = registry.layer(&format!("torch.nn.modules.{class}")).unwrap();
            assert!(matches!(row.seed, Some(Seed::Unsupported(_))), "{class}");
        }
    }

    #[test]
    fn a_user_file_changes_the_fields_it_names() {
        let registry = with("[[layer]]\nclass = \"torch.nn.modules.conv.Conv2d\"\nrule = \"identity\"\n").unwrap();
        let row = registry.layer("torch.nn.modules.conv.Conv2d").unwrap();
        assert_eq!((row.rule.as_deref(), row.mlx.as_deref()), (Some("identity"), Some("nn.Conv2d")));
        assert_eq!(registry.layer("torch.nn.modules.conv.Conv1d").unwrap().rule.as_deref(), Some("conv1d"));
    }

    #[test]
    fn a_user_file_adds_a_class_of_its_own() {
        let registry = with(OWN).unwrap();
        assert_eq!(registry.layer("mine.Linear").unwrap().recipe, Some(Recipe::Linear));
        let unnamed = with(&OWN.replace("torch = ", "# torch = ")).unwrap_err().to_string();
        assert!(unnamed.contains("mine.Linear") && unnamed.contains("`torch`"), "{unnamed}");
        assert!(registry.layer("Linear").is_none(), "classes are known by their full path");
    }

    #[test]
    fn a_user_file_changes_the_program_of_an_op_of_graphs() {
        const GELU: &str = "gelu(Tensor self, *, str approximate='none') -> Tensor";
        let registry = with(&format!("[ops]\n\"{GELU}\" = \"nn.gelu_approx(self)\"\n")).unwrap();
        assert_eq!(registry.aten().row("aten.gelu.default").unwrap().program, "nn.gelu_approx(self)");
        assert_ne!(aten::Table::built_in().row("aten.gelu.default").unwrap().program, "nn.gelu_approx(self)");
        assert_eq!(registry.aten().len(), aten::Table::built_in().len());
        let wrong = with("[ops]\n\"gelu\" = \"nn.gelu(self)\"\n").unwrap_err().to_string();
        assert!(wrong.contains("mine.toml") && wrong.contains("the row of gelu: this is no schema"), "{wrong}");
    }

    #[test]
    fn one_class_of_a_shared_row_is_changed_alone() {
        let registry = with("[[layer]]\nclass = \"torch.nn.modules.padding.ZeroPad2d\"\nreason = \"Mine.\"\n").unwrap();
        let reason = |class: &str| &registry.layer(&format!("torch.nn.modules.padding.{class}")).unwrap().reason;
        assert_ne!(reason("ZeroPad2d"), reason("ZeroPad1d"));
        // Nor does the class that gave a row its name take the others with it.
        let first = with("[[layer]]\nclass = \"torch.nn.modules.padding.ZeroPad1d\"\nreason = \"Mine.\"\n").unwrap();
        let reason = |class: &str| &first.layer(&format!("torch.nn.modules.padding.{class}")).unwrap().reason;
        assert_eq!(reason("ZeroPad1d"), "Mine.");
        assert_ne!(reason("ZeroPad2d"), "Mine.");
        assert_eq!(
            registry.layer("torch.nn.modules.padding.ZeroPad2d").unwrap().class,
            "torch.nn.modules.padding.ZeroPad2d"
        );
    }

    #[test]
    fn every_public_class_of_torch_nn_has_a_row() {
        let registry = Registry::load(&[]).unwrap();
        let classes: Vec<&str> = include_str!("../../assets/samples/torch_nn_classes.txt").lines().collect();
        assert_eq!(classes.len(), 163);
        let missing: Vec<&&str> = classes.iter().filter(|class| registry.layer(class).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// The classes beside torch.nn's that torch2mlx registers, by their short names.
    const TORCH2MLX: &str = "NonDynamicallyQuantizableLinear GELUActivation NewGELUActivation QuickGELUActivation Conv1D \
        T5LayerNorm WhisperPositionalEmbedding DebertaLayerNorm BloomGelu SiLUActivation Qwen2RMSNorm ConvNextLayerNorm \
        OPTLearnedPositionalEmbedding BartLearnedPositionalEmbedding BartScaledWordEmbedding SwinDropPath \
        Dinov2LayerScale Qwen2RotaryEmbedding Wav2Vec2SamePadLayer ParametrizedConv1d FalconLinear \
        GPTNeoXRotaryEmbedding FalconRotaryEmbedding PegasusSinusoidalPositionalEmbedding BeitDropPath \
        SegformerDropPath BeitRelativePositionBias HubertSamePadLayer ParametrizationList _WeightNorm";

    #[test]
    fn every_class_that_torch2mlx_lists_has_a_row() {
        let registry = Registry::load(&[]).unwrap();
        let short = |class: &String| class.rsplit('.').next().unwrap_or_default().to_owned();
        let known: std::collections::HashSet<String> = registry.by_class.keys().map(short).collect();
        let missing: Vec<&str> = TORCH2MLX.split_whitespace().filter(|class| !known.contains(*class)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn no_class_is_in_two_rows() {
        let mut seen = std::collections::HashSet::new();
        for (path, text) in [LAYERS, ZOO] {
            for row in layers::parse(Path::new(path), text).unwrap().layer {
                for class in std::iter::once(&row.class).chain(row.also.iter().flatten()) {
                    assert!(seen.insert(class.clone()), "{path}: {class} has another row");
                }
            }
        }
    }

    #[test]
    fn every_function_of_our_own_is_used() {
        let registry = Registry::load(&[]).unwrap();
        let used = |name: &&str| registry.layers.iter().any(|row| row.torch.as_deref() == Some(name));
        let unused: Vec<_> = t2m_engine::own::FUNCTIONS.iter().filter(|name| !used(name)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    #[test]
    fn attributes_come_from_the_class_or_are_constants() {
        let text = OWN
            .replace("rule =", "attributes = { eps = \"epsilon\", offset = 1, mode = { value = \"tanh\" } }\nrule =");
        let row = with(&text).unwrap().layer("mine.Linear").unwrap().clone();
        assert_eq!(row.attributes["eps"], Attribute::Own("epsilon".to_owned()));
        assert_eq!(row.attributes["offset"], Attribute::Constant(serde_json::json!(1)));
        assert_eq!(row.attributes["mode"], Attribute::Constant(serde_json::json!("tanh")));
        let message = |attribute: &str| {
            let text = OWN.replace("rule =", &format!("attributes = {{ eps = {attribute} }}\nrule ="));
            with(&text).unwrap_err().to_string()
        };
        for wrong in ["\"\"", "{ own = \"epsilon\" }"] {
            let said = message(wrong);
            assert!(said.contains("mine.toml") && said.contains("line 8") && said.contains("{ value = "), "{said}");
        }
        let unknown = with(&OWN.replace("torch.nn.modules.linear.Linear", "t2m.linear")).unwrap_err().to_string();
        assert!(unknown.contains("mine.Linear") && unknown.contains("t2m.rms_norm"), "{unknown}");
    }

    #[test]
    fn faults_name_the_place() {
        let message = |text: &str| with(text).unwrap_err().to_string();
        let unknown_key = message("[[layer]]\nclass = \"a.B\"\nrules = \"identity\"\n");
        assert!(unknown_key.contains("mine.toml") && unknown_key.contains("line 3, column 1"), "{unknown_key}");
        let unknown_rule = message("[[layer]]\nclass = \"torch.nn.modules.conv.Conv2d\"\nrule = \"conv9d\"\n");
        assert!(unknown_rule.contains("conv9d") && unknown_rule.contains("conv2d"), "{unknown_rule}");
        let fold = message("[[layer]]\nclass = \"torch.nn.modules.conv.Conv2d\"\nrule = \"bias_sum\"\n");
        assert!(fold.contains("bias_sum") && fold.contains("of the kind axes"), "{fold}");
        let no_status = message("[[layer]]\nclass = \"a.B\"\nreason = \"x\"\n");
        assert!(no_status.contains("a.B") && no_status.contains("status"), "{no_status}");
    }
}
