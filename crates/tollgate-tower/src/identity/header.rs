//! What a header says.

use http::{HeaderName, HeaderValue};

use super::{Identity, Unidentified};
use crate::RequestHead;

/// What a header says: whatever the client likes, unless a proxy of yours sets it.
///
/// A request has this identity if the header is there once and not empty. Of a client who can choose it, limit the address
/// too, or the number of its values is the number of its quotas.
///
/// ```
/// use http::{HeaderName, Request};
/// use tollgate_tower::{RequestHead, identity::{Header, Identity}};
///
/// let tenant = Header::new(HeaderName::from_static("x-tenant"));
/// let request = Request::get("/").header("x-tenant", "acme").body(())?;
/// assert_eq!(tenant.key(&RequestHead::from(&request)).unwrap(), "acme");
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Header {
    name: HeaderName,
}

impl Header {
    /// What the header of this name says.
    #[must_use]
    pub const fn new(name: HeaderName) -> Self {
        Self { name }
    }
}

impl Identity for Header {
    type Key = HeaderValue;

    fn key(&self, request: &RequestHead<'_>) -> Result<HeaderValue, Unidentified> {
        let mut values = request.headers.get_all(&self.name).iter();
        match (values.next(), values.next()) {
            (None, _) => Err(Unidentified::absent(self.name.to_string())),
            (Some(value), None) if !value.is_empty() => Ok(value.clone()),
            _ => Err(Unidentified::malformed(self.name.to_string())),
        }
    }
}
