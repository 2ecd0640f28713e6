//! Writing a key map's tensors to safetensors: one by one, to a temporary file that takes the target's place once every tensor
//! was read back and found to be what a fresh conversion gives. Every file that will be written is known, and held against
//! every file that is read, before the first byte.

mod cast;
mod check;
mod conversion;
mod flush;
mod hash;
mod header;
mod plan;
mod progress;
mod slabs;

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::files::{self, Inputs, Kind, Part, Stage, sync_folder};
use crate::interrupt;
use crate::plan::weights;
use header::{Shard, Slot};
use t2m_checkpoint::escape::{EscapedJson, escape, quoted};
use t2m_checkpoint::{self, Bytes, Checkpoint, Dtype, Spread, TensorData, spare};

pub use cast::{Loss, written};
pub use conversion::Conversion;
pub use plan::check;
pub use progress::{Phase, Progress};

/// What is written: described ahead, then made piece by piece, twice.
pub trait Source: Sync {
    /// How many tensors there are.
    fn count(&self) -> usize;

    /// The tensor at an index, in the order in which they are made.
    fn tensor(&self, at: usize) -> Described<'_>;

    /// Make the tensor at an index and hand it over in pieces.
    ///
    /// # Errors
    /// It cannot be made, or `take` says so.
    fn each(&self, at: usize, take: &mut dyn FnMut(TensorData) -> Result<(), Error>) -> Result<(), Error>;

    /// What the metadata say of it besides where it is from.
    fn about(&self) -> Map<String, Value>;

    /// What it is made of, the first before all: never written to.
    fn inputs(&self) -> Vec<&Checkpoint>;
}

/// A tensor that is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    /// The name that it gets.
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a [usize],
    /// The type in which it is made.
    pub dtype: Dtype,
    /// The type that it is cast to.
    pub written: Dtype,
}

/// How to write.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to.
    pub target: PathBuf,
    /// Whether an existing file is replaced.
    pub force: bool,
    /// Most bytes of tensors in one file.
    pub shard_bytes: u64,
    /// Whether a finite number that would become infinite is an error.
    pub strict: bool,
    /// The source's name for the metadata.
    pub source: String,
}

/// What else a run reads and writes.
#[derive(Default)]
pub struct Beside<'a> {
    /// Files that are read besides the source's own: never written to.
    pub inputs: Inputs,
    /// Texts that are written with the weights: all or none.
    pub texts: Vec<Text<'a>>,
}

/// A text and where it goes.
pub struct Text<'a> {
    /// Where to.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Writes it.
    pub write: &'a dyn Fn(&mut dyn Write) -> io::Result<()>,
}

/// What was written.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// The files, an index last.
    pub files: Vec<PathBuf>,
    /// Bytes of tensors.
    pub bytes: u64,
    /// What casting lost, by tensor, of those where it lost something.
    pub losses: Vec<(String, Loss)>,
    /// Tensors whose type was cast, by the types.
    pub casts: Vec<(Dtype, Dtype, usize)>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source cannot be read.
    #[error("{0}; --skip leaves a tensor out")]
    Read(t2m_checkpoint::Error),
    /// A source does not fit its move.
    #[error("tensor `{}`: {error}", quoted(name))]
    Move {
        /// MLX's name.
        name: String,
        /// What does not fit.
        error: weights::Error,
    },
    /// A tensor cannot be made.
    #[error("{reason}")]
    Make {
        /// Why, as it stands.
        reason: String,
    },
    /// The type cannot be written so that MLX reads it.
    #[error(
        "tensor `{}` is {dtype}, which MLX does not read from a file; --skip {} leaves it out",
        quoted(name),
        quoted(name)
    )]
    Dtype {
        /// The name of the tensor.
        name: String,
        /// Its type.
        dtype: &'static str,
    },
    /// A cast loses too much.
    #[error("tensor `{}`: {count} numbers would become infinite as {dtype}; bf16 has float32's range", quoted(name))]
    Overflow {
        /// MLX's name.
        name: String,
        /// How many.
        count: u64,
        /// The type asked for.
        dtype: &'static str,
    },
    /// The output cannot go where it is wanted, or its place cannot be taken.
    #[error(transparent)]
    File(#[from] files::Error),
    /// The system said no.
    #[error("{}: cannot be written: {source}; nothing was left behind", shown(path))]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is on the disk is not what was written.
    #[error(
        "{}: tensor `{}` read back is not what was converted: {what}; the disk or the memory is at fault, or the input changed meanwhile. Nothing was left behind",
        shown(path),
        quoted(name)
    )]
    Differs {
        /// Path of the file.
        path: PathBuf,
        /// MLX's name.
        name: String,
        /// In what.
        what: String,
    },
    /// What is on the disk is not the header that was written.
    #[error(
        "{}: the header read back is not what was written; the disk or the memory is at fault. Nothing was left behind",
        shown(path)
    )]
    Header {
        /// Path of the file.
        path: PathBuf,
    },
    /// It was asked to stop.
    #[error("interrupted; nothing was left behind")]
    Stopped,
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy()).into_owned()
}

