//! Where a request comes from.

use std::net::{IpAddr, SocketAddr};

use tollgate::IpKey;

use super::{Identity, TrustedProxies, Unidentified};
use crate::RequestHead;

/// The other end of the connection, as an extension of the request, for servers that do not tell it in another way.
///
/// With the feature `axum`, axum's `ConnectInfo<SocketAddr>` does as well. For all others, something in front of the layers
/// here must insert it. tonic, for one, has an extension of its own, of which this makes ours:
///
/// ```
/// use tollgate_tower::identity::PeerAddr;
/// use tonic::transport::{Server, server::TcpConnectInfo};
/// # let limits = tower::layer::util::Identity::new();
///
/// let tell_peer = tower::util::MapRequestLayer::new(|mut request: http::Request<tonic::body::Body>| {
///     if let Some(peer) = request.extensions().get().and_then(TcpConnectInfo::remote_addr) {
///         request.extensions_mut().insert(PeerAddr(peer));
///     }
///     request
/// });
/// let server = Server::builder().layer(tell_peer).layer(limits);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// The address of the client, as an [`IpKey`]: all of an IPv4 address, the first bits of an IPv6 one.
///
/// ```
/// use http::Request;
/// use tollgate::IpKey;
/// use tollgate_tower::{RequestHead, identity::{ClientAddress, Identity, PeerAddr, TrustedProxies, Via}};
///
/// let mut request = Request::get("/").header("x-forwarded-for", "192.0.2.66, 192.0.2.1").body(())?;
/// request.extensions_mut().insert(PeerAddr("10.0.0.7:4711".parse()?));
/// let head = RequestHead::from(&request);
///
/// let peer = ClientAddress::peer();
/// assert_eq!(peer.address(&head)?.to_string(), "10.0.0.7");
///
/// // The proxy has added the last address; what is left of it was written by the client.
/// let client = ClientAddress::behind(TrustedProxies::new(Via::XForwardedFor).network("10.0.0.0/8".parse()?));
/// assert_eq!(client.address(&head)?.to_string(), "192.0.2.1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientAddress {
    proxies: Option<TrustedProxies>,
    prefix: u8,
}

impl ClientAddress {
    /// The other end of the connection, as the server tells it: axum only if it is served with
    /// `into_make_service_with_connect_info::<SocketAddr>()`, others by a [`PeerAddr`]. If the server does not, each request
    /// is refused, with 500.
    #[must_use]
    pub const fn peer() -> Self {
        Self { proxies: None, prefix: IpKey::DEFAULT_PREFIX }
    }

    /// The client of these proxies.
    #[must_use]
    pub const fn behind(proxies: TrustedProxies) -> Self {
        Self { proxies: Some(proxies), prefix: IpKey::DEFAULT_PREFIX }
    }

    /// So many bits of an IPv6 address count, 64 unless said otherwise.
    #[must_use]
    pub fn ipv6_prefix(self, bits: u8) -> Self {
        Self { prefix: bits, ..self }
    }

    /// The whole address.
    ///
    /// # Errors
    ///
    /// [`Unidentified`] if the server has not told the peer's, or a trusted proxy has not told its client's.
    pub fn address(&self, request: &RequestHead<'_>) -> Result<IpAddr, Unidentified> {
        let peer = peer(request).ok_or_else(|| Unidentified::unknown("peer's address"))?.ip().to_canonical();
        match &self.proxies {
            None => Ok(peer),
            Some(proxies) => proxies.client(peer, request.headers),
        }
    }
}

impl Identity for ClientAddress {
    type Key = IpKey;

    fn key(&self, request: &RequestHead<'_>) -> Result<IpKey, Unidentified> {
        Ok(IpKey::with_prefix(self.address(request)?, self.prefix))
    }
}

fn peer(request: &RequestHead<'_>) -> Option<SocketAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(peer)) = request.extensions.get() {
        return Some(*peer);
    }
    request.extensions.get().map(|PeerAddr(peer)| *peer)
}
