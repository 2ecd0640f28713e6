//! A plan as Python that a port begins with: the call that builds MLX's layer, and the moves of its weights.

use std::fmt::Write;

use super::weights::{Fold, Layout};
use super::{Move, Plan};
use t2m_checkpoint::escape::escape;

impl Plan {
    /// Python for the layer at a path of the torch model: `weights` in it is a dict of NumPy arrays by torch's names.
    pub fn python(&self, path: &str) -> String {
        // Writing to a String cannot fail.
        let mut out = format!("# {}: {} as {}\n", comment(path), comment(&self.torch.kind), comment(&self.mlx.kind));
        if self.weights.iter().any(|way| way.fold != Fold::One || way.rule.layout != Layout::Keep) {
            out += "import numpy as np\n";
        }
        out += "import mlx.core as mx\nimport mlx.nn as nn\n\n";
        match &self.mlx.program {
            None => {
                let _ = writeln!(out, "layer = {}", self.mlx.python());
            }
            Some(program) => {
                let (built, steps) = program.python();
                let name = identifier(&self.torch.kind);
                let _ = writeln!(out, "class {name}(nn.Module):\n    def __init__(self):\n        super().__init__()");
                built.iter().for_each(|line| out += &format!("        {line}\n"));
                let _ = writeln!(out, "\n    def __call__(self, {}):", program.inputs.join(", "));
                steps.iter().for_each(|line| out += &format!("        {line}\n"));
                let _ = writeln!(out, "\n\nlayer = {name}()");
            }
        }
        if let Some(steps) = self.way.words("; ") {
            let _ = writeln!(out, "# {}", comment(&steps));
        }
        if !self.weights.is_empty() {
            let _ = writeln!(out, "\n# weights: torch's tensors as NumPy arrays, by their names\nlayer.load_weights([");
            for way in &self.weights {
                let _ = writeln!(out, "    ({}, mx.array({})),", quoted(&way.to), made(way, path));
            }
            out += "])\n";
        }
        out
    }
}

/// What one tensor is made of.
fn made(way: &Move, path: &str) -> String {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
    let from: Vec<String> =
        way.from.iter().map(|name| format!("weights[{}]", quoted(&format!("{prefix}{name}")))).collect();
    let first = from.first().cloned().unwrap_or_default();
    let folded = match &way.fold {
        Fold::One => first,
        Fold::Part { index, of } => format!("np.split({first}, {of})[{index}]"),
        Fold::Sum => format!("({})", from.join(" + ")),
        Fold::GruBias => {
            let second = from.get(1).cloned().unwrap_or_default();
            // The hidden bias of n stays apart, as it is multiplied by r.
            format!("np.concatenate([({first} + {second})[:len({first}) // 3 * 2], {first}[len({first}) // 3 * 2:]])")
        }
        Fold::WeightNorm { dim } => {
            let second = from.get(1).cloned().unwrap_or_default();
            let axes = match dim {
                Some(dim) => format!("axis=tuple(a for a in range({second}.ndim) if a != {dim}), keepdims=True"),
                None => "keepdims=True".to_owned(),
            };
            format!("({first} * {second} / np.sqrt(np.sum(np.square({second}), {axes})))")
        }
        Fold::Offset(offset) => format!("({first} + {offset:?})"),
        Fold::Standardised { eps, scale } => {
            let axes = format!("axis=tuple(range(1, {first}.ndim)), keepdims=True");
            let gain =
                from.get(1).map_or(String::new(), |gain| format!(" * {gain}.reshape(-1, *[1] * ({first}.ndim - 1))"));
            format!("(({first} - {first}.mean({axes})) / np.sqrt({first}.var({axes}) + {eps:?}) * {scale:?}{gain})")
        }
        Fold::Zeros(shape) => format!("np.zeros({})", tuple(shape)),
    };
    match &way.rule.layout {
        Layout::Keep => folded,
        Layout::Flatten => format!("{folded}.reshape(-1)"),
        Layout::Axes { axes, groups: 1 } => format!("np.ascontiguousarray({folded}.transpose{})", tuple(axes)),
        Layout::Axes { axes, groups } => {
            let part = format!("part.transpose{}", tuple(axes));
            format!("np.concatenate([{part} for part in np.split({folded}, {groups})])")
        }
    }
}

fn tuple(numbers: &[usize]) -> String {
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("({}{})", words.join(", "), if words.len() == 1 { "," } else { "" })
}

/// A text as Python writes it; whatever a name holds, it stays a text.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            _ if escape(character.encode_utf8(&mut [0; 4])).chars().count() > 1 => {
                let _ = write!(out, "\\U{:08x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out + "\""
}

/// A text within a comment: it ends with its line.
fn comment(text: &str) -> String {
    escape(if text.is_empty() { "the whole model" } else { text }).into_owned()
}

/// The class without its module, as a name in Python.
fn identifier(class: &str) -> String {
    let short = class.rsplit('.').next().unwrap_or(class);
    let name: String = short.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '_' }).collect();
    if name.chars().next().is_none_or(char::is_numeric) { format!("Layer{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_texts() {
        assert_eq!(quoted("a\"]); import os #\n\u{202e}\\"), "\"a\\\"]); import os #\\U0000000a\\U0000202e\\\\\"");
        assert!(!comment("x\nimport os").contains('\n'));
        assert_eq!([identifier("a.b.Conv2d"), identifier("a.2d-x"), identifier("")], ["Conv2d", "Layer2d_x", "Layer"]);
    }

    #[test]
    fn moves_are_written_as_they_are_done() {
        let kernel = Move { rule: crate::plan::Rule::axes("conv2d", &[0, 2, 3, 1]), ..Move::keep("weight") };
        assert_eq!(made(&kernel, "a.b"), "np.ascontiguousarray(weights[\"a.b.weight\"].transpose(0, 2, 3, 1))");
        assert_eq!(made(&Move::part("in_proj", "q", 1, 3), ""), "np.split(weights[\"in_proj\"], 3)[1]");
    }
}
