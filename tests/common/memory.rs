//! An allocator that knows how much memory was in use at most. It only counts, and hands on to the system's.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static EVER: AtomicUsize = AtomicUsize::new(0);
static TIMES: AtomicUsize = AtomicUsize::new(0);

/// Counts what is allocated.
pub struct Counting;

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        EVER.fetch_add(layout.size(), Ordering::Relaxed);
        TIMES.fetch_add(1, Ordering::Relaxed);
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let now = NOW.fetch_add(size, Ordering::Relaxed) + size;
        EVER.fetch_add(size.saturating_sub(layout.size()), Ordering::Relaxed);
        TIMES.fetch_add(1, Ordering::Relaxed);
        PEAK.fetch_max(now - layout.size(), Ordering::Relaxed);
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` gives, and the most memory that was in use beyond what was before, in bytes.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let base = NOW.load(Ordering::Relaxed);
    PEAK.store(base, Ordering::Relaxed);
    let result = work();
    (result, PEAK.load(Ordering::Relaxed).saturating_sub(base))
}

/// What `work` gives, and the bytes that were allocated for it, given back or not: what was done, however short it was kept.
#[allow(dead_code)]
pub fn allocated_by<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let base = EVER.load(Ordering::Relaxed);
    let result = work();
    (result, EVER.load(Ordering::Relaxed) - base)
}

/// What `work` gives, and how often memory was asked for in it, or more of it.
#[allow(dead_code)]
pub fn requests_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let base = TIMES.load(Ordering::Relaxed);
    let result = work();
    (result, TIMES.load(Ordering::Relaxed) - base)
}

/// What a file of that many bytes may take: 64 MiB and eight times itself.
#[allow(dead_code)]
pub fn bound(length: usize) -> usize {
    (64 << 20) + 8 * length
}
