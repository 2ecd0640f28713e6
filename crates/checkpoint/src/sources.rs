//! Source text that a checkpoint carries.

use std::collections::HashSet;

use super::EmbeddedSource;
use super::error::name_for_message;
use super::pickle::Pickle;

/// How a module that torch.fx traced is pickled: with the code that it was traced to.
const GRAPH_MODULE: &str = "torch.fx.graph_module.reduce_graph_module";

/// A longer text is nothing that someone wrote.
const LONGEST: u64 = 4 << 20;
/// All texts together: a pickle can mention one text many times.
const MOST_BYTES: u64 = 64 << 20;

/// Counts the texts that are kept, and those that are not.
#[derive(Debug, Default)]
pub(super) struct Budget {
    bytes: u64,
    left_out: usize,
    /// The first of them.
    first: String,
}

impl Budget {
    /// Whether a text with this name and length is kept.
    pub fn takes(&mut self, name: &str, bytes: u64) -> bool {
        let fits = bytes <= LONGEST && self.bytes + bytes <= MOST_BYTES;
        if fits {
            self.bytes += bytes;
        } else {
            if self.left_out == 0 {
                self.first = name_for_message(name);
            }
            self.left_out += 1;
        }
        fits
    }

    /// Say how many were not.
    pub fn report(&self, warnings: &mut Vec<String>) {
        if self.left_out > 0 {
            warnings.push(format!(
                "Source texts that were left out for their size: {}; the first is `{}`.",
                self.left_out, self.first
            ));
        }
    }
}

/// The sources of classes that are stored with them, each class once, and the code of a traced module.
pub(super) fn embedded(pickle: &Pickle, warnings: &mut Vec<String>) -> Vec<EmbeddedSource> {
    let (mut found, mut seen, mut kept) = (Vec::new(), HashSet::new(), Budget::default());
    for (class, file, text) in pickle.persistent_ids().filter_map(|id| pickle.stored_class(id)) {
        let (Some(name), Some(text)) = (pickle.global_name(class), pickle.text(text)) else { continue };
        let file = pickle.text(file).unwrap_or_default();
        if seen.insert(class) && kept.takes(name, (name.len() + file.len() + text.len()) as u64) {
            // Lines count from the class, not from the beginning of its file.
            let file = format!("{file} (class {})", name.rsplit('.').next().unwrap_or_default());
            let (class, text) = (name.to_owned(), text.into_owned());
            found.push(EmbeddedSource { class, file, text, line: 1, record: "the pickle".to_owned() });
        }
    }
    for code in pickle.calls(GRAPH_MODULE).filter_map(|call| pickle.get(*pickle.tuple(call.args)?.first()?, "_code")) {
        let Some(code) =
            pickle.text(code).filter(|code| found.is_empty() && kept.takes(GRAPH_MODULE, code.len() as u64))
        else {
            continue;
        };
        let indented: Vec<String> =
            code.trim().lines().map(|line| format!("    {line}").trim_end().to_owned()).collect();
        found.push(EmbeddedSource {
            class: "torch.fx.graph_module.GraphModule".to_owned(),
            file: "(traced by torch.fx)".to_owned(),
            text: format!("class GraphModule(torch.nn.Module):\n{}\n", indented.join("\n")),
            line: 1,
            record: "the pickle".to_owned(),
        });
    }
    kept.report(warnings);
    found
}