/// Write tensors. `watch` gets the progress, and says whether to go on.
///
/// # Errors
/// Nothing was written, and nothing is left behind, for the reason given.
pub fn write(
    source: &dyn Source,
    options: &Options,
    watch: impl FnMut(Progress<'_>) -> bool,
) -> Result<Written, Error> {
    write_beside(source, options, &Beside::default(), watch)
}

/// Write tensors and what goes with them.
///
/// # Errors
/// As [`write()`].
pub fn write_beside(
    source: &dyn Source,
    options: &Options,
    beside: &Beside<'_>,
    mut watch: impl FnMut(Progress<'_>) -> bool,
) -> Result<Written, Error> {
    let sources = source.inputs();
    let mut inputs = beside.inputs.clone();
    sources.iter().for_each(|source| inputs.extend(Inputs::of(source)));
    let mut spread = Spread::of(&sources);
    for at in 0..source.count() {
        let Described { name, shape, dtype, .. } = source.tensor(at);
        let bytes = shape.iter().fold(dtype.size() as u64, |bytes, &axis| bytes.saturating_mul(axis as u64));
        spread.add(name, bytes);
    }
    spread.check().map_err(Error::Read)?;
    let shards = header::shards(source, &options.target, options.shard_bytes);
    let texts: Vec<(&Path, Kind)> = beside.texts.iter().map(|text| (text.path.as_path(), text.kind)).collect();
    let outputs = plan::outputs(&inputs, &options.target, &shards, &texts, options.force)?;
    let stage = outputs.stage()?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (told, hashes) = mpsc::channel();
        let (input, stopped) = (sources.first(), &stop);
        scope.spawn(move || told.send(input.map_or(Ok(Vec::new()), |input| hash::files(input, stopped))));
        let total = shards.iter().map(|shard| shard.bytes).sum::<u64>().saturating_mul(2);
        let mut job = Job { source, options, done: 0, total, watch: &mut watch, result: Written::default() };
        let result = job.run(&stage, &shards, &beside.texts, &hashes);
        // The hash of a large file is of no use any more.
        stop.store(true, Ordering::Relaxed);
        result.map(|()| job.result)
    })
}

struct Job<'a, W> {
    source: &'a dyn Source,
    options: &'a Options,
    done: u64,
    total: u64,
    watch: &'a mut W,
    result: Written,
}

/// Bytes of small tensors that are gathered before they are written.
const BUFFER: usize = 128 << 10;

type Hashes = Vec<(String, Option<String>)>;

/// How often one who waits for hashes is asked whether to go on.
const PAUSE: Duration = Duration::from_millis(100);

