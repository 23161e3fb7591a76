//! The layer: what it asks of a request, and how it answers.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, StatusCode};
use tollgate::{
    IpKey,
    keys::{Gate, KeyStore, Refusal, Scope, UnixTime},
};
use tower_layer::Layer;

use super::{
    ApiKeyService,
    told::{Named, NamedLimits},
};
use crate::{
    Dialect, RequestHead, TextError,
    identity::{Identity, Unidentified},
    text::Text,
};

/// API keys in front of a service: a [`Gate`] is asked about each request.
///
/// The key is the value of the header `X-API-Key`, or the bearer token of `Authorization`. In both of them, or twice in
/// one, it is refused. It is never looked for in the query string, which ends up in logs. Both headers are marked
/// sensitive, so that nobody behind the layer prints them by accident.
///
/// A layer is a handle: clones share the gate, and so do those that the methods here make, so that each route can have its
/// own with its own scopes. What is granted reaches the handler as a [`Granted`](crate::Granted).
///
/// | refused | status, unless [another](Self::status) is chosen | `WWW-Authenticate` | gRPC |
/// | --- | --- | --- | --- |
/// | no key | 401 | `Bearer` | `UNAUTHENTICATED` |
/// | keys in two places | 400 | `Bearer error="invalid_request"` | `INVALID_ARGUMENT` |
/// | malformed, invalid, disabled, revoked, expired, not yet valid | 401 | `Bearer error="invalid_token"` | `UNAUTHENTICATED` |
/// | a scope is missing | 403 | `Bearer error="insufficient_scope"` | `PERMISSION_DENIED` |
/// | too many failed attempts, over a limit, out of credits | 429, with `Retry-After` | | `RESOURCE_EXHAUSTED` |
/// | costs more than the limit ever allows | 403 | | `RESOURCE_EXHAUSTED` |
/// | the store is unavailable | 503 | | `UNAVAILABLE` |
/// | without the address | that of [`Unidentified`] | | `INVALID_ARGUMENT`, or `INTERNAL` |
///
/// A request is to come through one layer only: by two, one in front of all routes and one with the scopes of some, it is
/// verified, charged and counted twice.
///
/// The body is a [`Problem`](crate::Problem). Nothing passes because the gate could not say: there is no way to open it.
///
/// The gate looks keys up on the thread that serves the request. Its store must not block for long: have the records in
/// memory, or a copy of them there. It only reads: that a key's digest is of an older scheme, the grant tells the handler, and
/// [`Gate::upgrade`] stores the new one.
///
/// ```
/// # use std::sync::Arc;
/// use http::{HeaderValue, Request, Response, StatusCode};
/// use tollgate::{
///     IpKey, KeyedLimiter, Quota, TokenBucket,
///     keys::{Digester, Gate, HangOn, Keyring, MemoryStore, NewKey, Prefix, Quotas, RecordLimiter, Scope},
/// };
/// use tollgate_tower::{
///     ApiKeyLayer, Granted,
///     identity::{ClientAddress, PeerAddr},
/// };
/// use tower::{Layer, ServiceExt, service_fn};
///
/// const READ: Scope<'static> = Scope::literal("orders:read");
///
/// // At most 20 wrong keys a minute from one address, and two requests a minute for one key and its rotations.
/// let failures = TokenBucket::new(Quota::per_minute(20))?;
/// let free = TokenBucket::new(Quota::per_minute(2))?;
/// let gate = Gate::new(Keyring::new(Digester::plain(), MemoryStore::new()))
///     .throttle(KeyedLimiter::<IpKey, _>::with_capacity(failures, 10_000))
///     .limit(RecordLimiter::per_family([free], Quotas::new(0), 10_000)?);
/// # use rand_core::SeedableRng;
/// # let mut generator = rand_chacha::ChaCha20Rng::seed_from_u64(1);
/// let new = NewKey::new(Prefix::literal("tg_live"), "acme").scopes("orders:*".parse()?);
/// let issued = gate.keyring().issue(new, &mut generator)?;
///
/// let keys = ApiKeyLayer::new(Arc::new(gate), ClientAddress::peer());
/// let service = keys.requires([READ]).layer(service_fn(async |request: Request<String>| {
///     let granted: &Granted = request.extensions().get().expect("nobody comes here without");
///     Ok::<_, std::convert::Infallible>(Response::new(granted.record.owner.to_string()))
/// }));
///
/// let mut request = Request::new(String::new());
/// request.extensions_mut().insert(PeerAddr("192.0.2.1:4711".parse()?));
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let refused = service.clone().oneshot(request.clone()).await?;
/// assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
///
/// request.headers_mut().insert("x-api-key", HeaderValue::from_str(issued.key.expose_secret())?);
/// assert_eq!(service.clone().oneshot(request.clone()).await?.status(), StatusCode::OK);
/// assert_eq!(service.clone().oneshot(request.clone()).await?.status(), StatusCode::OK);
/// assert_eq!(service.clone().oneshot(request.clone()).await?.status(), StatusCode::TOO_MANY_REQUESTS);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ApiKeyLayer<S: KeyStore> {
    asks: Arc<Asks<S>>,
}

