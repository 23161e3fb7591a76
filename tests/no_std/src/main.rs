//! A program without `std`: its own allocator, its own clock, five limiters, and API keys. Exits with 0 if
//! they decide as they should.
#![no_std]
#![no_main]

extern crate alloc;

mod keys;

use alloc::{boxed::Box, vec, vec::Vec};
use core::{
    alloc::{GlobalAlloc, Layout},
    ffi::{c_char, c_int},
    panic::PanicInfo,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tollgate::{
    Clock, FixedWindow, LeakyBucket, Limiter, Quota, QuotaError, RateLimiter, SlidingLog, SlidingWindow, Timestamp,
    TokenBucket,
};

/// A clock of the program's own: a counter that somebody, a timer interrupt say, moves on.
struct TickClock(AtomicU64);

static CLOCK: TickClock = TickClock(AtomicU64::new(0));

impl Clock for TickClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

fn limiters() -> Result<Vec<Box<dyn Limiter>>, QuotaError> {
    let quota = Quota::per_second(2);
    Ok(vec![
        Box::new(RateLimiter::with_clock(FixedWindow::new(quota)?, &CLOCK)),
        Box::new(RateLimiter::with_clock(SlidingLog::new(quota)?, &CLOCK)),
        Box::new(RateLimiter::with_clock(SlidingWindow::new(quota)?, &CLOCK)),
        Box::new(RateLimiter::with_clock(TokenBucket::new(quota)?, &CLOCK)),
        Box::new(RateLimiter::with_clock(LeakyBucket::new(quota)?, &CLOCK)),
    ])
}

/// Two of three pass at once, and one more after two seconds.
fn decides_as_it_should(limiter: &dyn Limiter) -> bool {
    CLOCK.0.store(0, Ordering::Relaxed);
    let at_once = [limiter.check().is_ok(), limiter.check().is_ok(), limiter.check().is_ok()];
    CLOCK.0.store(Duration::from_secs(2).as_nanos() as u64, Ordering::Relaxed);
    at_once == [true, true, false] && limiter.check().is_ok()
}

#[unsafe(no_mangle)]
pub extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    match limiters() {
        Ok(limiters) if limiters.iter().all(|limiter| decides_as_it_should(&**limiter)) && keys::work() => 0,
        _ => 1,
    }
}

// The entry code of the C library calls `main`.
#[link(name = "c")]
unsafe extern "C" {
    fn abort() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: `abort` has no preconditions.
    unsafe { abort() }
}

/// The prebuilt `alloc` names it; nothing unwinds, as panics abort.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Hands out a fixed arena from front to back and takes nothing back.
struct Arena {
    memory: core::cell::UnsafeCell<[u8; Self::SIZE]>,
    used: AtomicUsize,
}

impl Arena {
    const SIZE: usize = 64 * 1024;
}

// SAFETY: each byte is handed out once, so no two threads ever get the same one.
unsafe impl Sync for Arena {}

// SAFETY: `alloc` returns memory inside the arena, aligned as asked, that overlaps no other block.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let room = layout.size() + layout.align();
        let start = self.used.fetch_add(room, Ordering::Relaxed);
        if start + room > Self::SIZE {
            return core::ptr::null_mut();
        }
        let block = self.memory.get().cast::<u8>().wrapping_add(start);
        block.wrapping_add(block.align_offset(layout.align()))
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static ARENA: Arena = Arena { memory: core::cell::UnsafeCell::new([0; Arena::SIZE]), used: AtomicUsize::new(0) };
