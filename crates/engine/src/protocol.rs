//! What t2m-tui and an engine say to each other over the engine's standard input and output.
//!
//! A frame is a 4-byte little-endian header length, an 8-byte little-endian payload length, the header as JSON, and the
//! payload: raw tensor bytes, one tensor after the other in the header's order. If the highest bit of the payload's length is set,
//! the payload does not follow but lies in the [`Memory`] that both share, which the first request offers. Every request has an id
//! and a generation; a reply repeats both, so that late replies of a cancelled run are recognised and dropped.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::graph::{Call, RanHeader, Run};
pub use super::header::{TensorHeader, payload_length};
use super::memory::{Memory, Offer};
use super::program::ModuleSpec;
use t2m_checkpoint::{Dtype, TensorData};

/// Increased with every change of meaning. Both sides must have the same number.
pub const VERSION: u32 = 6;

/// The flag of [`EngineInfo`] that names the library of an engine's matrix products, where there is a choice.
pub const BLAS: &str = "blas";

/// The flag of MLX's [`EngineInfo`] that leaves TF32 out, if it is `0`: the variable that MLX reads.
pub const TF32: &str = "MLX_ENABLE_TF32";

/// Longest header that is read, in bytes.
const MAX_HEADER: u32 = 16 << 20;
/// Longest payload that is read, in bytes (a 64 GiB layer).
pub const MAX_PAYLOAD: u64 = 64 << 30;
/// Length of what a frame begins with, in bytes.
pub const PREFIX: usize = 12;
/// Set in a payload's length: it lies in the memory that both share.
const IN_MEMORY: u64 = 1 << 63;
/// What is wrong with impossible lengths.
pub const NOT_A_FRAME: &str = "this is not a frame of the engine protocol";

/// What an engine says about itself.
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

impl EngineInfo {
    /// Whether MLX may round the factors of float32's products to TF32, where its GPU does that.
    pub fn tf32(&self) -> bool {
        self.flags.get(TF32).is_none_or(|flag| flag != "0")
    }

    /// The device and the settings in words: `cpu, MLX_ENABLE_TF32=0, blas=OpenBLAS 0.3.34 Haswell`.
    pub fn settings(&self) -> String {
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let flags = self.flags.iter().map(|(name, value)| format!(", {name}={}", plain(value)));
        format!("{}{}", self.device, flags.collect::<String>())
    }
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
        /// Memory to share, if there is some.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memory: Option<Offer>,
    },
    /// Build a layer and keep it; it replaces the previous one. Payload: its tensors.
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
    /// Hold values, and run one call of a graph. Payload: the values.
    Step {
        /// Counts up.
        id: u64,
        /// Run it belongs to.
        generation: u64,
        /// The numbers under which the payload's tensors are held.
        values: Vec<u64>,
        /// The tensors of the payload.
        tensors: Vec<TensorHeader>,
        /// What is called.
        call: Box<Call>,
        /// How often, and on what.
        runs: Vec<Run>,
        /// Values that are no longer needed afterwards.
        drops: Vec<u64>,
    },
    /// Everything up to this generation is cancelled.
    Cancel {
        /// The newest cancelled generation.
        generation: u64,
    },
}

/// From an engine to t2m-tui.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Answer to [`Request::Hello`].
    Hello(EngineInfo),
    /// The layer is loaded.
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
        /// The outputs, in the dtypes that the library gave.
        outputs: Vec<TensorHeader>,
        /// Time of the forward alone, evaluated.
        milliseconds: f64,
    },
    /// The call of a graph was run. Payload: the tensors that are sent.
    Stepped {
        /// The request's.
        id: u64,
        /// The request's.
        generation: u64,
        /// What came of each run.
        runs: Vec<RanHeader>,
    },
    /// The engine refused, in its own words; or the request was cancelled before its turn.
    Failed {
        /// The request's.
        id: u64,
        /// The request's.
        generation: u64,
        /// The reason, in words.
        message: String,
    },
}

/// The payload of a frame that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// It followed the header.
    Behind(Vec<u8>),
    /// So many bytes in the shared memory.
    InMemory(u64),
}

impl Payload {
    /// The tensors that a header lists.
    ///
    /// # Errors
    /// The lengths do not add up, or no memory is shared.
    pub fn tensors(self, headers: &[TensorHeader], memory: Option<&Memory>) -> io::Result<Vec<TensorData>> {
        match (self, memory) {
            (Payload::Behind(bytes), _) => split_payload(headers, bytes),
            (Payload::InMemory(length), Some(memory)) => memory.take(headers, length),
            (Payload::InMemory(_), None) => Err(not_shared()),
        }
    }
}

/// What is wrong with a payload in memory that there is not.
pub fn not_shared() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a frame's payload is in memory, and none is shared")
}

/// Write one frame with its payload behind it, and flush it.
///
/// # Errors
/// The pipe is closed.
pub fn write_frame<H: Serialize>(writer: &mut impl Write, header: &H, payload: &[&TensorData]) -> io::Result<()> {
    write_frame_in(None, writer, header, payload)
}

/// Write one frame and flush it; its payload goes into the shared memory, if there is one and there is room in it.
///
/// # Errors
/// The pipe is closed.
pub fn write_frame_in<H: Serialize>(
    memory: Option<&Memory>,
    writer: &mut impl Write,
    header: &H,
    payload: &[&TensorData],
) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let length: usize = payload.iter().map(|tensor| tensor.bytes.len()).sum();
    let is_put = memory.is_some_and(|memory| Memory::suits(length) && memory.put(payload).is_ok());
    writer.write_all(&(header.len() as u32).to_le_bytes())?;
    writer.write_all(&(length as u64 | if is_put { IN_MEMORY } else { 0 }).to_le_bytes())?;
    writer.write_all(&header)?;
    for tensor in payload.iter().filter(|_| !is_put) {
        writer.write_all(&tensor.bytes)?;
    }
    writer.flush()
}

