//! What MLX computes by another algorithm than a plain sum where it runs.

use serde_json::Value as Json;

use super::plan::{Form, Forms};
use crate::compare::tolerance::Bound;
use crate::compare::winograd::Convolution;
use t2m_checkpoint::graph::{Argument, Node};
use t2m_engine::EngineInfo;

/// Whether an engine's kernels are Metal's.
pub(super) fn is_metal(info: &EngineInfo) -> bool {
    cfg!(target_os = "macos") && info.device == "gpu"
}

/// The bound of a node on Metal, where it is not the usual one.
pub(super) fn on_metal(node: &Node, forms: Forms<'_>) -> Option<Bound> {
    let shape = |name: &str| match node.argument(name)? {
        Argument::Value(id) => match forms(*id)? {
            Form::Tensor { shape, .. } => Some(shape),
            Form::Number(_) => None,
        },
        _ => None,
    };
    let is_plain = match node.target.as_str() {
        "aten.conv2d.default" => true,
        "aten.convolution.default" | "aten._convolution.default" => {
            matches!(node.argument("transposed"), None | Some(Argument::Plain(Json::Bool(false))))
        }
        _ => return None,
    };
    let is_plain =
        is_plain && ["stride", "dilation", "groups"].iter().all(|name| node.argument(name).is_none_or(is_one));
    let (input, weight) = (shape("input")?, shape("weight")?);
    Convolution { input: &input, weight: &weight, is_plain }.by_winograd().map(Bound::Winograd)
}

/// 1, along every axis.
fn is_one(argument: &Argument) -> bool {
    let is = |value: &Json| value.as_u64() == Some(1);
    match argument {
        Argument::Plain(Json::Array(axes)) => axes.iter().all(is),
        Argument::Plain(value) => is(value),
        Argument::List(all) => all.iter().all(is_one),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use t2m_checkpoint::Dtype;
    use t2m_checkpoint::graph::ValueId;

    fn bound(target: &str, more: &[(&str, Json)]) -> Option<Bound> {
        let values = [("input", 0), ("weight", 1)].map(|(name, id)| (name.to_owned(), Argument::Value(ValueId(id))));
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), Argument::Plain(value.clone())));
        let node = Node {
            name: "conv".to_owned(),
            target: target.to_owned(),
            arguments: values.into_iter().chain(more).collect(),
            outputs: Vec::new(),
            module: "".into(),
            place: None,
        };
        let forms = |id: ValueId| {
            let shape = if id.0 == 0 { vec![1, 256, 64, 64] } else { vec![256, 256, 3, 3] };
            Some(Form::Tensor { dtype: Dtype::Float32, shape })
        };
        on_metal(&node, &forms)
    }

    #[test]
    fn plain_convolutions_have_winograds_bound_however_they_are_called() {
        let winograd = Some(Bound::Winograd(256));
        assert_eq!(bound("aten.conv2d.default", &[("padding", json!([1, 1]))]), winograd);
        assert_eq!(bound("aten.conv2d.default", &[("stride", json!([1, 1])), ("groups", json!(1))]), winograd);
        assert_eq!(bound("aten.convolution.default", &[("transposed", json!(false))]), winograd);
        assert_eq!(bound("aten.convolution.default", &[("transposed", json!(true))]), None);
        assert_eq!(bound("aten.conv2d.default", &[("stride", json!([2, 1]))]), None);
        assert_eq!(bound("aten.conv2d.default", &[("groups", json!(2))]), None);
        assert_eq!(bound("aten.conv_transpose2d.input", &[]), None);
    }
}
