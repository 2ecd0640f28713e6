//! What t2m-tui and an engine say to each other over the engine's standard input and output.
//!
//! A frame is a 4-byte little-endian header length, an 8-byte little-endian payload length, the header as JSON, and the
//! payload: raw tensor bytes, one tensor after the other in the header's order. Every request has an id and a
//! generation; a reply repeats both, so that late replies of a cancelled run are recognised and dropped.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::Program;
use super::own::Told;
use crate::checkpoint::{Dtype, TensorData};

/// Raised with every change of meaning. Both sides must agree to the number.
pub const VERSION: u32 = 4;

/// Longest header that is read, in bytes.
const MAX_HEADER: u32 = 16 << 20;
/// Longest payload that is read, in bytes (a 64 GiB layer).
const MAX_PAYLOAD: u64 = 64 << 30;

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// [`VERSION`] of the engine.
    pub protocol: u32,
    /// `t2m-torch` or `t2m-mlx`.
    pub engine: String,
    /// The library's version (`2.13.0`).
    pub version: String,
    /// `cpu`, `gpu`.
    pub device: String,
    /// Settings that change numbers (`MLX_ENABLE_TF32` → `0`).
    pub flags: Map<String, Value>,
}

/// A layer as one engine knows it: a name and its arguments. For torch the full class path and the instance's attributes,
/// for MLX the layer's Python name (`nn.Conv2d`) and the arguments that the conversion chose.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModuleSpec {
    /// `torch.nn.modules.conv.Conv2d`, `nn.Conv2d`
    pub kind: String,
    /// Hyper-parameters; for MLX the keyword arguments of the Python call.
    pub args: Map<String, Value>,
    /// The program that stands for the layer where it is no single one: of MLX a conversion, of both an example of the
    /// registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// For torch: what is said of the layer beside its attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Box<Told>>,
}

/// A tensor's description; its bytes follow in the payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorHeader {
    /// Parameter name, or empty for inputs and outputs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
}

/// From t2m-tui to an engine. Closing the pipe ends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "there is one request at a time, and most are loads")]
pub enum Request {
    /// The first frame. The reply is [`Reply::Hello`].
    Hello {
        /// [`VERSION`] of the caller.
        protocol: u32,
    },
    /// Build a layer and keep it; it replaces the one before. Payload: its tensors.
    Load {
        /// Counts up.
        id: u64,
        /// Run it belongs to.
        generation: u64,
        /// The layer.
        module: Box<ModuleSpec>,
        /// Its parameters and buffers.
        tensors: Vec<TensorHeader>,
    },
    /// Run the loaded layer. Payload: its inputs.
    Run {
        /// Counts up.
        id: u64,
        /// Run it belongs to.
        generation: u64,
        /// Positional inputs.
        inputs: Vec<TensorHeader>,
        /// Floating-point tensors and inputs are cast to this before the run.
        compute: Dtype,
    },
    /// Everything up to this generation is not wanted any more.
    Cancel {
        /// The newest unwanted generation.
        generation: u64,
    },
}

/// From an engine to t2m-tui.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Answer to [`Request::Hello`].
    Hello(EngineInfo),
    /// The layer is there.
    Loaded {
        /// The request's.
        id: u64,
        /// The request's.
        generation: u64,
    },
    /// The layer was run. Payload: its outputs.
    Ran {
        /// The request's.
        id: u64,
        /// The request's.
        generation: u64,
        /// In the dtypes that came out, whatever was asked.
        outputs: Vec<TensorHeader>,
        /// Time of the forward alone, evaluated.
        milliseconds: f64,
    },
    /// The engine said no, in its own words; or the request was cancelled before its turn.
    Failed {
        /// The request's.
        id: u64,
        /// The request's.
        generation: u64,
        /// Why.
        message: String,
    },
}

/// Write one frame and flush it.
///
/// # Errors
/// The pipe is closed.
pub fn write_frame<H: Serialize>(writer: &mut impl Write, header: &H, payload: &[&TensorData]) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let length: u64 = payload.iter().map(|tensor| tensor.bytes.len() as u64).sum();
    writer.write_all(&(header.len() as u32).to_le_bytes())?;
    writer.write_all(&length.to_le_bytes())?;
    writer.write_all(&header)?;
    for tensor in payload {
        writer.write_all(&tensor.bytes)?;
    }
    writer.flush()
}

