//! The source that a TorchScript archive keeps for its error messages: for each piece of its code, the Python function it
//! was compiled from.
//!
//! A record is `(offset in the code, (source, start, end), tag)`, a source `(text, file, line)`; newer archives replace text
//! and file by indices in a table of lines. A traced module has a stack of calls in the text's place.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::EmbeddedSource;
use super::super::pickle::{NodeId, Pickle};
use super::code::{Place, demangle};

/// First member of archives with a table.
pub(super) const WITH_TABLE: &str = "FORMAT_WITH_STRING_TABLE";
/// Longest function, in bytes.
const LONGEST_FUNCTION: usize = 1 << 20;
/// A function is not expected behind this line: empty lines stand in front of it.
const LAST_LINE: usize = 200_000;
/// All text of an archive that is looked at.
const LONGEST_TEXT: usize = 64 << 20;
/// Says that the line is not the user's.
const REMARK: &str = "# the archive keeps the methods, not this line";

/// Functions by class, collected from one debug record after the other.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// By demangled class, in the order they were found.
    classes: Vec<(String, Methods)>,
    index: HashMap<String, usize>,
    bytes: usize,
    /// Files that traced classes were traced from.
    pub traced: BTreeMap<String, String>,
}

/// The functions of a class by file and first line.
#[derive(Debug, Default)]
struct Methods {
    record: String,
    by_place: BTreeMap<(String, usize), String>,
}

/// A record's source.
enum Source {
    Function {
        file: String,
        line: usize,
        text: String,
    },
    /// The Python file of the first frame.
    Stack {
        file: String,
    },
}

impl Collector {
    /// Add the functions of one record, whose code has these classes. What is not as expected is left out: the source is a
    /// help, not needed.
    pub fn add(&mut self, record: &str, pickle: &Pickle, places: &[Place]) {
        let root = pickle.root();
        let members: Vec<NodeId> = pickle.items(root).into_iter().flatten().collect();
        let (table, records) = match members.as_slice() {
            [format, table, records, ..] if pickle.is_text(*format, WITH_TABLE) => {
                let table: Vec<NodeId> = pickle.items(*table).into_iter().flatten().collect();
                (Some(table), pickle.items(*records).into_iter().flatten().collect())
            }
            _ => (None, members),
        };
        // The same source stands in many records.
        let mut seen = HashSet::new();
        for entry in records {
            let Some(&[offset, range, ..]) = pickle.tuple(entry) else { continue };
            let Some(&[source, ..]) = pickle.tuple(range) else { continue };
            let Some(&[text, file, line]) = pickle.tuple(source) else { continue };
            let offset = pickle.int(offset).and_then(|offset| usize::try_from(offset).ok());
            let Some((number, place)) = offset.and_then(|offset| place_of(places, offset)) else { continue };
            let key = (number, pickle.int(file).unwrap_or_else(|| pickle.offset(file) as i64), pickle.int(line));
            if !seen.insert(key) {
                continue;
            }
            if self.bytes > LONGEST_TEXT {
                return;
            }
            let (text, file) = match &table {
                Some(table) => (self.table_text(pickle, table, text), table_entry(pickle, table, file)),
                None => (self.text(pickle, text), pickle.text(file).map(Into::into)),
            };
            let line = pickle.int(line).and_then(|line| usize::try_from(line).ok());
            if let (Some(text), Some(file), Some(line)) = (text, file, line) {
                self.keep(record, &place.class, Source::new(text, file, line));
            }
        }
    }

    /// A text that stands in the pickle; `None` where it is too long for a function.
    fn text(&mut self, pickle: &Pickle, text: NodeId) -> Option<String> {
        let text = pickle.text(text)?;
        self.bytes = self.bytes.saturating_add(text.len());
        (text.len() <= LONGEST_FUNCTION).then(|| text.into_owned())
    }

    /// Lines of the table, joined; `None` where they are none or too long.
    fn table_text(&mut self, pickle: &Pickle, table: &[NodeId], lines: NodeId) -> Option<String> {
        let mut text = String::new();
        for line in pickle.items(lines)? {
            let line = table_entry(pickle, table, line)?;
            text.push_str(&line);
            // Lines of no length cost time as well.
            self.bytes = self.bytes.saturating_add(line.len() + 1);
            if text.len() > LONGEST_FUNCTION || self.bytes > LONGEST_TEXT {
                return None;
            }
        }
        Some(text)
    }

    fn keep(&mut self, record: &str, class: &str, source: Option<Source>) {
        let class = demangle(class);
        match source {
            Some(Source::Function { file, line, text }) => {
                // The empty lines above it.
                self.bytes = self.bytes.saturating_add(line);
                if self.bytes > LONGEST_TEXT {
                    return;
                }
                let index = *self.index.entry(class.clone()).or_insert(self.classes.len());
                if index == self.classes.len() {
                    self.classes.push((class, Methods { record: record.to_owned(), by_place: BTreeMap::new() }));
                }
                if let Some((_, methods)) = self.classes.get_mut(index) {
                    methods.by_place.entry((file, line)).or_insert(text);
                }
            }
            Some(Source::Stack { file }) => {
                self.traced.entry(class).or_insert(file);
            }
            None => {}
        }
    }

