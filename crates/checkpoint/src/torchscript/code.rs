//! The code that a TorchScript archive keeps: classes as text. It is read for what it declares, never compiled.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use serde_json::Value;

use super::super::archive::Archive;
use super::super::error::name_for_message;
use super::super::literal::{Call, calls, literal};
use super::super::script::File;
use super::super::{Bytes, Error};

/// The folder of the code.
const FOLDER: &str = "code/";
/// All code of an archive together; the largest models have some mebibytes.
const LONGEST_CODE: u64 = 32 << 20;
/// Constants of one class, and bytes of a line that declares one.
const MOST_CONSTANTS: usize = 64;
const LONGEST_CONSTANT: usize = 512;

/// A class that inherits from `Module`.
#[derive(Debug, Default)]
pub(super) struct Class {
    /// Names of its parameters.
    pub parameters: HashSet<String>,
    /// Names of its buffers.
    pub buffers: HashSet<String>,
    /// Attributes that are constants of the class (`Final`).
    pub constants: Vec<(String, Value)>,
    /// Ops that its methods call.
    pub calls: Vec<Call>,
}

/// Where a class stands in its file, in bytes.
#[derive(Debug)]
pub(super) struct Place {
    /// Name as TorchScript has it (`__torch__.nets.___torch_mangle_5.Block`).
    pub class: String,
    /// From its `class` line to its end.
    pub range: Range<usize>,
}

/// All module classes of an archive.
#[derive(Debug, Default)]
pub(super) struct Code {
    /// By full name, mangled as in the pickle.
    pub classes: HashMap<String, Class>,
    /// The classes of each file by the file's record, in the order of the file names.
    pub files: Vec<(String, Vec<Place>)>,
    /// The files themselves, in the same order.
    pub texts: Vec<File>,
}

impl Code {
    /// Read all code.
    ///
    /// # Errors
    /// A record is damaged, no text, or all are together longer than any model's.
    pub fn read(path: &Path, bytes: &Bytes, archive: &mut Archive) -> Result<Code, Error> {
        let is_code = |name: &&str| name.starts_with(FOLDER) && name.ends_with(".py");
        let mut names: Vec<String> = archive.names().filter(is_code).map(str::to_owned).collect();
        names.sort();
        let mut code = Code::default();
        let mut total = 0u64;
        for name in names {
            let Some(record) = archive.find(&name) else { continue };
            let damaged = |what: String| Error::Archive {
                path: path.to_path_buf(),
                record: format!("record `{}`", name_for_message(&name)),
                offset: record.header,
                what,
            };
            total = total.saturating_add(record.size);
            if total > LONGEST_CODE {
                return Err(damaged(format!("with it the code is longer than the {LONGEST_CODE} bytes that are read")));
            }
            let text = archive.read(path, bytes, &name, record)?;
            let text = String::from_utf8(text).map_err(|error| {
                damaged(format!("is no text: byte {} is not UTF-8", error.utf8_error().valid_up_to()))
            })?;
            code.add(name, text);
        }
        Ok(code)
    }

    fn add(&mut self, name: String, text: String) {
        let module = name.trim_start_matches(FOLDER).trim_end_matches(".py").replace('/', ".");
        let mut places = Vec::new();
        for (class, range) in module_classes(&text) {
            let class = format!("{module}.{class}");
            self.classes.insert(class.clone(), Class::parse(text.get(range.clone()).unwrap_or_default()));
            places.push(Place { class, range });
        }
        self.files.push((name.clone(), places));
        self.texts.push(File { record: name, module, text, places: Vec::new() });
    }
}

/// Names and extents of the classes with `Module` as their base.
fn module_classes(text: &str) -> Vec<(&str, Range<usize>)> {
    let mut found: Vec<(&str, Range<usize>)> = Vec::new();
    let mut open = false;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with("class ") || line.starts_with("def ") {
            if let Some((_, range)) = found.last_mut().filter(|_| open) {
                range.end = start;
            }
            let class = line.trim_end().strip_prefix("class ").and_then(|line| line.strip_suffix("(Module):"));
            found.extend(class.map(|class| (class, start..text.len())));
            open = class.is_some();
        }
        start += line.len();
    }
    found
}