/// What a layer asks of each request, and how it answers.
pub(super) struct Asks<S: KeyStore> {
    pub(super) gate: Arc<Gate<S>>,
    pub(super) from: Arc<From>,
    pub(super) header: HeaderName,
    pub(super) scopes: Arc<[Scope<'static>]>,
    pub(super) cost: Option<Arc<Cost>>,
    pub(super) status: Option<Arc<Status<S::Error>>>,
    pub(super) now: Arc<Now>,
    pub(super) named: Arc<NamedLimits>,
    pub(super) dialect: Dialect,
}

type From = dyn Fn(&RequestHead<'_>) -> Result<IpKey, Unidentified> + Send + Sync;
type Cost = dyn Fn(&RequestHead<'_>) -> u64 + Send + Sync;
type Status<E> = dyn Fn(&Refusal<E>) -> StatusCode + Send + Sync;
type Now = dyn Fn() -> UnixTime + Send + Sync;

impl<S: KeyStore> ApiKeyLayer<S> {
    /// The header that a key is in, unless it is in `Authorization`.
    pub const HEADER: HeaderName = HeaderName::from_static("x-api-key");

    /// Asks `gate` about each request, which comes from an address: that by which the gate limits failed attempts.
    ///
    /// A request without the address is refused, with the status of [`Unidentified`].
    #[must_use]
    pub fn new(gate: Arc<Gate<S>>, from: impl Identity<Key = IpKey>) -> Self {
        let asks = Asks {
            gate,
            from: Arc::new(move |request: &RequestHead<'_>| from.key(request)),
            header: Self::HEADER,
            scopes: Arc::new([]),
            cost: None,
            status: None,
            now: Arc::new(UnixTime::now),
            named: Arc::default(),
            dialect: Dialect::default(),
        };
        Self { asks: Arc::new(asks) }
    }

    /// The gate.
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate<S>> {
        &self.asks.gate
    }

    /// Requests must have all of these scopes, in place of those that were required before.
    #[must_use]
    pub fn requires(self, scopes: impl IntoIterator<Item = Scope<'static>>) -> Self {
        self.with(|asks| asks.scopes = scopes.into_iter().collect())
    }

    /// Looks for keys in the header of this name, in place of `X-API-Key`; and in `Authorization`, as always.
    #[must_use]
    pub fn header(self, name: HeaderName) -> Self {
        self.with(|asks| asks.header = name)
    }

    /// A request costs so many units of the gate's limits and so many credits, in place of 1.
    #[must_use]
    pub fn cost(self, cost: impl Fn(&RequestHead<'_>) -> u64 + Send + Sync + 'static) -> Self {
        self.with(|asks| asks.cost = Some(Arc::new(cost)))
    }

    /// Answers a refusal with the status that `status` says, in place of [`Refusal::status`].
    ///
    /// A refusal stays one: a status that is not of an error, none of 400 to 599, is not used. A call of gRPC is answered with
    /// the statuses of gRPC, whatever is said here.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tollgate::keys::{Digester, Gate, Keyring, MemoryStore};
    /// use http::StatusCode;
    /// use tollgate::keys::Refusal;
    /// # use tollgate_tower::{ApiKeyLayer, identity::ClientAddress};
    /// # let gate = Arc::new(Gate::new(Keyring::new(Digester::plain(), MemoryStore::<()>::new())));
    ///
    /// let keys = ApiKeyLayer::new(gate, ClientAddress::peer()).status(|refusal| match refusal {
    ///     Refusal::Missing => StatusCode::BAD_REQUEST,
    ///     _ => StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::FORBIDDEN),
    /// });
    /// ```
    #[must_use]
    pub fn status(self, status: impl Fn(&Refusal<S::Error>) -> StatusCode + Send + Sync + 'static) -> Self {
        self.with(|asks| asks.status = Some(Arc::new(status)))
    }

    /// Tells clients of one more of the gate's limits, in the order in which it has them: its name, and the time in which
    /// it counts, the period of its quotas. Clients are told of none otherwise.
    ///
    /// What they are told is the limit of the key's own tier. Of a bucket with a burst of its own, that is the burst.
    ///
    /// # Errors
    ///
    /// [`TextError`] unless the name is of 1 to 64 printable ASCII characters.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use tollgate::keys::{Digester, Gate, Keyring, MemoryStore};
    /// # use tollgate_tower::{ApiKeyLayer, identity::ClientAddress};
    /// # let gate = Arc::new(Gate::new(Keyring::new(Digester::plain(), MemoryStore::<()>::new())));
    /// // A gate with one limit, of so many requests in 5 seconds: `RateLimit: "key";r=1;t=5`.
    /// let keys = ApiKeyLayer::new(gate, ClientAddress::peer()).tell("key", Duration::from_secs(5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tell(self, name: &str, window: Duration) -> Result<Self, TextError> {
        let named = Named { name: Text::new(name)?, window };
        Ok(self.with(|asks| asks.named = Arc::new(asks.named.and(named))))
    }

    /// Clients are told of limits in these headers.
    #[must_use]
    pub fn dialect(self, dialect: Dialect) -> Self {
        self.with(|asks| asks.dialect = dialect)
    }

    /// The time by which keys expire and credits are refilled is that of `now`, in place of [`UnixTime::now`].
    #[must_use]
    pub fn time(self, now: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        self.with(|asks| asks.now = Arc::new(now))
    }

    fn with(mut self, change: impl FnOnce(&mut Asks<S>)) -> Self {
        change(Arc::make_mut(&mut self.asks));
        self
    }
}

impl<S: KeyStore, Inner> Layer<Inner> for ApiKeyLayer<S> {
    type Service = ApiKeyService<Inner, S>;

    fn layer(&self, inner: Inner) -> Self::Service {
        ApiKeyService::new(inner, Arc::clone(&self.asks))
    }
}

/// A count: what is cloned is a handle.
impl<S: KeyStore> Clone for ApiKeyLayer<S> {
    fn clone(&self) -> Self {
        Self { asks: Arc::clone(&self.asks) }
    }
}

impl<S: KeyStore> Clone for Asks<S> {
    fn clone(&self) -> Self {
        let Self { gate, from, header, scopes, cost, status, now, named, dialect } = self;
        Self {
            gate: Arc::clone(gate),
            from: Arc::clone(from),
            header: header.clone(),
            scopes: Arc::clone(scopes),
            cost: cost.clone(),
            status: status.clone(),
            now: Arc::clone(now),
            named: Arc::clone(named),
            dialect: *dialect,
        }
    }
}

impl<S: KeyStore> fmt::Debug for ApiKeyLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Asks { header, scopes, .. } = &*self.asks;
        f.debug_struct("ApiKeyLayer").field("header", header).field("scopes", scopes).finish_non_exhaustive()
    }
}
