//! Where the pieces of an archive's code come from, out of its debug records: the user's file and line of each.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::pickle::{NodeId, Pickle};
use super::debug::{WITH_TABLE, table_entry};

/// Pieces of one file's code, and lines of their sources, that are looked at.
const MOST: usize = 1 << 20;

/// What a record says its piece comes from.
enum Source {
    /// A function: where each of its lines ends, in bytes, and the file and line that it begins at.
    Function { ends: Vec<usize>, file: Arc<str>, first: usize },
    /// The innermost of the calls that tracing went through, but torch's own.
    Frame(Arc<str>, usize),
    /// Nothing that can be told.
    Nothing,
}

/// For each piece of the code the byte at which it begins, and its file and line, in order. What cannot be read is left out.
pub(super) fn places(pickle: &Pickle) -> Vec<(usize, Arc<str>, usize)> {
    let members: Vec<NodeId> = pickle.items(pickle.root()).into_iter().flatten().collect();
    let (table, records) = match members.as_slice() {
        [format, table, records, ..] if pickle.is_text(*format, WITH_TABLE) => {
            let table: Vec<NodeId> = pickle.items(*table).into_iter().flatten().collect();
            (Some(table), pickle.items(*records).into_iter().flatten().collect())
        }
        _ => (None, members),
    };
    let mut reader = Reader { pickle, table: table.as_deref(), files: HashMap::new(), lines: 0 };
    let mut sources: HashMap<u64, Source> = HashMap::new();
    let mut places = Vec::new();
    for entry in records.into_iter().take(MOST) {
        let Some(&[offset, range, ..]) = pickle.tuple(entry) else { continue };
        let Some(&[source, start, ..]) = pickle.tuple(range) else { continue };
        let number = |id| pickle.int(id).and_then(|number| usize::try_from(number).ok());
        let (Some(offset), Some(start)) = (number(offset), number(start)) else { continue };
        let source = sources.entry(pickle.offset(source)).or_insert_with(|| reader.source(source));
        match source {
            Source::Function { ends, file, first } => {
                places.push((offset, Arc::clone(file), *first + ends.partition_point(|end| *end <= start)));
            }
            Source::Frame(file, line) => places.push((offset, Arc::clone(file), *line)),
            Source::Nothing => {}
        }
    }
    places.sort_by_key(|(offset, _, _)| *offset);
    places
}

struct Reader<'a> {
    pickle: &'a Pickle,
    table: Option<&'a [NodeId]>,
    files: HashMap<String, Arc<str>>,
    /// Lines that were looked at.
    lines: usize,
}

impl Reader<'_> {
    fn source(&mut self, source: NodeId) -> Source {
        self.read(source).unwrap_or(Source::Nothing)
    }

    fn read(&mut self, source: NodeId) -> Option<Source> {
        let &[text, file, line] = self.pickle.tuple(source)? else { return None };
        let lines = self.text_lines(text)?;
        let first = lines.iter().find(|line| !line.trim().is_empty())?;
        if frame(first).is_some() {
            let (file, line) = lines.iter().filter_map(|line| frame(line)).find(|(file, _)| !is_torchs(file))?;
            return Some(Source::Frame(self.shared(file.to_owned()), line));
        }
        let file = match self.table {
            Some(table) => table_entry(self.pickle, table, file)?,
            None => self.pickle.text(file)?.into_owned(),
        };
        if file.is_empty() || is_torchs(&file) {
            return None;
        }
        let mut end = 0;
        let ends = lines.iter().map(|line| {
            end += line.len();
            end
        });
        let ends = ends.collect();
        Some(Source::Function { ends, file: self.shared(file), first: usize::try_from(self.pickle.int(line)?).ok()? })
    }

    /// The lines of a source, each with its end.
    fn text_lines(&mut self, text: NodeId) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        match self.table {
            Some(table) => {
                for line in self.pickle.items(text)? {
                    self.lines += 1;
                    if self.lines > MOST {
                        return None;
                    }
                    lines.push(table_entry(self.pickle, table, line)?);
                }
            }
            None => {
                let text = self.pickle.text(text)?;
                lines.extend(text.split_inclusive('\n').map(str::to_owned));
                self.lines += lines.len();
            }
        }
        (self.lines <= MOST).then_some(lines)
    }

    /// The same name once.
    fn shared(&mut self, file: String) -> Arc<str> {
        Arc::clone(self.files.entry(file).or_insert_with_key(|file| Arc::from(file.as_str())))
    }
}

/// File and line of `/home/me/nets.py(57): forward`.
fn frame(line: &str) -> Option<(&str, usize)> {
    let (place, function) = line.trim().split_once("): ")?;
    let (file, line) = place.rsplit_once('(')?;
    if function.contains(' ') {
        return None;
    }
    Some((file, line.parse().ok()?))
}

/// Whether a file is one of torch's own.
fn is_torchs(file: &str) -> bool {
    file.starts_with("torch/") || file.contains("-packages/torch/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_from_code() {
        assert_eq!(frame("/home/me/my nets.py(57): forward\n"), Some(("/home/me/my nets.py", 57)));
        assert_eq!(frame("    return f(x): y"), None);
        assert!(
            is_torchs("/x/site-packages/torch/nn/modules/conv.py") && !is_torchs("/x/site-packages/torchvision/a.py")
        );
    }
}