/// Read one frame: its header and the payload that follows it. `None` if the pipe was closed between frames.
///
/// # Errors
/// The pipe was closed within a frame, or its content is not a frame, or its payload does not follow it.
pub fn read_frame<H: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<(H, Vec<u8>)>> {
    match read_frame_in(reader)? {
        Some((header, Payload::Behind(bytes))) => Ok(Some((header, bytes))),
        Some((_, Payload::InMemory(_))) => Err(not_shared()),
        None => Ok(None),
    }
}

/// Read one frame, wherever its payload lies. `None` if the pipe was closed between frames.
///
/// # Errors
/// The pipe was closed within a frame, or its content is not a frame.
pub fn read_frame_in<H: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<(H, Payload)>> {
    let mut prefix = [0u8; PREFIX];
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
    let lengths = Lengths::of(prefix);
    if lengths.header > MAX_HEADER || lengths.payload > MAX_PAYLOAD {
        return Err(io::Error::new(io::ErrorKind::InvalidData, NOT_A_FRAME));
    }
    let header = read_exactly(reader, u64::from(lengths.header))?;
    let header = serde_json::from_slice(&header)?;
    let payload = match lengths.in_memory {
        true => Payload::InMemory(lengths.payload),
        false => Payload::Behind(read_exactly(reader, lengths.payload)?),
    };
    Ok(Some((header, payload)))
}

/// What a frame begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Bytes of the header.
    pub header: u32,
    /// Bytes of the payload.
    pub payload: u64,
    /// Whether the payload lies in the shared memory.
    pub in_memory: bool,
}

impl Lengths {
    /// From a frame's first bytes.
    pub fn of(prefix: [u8; PREFIX]) -> Lengths {
        let [h0, h1, h2, h3, payload @ ..] = prefix;
        let payload = u64::from_le_bytes(payload);
        Lengths {
            header: u32::from_le_bytes([h0, h1, h2, h3]),
            payload: payload & !IN_MEMORY,
            in_memory: payload & IN_MEMORY != 0,
        }
    }
}

/// Read that many bytes without reserving them beforehand: a wrong length must not allocate.
fn read_exactly(reader: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

/// Cut a payload into the tensors that the header lists.
///
/// # Errors
/// The lengths do not add up.
pub fn split_payload(headers: &[TensorHeader], payload: Vec<u8>) -> io::Result<Vec<TensorData>> {
    payload_length(headers, payload.len() as u64)?;
    let tensor = |header: &TensorHeader, bytes| TensorData { dtype: header.dtype, shape: header.shape.clone(), bytes };
    if let [header] = headers {
        return Ok(vec![tensor(header, payload)]);
    }
    let mut rest = payload.as_slice();
    let mut cut = |header: &TensorHeader| {
        let (bytes, behind) = rest.split_at_checked(header.length().unwrap_or_default()).unwrap_or_default();
        rest = behind;
        bytes.to_vec()
    };
    Ok(headers.iter().map(|header| tensor(header, cut(header))).collect())
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
    fn a_large_payload_goes_by_memory_and_a_small_one_behind_its_header() {
        let memory = Memory::new().unwrap();
        for length in [1usize, 100, 1 << 14, 1 << 20] {
            let tensor = TensorData { dtype: Dtype::Int8, shape: vec![length], bytes: vec![length as u8 ^ 3; length] };
            let headers = vec![TensorHeader::of("", &tensor)];
            let reply = Reply::Ran { id: 1, generation: 2, outputs: headers.clone(), milliseconds: 0.5 };
            let (mut piped, mut shared) = (Vec::new(), Vec::new());
            write_frame(&mut piped, &reply, &[&tensor]).unwrap();
            write_frame_in(Some(&memory), &mut shared, &reply, &[&tensor]).unwrap();
            assert_eq!(shared.len() < piped.len(), length >= 1 << 14, "{length}");
            let read = |frame: &[u8], memory| {
                let (header, payload) = read_frame_in::<Reply>(&mut Cursor::new(frame)).unwrap().unwrap();
                (header, payload.tensors(&headers, memory).unwrap())
            };
            assert_eq!(read(&piped, None), read(&shared, Some(&memory)));
            assert_eq!(read_frame::<Reply>(&mut Cursor::new(&shared)).is_err(), length >= 1 << 14);
            let (_, payload) = read_frame_in::<Reply>(&mut Cursor::new(&shared)).unwrap().unwrap();
            assert_eq!(payload.tensors(&headers, None).is_err(), length >= 1 << 14);
        }
    }

    #[test]
    fn an_engine_tells_its_settings_in_words() {
        let mut info = EngineInfo {
            protocol: VERSION,
            engine: "t2m-mlx".to_owned(),
            version: "0.32.2".to_owned(),
            device: "cpu".to_owned(),
            flags: Map::new(),
        };
        assert_eq!(info.settings(), "cpu");
        info.flags.insert("MLX_ENABLE_TF32".to_owned(), "0".into());
        info.flags.insert(BLAS.to_owned(), "OpenBLAS 0.3.34 Haswell".into());
        info.flags.insert("threads".to_owned(), 2.into());
        assert_eq!(info.settings(), "cpu, MLX_ENABLE_TF32=0, blas=OpenBLAS 0.3.34 Haswell, threads=2");
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
