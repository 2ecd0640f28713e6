//! Buffers that are used again. A file is converted piece by piece, several times over; memory that is given back to
//! the system after each piece and asked for again costs more time than the conversion.

use std::cell::RefCell;
use std::ops::RangeInclusive;

/// Lengths of buffers worth keeping: smaller ones cost the allocator nothing, larger ones are rare.
const KEPT: RangeInclusive<usize> = 64 << 10..=4 << 20;
/// A piece as it is read, moved and cast.
const MOST: usize = 3;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of that length to be filled: it holds anything. `None` where there is no memory for it.
pub fn buffer(length: usize) -> Option<Vec<u8>> {
    let used = KEPT.contains(&length).then(|| SPARE.with_borrow_mut(Vec::pop)).flatten();
    if let Some(mut buffer) = used.filter(|buffer| buffer.capacity() >= length) {
        buffer.resize(length, 0);
        return Some(buffer);
    }
    Vec::<u8>::new().try_reserve_exact(length).ok()?;
    // Zeroed by the system, page by page as they are filled.
    Some(vec![0; length])
}

/// Keep a buffer for this thread's next piece.
pub fn give_back(buffer: Vec<u8>) {
    if KEPT.contains(&buffer.capacity()) {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < MOST {
                spare.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_buffer_comes_back_at_the_length_asked_for() {
        let first = buffer(1 << 20).unwrap();
        let place = first.as_ptr();
        give_back(first);
        let again = buffer(100_000).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (place, 100_000));
        give_back(vec![0; 8 << 20]);
        assert_eq!(buffer(1 << 20).unwrap().len(), 1 << 20);
        assert!(buffer(usize::MAX).is_none());
    }
}
