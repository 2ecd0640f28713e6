//! Reading back: every tensor of a file is compared with a fresh conversion, several at a time.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::Sender;

use super::header::{Shard, Slot};
use super::{Error, Source, cast_pieces, differs};
use crate::checkpoint::{Checkpoint, TensorId, spare};

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

/// A slot of the shard, and bytes of it that were compared.
type Compared = (usize, u64);

impl Readers<'_> {
    /// Whether the file has the tensors that were written, in their types and shapes, and no others.
    pub fn names(&self) -> Result<(), Error> {
        let mut found = self.found();
        for slot in &self.shard.tensors {
            let entry = &self.source.tensors()[slot.entry];
            let id = found.remove(entry.name.as_str());
            let id = id.ok_or_else(|| differs(self.shard, entry, "it is not there".to_owned()))?;
            let tensor = &self.back.tensors[id];
            let sizes = tensor.shape.iter().map(|&axis| axis as usize);
            if tensor.dtype != slot.dtype || !sizes.eq(entry.shape.iter().copied()) {
                return Err(differs(self.shard, entry, "its type or shape is another".to_owned()));
            }
        }
        let stranger = |name: &&str| Error::Differs {
            path: self.shard.target.clone(),
            name: (*name).to_owned(),
            what: "nobody wrote it".to_owned(),
        };
        found.keys().next().map_or(Ok(()), |name| Err(stranger(name)))
    }

    fn found(&self) -> HashMap<&str, TensorId> {
        self.back.tensors.iter().enumerate().map(|(id, tensor)| (tensor.name.as_str(), id)).collect()
    }

    /// Compare every tensor. `watch` is told of each piece, and says whether to go on.
    pub fn all(&self, mut watch: impl FnMut(usize, u64) -> bool) -> Result<(), Error> {
        let (stop, next, large) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(()));
        let found = self.found();
        let (told, heard) = crossbeam_channel::bounded::<Compared>(64);
        let work = |told: Sender<Compared>| -> Result<(), Error> {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(slot) = self.shard.tensors.get(at).filter(|_| !stop.load(Ordering::Relaxed)) else {
                    return Ok(());
                };
                let _alone = (slot.range.end - slot.range.start > LARGE).then(|| large.lock());
                let compared = |bytes: u64| {
                    let heard = told.send((at, bytes)).is_ok();
                    if heard && !stop.load(Ordering::Relaxed) { Ok(()) } else { Err(Error::Stopped) }
                };
                if let Err(error) = self.one(slot, found[self.source.tensors()[slot.entry].name.as_str()], compared) {
                    stop.store(true, Ordering::Relaxed);
                    return Err(error);
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
        // What went wrong is said before that others stopped for it.
        let mut errors: Vec<Error> = results.into_iter().filter_map(Result::err).collect();
        errors.sort_by_key(|error| matches!(error, Error::Stopped));
        if errors.is_empty() && stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    fn one(&self, slot: &Slot, id: TensorId, compared: impl Fn(u64) -> Result<(), Error>) -> Result<(), Error> {
        let entry = &self.source.tensors()[slot.entry];
        let mut reader = self.back.reader(id).map_err(Error::Read)?;
        let (mut at, size) = (0usize, slot.dtype.size());
        cast_pieces(self.source, slot, None, |bytes| {
            let read = reader.run(at..at + bytes.len() / size).map_err(Error::Read)?;
            if read.bytes != bytes {
                let apart = read.bytes.iter().zip(bytes).position(|(read, made)| read != made).unwrap_or(0);
                return Err(differs(self.shard, entry, format!("element {} differs", at + apart / size)));
            }
            spare::give_back(read.bytes);
            at += bytes.len() / size;
            compared(bytes.len() as u64)
        })
    }
}
