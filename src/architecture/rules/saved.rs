//! Names of tensors in files, where they are not those of the modules: transformers renames tensors as it loads a file, and gives
//! them back their old names as it saves one.

/// What a file calls the tensors of a model class, as `saved.py` finds it. `#` is a number; `#0`, `#1` … in the other place are the
/// first, the second.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Table {
    /// A place in the tree, and its place in a file; what is below a place follows it, unless it has one of its own.
    names: Vec<(String, String)>,
    /// A tensor of the file, its place in the tree, and the tensor that is made of it and others.
    pieces: Vec<(String, String, String)>,
}

impl Table {
    /// The name in a file, and how many parts of the name had to be looked at.
    fn in_file(&self, name: &str) -> (String, usize) {
        let known = |(place, file): &'_ (String, String)| {
            let (numbers, rest) = start(place, name)?;
            Some((parts(place), join(&filled(file, &numbers), rest)))
        };
        let found = self.names.iter().filter_map(known).max_by_key(|(depth, _)| *depth);
        found.map_or_else(|| (name.to_owned(), 0), |(depth, name)| (name, depth))
    }

    /// Whether a file has the tensor in pieces.
    fn is_made(&self, name: &str) -> bool {
        self.pieces.iter().any(|(.., whole)| start(whole, name).is_some_and(|(_, rest)| rest.is_empty()))
    }

    /// Where in the tree a piece is that a file has under this name.
    fn piece(&self, name: &str) -> Option<String> {
        self.pieces.iter().find_map(|(file, place, _)| {
            let (numbers, rest) = start(file, name)?;
            rest.is_empty().then(|| filled(place, &numbers))
        })
    }
}

