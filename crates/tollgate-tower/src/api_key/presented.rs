//! Where in a request a key may be: in two headers, and nowhere else.

use http::{HeaderMap, HeaderName, header::AUTHORIZATION};
use tollgate::keys::{Presented, bearer};

/// The key that came in the header of that `name`, or as the bearer token of `Authorization`.
///
/// Each header is a place, even where the key is the same: two of one name are two.
pub(super) fn presented<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Presented<'h> {
    let own = headers.get_all(name).into_iter().map(|value| Some(value.as_bytes()));
    let authorization = headers.get_all(AUTHORIZATION).into_iter().map(|value| bearer(value.as_bytes()));
    Presented::in_one_of(own.chain(authorization))
}

/// Marks what may hold a key, so that nobody who prints the headers prints it, and HTTP/2 does not index it.
pub(super) fn mark_sensitive(headers: &mut HeaderMap, name: &HeaderName) {
    for (of, value) in headers {
        if of == name || of == AUTHORIZATION {
            value.set_sensitive(true);
        }
    }
}
