//! The layer: its policies, what a request costs, and how it is answered.

use std::{fmt, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Response};
use tollgate::Headroom;
use tower_layer::Layer;

use super::{RateLimitService, Refusal};
use crate::{Dialect, Policy, RequestHead, ResponseHead, dialect};

/// Limits in front of a service: a request passes if all policies let it pass, and is charged to all or to none.
///
/// The layer is a handle: clones share the limiters. Whichever way it is put in front of services, once for all routes or
/// once for each, these are limited together; for a limit of its own, make a layer of its own.
///
/// What is refused is [answered](Refusal) without asking the service, and costs nothing. What passes gets the headers of a
/// [`Dialect`]; its body, and that of the request, are passed on as they are. Several layers, one behind the other, tell of
/// their limits once, but each takes what it takes: a request that an outer layer has charged and an inner refuses stays
/// charged. Put policies into one layer where that matters.
///
/// ```
/// use http::{Request, Response};
/// use tollgate::{IpKey, KeyedLimiter, ManualClock, Quota, TokenBucket};
/// use tollgate_tower::{Policy, RateLimitLayer, identity::{ClientAddress, PeerAddr}};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bucket = TokenBucket::new(Quota::per_second(1))?;
/// let clients = KeyedLimiter::<IpKey, _, _>::with_clock(bucket, 100_000, ManualClock::new());
/// let layer = RateLimitLayer::new([Policy::keyed("client", ClientAddress::peer(), clients)?])?;
///
/// let hello = service_fn(async |_: Request<String>| Ok::<_, std::convert::Infallible>(Response::new(String::from("hello"))));
/// let mut service = layer.layer(hello);
/// let request = || {
///     let mut request = Request::new(String::new());
///     request.extensions_mut().insert(PeerAddr(([192, 0, 2, 1], 4711).into()));
///     request
/// };
///
/// let allowed = service.ready().await?.call(request()).await?;
/// assert_eq!(allowed.headers()["ratelimit"], r#""client";r=0;t=1"#);
/// assert_eq!(allowed.headers()["ratelimit-policy"], r#""client";q=1;w=1"#);
///
/// let refused = service.ready().await?.call(request()).await?;
/// assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1".parse()?));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RateLimitLayer {
    rules: Arc<Rules>,
}

/// What a layer and its services share.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) policies: Arc<[Policy]>,
    /// What the header of all policies says, where all keys have the same quotas, and keep them.
    pub(super) told: Option<HeaderValue>,
    pub(super) dialect: Dialect,
    pub(super) cost: Option<Arc<Cost>>,
    pub(super) leave: Option<Arc<Leave>>,
    pub(super) settle: Option<Arc<Settle>>,
    pub(super) respond: Arc<Respond>,
    pub(super) calendar: Arc<Calendar>,
}

type Cost = dyn Fn(&RequestHead<'_>) -> u64 + Send + Sync;
type Leave = dyn Fn(&RequestHead<'_>) -> Headroom + Send + Sync;
type Settle = dyn Fn(&ResponseHead<'_>, u64) -> u64 + Send + Sync;
type Calendar = dyn Fn() -> SystemTime + Send + Sync;
type Respond = dyn Fn(&RequestHead<'_>, Refusal<'_>) -> Response<Bytes> + Send + Sync;

/// Policies that cannot be in one layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// There are none.
    #[error("a layer without a policy limits nothing; give it at least one")]
    NoPolicy,

    /// Two of them have the same name.
    #[error(
        "two policies of one layer are called {name:?}; clients could not tell them apart, so give each a name of its own"
    )]
    SameName {
        /// The name.
        name: String,
    },
}

impl RateLimitLayer {
    /// All of these policies at once.
    ///
    /// They must go by the same clock. Where one is looked at first and charged last, it is the last of them: put the one
    /// that most requests share there.
    ///
    /// # Errors
    ///
    /// [`LayerError`] if there is none, or two have the same name.
    pub fn new(policies: impl IntoIterator<Item = Policy>) -> Result<Self, LayerError> {
        let policies: Arc<[Policy]> = policies.into_iter().collect();
        if policies.is_empty() {
            return Err(LayerError::NoPolicy);
        }
        for (index, policy) in policies.iter().enumerate() {
            if policies[..index].iter().any(|before| before.name() == policy.name()) {
                return Err(LayerError::SameName { name: policy.name().to_owned() });
            }
        }
        let quotas: Option<Vec<_>> = policies.iter().map(|policy| policy.counter.fixed_quota()).collect();
        let told = quotas.map(|quotas| {
            let list = policies.iter().zip(quotas);
            dialect::policies(list.map(|(policy, quota)| policy.told(quota)))
        });
        let rules = Rules {
            policies,
            told,
            dialect: Dialect::default(),
            cost: None,
            leave: None,
            settle: None,
            respond: Arc::new(|request, refusal| refusal.answer(request)),
            calendar: Arc::new(SystemTime::now),
        };
        Ok(Self { rules: Arc::new(rules) })
    }

