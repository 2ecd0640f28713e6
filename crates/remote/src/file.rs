//! One file elsewhere: which of its bytes are fetched, when, and what of an answer is believed.
//!
//! A byte is only ever read out of the store, and gets there only from an answer that says which bytes it has, of how long a file,
//! of which version, all as expected. The first answer says what the file is where no listing did; each further one must agree.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use t2m_checkpoint::mount::Ranges;

use super::client::{self, Answer, Ask, Client};
use super::error::{Error, Trouble};
use super::place::{Facts, Place, Target};
use super::store::{Folder, Store};
use super::url::Url;

/// Bytes are fetched in multiples of this: one request for a header of a hundred tensors.
const BLOCK: u64 = 16 << 10;
/// The most bytes of one request.
const LONGEST: u64 = 64 << 20;
/// The most that is fetched ahead where a file is read on and on.
const MOST_AHEAD: u64 = 8 << 20;
/// Reads that follow on each other before anything is fetched ahead.
const IN_A_ROW: u32 = 3;
/// So many are told apart.
const MOST_READERS: usize = 4;
/// Times in a row that nothing new may come of a request.
const TRIES: u32 = 3;
/// Bytes that are read at a time.
const STEP: usize = 256 << 10;

/// A file elsewhere.
#[derive(Debug)]
pub struct RemoteFile {
    client: Arc<Client>,
    place: Arc<Place>,
    target: Target,
    facts: Facts,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    store: Store,
    /// Where the last redirect led: the way there need not be gone for every block.
    resolved: Option<Url>,
    /// What the answers so far say of the version.
    tag: Option<String>,
    /// Who reads on and on: a file is written, hashed and compared at the same time.
    readers: VecDeque<Reader>,
}

/// Fetches that followed on each other.
#[derive(Debug, Clone, Copy)]
struct Reader {
    /// Where the last one ended.
    end: u64,
    /// How long it was.
    length: u64,
    /// How many there were.
    row: u32,
}

/// What an answer's headers say of its body.
struct Body {
    range: Range<u64>,
    length: Option<u64>,
}

impl RemoteFile {
    /// Open a file: with what a listing says of it, nothing is asked yet.
    ///
    /// # Errors
    /// It is not there, or its server cannot be asked.
    pub fn open(
        client: &Arc<Client>,
        place: &Arc<Place>,
        target: Target,
        folder: Option<&Arc<Folder>>,
    ) -> Result<RemoteFile, Error> {
        let mut state = State { store: Store::default(), resolved: None, tag: None, readers: VecDeque::new() };
        let (client, place) = (Arc::clone(client), Arc::clone(place));
        if let Some(facts) = target.listed.clone() {
            state.store = store(&target, &facts, folder);
            return Ok(RemoteFile { client, place, target, facts, state: Mutex::new(state) });
        }
        let facts = Facts { length: u64::MAX, version: String::new() };
        let mut file = RemoteFile { client, place, target, facts, state: Mutex::new(state) };
        file.ask_what_it_is(folder)?;
        Ok(file)
    }

    /// Find out length and version by a request for the first block.
    fn ask_what_it_is(&mut self, folder: Option<&Arc<Folder>>) -> Result<(), Error> {
        let mut tries = 1;
        loop {
            let mut state = self.lock();
            let answer = self.ask(&mut state, 0..BLOCK)?;
            if answer.status == 416 && length_of_416(&answer) == Some(0) {
                let version = tag(&answer).unwrap_or_default();
                drop(state);
                self.facts = Facts { length: 0, version };
                return Ok(());
            }
            let body = self.check(&answer, &(0..BLOCK))?;
            let version = tag(&answer).unwrap_or_default();
            state.tag = tag(&answer);
            let length = match body.length {
                Some(length) => length,
                None => self.length_of_endless(&answer)?,
            };
            let facts = Facts { length, version };
            state.store = store(&self.target, &facts, folder);
            let taken = self.take(&mut state, answer, &(body.range.start..body.range.end.min(length)));
            drop(state);
            self.facts = facts;
            match taken {
                Ok(_) => return Ok(()),
                Err(error) if error.trouble == Trouble::Passing && tries < TRIES => {
                    self.client.pause(client::pause_before(tries), &self.target.url)?;
                    tries += 1;
                }
                Err(error) => return Err(given_up(error)),
            }
        }
    }