/// The tables of a model and of the models in it that a walk is inside of, each with its place, the outermost first.
#[derive(Debug, Clone, Default)]
pub(super) struct Scopes(Vec<(String, &'static Table)>);

impl Scopes {
    pub fn push(&mut self, path: &str, table: &'static Table) {
        self.0.push((path.to_owned(), table));
    }

    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// The name of a tensor or a module in a file.
    pub fn in_file(&self, name: &str) -> String {
        named(&self.0, name)
    }

    /// Whether a file has the tensor in pieces.
    pub fn is_made(&self, name: &str) -> bool {
        self.0.iter().any(|(path, table)| below(path, name).is_some_and(|name| table.is_made(name)))
    }

    /// What the innermost table knows of pieces.
    pub fn pieces(&self) -> Option<Pieces> {
        let (place, table) = self.0.last().filter(|(_, table)| !table.pieces.is_empty())?;
        Some(Pieces { file: named(self.0.get(..self.0.len() - 1)?, place), place: place.clone(), table })
    }
}

/// Pieces of tensors that a file may have below one place.
#[derive(Debug)]
pub(in crate::architecture) struct Pieces {
    file: String,
    place: String,
    table: &'static Table,
}

impl Pieces {
    /// Where in the tree a piece is that a file has under this name.
    pub fn place(&self, name: &str) -> Option<String> {
        Some(join(&self.place, &self.table.piece(below(&self.file, name)?)?))
    }
}

fn named(scopes: &[(String, &'static Table)], name: &str) -> String {
    let Some((path, _)) = scopes.first() else { return name.to_owned() };
    below(path, name).map_or_else(|| name.to_owned(), |inside| join(path, &named_inside(scopes, inside)))
}

/// The same of a name in the outermost model.
fn named_inside(scopes: &[(String, &'static Table)], name: &str) -> String {
    let Some(((path, table), inner)) = scopes.split_first() else { return name.to_owned() };
    let (own, depth) = table.in_file(name);
    // What this one says of a model in it as a whole is said of where that is.
    let model = inner.first().and_then(|(deeper, _)| below(path, deeper)).filter(|model| depth <= parts(model));
    match model.and_then(|model| Some((model, below(model, name)?))) {
        Some((model, rest)) => join(&table.in_file(model).0, &named_inside(inner, rest)),
        None => own,
    }
}

fn parts(place: &str) -> usize {
    if place.is_empty() { 0 } else { place.split('.').count() }
}

/// What follows a place.
fn below<'a>(path: &str, name: &'a str) -> Option<&'a str> {
    if path.is_empty() { Some(name) } else { name.strip_prefix(path)?.strip_prefix('.') }
}

fn join(path: &str, name: &str) -> String {
    match (path, name) {
        ("", name) => name.to_owned(),
        (path, "") => path.to_owned(),
        (path, name) => format!("{path}.{name}"),
    }
}

/// The numbers of a place, and what follows it, in a name that begins with it.
fn start<'a>(place: &str, name: &'a str) -> Option<(Vec<&'a str>, &'a str)> {
    let (mut numbers, mut rest) = (Vec::new(), name);
    for part in place.split('.').filter(|part| !part.is_empty()) {
        let (own, behind) = rest.split_once('.').unwrap_or((rest, ""));
        let is_number = !own.is_empty() && own.bytes().all(|byte| byte.is_ascii_digit());
        if if part == "#" { !is_number } else { own != part } {
            return None;
        }
        numbers.extend(is_number.then_some(own));
        rest = behind;
    }
    Some((numbers, rest))
}

fn filled(place: &str, numbers: &[&str]) -> String {
    let part = |part: &str| {
        let number = part.strip_prefix('#').and_then(|at| numbers.get(at.parse::<usize>().ok()?));
        number.map_or_else(|| part.to_owned(), |number| (*number).to_owned())
    };
    place.split('.').map(part).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[(&str, &str)], pieces: &[(&str, &str, &str)]) -> &'static Table {
        let own = |text: &str| text.to_owned();
        Box::leak(Box::new(Table {
            names: names.iter().map(|(place, file)| (own(place), own(file))).collect(),
            pieces: pieces.iter().map(|(a, b, c)| (own(a), own(b), own(c))).collect(),
        }))
    }

    #[test]
    fn names_follow_the_nearest_place_above_that_has_one() {
        let mut scopes = Scopes::default();
        scopes.push(
            "",
            table(
                &[
                    ("lm_head", "embed_out"),
                    ("stages.#.blocks.#.mlp", "encoder.block.#0.#1.mlp"),
                    ("stages.#.blocks.#.mlp.fc1", "encoder.block.#0.#1.mlp.dense1"),
                    ("stages.#.norm", "encoder.norm.#0"),
                ],
                &[],
            ),
        );
        assert_eq!(scopes.in_file("lm_head.weight"), "embed_out.weight");
        assert_eq!(scopes.in_file("lm_headed.weight"), "lm_headed.weight");
        assert_eq!(scopes.in_file("stages.3.norm.bias"), "encoder.norm.3.bias");
        assert_eq!(scopes.in_file("stages.1.blocks.2.mlp.fc1.weight"), "encoder.block.1.2.mlp.dense1.weight");
        assert_eq!(scopes.in_file("stages.1.blocks.2.mlp.conv.0.weight"), "encoder.block.1.2.mlp.conv.0.weight");
        assert_eq!(scopes.in_file("stages.x.norm.bias"), "stages.x.norm.bias");
    }

    #[test]
    fn a_model_in_another_keeps_its_own_names_where_that_one_says_none() {
        let mut scopes = Scopes::default();
        scopes.push("", table(&[("model.vision", "vision"), ("model.vision.head", "head")], &[]));
        scopes.push("model.vision", table(&[("layers.#.q", "layer.#0.query"), ("head", "other")], &[]));
        assert_eq!(scopes.in_file("model.vision.layers.7.q.weight"), "vision.layer.7.query.weight");
        assert_eq!(scopes.in_file("model.vision.head.weight"), "head.weight");
        assert_eq!(scopes.in_file("model.vision.norm.weight"), "vision.norm.weight");
        assert_eq!(scopes.in_file("model.text.layers.7.q.weight"), "model.text.layers.7.q.weight");
        // The outer one may have no names of its own.
        let mut scopes = Scopes::default();
        scopes.push("encoder", table(&[("layers.#.q", "layer.#0.query")], &[]));
        assert_eq!(scopes.in_file("encoder.layers.7.q.weight"), "encoder.layer.7.query.weight");
        assert_eq!(scopes.in_file("decoder.layers.7.q.weight"), "decoder.layers.7.q.weight");
    }

    #[test]
    fn pieces_are_beneath_the_module_whose_tensor_is_made_of_them() {
        let piece =
            ("layers.#.moe.experts.#.w1.weight", "layers.#0.mlp.experts.#1.w1.weight", "layers.#.mlp.experts.up");
        let mut scopes = Scopes::default();
        scopes.push("", table(&[("text", "model")], &[]));
        scopes.push("text", table(&[], &[piece]));
        assert!(scopes.is_made("text.layers.3.mlp.experts.up"));
        assert!(!scopes.is_made("text.layers.3.mlp.experts.down"));
        let pieces = scopes.pieces().into_iter().next();
        let place = |name: &str| pieces.as_ref().and_then(|pieces| pieces.place(name));
        assert_eq!(
            place("model.layers.3.moe.experts.11.w1.weight").as_deref(),
            Some("text.layers.3.mlp.experts.11.w1.weight")
        );
        assert_eq!(place("model.layers.3.moe.experts.11.w1.bias"), None);
    }
}