    /// The same layer, but clients are told of its limits in these headers.
    #[must_use]
    pub fn dialect(self, dialect: Dialect) -> Self {
        self.with(|rules| rules.dialect = dialect)
    }

    /// The same layer, but a request costs what `cost` says, in units of all policies; 1 otherwise.
    ///
    /// What costs 0 takes nothing, and passes if a unit is left.
    ///
    /// ```
    /// # use tollgate::{Quota, RateLimiter, TokenBucket};
    /// # use tollgate_tower::{Policy, RateLimitLayer, RequestHead};
    /// let megabyte = TokenBucket::new(Quota::per_second(1_000_000))?;
    /// let uploads = Policy::global("uploads", RateLimiter::new(megabyte))?.unit("content-bytes")?;
    /// // A body without a length is charged as if it were the largest that is accepted.
    /// let cost = |request: &RequestHead<'_>| request.content_length().unwrap_or(100_000);
    /// let layer = RateLimitLayer::new([uploads])?.cost(cost);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cost(self, cost: impl Fn(&RequestHead<'_>) -> u64 + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.cost = Some(Arc::new(cost)))
    }

    /// The same layer, but a request must leave what `priority` says for others: a [`Priority`](tollgate::Priority), or a
    /// [`Headroom`]. Nothing otherwise.
    ///
    /// ```
    /// # use tollgate::{Priority, Quota, RateLimiter, TokenBucket};
    /// # use tollgate_tower::{Policy, RateLimitLayer, RequestHead};
    /// # let bucket = TokenBucket::new(Quota::per_second(100))?;
    /// # let layer = RateLimitLayer::new([Policy::global("everybody", RateLimiter::new(bucket))?])?;
    /// let layer = layer.priority(|request: &RequestHead<'_>| match request.uri.path() {
    ///     "/checkout" => Priority::Critical,
    ///     "/report" => Priority::Background,
    ///     _ => Priority::Normal,
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn priority<P: Into<Headroom>>(self, priority: impl Fn(&RequestHead<'_>) -> P + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.leave = Some(Arc::new(move |request| priority(request).into())))
    }

    /// The same layer, but once the response begins, a request has cost what `settle` says, which is also told what was
    /// taken: less is given back; of more, as much is taken as is left, and no more.
    ///
    /// Nothing is given back once time has regained what was taken, as the window has ended, or the bucket would be full by
    /// now. Until then it is given back as by [`Limiter::refund_at`](tollgate::Limiter::refund_at).
    ///
    /// It is not asked where the service fails without a response, or the client leaves before it begins. Then what was taken
    /// is taken.
    ///
    /// ```
    /// # use tollgate::{Quota, RateLimiter, TokenBucket};
    /// # use tollgate_tower::{Policy, RateLimitLayer, ResponseHead};
    /// # let bucket = TokenBucket::new(Quota::per_second(100))?;
    /// # let layer = RateLimitLayer::new([Policy::global("everybody", RateLimiter::new(bucket))?])?;
    /// // Our own failures are free.
    /// let layer = layer.settle(|response: &ResponseHead<'_>, cost| {
    ///     if response.status.is_server_error() { 0 } else { cost }
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn settle(self, settle: impl Fn(&ResponseHead<'_>, u64) -> u64 + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.settle = Some(Arc::new(settle)))
    }

    /// The same layer, but what is refused is answered by `respond`. `Retry-After` and the headers of the dialect are
    /// added, where the response has them not.
    ///
    /// Otherwise a call of gRPC is answered with the status `RESOURCE_EXHAUSTED`, and all else with
    /// [`Refusal::into_response`].
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use http::Response;
    /// # use tollgate::{Quota, RateLimiter, TokenBucket};
    /// # use tollgate_tower::{Policy, RateLimitLayer, Refusal, RequestHead};
    /// # let bucket = TokenBucket::new(Quota::per_second(100))?;
    /// # let layer = RateLimitLayer::new([Policy::global("everybody", RateLimiter::new(bucket))?])?;
    /// let layer = layer.respond(|_: &RequestHead<'_>, refusal: Refusal<'_>| {
    ///     let mut response = Response::new(Bytes::from_static(b"slow down"));
    ///     *response.status_mut() = refusal.status();
    ///     response
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn respond(
        self,
        respond: impl Fn(&RequestHead<'_>, Refusal<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.with(|rules| rules.respond = Arc::new(respond))
    }

    /// The same layer, but [`Dialect::XEpoch`] goes by this calendar, in place of the system's.
    #[must_use]
    pub fn calendar(self, calendar: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.calendar = Arc::new(calendar))
    }

    fn with(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(Arc::make_mut(&mut self.rules));
        self
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> RateLimitService<S> {
        RateLimitService::new(inner, Arc::clone(&self.rules))
    }
}

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.fmt(f)
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("policies", &self.policies)
            .field("dialect", &self.dialect)
            .finish_non_exhaustive()
    }
}