    /// A whole file of which nobody says how long it is.
    fn length_of_endless(&self, answer: &Answer) -> Result<u64, Error> {
        let what = "the server says neither how long the file is nor sends parts of it; download it and open the file";
        Err(Error::new(Trouble::Whole, answer.url.to_string(), what))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ask for some of its bytes, along the way that is known; where that has expired, along the whole way.
    fn ask(&self, state: &mut State, range: Range<u64>) -> Result<Answer, Error> {
        let strong = state.tag.clone().filter(|tag| tag.starts_with('"'));
        loop {
            let (url, auth) = self.place.way(&self.target);
            let resolved = state.resolved.take();
            let known = resolved.is_some();
            let to = resolved.unwrap_or_else(|| url.clone());
            let auth = if to.is_same_server(&url) { auth } else { client::Auth::Nobody };
            let ask = Ask { url: &to, auth: &auth, range: Some(range.clone()), if_range: strong.as_deref() };
            let answer = self.client.send(&ask)?;
            match answer.status {
                200 | 206 | 416 => {
                    if !answer.url.is_same_server(&url) {
                        state.resolved = Some(answer.url.clone());
                    }
                    return Ok(answer);
                }
                // Signed addresses hold for a while.
                _ if known => {}
                _ if self.place.learns(&answer) => {}
                _ => return Err(self.place.explain(answer, &self.client)),
            }
        }
    }

    /// What an answer's headers say of its body, held against what was asked and what is known.
    fn check(&self, answer: &Answer, asked: &Range<u64>) -> Result<Body, Error> {
        let wrong = |trouble: Trouble, what: String| Error::new(trouble, answer.url.to_string(), what);
        if client::is_compressed(answer) {
            return Err(wrong(Trouble::Answer, client::COMPRESSED.to_owned()));
        }
        let declared = answer.header("content-length").and_then(|length| length.parse::<u64>().ok());
        let known = (self.facts.length != u64::MAX).then_some(self.facts.length);
        let body = match answer.status {
            200 => Body { range: 0..declared.unwrap_or(u64::MAX), length: declared },
            416 => {
                let what = match length_of_416(answer) {
                    Some(length) => format!("it has {length} bytes now: it was changed; start again"),
                    None => format!("the server has no bytes {} to {}", asked.start, asked.end - 1),
                };
                return Err(wrong(Trouble::Changed, what));
            }
            _ => {
                let said = answer.header("content-range");
                let Some((range, length)) = said.and_then(content_range) else {
                    let said = said.map_or("none".to_owned(), |said| format!("`{}`", super::error::words(said)));
                    return Err(wrong(
                        Trouble::Answer,
                        format!("it sends a part without a sound Content-Range: {said}"),
                    ));
                };
                if range.start != asked.start || range.end > asked.end {
                    let (asked, sent) = (shown(asked), shown(&range));
                    return Err(wrong(Trouble::Answer, format!("bytes {asked} were asked for, it sends {sent}")));
                }
                if declared.is_some_and(|declared| declared != range.end - range.start) {
                    let what = format!(
                        "it says that it sends bytes {}, which are not {} bytes",
                        shown(&range),
                        declared.unwrap_or_default()
                    );
                    return Err(wrong(Trouble::Answer, what));
                }
                Body { range, length: Some(length) }
            }
        };
        if let (Some(known), Some(length)) = (known, body.length)
            && known != length
        {
            let what = if self.target.listed.is_some() {
                format!(
                    "it has {length} bytes, the listing says {known}: it was changed, or another one is sent; start again"
                )
            } else {
                format!("it had {known} bytes, now it has {length}: it was changed meanwhile; start again")
            };
            return Err(wrong(Trouble::Changed, what));
        }
        Ok(body)
    }

    /// Whether an answer is of the version that is known.
    fn check_tag(&self, state: &mut State, answer: &Answer) -> Result<(), Error> {
        match (&state.tag, tag(answer)) {
            (Some(known), Some(now)) if *known != now => {
                let what = format!(
                    "it was changed between two requests (ETag {}, then {}); start again",
                    super::error::words(known),
                    super::error::words(&now)
                );
                Err(Error::new(Trouble::Changed, answer.url.to_string(), what))
            }
            (None, Some(now)) => {
                state.tag = Some(now);
                Ok(())
            }
            // All of it, where a part of one version was asked for: it is another.
            (Some(known), None) if answer.status == 200 && known.starts_with('"') => {
                let what = "it was changed between two requests; start again";
                Err(Error::new(Trouble::Changed, answer.url.to_string(), what))
            }
            _ => Ok(()),
        }
    }

    /// Take the bytes of an answer into the store. Says how many were new.
    fn take(&self, state: &mut State, mut answer: Answer, range: &Range<u64>) -> Result<u64, Error> {
        let whole = answer.status == 200;
        if whole {
            self.check_whole(range.end, &answer)?;
        }
        let mut buffer = vec![0; STEP];
        let (mut at, mut filled) = (range.start, 0);
        loop {
            let room = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(STEP);
            let broken = match buffer.get_mut(filled..room).filter(|rest| !rest.is_empty()) {
                None => None,
                Some(rest) => match answer.read(&self.client, rest) {
                    Ok(0) => Some(Error::new(
                        Trouble::Passing,
                        answer.url.to_string(),
                        format!(
                            "it sent {} of the {} bytes that it announced",
                            at + filled as u64 - range.start,
                            range.end - range.start
                        ),
                    )),
                    Ok(count) => {
                        filled += count;
                        None
                    }
                    Err(error) => Some(error),
                },
            };
            if filled == room || broken.is_some() {
                // What came before it broke is good.
                at += keep(&mut state.store, at, buffer.get(..filled).unwrap_or_default());
                filled = 0;
            }
            if let Some(error) = broken {
                return if at > range.start && error.trouble == Trouble::Passing {
                    Ok(at - range.start)
                } else {
                    Err(error)
                };
            }
            if at == range.end {
                break;
            }
        }
        // Whoever announces no length can go on for ever.
        if answer.read(&self.client, &mut [0; 1]).is_ok_and(|count| count > 0) {
            let what = format!("it sends more than the {} bytes that were asked for", range.end - range.start);
            return Err(Error::new(Trouble::Answer, answer.url.to_string(), what));
        }
        Ok(range.end - range.start)
    }

    /// Whether a file may be fetched whole because its server sends no parts.
    fn check_whole(&self, length: u64, answer: &Answer) -> Result<(), Error> {
        let most = self.client.settings.most_whole;
        if length <= most {
            return Ok(());
        }
        let what = format!(
            "the server sends whole files only, and this one has {length} bytes; {most} are fetched whole at most: T2M_REMOTE_WHOLE=SIZE allows more, or download it and open the file"
        );
        Err(Error::new(Trouble::Whole, answer.url.to_string(), what))
    }

    /// Fetch a byte and what is asked for behind it.
    fn fetch(&self, state: &mut State, offset: u64, wanted: u64) -> Result<(), Error> {
        let Some(gap) = state.store.gap(offset) else { return Ok(()) };
        let first = (offset / BLOCK * BLOCK).max(gap.start);
        let known = state.readers.iter().position(|reader| reader.end == first).and_then(|at| state.readers.remove(at));
        let row = known.map_or(0, |reader| reader.row + 1);
        let ahead = known.filter(|_| row >= IN_A_ROW).map_or(0, |reader| (2 * reader.length).min(MOST_AHEAD));
        let end = offset.saturating_add(wanted.max(ahead)).div_ceil(BLOCK).saturating_mul(BLOCK);
        let end = end.min(gap.end).min(self.facts.length).min(first.saturating_add(LONGEST));
        let (mut at, mut vain, mut tries) = (first, 0, 0);
        // A server that breaks off after every few bytes is not asked for ever.
        let most_tries = TRIES + u32::try_from((end - first) >> 20).unwrap_or(u32::MAX);
        while at < end {
            tries += 1;
            match self.fetch_some(state, at..end) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    at += count;
                    vain = 0;
                    if at < end && tries > most_tries {
                        let what = format!(
                            "it breaks off again and again, {} of {} bytes came: try again later",
                            at - first,
                            end - first
                        );
                        return Err(Error::new(Trouble::Unreachable, self.target.url.to_string(), what));
                    }
                }
                Err(error) if error.trouble == Trouble::Passing && vain + 1 < TRIES => {
                    vain += 1;
                    self.client.pause(client::pause_before(vain), &self.target.url)?;
                }
                Err(error) => return Err(given_up(error)),
            }
        }
        state.readers.truncate(MOST_READERS - 1);
        state.readers.push_front(Reader { end, length: end - first, row });
        Ok(())
    }

    /// Fetch bytes from the first of these on. Says how many; none where all of the file came.
    fn fetch_some(&self, state: &mut State, asked: Range<u64>) -> Result<u64, Error> {
        let answer = self.ask(state, asked.clone())?;
        self.check_tag(state, &answer)?;
        let body = self.check(&answer, &asked)?;
        let whole = answer.status == 200;
        if whole && body.length.is_none() {
            self.length_of_endless(&answer)?;
        }
        let taken = self.take(state, answer, &body.range)?;
        Ok(if whole { 0 } else { taken })
    }
}

