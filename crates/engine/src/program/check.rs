//! Checking a program against the table of what it may call, without an engine: names, arguments, and their number.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::signatures::{Dialect, Parameter, Signature, Takes, layer};
use super::{MlxLayer, ModuleSpec, Operand, Program, Step, infinity};

/// What is wrong with a program, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("in `{place}`: {reason}")]
pub struct Fault {
    /// The step or the layer, as Python writes it.
    place: String,
    /// What is wrong with it.
    reason: String,
}

impl Program {
    /// Whether every call is of a known function or layer, with arguments that it takes, all that it requires, and
    /// variables that have a value.
    ///
    /// # Errors
    /// Names the first step that is wrong.
    pub fn check(&self, dialect: Dialect) -> Result<(), Fault> {
        for spec in self.layers.values() {
            spec.check()?;
        }
        let mut variables: HashSet<&str> = self.inputs.iter().map(String::as_str).collect();
        for step in &self.steps {
            let fault = |reason: String| Fault { place: step.python(), reason };
            for operand in &step.inputs {
                defined(operand, &variables).map_err(fault)?;
            }
            match step.layer() {
                Some(name) if !self.layers.contains_key(name) => {
                    return Err(fault(format!("there is no layer `{name}`")));
                }
                Some(_) if !step.args.is_empty() => {
                    return Err(fault("a layer is called with arrays alone".to_owned()));
                }
                Some(_) => {}
                None => called(dialect, step).map_err(fault)?,
            }
            variables.extend(step.to.iter().map(String::as_str));
        }
        match self.outputs.iter().find(|name| !variables.contains(name.as_str())) {
            Some(name) => Err(Fault { place: "return".to_owned(), reason: format!("there is no variable `{name}`") }),
            None => Ok(()),
        }
    }
}

impl ModuleSpec {
    /// Whether MLX's side can build this layer, from arguments that it takes and all that it requires; for a program,
    /// whether it [is right](Program::check).
    ///
    /// # Errors
    /// Names the layer and the argument.
    pub fn check(&self) -> Result<(), Fault> {
        if let Some(program) = &self.program {
            return program.check(Dialect::Mlx);
        }
        let fault = |reason: String| Fault { place: self.python(), reason };
        let parameters = layer(&self.kind).ok_or_else(|| fault(format!("there is no layer {}", self.kind)))?;
        given(parameters, &[], &self.args).map_err(fault)?;
        self.parts().try_for_each(|part| part.check())
    }
}

impl ModuleSpec {
    /// The blocks of a stack, each as it would be built alone.
    fn parts(&self) -> impl Iterator<Item = ModuleSpec> {
        let stack = MlxLayer::named(&self.kind) == Some(MlxLayer::BlockConvStack);
        let blocks = self.args.get("blocks").and_then(Value::as_array).filter(|_| stack);
        blocks.into_iter().flatten().map(|block| ModuleSpec {
            kind: MlxLayer::BlockConvBlock.name().to_owned(),
            args: block.as_object().cloned().unwrap_or_default(),
            ..ModuleSpec::default()
        })
    }
}

/// Whether an operand has a value. A tensor of the module (`self.weight`) is known when the module is.
fn defined(operand: &Operand, variables: &HashSet<&str>) -> Result<(), String> {
    match operand {
        Operand::Name(name) if name.starts_with("self.") || infinity(name).is_some() => Ok(()),
        Operand::Name(name) if !variables.contains(name.as_str()) => Err(format!("there is no variable `{name}`")),
        Operand::List(operands) => operands.iter().try_for_each(|operand| defined(operand, variables)),
        Operand::Name(_) | Operand::Number(_) | Operand::Flag(_) | Operand::Constant { .. } => Ok(()),
    }
}

fn called(dialect: Dialect, step: &Step) -> Result<(), String> {
    let signature = Signature::find(dialect, &step.call)?;
    given(&signature.parameters, &step.inputs, &step.args)
}

