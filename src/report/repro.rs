//! `run --repro`: one node as a short Python script that shows in torch and MLX alone what was found.

use std::collections::HashSet;
use std::fmt::Write;

use crate::figures::error;
use crate::graph::plan::{MlxCall, computed};
use crate::graph::run::{NodeResult, Seen};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::graph::ValueId;
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::EngineInfo;
use t2m_engine::graph::Argument;

/// Elements of all inputs together that stand in the script itself.
const INLINE: usize = 96;

/// A script, and the file of its inputs where they are too many for it.
#[derive(Debug)]
pub struct Repro {
    /// Python, for torch, mlx and numpy alone.
    pub script: String,
    /// The inputs as safetensors.
    pub inputs: Option<Vec<u8>>,
}

/// What is said of the run in the script.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The file that was run.
    pub file: &'a str,
    /// The engines.
    pub engines: &'a [EngineInfo; 2],
    /// The name of the file of the inputs, if there is one.
    pub inputs: &'a str,
}

/// The names of a script and of its inputs' file: `repro_add_3.py`.
pub fn names(node: &str) -> [String; 2] {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '_' };
    let name: String = node.chars().map(plain).collect();
    [format!("repro_{name}.py"), format!("repro_{name}.safetensors")]
}

/// Write the script of a node.
///
/// # Errors
/// In words: MLX did not run it, or it takes something that no such script can hold.
pub fn repro(seen: &Seen, result: &NodeResult, facts: &Facts<'_>) -> Result<Repro, String> {
    let call = seen.mlx.as_ref().map_err(|refusal| format!("MLX did not run it: {refusal}"))?;
    let names = tensor_names(seen, call);
    let of = |id: &ValueId| names.iter().find(|(known, _)| known == id).map(|(_, name)| name.as_str());
    let mut arguments = Vec::new();
    for (name, argument) in &seen.torch.op.arguments {
        if let Some(value) = python(argument, &|at| seen.torch.takes.get(at).and_then(of))? {
            arguments.push(format!("{name}={value}"));
        }
    }
    let elements: usize = seen.tensors.values().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
    let inline = elements <= INLINE;
    let mut out = heading(seen, result, facts);
    out +=
        "import os\nos.environ[\"MLX_ENABLE_TF32\"] = \"0\"\nimport numpy as np, torch, mlx.core as mx, mlx.nn as nn\n";
    if facts.engines[1].device == "cpu" {
        out += "mx.set_default_device(mx.cpu)\n";
    }
    if inline {
        out += "given = {\n";
        for (id, name) in &names {
            let tensor = seen.tensors.get(id).ok_or("an input of it is not known")?;
            // Writing to a String cannot fail.
            let _ = writeln!(out, "    {name:?}: {},", array(tensor)?);
        }
        out += "}\n";
    } else {
        let _ =
            writeln!(out, "given = {{name: np.array(value) for name, value in mx.load({:?}).items()}}", facts.inputs);
    }
    out += "t = {name: torch.tensor(value) for name, value in given.items()}\n";
    let (space, op) = seen.torch.op.name.split_once("::").ok_or("its op has no name")?;
    let overload = if seen.torch.op.overload.is_empty() { "default" } else { &seen.torch.op.overload };
    let _ = writeln!(out, "expected = torch.ops.{space}.{op}.{overload}({})", arguments.join(", "));
    let taken = call.takes.iter().map(|id| of(id).ok_or("an input of it is not known"));
    let taken =
        taken.map(|name| name.map(|name| format!("mx.array(given[{name:?}])"))).collect::<Result<Vec<_>, _>>()?;
    let _ = writeln!(out, "\n\ndef convert({}):", call.program.inputs.join(", "));
    let (built, lines) = call.program.python();
    for line in built.iter().chain(&lines) {
        let _ = writeln!(out, "    {line}");
    }
    let _ = writeln!(out, "\n\ngot = convert({})", taken.join(", "));
    out += COMPARE;
    let inputs = if inline { None } else { Some(safetensors(seen, &names)?) };
    Ok(Repro { script: out, inputs })
}

/// The end of every script: the largest difference, where values that are the same on both sides have none.
const COMPARE: &str = r#"lists = [list(each) if isinstance(each, (list, tuple)) else [each] for each in (expected, got)]
for a, b in zip(*lists):
    a, b = (np.stack([x.real, x.imag]) if np.iscomplexobj(x) else x for x in (a.detach().numpy(), np.array(b)))
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b)) if a.shape == b.shape else False
        print("max abs", np.where(same, 0.0, abs(a - b)).max(initial=0.0) if a.shape == b.shape else (a.shape, b.shape))
"#;

fn heading(seen: &Seen, result: &NodeResult, facts: &Facts<'_>) -> String {
    let place = result.place.as_ref().map(|(file, line)| {
        let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
        format!(", {name}:{line}")
    });
    let place = place.unwrap_or_default();
    let [torch, mlx] = facts.engines;
    let mut lines = vec![
        format!("{} in libtorch {} and MLX {} ({})", seen.node.target, torch.version, mlx.version, mlx.settings()),
        format!("node {} of {}{place}", result.name, facts.file),
    ];
    match &result.isolated {
        Some(measured) => lines.push(format!(
            "max abs {}, {} explained by rounding: {}",
            error(measured.max_abs),
            error(measured.tolerance),
            result.verdict.name()
        )),
        None => lines.push(result.reason.clone().unwrap_or_else(|| result.verdict.name().to_owned())),
    }
    lines.iter().map(|line| format!("# {}\n", quoted(line))).collect()
}

