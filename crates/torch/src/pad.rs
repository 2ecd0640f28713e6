//! Padding layers. Negative widths cut.

use super::{Built, axes, inputs, single};
use t2m_engine::args::Args;

/// The class `torch.nn.modules.padding.*`: widths of the last axis first, both sides of each; input `[N, C, *]` or, except
/// for constants, which take any number of axes, `[C, *]`.
pub(super) fn build(class: &str, args: &Args<'_>) -> Built {
    let (mode, count) = match class.split_at_checked(class.len().saturating_sub(5)) {
        Some(("Zero" | "Constant", count)) => ("constant", count),
        Some(("Reflection", count)) => ("reflect", count),
        Some(("Replication", count)) => ("replicate", count),
        Some(("Circular", count)) => ("circular", count),
        _ => return Ok(None),
    };
    let count = match count {
        "Pad1d" => 1,
        "Pad2d" => 2,
        "Pad3d" => 3,
        _ => return Ok(None),
    };
    let widths = args.integers("padding", 2 * count)?;
    let value = if mode == "constant" { Some(args.number_or("value", 0.0)?) } else { None };
    Ok(Some(single(move |_, given| {
        let [input] = inputs(given)?;
        if value.is_none() {
            axes(input, &[count + 1, count + 2])?;
        }
        Ok(input.f_pad(&widths, mode, value)?)
    })))
}