/// Whether these arguments fit these parameters: arrays in their order, everything else by name.
fn given(parameters: &[Parameter], inputs: &[Operand], args: &Map<String, Value>) -> Result<(), String> {
    let known = |name: &String| parameters.iter().any(|parameter| parameter.name == *name);
    if let Some(name) = args.keys().find(|name| !known(name)) {
        return Err(format!("there is no argument `{name}`"));
    }
    let mut rest = inputs;
    for parameter in parameters {
        let name = parameter.name.as_str();
        // An explicit argument takes no array: `[2, 3]` of `mx.split`.
        let taken = match args.contains_key(name) {
            true => 1,
            false => {
                let taken = taken(parameter, rest)?;
                rest = rest.get(taken..).unwrap_or_default();
                taken
            }
        };
        if taken == 0 && parameter.is_required() {
            return Err(format!("the argument `{name}` is missing"));
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    Err(format!("it takes {} arrays, not {}", inputs.len() - rest.len(), inputs.len()))
}

/// How many of the operands a parameter takes.
fn taken(parameter: &Parameter, rest: &[Operand]) -> Result<usize, String> {
    let name = parameter.name.as_str();
    let is_list = |operand: &Operand| matches!(operand, Operand::List(_));
    match (parameter.takes, rest.first()) {
        (Takes::Value | Takes::AllValues, _) | (_, None) => Ok(0),
        (Takes::Array, Some(first)) if is_list(first) => Err(format!("`{name}` is one array, not a list")),
        (Takes::Arrays, Some(first)) if !is_list(first) => Err(format!("`{name}` is a list of arrays, not one")),
        (Takes::Array | Takes::Arrays, Some(_)) => Ok(1),
        // One list of arrays, or each by itself.
        (Takes::AllArrays, Some(first)) if is_list(first) => Ok(1),
        (Takes::AllArrays, Some(_)) => Ok(rest.len()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    /// The message for one call with `x` and `y` as variables.
    fn said(call: &str, inputs: Vec<Operand>, args: Value) -> String {
        let mut program = Program::new(&["x", "y"]);
        let args = args.as_object().cloned().unwrap_or_default();
        program.steps.push(Step { to: vec!["v".to_owned()], call: call.to_owned(), inputs, args });
        program.outputs.push("v".to_owned());
        program.check(Dialect::Mlx).map_or_else(|fault| fault.to_string(), |()| "right".to_owned())
    }

    #[test]
    fn a_misspelt_program_is_caught_without_an_engine() {
        let x = || vec![Operand::from("x")];
        let both = || vec![Operand::from("x"), "y".into()];
        assert_eq!(said("mx.softmax", x(), json!({"axis": 1, "precise": true})), "right");
        assert_eq!(
            said("mx.softmax", x(), json!({"axes": 1})),
            "in `mx.softmax(x, axes=1)`: there is no argument `axes`"
        );
        assert!(said("mx.sofmax", x(), json!({})).contains("no signature describes mx.sofmax: "));
        assert!(said("mx.sofmax", x(), json!({})).contains("[mlx] in crates/engine/assets/signatures.toml"));
        assert!(said("mx.reshape", x(), json!({})).contains("the argument `shape` is missing"));
        assert!(said("mx.matmul", x(), json!({})).contains("the argument `b` is missing"));
        assert!(said("mx.exp", both(), json!({})).contains("it takes 1 arrays, not 2"));
        assert!(said("mx.exp", vec!["z".into()], json!({})).contains("there is no variable `z`"));
        assert!(said("mx.concatenate", both(), json!({})).contains("`arrays` is a list of arrays, not one"));
        assert!(said("mx.exp", vec![both().into()], json!({})).contains("`a` is one array, not a list"));
        assert!(said("self.conv", x(), json!({})).contains("there is no layer `conv`"));
        assert_eq!(said("mx.split", x(), json!({"indices_or_sections": [1, 2]})), "right");
        assert_eq!(said("mx.where", vec!["x".into(), "y".into(), f64::INFINITY.into()], json!({})), "right");
        assert_eq!(said("at_add", vec!["x".into(), "y".into(), "y".into(), "x".into()], json!({})), "right");
        assert_eq!(said("mx.einsum", vec![both().into()], json!({"subscripts": "ij,jk->ik"})), "right");
    }

    #[test]
    fn a_misspelt_layer_is_caught_as_well() {
        let said = |kind: &str, args: Value| {
            let args = args.as_object().cloned().unwrap_or_default();
            let spec = ModuleSpec { kind: kind.to_owned(), args, ..ModuleSpec::default() };
            let alone = spec.check();
            let mut program = Program::new(&["x"]);
            program.layers.insert("layer".to_owned(), spec);
            program.run_to(&["v"], "layer", ["x".into()]);
            program.outputs.push("v".to_owned());
            assert_eq!(program.check(Dialect::Mlx), alone);
            alone.map_or_else(|fault| fault.to_string(), |()| "right".to_owned())
        };
        assert_eq!(said("nn.LayerNorm", json!({"dims": 4, "eps": 1e-5})), "right");
        assert!(said("nn.LayerNorm", json!({"dims": 4, "epsilon": 1e-5})).contains("there is no argument `epsilon`"));
        assert!(said("nn.LayerNorm", json!({"eps": 1e-5})).contains("the argument `dims` is missing"));
        assert!(said("nn.LayerNrom", json!({"dims": 4})).contains("there is no layer nn.LayerNrom"));
    }

    #[test]
    fn an_output_without_a_value_is_caught() {
        let mut program = Program::new(&["x"]);
        program.outputs.push("y".to_owned());
        assert!(program.check(Dialect::Mlx).unwrap_err().to_string().contains("there is no variable `y`"));
    }
}