impl Class {
    /// Read the text of one class: declarations are indented by two spaces and come before the methods.
    fn parse(text: &str) -> Class {
        let mut class = Class::default();
        let (mut declarations, mut methods) = (true, "");
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            if line.starts_with("  def ") {
                methods = text.get(start..).unwrap_or_default();
                declarations = false;
            }
            if !declarations {
                break;
            }
            start += line.len();
            class.declare(line.trim());
        }
        class.calls = calls(methods);
        class
    }

    fn declare(&mut self, line: &str) {
        let names = |text: &str| -> HashSet<String> {
            let Some(Value::Array(names)) = literal(text) else { return HashSet::new() };
            names.into_iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        if let Some(list) = line.strip_prefix("__parameters__ = ") {
            self.parameters = names(list);
        } else if let Some(list) = line.strip_prefix("__buffers__ = ") {
            self.buffers = names(list);
        } else if let Some((name, rest)) = line.split_once(" : Final[").filter(|_| self.has_room_for(line)) {
            let value = rest.split_once("] = ").and_then(|(_, value)| literal(value));
            self.constants.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
}

impl Class {
    /// A class may have a million instances, each with the constants.
    fn has_room_for(&self, line: &str) -> bool {
        self.constants.len() < MOST_CONSTANTS && line.len() <= LONGEST_CONSTANT
    }
}

/// A class path without what TorchScript adds: the `__torch__` in front, and the `___torch_mangle_N` that tells classes of
/// one name apart.
pub(super) fn demangle(name: &str) -> String {
    let mangled = |part: &&str| {
        let number = part.strip_prefix("___torch_mangle_");
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let name = name.strip_prefix("__torch__.").unwrap_or(name);
    name.split('.').filter(|part| !mangled(part)).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const TEXT: &str = r#"def helper(x: Tensor) -> Tensor:
  return torch.relu(x)
class Net(Module):
  __parameters__ = ["weight", "bias", ]
  __buffers__ = []
  weight : Tensor
  stride : Final[Tuple[int, int]] = (2, 2)
  names : Final[List[str]] = ["a : Final[b] = c"]
  odd : Final[Tensor] = CONSTANTS.c0
  __annotations__["0"] = __torch__.nets.Block
  def forward(self: __torch__.nets.Net,
    x: Tensor) -> Tensor:
    y : Final[int] = 7
    return torch.relu(x)
class Pair(NamedTuple):
  left : Tensor
class Last(Module):
  __buffers__ = ["b", ]
"#;

    #[test]
    fn declarations_and_calls_of_each_module_class() {
        let mut code = Code::default();
        code.add("code/__torch__/nets/___torch_mangle_5.py".to_owned(), TEXT.to_owned());
        let net = &code.classes["__torch__.nets.___torch_mangle_5.Net"];
        assert_eq!((net.parameters.len(), net.buffers.len(), net.calls.len()), (2, 0, 1));
        let expected = [("stride".to_owned(), json!([2, 2])), ("names".to_owned(), json!(["a : Final[b] = c"]))];
        assert_eq!(net.constants, expected);
        assert!(code.classes["__torch__.nets.___torch_mangle_5.Last"].buffers.contains("b"));
        assert_eq!(code.classes.len(), 2);
        let extents: Vec<_> = code.files[0].1.iter().map(|place| &TEXT[place.range.clone()]).collect();
        assert!(extents[0].starts_with("class Net") && extents[0].ends_with("relu(x)\n"), "{}", extents[0]);
        assert_eq!(extents[1], "class Last(Module):\n  __buffers__ = [\"b\", ]\n");
    }

    #[test]
    fn names_are_demangled() {
        let name = "__torch__.torch.nn.modules.linear.___torch_mangle_12.Linear";
        assert_eq!(demangle(name), "torch.nn.modules.linear.Linear");
        assert_eq!(demangle("__torch__.Net"), "Net");
        assert_eq!(demangle("___torch_mangle_.a.___torch_mangle_1x.B"), "___torch_mangle_.a.___torch_mangle_1x.B");
    }

    proptest! {
        #[test]
        fn no_text_panics(lines in prop::collection::vec("(class |def |  def |  |    )?[a-zé:=\\[\\]\" ]{0,12}(\\(Module\\):|: Final\\[x\\] = 1)?", 0..20)) {
            Code::default().add("code/x.py".to_owned(), lines.join("\n"));
        }
    }
}