/// Read one frame: its header and its payload. `None` where the pipe was closed between frames.
///
/// # Errors
/// The pipe broke inside a frame, or what came is not a frame.
pub fn read_frame<H: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<(H, Vec<u8>)>> {
    let mut prefix = [0u8; 12];
    let mut filled = 0;
    while filled < prefix.len() {
        match reader.read(&mut prefix[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let header_length = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]);
    let mut payload_length = [0u8; 8];
    payload_length.copy_from_slice(&prefix[4..]);
    let payload_length = u64::from_le_bytes(payload_length);
    if header_length > MAX_HEADER || payload_length > MAX_PAYLOAD {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not a frame of the engine protocol"));
    }
    let header = read_exactly(reader, u64::from(header_length))?;
    let header = serde_json::from_slice(&header)?;
    Ok(Some((header, read_exactly(reader, payload_length)?)))
}

/// Read that many bytes without reserving them beforehand: a wrong length must not allocate.
fn read_exactly(reader: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

impl TensorHeader {
    /// Describe a tensor.
    pub fn of(name: &str, tensor: &TensorData) -> TensorHeader {
        TensorHeader { name: name.to_owned(), dtype: tensor.dtype, shape: tensor.shape.clone() }
    }
}

/// Cut a payload into the tensors that the header lists.
///
/// # Errors
/// The lengths do not add up.
pub fn split_payload(headers: &[TensorHeader], payload: Vec<u8>) -> io::Result<Vec<TensorData>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "a frame's payload is not as long as its header says");
    let mut rest = payload.as_slice();
    let mut tensors = Vec::with_capacity(headers.len());
    for header in headers {
        let elements =
            header.shape.iter().try_fold(1usize, |product, &axis| product.checked_mul(axis)).ok_or_else(bad)?;
        let length = elements.checked_mul(header.dtype.size()).ok_or_else(bad)?;
        let (bytes, behind) = rest.split_at_checked(length).ok_or_else(bad)?;
        tensors.push(TensorData { dtype: header.dtype, shape: header.shape.clone(), bytes: bytes.to_vec() });
        rest = behind;
    }
    if rest.is_empty() { Ok(tensors) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn tensors() -> impl Strategy<Value = Vec<(String, TensorData)>> {
        let dtype = prop_oneof![Just(Dtype::Float32), Just(Dtype::BFloat16), Just(Dtype::Int64), Just(Dtype::Bool)];
        let tensor = (".*", dtype, prop::collection::vec(0usize..4, 0..4), any::<u8>());
        let tensor = tensor.prop_map(|(name, dtype, shape, seed)| {
            let length = shape.iter().product::<usize>() * dtype.size();
            (name, TensorData { dtype, shape, bytes: (0..length).map(|i| seed.wrapping_add(i as u8)).collect() })
        });
        prop::collection::vec(tensor, 0..4)
    }

    proptest! {
        #[test]
        fn frames_come_back_as_they_went(tensors in tensors(), id: u64, generation: u64) {
            let request = Request::Load {
                id,
                generation,
                module: Box::new(ModuleSpec { kind: "nn.Linear".to_owned(), ..ModuleSpec::default() }),
                tensors: tensors.iter().map(|(name, tensor)| TensorHeader::of(name, tensor)).collect(),
            };
            let mut frame = Vec::new();
            let payload: Vec<&TensorData> = tensors.iter().map(|(_, tensor)| tensor).collect();
            write_frame(&mut frame, &request, &payload).unwrap();
            let mut reader = Cursor::new(frame);
            let (header, payload) = read_frame::<Request>(&mut reader).unwrap().unwrap();
            prop_assert_eq!(&header, &request);
            let Request::Load { tensors: headers, .. } = header else { return Ok(()) };
            let back = split_payload(&headers, payload).unwrap();
            prop_assert_eq!(back, tensors.into_iter().map(|(_, tensor)| tensor).collect::<Vec<_>>());
            prop_assert!(read_frame::<Request>(&mut reader).unwrap().is_none());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            prop_assert!(!matches!(read_frame::<Reply>(&mut Cursor::new(bytes)), Ok(Some(_))));
        }
    }

    #[test]
    fn a_payload_that_does_not_fit_is_refused() {
        let header =
            |shape: &[usize]| TensorHeader { name: String::new(), dtype: Dtype::Float32, shape: shape.to_vec() };
        assert!(split_payload(&[header(&[2])], vec![0; 8]).is_ok());
        assert!(split_payload(&[header(&[2])], vec![0; 7]).is_err());
        assert!(split_payload(&[header(&[2])], vec![0; 9]).is_err());
        assert!(split_payload(&[header(&[usize::MAX, 2])], Vec::new()).is_err());
    }
}