impl<W: FnMut(Progress<'_>) -> bool> Job<'_, W> {
    fn run(
        &mut self,
        stage: &Stage,
        shards: &[Shard],
        texts: &[Text<'_>],
        hashes: &Receiver<Result<Hashes, Error>>,
    ) -> Result<(), Error> {
        let inputs = self.source.inputs();
        let names = inputs.first().map(|input| hash::names(input)).unwrap_or_default();
        let unknown: Hashes = names.into_iter().map(|name| (name, None)).collect();
        let unknown = header::metadata(self.source.about(), &self.options.source, &unknown);
        let mut parts = Vec::new();
        for shard in shards {
            let mut part = stage.create(&shard.target)?;
            let flushed =
                part.file.try_clone().map_err(|source| Error::Write { path: shard.target.clone(), source })?;
            flush::meanwhile(&flushed, &shard.target, || self.write_shard(shard, &mut part, &unknown))?;
            parts.push(part);
        }
        for (shard, part) in shards.iter().zip(&parts) {
            flush::beside(&part.file, &shard.target, || self.check_shard(shard, part))?;
        }
        let metadata = header::metadata(self.source.about(), &self.options.source, &self.hashes(hashes)?);
        for (shard, part) in shards.iter().zip(&mut parts) {
            self.complete(shard, part, &metadata)?;
        }
        let index = (shards.len() > 1).then(|| {
            let index = header::index(self.source, shards, &metadata);
            let write =
                |file: &mut dyn Write| serde_json::to_writer_pretty(EscapedJson(file), &index).map_err(io::Error::from);
            text(stage, &Text { path: header::index_path(&self.options.target), kind: Kind::Index, write: &write })
        });
        let texts = texts.iter().map(|one| text(stage, one)).collect::<Result<_, _>>()?;
        self.commit(stage, shards, Finished { parts, index: index.transpose()?, texts })
    }

    /// Wait for the sources' hashes, which large files take long to give.
    fn hashes(&mut self, hashes: &Receiver<Result<Hashes, Error>>) -> Result<Hashes, Error> {
        loop {
            match hashes.recv_timeout(PAUSE) {
                Ok(found) => return found,
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Stopped),
                Err(RecvTimeoutError::Timeout) => {
                    let now = Progress { phase: Phase::Hashing, done: self.done, total: self.total, tensor: "".into() };
                    if !(self.watch)(now) {
                        return Err(Error::Stopped);
                    }
                }
            }
        }
    }

    /// Put the hashes into the header of a file whose tensors were compared, and read it back as well.
    fn complete(&self, shard: &Shard, part: &mut Part, metadata: &Map<String, Value>) -> Result<(), Error> {
        let header = header::header(self.source, shard, metadata);
        let written = part.file.seek(SeekFrom::Start(0)).and_then(|_| part.file.write_all(&header));
        let fault = |source| Error::Write { path: shard.target.clone(), source };
        written.and_then(|()| part.file.sync_all()).map_err(fault)?;
        let back = Bytes::open(&part.path).and_then(|bytes| bytes.read_range(0, header.len() as u64));
        if back.map_err(Error::Read)?.as_deref() != Some(header.as_slice()) {
            return Err(Error::Header { path: shard.target.clone() });
        }
        drop(header);
        // As any reader opens it: a header of another length than the one before would not fit the file.
        let back = Checkpoint::open(&part.path).map_err(Error::Read)?;
        check::Readers { source: self.source, back: &back, shard }.names()
    }

    fn write_shard(&mut self, shard: &Shard, part: &mut Part, metadata: &Map<String, Value>) -> Result<(), Error> {
        let fault = |source| Error::Write { path: shard.target.clone(), source };
        // A million small tensors are not a million writes.
        let mut out = BufWriter::with_capacity(BUFFER, &part.file);
        out.write_all(&header::header(self.source, shard, metadata)).map_err(fault)?;
        for slot in &shard.tensors {
            let entry = self.source.tensor(slot.entry);
            let mut loss = Loss::default();
            let mut count = 0u64;
            self.each(entry, slot, &mut loss, |bytes| {
                count += bytes.len() as u64;
                out.write_all(bytes).map_err(fault)
            })?;
            // The header was written by shapes alone.
            if count != slot.range.end - slot.range.start {
                let what = format!("{count} bytes came out where {} were expected", slot.range.end - slot.range.start);
                return Err(differs(shard, entry.name, what));
            }
            self.account(entry, slot, loss)?;
        }
        out.flush().map_err(fault)
    }

    /// The pieces of an entry as they are written, with progress reported in between.
    fn each(
        &mut self,
        entry: Described<'_>,
        slot: &Slot,
        loss: &mut Loss,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        cast_pieces(self.source, slot, Some(loss), |bytes| {
            take(bytes)?;
            self.done += bytes.len() as u64;
            let now = Progress { phase: Phase::Writing, done: self.done, total: self.total, tensor: entry.name.into() };
            if (self.watch)(now) { Ok(()) } else { Err(Error::Stopped) }
        })
    }

    fn account(&mut self, entry: Described<'_>, slot: &Slot, loss: Loss) -> Result<(), Error> {
        if self.options.strict && loss.overflowed > 0 {
            let (count, dtype) = (loss.overflowed, slot.dtype.name());
            return Err(Error::Overflow { name: entry.name.to_owned(), count, dtype });
        }
        if !loss.is_nothing() {
            self.result.losses.push((entry.name.to_owned(), loss));
        }
        if entry.dtype != slot.dtype {
            let casts = &mut self.result.casts;
            match casts.iter_mut().find(|(from, to, _)| (*from, *to) == (entry.dtype, slot.dtype)) {
                Some((.., count)) => *count += 1,
                None => casts.push((entry.dtype, slot.dtype, 1)),
            }
        }
        Ok(())
    }

    /// Open what was written as any reader would, and compare every tensor with a fresh conversion.
    fn check_shard(&mut self, shard: &Shard, part: &Part) -> Result<(), Error> {
        let back = Checkpoint::open(&part.path).map_err(Error::Read)?;
        let readers = check::Readers { source: self.source, back: &back, shard };
        readers.names()?;
        let (source, mut done, total) = (self.source, self.done, self.total);
        let watch = &mut self.watch;
        readers.all(|slot, bytes| {
            done += bytes;
            let tensor = source.tensor(shard.tensors[slot].entry).name;
            watch(Progress { phase: Phase::Comparing, done, total, tensor: tensor.into() })
        })?;
        self.done = done;
        Ok(())
    }

    /// Put every file in its place, the one that readers begin with last.
    fn commit(&mut self, stage: &Stage, shards: &[Shard], finished: Finished) -> Result<(), Error> {
        let target = &self.options.target;
        let index = header::index_path(target);
        self.result.files = shards.iter().map(|shard| shard.target.clone()).collect();
        self.result.bytes = shards.iter().map(|shard| shard.bytes).sum();
        // A signal finds all of it in its place, or nothing.
        let mut held = interrupt::hold();
        if finished.index.is_none() {
            finished.parts.into_iter().try_for_each(Part::place)?;
            // An index that was there led to other files.
            stage.remove(&index)?;
        } else {
            // Without its index a set of shards is no model: what is half replaced is absent.
            stage.remove(&index)?;
            stage.remove(target)?;
            sync_folder(target)?;
            finished.parts.into_iter().try_for_each(Part::place)?;
            sync_folder(target)?;
            finished.index.into_iter().try_for_each(Part::place)?;
            self.result.files.push(index);
        }
        finished.texts.into_iter().try_for_each(Part::place)?;
        held.finish();
        drop(held);
        Ok(stage.sync()?)
    }
}

/// Files that are whole and flushed, not yet in their places.
struct Finished {
    parts: Vec<Part>,
    index: Option<Part>,
    texts: Vec<Part>,
}

/// Write a small file: whole, and on the disk.
fn text(stage: &Stage, text: &Text<'_>) -> Result<Part, Error> {
    let part = stage.create(&text.path)?;
    let mut file = BufWriter::new(&part.file);
    let written = (text.write)(&mut file).and_then(|()| file.flush()).and_then(|()| part.file.sync_all());
    drop(file);
    written.map_err(|source| Error::Write { path: text.path.clone(), source })?;
    Ok(part)
}

/// The bytes of a tensor piece by piece, in the type that it is written in.
fn cast_pieces(
    source: &dyn Source,
    slot: &Slot,
    mut loss: Option<&mut Loss>,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    source.each(slot.entry, &mut |piece| {
        let dtype = piece.dtype.name();
        let name = || source.tensor(slot.entry).name.to_owned();
        let piece =
            cast::cast(piece, slot.dtype, loss.as_deref_mut()).ok_or_else(|| Error::Dtype { name: name(), dtype })?;
        take(&piece.bytes)?;
        spare::give_back(piece.bytes);
        Ok(())
    })
}

fn differs(shard: &Shard, name: &str, what: String) -> Error {
    Error::Differs { path: shard.target.clone(), name: name.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Source for Nothing {
        fn count(&self) -> usize {
            0
        }

        fn tensor(&self, _: usize) -> Described<'_> {
            Described { name: "", shape: &[], dtype: Dtype::Float32, written: Dtype::Float32 }
        }

        fn each(&self, _: usize, _: &mut dyn FnMut(TensorData) -> Result<(), Error>) -> Result<(), Error> {
            Ok(())
        }

        fn about(&self) -> Map<String, Value> {
            Map::new()
        }

        fn inputs(&self) -> Vec<&Checkpoint> {
            Vec::new()
        }
    }

    /// What waiting for hashes comes to.
    fn waited(hashes: &Receiver<Result<Hashes, Error>>, go_on: bool) -> Result<Hashes, Error> {
        let (target, source) = (PathBuf::from("out.safetensors"), "in".to_owned());
        let options = Options { target, force: false, shard_bytes: 1, strict: false, source };
        let mut watch = |now: Progress<'_>| now.phase == Phase::Hashing && go_on;
        let result = Written::default();
        Job { source: &Nothing, options: &options, done: 0, total: 0, watch: &mut watch, result }.hashes(hashes)
    }

    #[test]
    fn who_waits_for_hashes_can_be_stopped_and_hears_of_errors() {
        let (told, hashes) = mpsc::channel();
        assert!(matches!(waited(&hashes, false), Err(Error::Stopped)));
        told.send(Err(Error::Make { reason: "gone".to_owned() })).ok();
        assert!(matches!(waited(&hashes, true), Err(Error::Make { .. })));
        told.send(Ok(vec![("in".to_owned(), None)])).ok();
        assert!(matches!(waited(&hashes, true).as_deref(), Ok([_])));
        drop(told);
        assert!(matches!(waited(&hashes, true), Err(Error::Stopped)));
    }
}
