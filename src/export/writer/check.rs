//! Reading back: every tensor of a file is compared with a fresh conversion, several at a time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::Sender;

use super::header::{Shard, Slot};
use super::{Error, Source, cast_pieces, differs};
use t2m_checkpoint::{Checkpoint, TensorId, spare};

/// Threads that compare.
const MOST_THREADS: usize = 4;
/// Tensors of more bytes are made one at a time: making one may take it into memory whole.
const LARGE: u64 = 32 << 20;

/// A file that was written, opened again, and what it was made of.
pub(super) struct Readers<'a> {
    pub source: &'a dyn Source,
    pub back: &'a Checkpoint,
    pub shard: &'a Shard,
}

/// A slot of the shard, and bytes that were compared up to it since the last time.
type Compared = (usize, u64);
/// Tensors that are reported at once: a million small tensors are not a million messages.
const TOLD: u64 = 256 << 10;
/// Slots that a thread takes at a time.
const TAKEN: usize = 64;

impl Readers<'_> {
    /// Whether the file has the tensors that were written, in their types and shapes, and no others. A reader lists them in
    /// the order of their bytes, which is that of the slots.
    pub fn names(&self) -> Result<(), Error> {
        let found = &self.back.tensors;
        for (at, slot) in self.shard.tensors.iter().enumerate() {
            let entry = self.source.tensor(slot.entry);
            let tensor = found.get(at).filter(|tensor| tensor.name == entry.name);
            let tensor = tensor.ok_or_else(|| differs(self.shard, entry.name, "it is not there".to_owned()))?;
            let sizes = tensor.shape.iter().map(|&axis| axis as usize);
            if tensor.dtype != slot.dtype || !sizes.eq(entry.shape.iter().copied()) {
                return Err(differs(self.shard, entry.name, "its type or shape is another".to_owned()));
            }
        }
        match found.get(self.shard.tensors.len()) {
            Some(stranger) => Err(differs(self.shard, &stranger.name, "nobody wrote it".to_owned())),
            None => Ok(()),
        }
    }

    /// Compare every tensor, after [`Readers::names`] has found them. `watch` gets their number, and says whether to go on.
    pub fn all(&self, mut watch: impl FnMut(usize, u64) -> bool) -> Result<(), Error> {
        let (stop, next, large) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(()));
        let (told, heard) = crossbeam_channel::bounded::<Compared>(64);
        let work = |told: Sender<Compared>| -> Result<(), Error> {
            let mut untold = 0;
            loop {
                let first = next.fetch_add(TAKEN, Ordering::Relaxed);
                let slots = self.shard.tensors.iter().enumerate().skip(first).take(TAKEN);
                if first >= self.shard.tensors.len() || stop.load(Ordering::Relaxed) {
                    let _ = told.send((first.min(self.shard.tensors.len().saturating_sub(1)), untold));
                    return Ok(());
                }
                for (at, slot) in slots {
                    let _alone = (slot.range.end - slot.range.start > LARGE).then(|| large.lock());
                    let compared = |bytes: u64| {
                        untold += bytes;
                        let heard = untold < TOLD || told.send((at, std::mem::take(&mut untold))).is_ok();
                        if heard && !stop.load(Ordering::Relaxed) { Ok(()) } else { Err(Error::Stopped) }
                    };
                    if let Err(error) = self.one(slot, at, compared) {
                        stop.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let results: Vec<Result<(), Error>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.min(self.shard.tensors.len()))
                .map(|_| {
                    let (told, work) = (told.clone(), &work);
                    scope.spawn(move || work(told))
                })
                .collect();
            // The channel ends with the last worker.
            drop(told);
            for (slot, bytes) in heard {
                if !watch(slot, bytes) {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            workers.into_iter().map(|worker| worker.join().unwrap_or(Err(Error::Stopped))).collect()
        });
        // The first failure is reported, before the others that stopped because of it.
        let mut errors: Vec<Error> = results.into_iter().filter_map(Result::err).collect();
        errors.sort_by_key(|error| matches!(error, Error::Stopped));
        if errors.is_empty() && stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    fn one(&self, slot: &Slot, id: TensorId, mut compared: impl FnMut(u64) -> Result<(), Error>) -> Result<(), Error> {
        let entry = self.source.tensor(slot.entry);
        let mut reader = self.back.reader(id).map_err(Error::Read)?;
        let (mut at, size) = (0usize, slot.dtype.size());
        cast_pieces(self.source, slot, None, |bytes| {
            let read = reader.run(at..at + bytes.len() / size).map_err(Error::Read)?;
            if read.bytes != bytes {
                let apart = read.bytes.iter().zip(bytes).position(|(read, made)| read != made).unwrap_or(0);
                return Err(differs(self.shard, entry.name, format!("element {} differs", at + apart / size)));
            }
            spare::give_back(read.bytes);
            at += bytes.len() / size;
            compared(bytes.len() as u64)
        })
    }
}
