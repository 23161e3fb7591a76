//! What came with a request, before anything is known of it.

/// The key that came with a request, if one did and no more than one.
///
/// A key in two places is refused, even if it is the same twice: what reads the one place and what reads the other
/// would not agree on who is asking ([RFC 6750, section 2](https://www.rfc-editor.org/rfc/rfc6750#section-2)).
///
/// ```
/// use tollgate::keys::{Presented, bearer};
///
/// let authorization = Some(&b"Bearer tg_live_1"[..]);
/// let x_api_key = None;
/// let presented = Presented::in_one_of([authorization.and_then(bearer), x_api_key]);
/// assert_eq!(presented, Presented::Once(b"tg_live_1"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presented<'a> {
    /// No key came.
    Nothing,
    /// One did; these are its bytes.
    Once(&'a [u8]),
    /// Keys came in two places.
    Twice,
}

impl<'a> Presented<'a> {
    /// What was found in each of the places where a key may be.
    #[must_use]
    pub fn in_one_of(places: impl IntoIterator<Item = Option<&'a [u8]>>) -> Self {
        places.into_iter().flatten().fold(Self::Nothing, |seen, key| match seen {
            Self::Nothing => Self::Once(key),
            _ => Self::Twice,
        })
    }
}

impl<'a> From<&'a [u8]> for Presented<'a> {
    fn from(key: &'a [u8]) -> Self {
        Self::Once(key)
    }
}

impl<'a> From<&'a str> for Presented<'a> {
    fn from(key: &'a str) -> Self {
        Self::Once(key.as_bytes())
    }
}

impl<'a> From<Option<&'a [u8]>> for Presented<'a> {
    fn from(key: Option<&'a [u8]>) -> Self {
        key.map_or(Self::Nothing, Self::Once)
    }
}

impl core::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Once(_) => "Once(********)",
            Self::Twice => "Twice",
        })
    }
}

/// The token in the value of an `Authorization` header of the scheme `Bearer`, in any case; `None` for another scheme.
///
/// ```
/// use tollgate::keys::bearer;
///
/// assert_eq!(bearer(b"bearer tg_live_1"), Some(&b"tg_live_1"[..]));
/// assert_eq!(bearer(b"Basic c2tfbGl2ZV8xOg=="), None);
/// ```
#[must_use]
pub fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = authorization.split_at_checked("Bearer".len())?;
    let token = rest.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"Bearer") && token.len() < rest.len()).then_some(token)
}
