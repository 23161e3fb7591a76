//! What an [`ApiKeyLayer`] adds to a request, without sockets: the same service with and without it, in turns; and what of
//! it the [`Gate`] takes when it is called alone.
//!
//! ```sh
//! cargo bench -p tollgate-tower --bench api_key
//! ```

use std::{
    alloc::{GlobalAlloc, Layout, System},
    convert::Infallible,
    future::Future,
    hint::black_box,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue, Request, Response};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use tollgate::{
    IpKey, KeyedLimiter, Quota, TokenBucket,
    keys::{Attempt, Digester, Gate, Keyring, MemoryStore, NewKey, Prefix, Quotas, RecordLimiter, Scope, UnixTime},
};
use tollgate_tower::{
    ApiKeyLayer,
    identity::{ClientAddress, PeerAddr},
};
use tower::{Layer, Service, service_fn};

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

const READ: Scope<'static> = Scope::literal("orders:read");
const ROUNDS: usize = 60;
const REQUESTS: u32 = 20_000;

fn main() {
    let digesters =
        [("sha256", Digester::plain()), ("hmac-sha256", Digester::peppered(1, &[7; 32]).expect("long enough"))];
    println!("{:<44} {:>12} {:>12} {:>12} {:>12}", "ns a request", "all", "layer", "gate", "allocations");
    for (scheme, digester) in digesters {
        for (case, limits) in [("verified", 0), ("verified, throttled, limited", 1)] {
            measure(&format!("{scheme}, {case}"), gate(digester.clone(), limits), true);
        }
        measure(&format!("{scheme}, refused: wrong secret"), gate(digester, 0), false);
    }
}

/// A gate that verifies, and may also limit failures and requests, at rates that nobody reaches.
fn gate(digester: Digester, limits: usize) -> Gate<MemoryStore> {
    let never = TokenBucket::new(Quota::per_second(1_000_000_000)).expect("a quota");
    let mut gate = Gate::new(Keyring::new(digester, MemoryStore::new()));
    if limits > 0 {
        gate = gate.throttle(KeyedLimiter::<IpKey, _>::with_capacity(never, 1_000));
    }
    for _ in 0..limits {
        gate = gate.limit(RecordLimiter::per_family([never], Quotas::new(0), 1_000).expect("one tier"));
    }
    gate
}

fn measure(name: &str, gate: Gate<MemoryStore>, right: bool) {
    let mut generator = ChaCha20Rng::seed_from_u64(1);
    let new = || NewKey::new(Prefix::literal("tg_live"), "acme").scopes("orders:*".parse().expect("scopes"));
    let issued = gate.keyring().issue(new(), &mut generator).expect("the store is empty");
    let other = new().issue(gate.keyring().digester(), &mut generator).expect("a good generator");
    let key = if right { issued.key } else { other.key };
    let header = HeaderValue::from_str(key.expose_secret()).expect("it is ASCII");
    let request = || {
        let mut request = Request::new(0_u8);
        request.headers_mut().insert(HeaderName::from_static("x-api-key"), header.clone());
        request.extensions_mut().insert(PeerAddr(SocketAddr::from(([192, 0, 2, 1], 4711))));
        request
    };
    let answer =
        |request: Request<u8>| std::future::ready(Ok::<_, Infallible>(Response::new(black_box(request).into_body())));
    let mut bare = service_fn(answer);
    let gate = Arc::new(gate);
    let layer = ApiKeyLayer::new(Arc::clone(&gate), ClientAddress::peer()).requires([READ]);
    let mut kept = layer.layer(service_fn(answer));
    let status = answer_of(kept.call(request())).status();
    assert_eq!(status.is_success(), right, "{status}");

    let from = IpKey::from(Ipv4Addr::new(192, 0, 2, 1));
    let check = || {
        let attempt = Attempt::new(header.as_bytes(), from, UnixTime::now()).requires(&[READ]);
        assert_eq!(black_box(gate.check(&attempt)).is_ok(), right);
    };

    let (mut without, mut with, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(time(|| drop(black_box(answer_of(bare.call(request()))))));
        with.push(time(|| drop(black_box(answer_of(kept.call(request()))))));
        alone.push(time(check));
    }
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    drop(answer_of(bare.call(request())));
    let between = ALLOCATIONS.load(Ordering::Relaxed);
    drop(answer_of(kept.call(request())));
    let after = ALLOCATIONS.load(Ordering::Relaxed);
    let (layer, alone) = (median(with.clone()) - median(without), median(alone));
    let allocations = after - between - (between - before);
    println!("{name:<44} {:>12.0} {layer:>12.0} {alone:>12.0} {allocations:>12}", median(with));
}

fn time(mut request: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..REQUESTS).for_each(|_| request());
    start.elapsed().div_f64(f64::from(REQUESTS)).max(Duration::from_nanos(1)).as_nanos() as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn answer_of<R, E: std::fmt::Debug>(future: impl Future<Output = Result<Response<R>, E>>) -> Response<R> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.expect("the service does not fail"),
        Poll::Pending => unreachable!("nothing here waits"),
    }
}
