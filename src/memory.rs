//! Large arrays of atomics: zeroed without being touched, and fetched before they are needed.
//!
//! The only file with `unsafe` code, both times for speed: an array that is written to be zeroed is committed by the
//! operating system at once, all of it, and a table that cannot ask for its lines ahead of time waits for each of them
//! in turn.

use alloc::boxed::Box;

use crate::sync::AtomicU64;

/// `len` zeros, which the operating system commits page by page as they are first written.
///
/// # Panics
///
/// If that many bytes are more than can be addressed; aborts if they cannot be had, as all allocations do.
#[cfg(not(loom))]
#[allow(unsafe_code)]
pub(crate) fn zeroed(len: usize) -> Box<[AtomicU64]> {
    use alloc::alloc::{Layout, alloc_zeroed, handle_alloc_error};

    let layout = Layout::array::<AtomicU64>(len).expect("capacity overflow");
    if layout.size() == 0 {
        return Box::default();
    }
    // SAFETY: the size is not zero. Zeroed memory of this layout is a valid slice of so many atomics, all of them 0, and
    // the layout is the one by which a box of it is freed. Where the allocation failed, it is not used.
    unsafe {
        let pointer = alloc_zeroed(layout).cast::<AtomicU64>();
        if pointer.is_null() {
            handle_alloc_error(layout);
        }
        Box::from_raw(core::ptr::slice_from_raw_parts_mut(pointer, len))
    }
}

/// As many zeros: the model checker's atomics have to be made one by one.
#[cfg(loom)]
pub(crate) fn zeroed(len: usize) -> Box<[AtomicU64]> {
    (0..len).map(|_| AtomicU64::new(0)).collect()
}

/// Asks the processor for the line of `word`, and does not wait for it. Does nothing where there is no such instruction.
#[inline(always)]
#[allow(unsafe_code, unused_variables)]
pub(crate) fn prefetch(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    // SAFETY: a prefetch of any address does nothing that a program can observe, and this one is valid. SSE, which has the
    // instruction, is part of every x86-64.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(word).cast());
    }
}
