//! How a layer's forward is called, if not with its first inputs alone: [`t2m_engine::own::Call`].

use tch::Tensor;

use super::Problem;
use t2m_engine::args::Args;
use t2m_engine::own::Call;

/// The classes that read `call`. All others can be called in one way only.
const UNDERSTOOD: [&str; 10] = [
    "activation.MultiheadAttention",
    "pooling.MaxUnpool1d",
    "pooling.MaxUnpool2d",
    "pooling.MaxUnpool3d",
    "sparse.EmbeddingBag",
    "transformer.Transformer",
    "transformer.TransformerDecoder",
    "transformer.TransformerDecoderLayer",
    "transformer.TransformerEncoder",
    "transformer.TransformerEncoderLayer",
];

/// Whether the class, without `torch.nn.modules.`, reads its `call`.
pub(super) fn is_understood(path: &str) -> bool {
    UNDERSTOOD.contains(&path)
}

/// Which of the forward's parameters the inputs are.
pub(super) struct Order {
    parameters: &'static [&'static str],
    /// From `call.inputs`; by default the inputs are the first parameters.
    named: Option<Vec<&'static str>>,
}

/// Read `call`: the order of the inputs, and the rest with `scalars`. An entry that nothing reads is refused.
pub(super) fn read<T>(
    args: &Args<'_>,
    parameters: &'static [&'static str],
    scalars: impl FnOnce(&Args<'_>) -> Result<T, String>,
) -> Result<(Order, T), Problem> {
    let nothing = Call::default();
    let call = args.told().and_then(|told| told.call.as_ref()).unwrap_or(&nothing);
    let named = call.inputs.as_ref().map(|words| known(words, parameters)).transpose()?;
    let given = Args::of("call", &call.scalars);
    let scalars = scalars(&given)?;
    given.all_read()?;
    Ok((Order { parameters, named }, scalars))
}

fn known(words: &[String], parameters: &'static [&'static str]) -> Result<Vec<&'static str>, Problem> {
    let mut names: Vec<&'static str> = Vec::with_capacity(words.len());
    for word in words {
        match parameters.iter().find(|name| *name == word) {
            Some(name) if !names.contains(name) => names.push(name),
            Some(name) => return Err(Problem(format!("`call.inputs` names `{name}` twice"))),
            None => return Err(Problem(format!("`call.inputs` names `{word}`; forward takes {parameters:?}"))),
        }
    }
    Ok(names)
}

impl Order {
    /// The inputs with their names.
    pub fn bind<'a>(&'a self, given: &'a [Tensor]) -> Result<Named<'a>, Problem> {
        let names = match &self.named {
            Some(names) if names.len() == given.len() => names.as_slice(),
            None if given.len() <= self.parameters.len() => self.parameters,
            Some(names) => {
                return Err(Problem(format!("`call.inputs` names {} inputs, {} are given", names.len(), given.len())));
            }
            None => {
                let most = self.parameters.len();
                return Err(Problem(format!("the layer takes at most {most} inputs, not {}", given.len())));
            }
        };
        Ok(Named(names.iter().copied().zip(given).collect()))
    }
}

/// Inputs by the names of forward's parameters.
pub(super) struct Named<'a>(Vec<(&'static str, &'a Tensor)>);

impl<'a> Named<'a> {
    /// An input that forward requires.
    pub fn get(&self, name: &str) -> Result<&'a Tensor, Problem> {
        self.find(name).ok_or_else(|| Problem(format!("the layer's input `{name}` is missing")))
    }

    /// An optional input.
    pub fn find(&self, name: &str) -> Option<&'a Tensor> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, tensor)| *tensor)
    }
}