/// Keep what is new of these bytes.
fn keep(store: &mut Store, offset: u64, bytes: &[u8]) -> u64 {
    let (mut at, end) = (offset, offset + bytes.len() as u64);
    while at < end {
        match store.gap(at) {
            Some(gap) => {
                let until = gap.end.min(end);
                let part = usize::try_from(at - offset).ok().zip(usize::try_from(until - offset).ok());
                store.keep(at, part.and_then(|(from, to)| bytes.get(from..to)).unwrap_or_default());
                at = until;
            }
            None => at = store.end_of_run(at).max(at + 1),
        }
    }
    bytes.len() as u64
}

fn store(target: &Target, facts: &Facts, folder: Option<&Arc<Folder>>) -> Store {
    // What nobody says the version of may be another one tomorrow.
    let folder = folder.filter(|_| !facts.version.is_empty());
    Store::open(folder, &format!("{}\n{}\n{}", target.identity, facts.version, facts.length))
}

/// An error that passes, but has not.
fn given_up(error: Error) -> Error {
    match error.trouble {
        Trouble::Passing => Error {
            trouble: Trouble::Unreachable,
            what: format!("{}, {TRIES} times; try again later", error.what),
            ..error
        },
        _ => error,
    }
}

/// What an answer says of the file's version.
fn tag(answer: &Answer) -> Option<String> {
    let tag = answer.header("etag").filter(|tag| !tag.is_empty());
    tag.or_else(|| answer.header("last-modified")).map(str::to_owned)
}