    /// One text for each class that has methods.
    pub fn finish(self) -> Vec<EmbeddedSource> {
        self.classes.into_iter().filter_map(|(class, methods)| methods.assemble(class)).collect()
    }
}

/// The class that an offset is in, with its number. Places are in order.
fn place_of(places: &[Place], offset: usize) -> Option<(usize, &Place)> {
    let number = places.partition_point(|place| place.range.start <= offset).checked_sub(1)?;
    let place = places.get(number)?;
    place.range.contains(&offset).then_some((number, place))
}

pub(super) fn table_entry(pickle: &Pickle, table: &[NodeId], index: NodeId) -> Option<String> {
    let index = usize::try_from(pickle.int(index)?).ok()?;
    Some(pickle.text(*table.get(index)?)?.into_owned())
}

impl Source {
    /// `None` for what is neither a function nor a stack of calls.
    fn new(text: String, file: String, line: usize) -> Option<Source> {
        let first = text.lines().find(|line| !line.trim().is_empty())?;
        let start = first.trim_start();
        if start.starts_with("def ") || start.starts_with('@') {
            let fits = text.len() <= LONGEST_FUNCTION && (1..=LAST_LINE).contains(&line);
            return fits.then_some(Source::Function { file, line, text });
        }
        // `/home/me/nets.py(57): forward`
        let (place, function) = first.split_once("): ")?;
        let (file, line) = place.rsplit_once('(')?;
        let is_frame = line.bytes().all(|byte| byte.is_ascii_digit()) && !function.contains(' ');
        is_frame.then(|| Source::Stack { file: file.to_owned() })
    }
}

impl Methods {
    /// Put the methods of the file that has `forward` at their lines, under a `class` line.
    fn assemble(self, class: String) -> Option<EmbeddedSource> {
        let main = self.by_place.iter().find(|(_, text)| is_forward(text)).or_else(|| self.by_place.iter().next());
        let ((file, _), text) = main?;
        let (file, indent) = (file.clone(), indentation(text));
        // A function at the margin is not a method, and there is no line above the first one to put the class on.
        let methods = self
            .by_place
            .iter()
            .filter(|((other, line), text)| *other == file && *line > 1 && indent > 0 && indentation(text) == indent);
        let mut lines: Vec<&str> = Vec::new();
        let mut first = None;
        for ((_, line), text) in methods {
            // Line numbers count from 1.
            if lines.len() >= *line {
                continue;
            }
            first.get_or_insert(*line);
            lines.resize(line - 1, "");
            lines.extend(text.lines());
        }
        let first = first?;
        let name = class.rsplit('.').next().unwrap_or(&class);
        let header = format!("class {name}:  {REMARK}");
        if let Some(line) = lines.get_mut(first.checked_sub(2)?) {
            *line = &header;
        }
        let text = lines.join("\n") + "\n";
        Some(EmbeddedSource { text, class, file, line: first, record: self.record })
    }
}

fn is_forward(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("def forward("))
}

/// Spaces and tabs in front of the first line that has anything else.
fn indentation(text: &str) -> usize {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    first.len() - first.trim_start().len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn collected(sources: &[(&str, usize, &str)]) -> Vec<EmbeddedSource> {
        let mut collector = Collector::default();
        for (file, line, text) in sources {
            let source = Source::new((*text).to_owned(), (*file).to_owned(), *line);
            collector.keep("code/x.py.debug_pkl", "__torch__.nets.___torch_mangle_1.Net", source);
        }
        collector.finish()
    }

    #[test]
    fn methods_stand_at_their_lines_under_a_class() {
        let found = collected(&[
            ("base.py", 3, "    def helper(self):\n        return 1\n"),
            ("net.py", 9, "    def other(self):\n        return 2\n"),
            ("net.py", 5, "    def forward(self, x):\n        return x  # .item()\n"),
            ("net.py", 6, "    def overlapping(self):\n        return 3\n"),
        ]);
        assert_eq!(found.len(), 1);
        let source = found.first().unwrap();
        assert_eq!((source.class.as_str(), source.file.as_str(), source.line), ("nets.Net", "net.py", 5));
        let lines: Vec<&str> = source.text.lines().collect();
        assert_eq!(lines[3], format!("class Net:  {REMARK}"));
        assert_eq!(lines[4], "    def forward(self, x):");
        assert_eq!(lines[5], "        return x  # .item()");
        assert_eq!(lines[8], "    def other(self):");
        assert!(!source.text.contains("overlapping") && !source.text.contains("helper"));
    }

    #[test]
    fn stacks_and_odd_texts_are_no_source() {
        let stack = "/home/me/my nets.py(57): forward\n/opt/module.py(9): _call_impl\n";
        assert!(
            matches!(Source::new(stack.to_owned(), String::new(), 0), Some(Source::Stack { file }) if file == "/home/me/my nets.py")
        );
        assert!(Source::new("    return x\n".to_owned(), String::new(), 3).is_none());
        assert!(Source::new("def f(x): pass".to_owned(), String::new(), usize::MAX).is_none());
        assert!(collected(&[("a.py", 7, "def f(x):\n    return x\n")]).is_empty(), "not a method");
        assert!(collected(&[("a.py", 1, "  def f(x): ...\n")]).is_empty(), "no line for the class");
    }
}
