//! Python's grammar for tree-sitter, and how much memory its parser holds.
//!
//! The parser is C and allocates by itself: a few bytes of text can take it hundreds. Its allocator is the program's, with a
//! count beside it, so that a parse can be ended by what it holds. The count follows from the text and not from the machine.

#![allow(unsafe_code)]

use std::alloc::{self, Layout};
use std::cell::Cell;
use std::ffi::c_void;
use std::sync::Once;

use tree_sitter::{Allocator, Language};

/// Bytes in front of each allocation, in which its size stands; it keeps the alignment of C's `malloc`.
const FRONT: usize = 16;

thread_local! {
    /// Bytes that this thread has allocated and not freed; what another thread frees counts there.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// The grammar. Nothing of tree-sitter is used before it is asked for.
pub fn python() -> Language {
    static INSTALLED: Once = Once::new();
    let (malloc, calloc, realloc, free) = (allocate, allocate_zeroed, reallocate, release);
    // SAFETY: once, by one thread while others wait, and before any other use of tree-sitter: whoever wants to parse needs the
    // grammar first. The functions are one family, align to 16 bytes and end the program where there is no memory.
    INSTALLED.call_once(|| unsafe { tree_sitter::set_allocator(Some(Allocator { malloc, calloc, realloc, free })) });
    tree_sitter_python::LANGUAGE.into()
}

/// Bytes that tree-sitter holds by the account of this thread. Only a difference between two times says something.
pub fn held() -> isize {
    HELD.get()
}

fn count(change: isize) {
    // A thread that ends may free trees after its own numbers are gone.
    let _ = HELD.try_with(|held| held.set(held.get().wrapping_add(change)));
}

/// The layout of an allocation with what stands in front of it. More than the address space is an end like no memory.
fn layout(size: usize) -> Layout {
    let whole = size.checked_add(FRONT).and_then(|whole| Layout::from_size_align(whole, FRONT).ok());
    whole.unwrap_or_else(|| alloc::handle_alloc_error(Layout::new::<u128>()))
}

/// Note the size in front of what was allocated.
///
/// # Safety
/// `start` is null, or the beginning of an allocation of [`layout`].
unsafe fn noted(start: *mut u8, size: usize) -> *mut c_void {
    if start.is_null() {
        alloc::handle_alloc_error(layout(size));
    }
    count(size.cast_signed());
    // SAFETY: by the caller there are `FRONT` bytes, aligned for a number, in front of `size` others.
    unsafe {
        start.cast::<usize>().write(size);
        start.add(FRONT).cast()
    }
}

/// The beginning and the size of an allocation.
///
/// # Safety
/// `pointer` is one that [`noted`] gave and that was not freed.
unsafe fn found(pointer: *mut c_void) -> (*mut u8, usize) {
    // SAFETY: the size stands in front, as `noted` has written it.
    unsafe {
        let start = pointer.cast::<u8>().sub(FRONT);
        (start, start.cast::<usize>().read())
    }
}

unsafe extern "C" fn allocate(size: usize) -> *mut c_void {
    // SAFETY: the layout is not empty.
    unsafe { noted(alloc::alloc(layout(size)), size) }
}

unsafe extern "C" fn allocate_zeroed(count: usize, size: usize) -> *mut c_void {
    let size = count.saturating_mul(size);
    // SAFETY: as above.
    unsafe { noted(alloc::alloc_zeroed(layout(size)), size) }
}

unsafe extern "C" fn reallocate(pointer: *mut c_void, size: usize) -> *mut c_void {
    if pointer.is_null() {
        // SAFETY: as above.
        return unsafe { allocate(size) };
    }
    // SAFETY: tree-sitter gives back what it was given, once, and the layout is that of the allocation.
    unsafe {
        let (start, before) = found(pointer);
        let moved = alloc::realloc(start, layout(before), layout(size).size());
        count(-before.cast_signed());
        noted(moved, size)
    }
}

unsafe extern "C" fn release(pointer: *mut c_void) {
    if pointer.is_null() {
        return;
    }
    // SAFETY: as above.
    unsafe {
        let (start, size) = found(pointer);
        count(-size.cast_signed());
        alloc::dealloc(start, layout(size));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_tree_holds_is_counted_and_given_back() {
        let language = python();
        let before = held();
        let mut parser = tree_sitter::Parser::new();
        parser.set_language(&language).unwrap();
        let tree = parser.parse("x = ".to_owned() + &"a*".repeat(10_000) + "a\n", None).unwrap();
        drop(parser);
        let holds = held() - before;
        assert!((500_000..10_000_000).contains(&holds), "{holds}");
        drop(tree);
        assert_eq!(held(), before);
    }
}
