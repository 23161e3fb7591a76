//! What something in front of a service adds to a request: the service with and without it, in turns.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fmt::Debug,
    future::Future,
    hint::black_box,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Instant,
};

use http::{Request, Response};
use tower::Service;

/// Counts allocations, and leaves them to the system's allocator.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: the calls are passed on as they come.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller has promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller has promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: usize = 60;
const REQUESTS: u32 = 20_000;

/// Nanoseconds, and allocations, that a request takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) nanos: f64,
    pub(crate) allocations: u64,
}

/// The cost of a request to `bare`, and what `kept` adds to it: medians of many rounds in turns.
pub(crate) fn compare<B, R>(
    mut bare: impl Service<Request<B>, Response = Response<R>, Error: Debug>,
    mut kept: impl Service<Request<B>, Error: Debug>,
    request: impl Fn() -> Request<B>,
) -> (Cost, Cost) {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(time(|| drop(black_box(answer_of(bare.call(request()))))));
        with.push(time(|| drop(black_box(answer_of(kept.call(request()))))));
    }
    let allocations =
        [allocations(|| drop(answer_of(bare.call(request())))), allocations(|| drop(answer_of(kept.call(request()))))];
    let nanos = [median(without), median(with)];
    let added = Cost { nanos: nanos[1] - nanos[0], allocations: allocations[1] - allocations[0] };
    (Cost { nanos: nanos[0], allocations: allocations[0] }, added)
}

fn allocations(request: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    request();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

fn time(mut request: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..REQUESTS).for_each(|_| request());
    start.elapsed().div_f64(f64::from(REQUESTS)).as_secs_f64() * 1e9
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The answer of a service that does not wait for anything.
pub(crate) fn answer_of<R, E: Debug>(future: impl Future<Output = Result<R, E>>) -> R {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.expect("the service does not fail"),
        Poll::Pending => unreachable!("nothing here waits"),
    }
}