/// A name for each tensor: MLX's, or that of torch's argument.
fn tensor_names(seen: &Seen, call: &MlxCall) -> Vec<(ValueId, String)> {
    let mut names: Vec<(ValueId, String)> = Vec::new();
    let mut taken = HashSet::new();
    let mut name = |id: ValueId, wish: &str| {
        if names.iter().any(|(known, _)| *known == id) {
            return;
        }
        let mut name = wish.to_owned();
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        names.push((id, name));
    };
    call.takes.iter().zip(&call.program.inputs).for_each(|(id, wish)| name(*id, wish));
    for (argument, value) in &seen.torch.op.arguments {
        let mut values = Vec::new();
        collect(value, &mut values);
        for id in values.into_iter().filter_map(|at| seen.torch.takes.get(at)) {
            name(*id, argument);
        }
    }
    names
}

fn collect(argument: &Argument, found: &mut Vec<usize>) {
    match argument {
        Argument::Value(at) => found.push(*at),
        Argument::List(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// An argument of torch's as Python writes it; `None` for one that changes nothing on one CPU.
fn python<'n>(argument: &Argument, name: &dyn Fn(usize) -> Option<&'n str>) -> Result<Option<String>, String> {
    Ok(Some(match argument {
        Argument::None => "None".to_owned(),
        Argument::Bool(true) => "True".to_owned(),
        Argument::Bool(false) => "False".to_owned(),
        Argument::Int(number) => number.to_string(),
        Argument::Float(number) if number.is_finite() => format!("{number:?}"),
        Argument::Float(number) => format!("float(\"{number}\")"),
        Argument::Text(text) => format!("{text:?}"),
        Argument::Value(at) => format!("t[{:?}]", name(*at).ok_or("an input of it is not known")?),
        Argument::List(items) => {
            let items: Vec<String> =
                items.iter().filter_map(|item| python(item, name).transpose()).collect::<Result<_, _>>()?;
            format!("[{}]", items.join(", "))
        }
        Argument::Dtype(dtype) => format!("torch.{}", computed(*dtype).name()),
        Argument::Device | Argument::Layout | Argument::MemoryFormat => return Ok(None),
    }))
}

/// NumPy's name of a type that a script can hold.
fn numpy(dtype: Dtype) -> Result<&'static str, String> {
    Ok(match dtype {
        Dtype::Float32 => "float32",
        Dtype::Int64 => "int64",
        Dtype::Int32 => "int32",
        Dtype::Int16 => "int16",
        Dtype::Int8 => "int8",
        Dtype::UInt8 => "uint8",
        Dtype::Bool => "bool",
        other => return Err(format!("it takes a tensor of {}, which no script here holds", other.name())),
    })
}

/// `np.array([1.0, 2.0], "float32").reshape(1, 2)`
fn array(tensor: &TensorData) -> Result<String, String> {
    let dtype = numpy(tensor.dtype)?;
    let unread = || format!("it takes a tensor of {dtype} that cannot be read");
    let values: Vec<String> = match tensor.dtype {
        // The shortest text that is this float32 again.
        Dtype::Float32 => tensor.to_f32().ok_or_else(unread)?.iter().map(|value| float(*value)).collect(),
        Dtype::Bool => tensor.bytes.iter().map(u8::to_string).collect(),
        _ => {
            let whole = tensor.cast(Dtype::Int64).ok_or_else(unread)?;
            let bytes = whole.bytes.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok());
            bytes.map(|bytes| i64::from_le_bytes(bytes).to_string()).collect()
        }
    };
    let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
    let shape = if shape.is_empty() { "()".to_owned() } else { shape.join(", ") };
    Ok(format!("np.array([{}], {dtype:?}).reshape({shape})", values.join(", ")))
}

fn float(value: f32) -> String {
    if value.is_nan() {
        "np.nan".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "np.inf" } else { "-np.inf" }.to_owned()
    } else {
        format!("{value:?}")
    }
}

/// The inputs as a file.
fn safetensors(seen: &Seen, names: &[(ValueId, String)]) -> Result<Vec<u8>, String> {
    use safetensors::tensor::{Dtype as Stored, TensorView};
    let mut views = Vec::new();
    for (id, name) in names {
        let tensor = seen.tensors.get(id).ok_or("an input of it is not known")?;
        let dtype = match numpy(tensor.dtype)? {
            "float32" => Stored::F32,
            "int64" => Stored::I64,
            "int32" => Stored::I32,
            "int16" => Stored::I16,
            "int8" => Stored::I8,
            "uint8" => Stored::U8,
            _ => Stored::BOOL,
        };
        let view = TensorView::new(dtype, tensor.shape.clone(), &tensor.bytes).map_err(|error| error.to_string())?;
        views.push((name.as_str(), view));
    }
    safetensors::serialize(views, None).map_err(|error| error.to_string())
}
