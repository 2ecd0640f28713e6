//! Embeddings.

use tch::Tensor;

use super::call::{self, Named, Order};
use super::tensor::{Weights, length};
use super::{Built, Forward, Problem, inputs, single};
use t2m_engine::args::Args;

/// The class `torch.nn.modules.sparse.*`.
pub(super) fn build(class: &str, args: &Args<'_>, weights: &Weights) -> Built {
    Ok(Some(match class {
        "Embedding" => embedding(args, weights)?,
        "EmbeddingBag" => bag(args, weights)?,
        _ => return Ok(None),
    }))
}

/// `Embedding`: weight `[rows, width]`, any shape of whole numbers in. `padding_idx` only matters in training.
fn embedding(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    weights.get("weight")?;
    no_max_norm(args, "Embedding")?;
    Ok(single(|weights, given| {
        let [ids] = inputs(given)?;
        Ok(Tensor::f_embedding(weights.get("weight")?, ids, -1, false, false)?)
    }))
}

fn no_max_norm(args: &Args<'_>, class: &str) -> Result<(), Problem> {
    if args.is_none("max_norm")? {
        return Ok(());
    }
    Err(Problem(format!("{class} with max_norm rewrites its weight in forward, so it is not measured")))
}

/// `EmbeddingBag`: weight `[rows, width]`; ids `[bags, n]`, or ids `[n]` with offsets `[bags]`, and for sums weights of the
/// ids in their shape. The output is `[bags, width]`.
fn bag(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    weights.get("weight")?;
    no_max_norm(args, "EmbeddingBag")?;
    let mode = match args.text("mode")? {
        "sum" => 0,
        "mean" => 1,
        "max" => 2,
        _ => return Err(args.wrong("mode", "sum, mean or max").into()),
    };
    let (last_offset, padding) = (args.flag_or("include_last_offset", false)?, args.integer_or_none("padding_idx")?);
    let (order, ()) = call::read(args, &["input", "offsets", "per_sample_weights"], |_| Ok(()))?;
    Ok(single(move |weights, given| {
        let bags = Bags::new(&order, given, last_offset)?;
        if bags.weights.is_some() && mode != 0 {
            return Err(Problem("per_sample_weights are for the mode sum only".to_owned()));
        }
        let (output, ..) = Tensor::f_embedding_bag_padding_idx(
            weights.get("weight")?,
            &bags.ids,
            &bags.offsets,
            false,
            mode,
            false,
            bags.weights.as_ref(),
            bags.last_offset,
            padding,
        )?;
        Ok(output)
    }))
}

/// The ids of all bags in a row, and where each bag begins.
struct Bags {
    ids: Tensor,
    offsets: Tensor,
    weights: Option<Tensor>,
    last_offset: bool,
}

impl Bags {
    fn new(order: &Order, given: &[Tensor], last_offset: bool) -> Result<Bags, Problem> {
        let named = order.bind(given)?;
        let ids = named.get("input")?;
        let weights = named.find("per_sample_weights");
        if weights.is_some_and(|weights| weights.size() != ids.size()) {
            return Err(Problem("per_sample_weights need the shape of the ids".to_owned()));
        }
        match ids.dim() {
            1 => {
                let offsets = offsets(&named, ids)?.shallow_clone();
                let weights = weights.map(Tensor::shallow_clone);
                Ok(Bags { ids: ids.shallow_clone(), offsets, weights, last_offset })
            }
            2 => Bags::of_rows(&named, ids, weights),
            other => Err(Problem(format!("the ids have {other} axes; 1 or 2 are possible"))),
        }
    }

    /// Each row is a bag. Then there is no last offset, even if the layer says so.
    fn of_rows(named: &Named<'_>, ids: &Tensor, weights: Option<&Tensor>) -> Result<Bags, Problem> {
        if named.find("offsets").is_some() {
            return Err(Problem("ids of two axes are bags of one length; there are no offsets for them".to_owned()));
        }
        let (width, options) = (length(ids, 1)?, (ids.f_kind()?, ids.device()));
        let offsets = Tensor::f_arange_start_step(0, ids.numel() as i64, width, options)?;
        let weights = weights.map(|weights| weights.f_reshape([-1])).transpose()?;
        Ok(Bags { ids: ids.f_reshape([-1])?, offsets, weights, last_offset: false })
    }
}

/// Where the bags begin. Checks that they are in order and within the ids: libtorch only checks the first and the last.
fn offsets<'a>(named: &Named<'a>, ids: &Tensor) -> Result<&'a Tensor, Problem> {
    let missing = || Problem("ids of one axis need the bags' offsets".to_owned());
    let offsets = named.find("offsets").ok_or_else(missing)?;
    let count = ids.numel() as i64;
    let wrong = || Problem(format!("the offsets of the bags need one axis, numbers from 0 to {count}, in order"));
    if offsets.dim() != 1 || (offsets.numel() == 0 && count > 0) {
        return Err(wrong());
    }
    let last = length(offsets, 0)?.saturating_sub(1).max(0);
    let ordered = offsets.f_narrow(0, offsets.numel() as i64 - last, last)?;
    let ordered = ordered.f_ge_tensor(&offsets.f_narrow(0, 0, last)?)?.f_all()?;
    let within = offsets.f_ge(0)?.f_all()?.f_logical_and(&offsets.f_le(count)?.f_all()?)?;
    if ordered.f_logical_and(&within)?.f_int64_value(&[])? == 0 { Err(wrong()) } else { Ok(offsets) }
}