/// `bytes 0-99/1000`: the bytes, and the length of the file.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, length) = text.strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, length) =
        (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?, length.trim().parse().ok()?);
    (first <= last && last < length).then(|| (first..last + 1, length))
}

/// The length of the file out of `bytes */1000`.
fn length_of_416(answer: &Answer) -> Option<u64> {
    answer.header("content-range")?.strip_prefix("bytes")?.trim_start().strip_prefix("*/")?.parse().ok()
}

fn shown(range: &Range<u64>) -> String {
    format!("{} to {}", range.start, range.end.saturating_sub(1))
}

impl Ranges for RemoteFile {
    fn length(&self) -> u64 {
        self.facts.length
    }

    fn version(&self) -> &str {
        &self.facts.version
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.facts.length.saturating_sub(offset);
        let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let mut state = self.lock();
        // What was read may turn out damaged, and is fetched again; what was fetched is there.
        for _ in 0..2 {
            if let Some(count) = state.store.read(offset, buffer) {
                return Ok(count);
            }
            self.fetch(&mut state, offset, wanted as u64)?;
        }
        state.store.read(offset, buffer).ok_or_else(|| io::Error::other("what was fetched could not be kept"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_content_range_is_taken_apart() {
        assert_eq!(content_range("bytes 0-99/1000"), Some((0..100, 1000)));
        assert_eq!(content_range("bytes 5-5/6"), Some((5..6, 6)));
        for wrong in [
            "bytes 0-99/*",
            "bytes 9-0/10",
            "bytes 0-10/10",
            "items 0-1/2",
            "bytes */5",
            "",
            "bytes 0-18446744073709551615/1",
        ] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}
