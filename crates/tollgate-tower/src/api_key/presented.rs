//! Where in a request a key may be: in two headers, and nowhere else.

use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, Entry},
};
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
    for name in [name, &AUTHORIZATION] {
        // Most requests have only one of them, and looking is cheaper than an entry.
        if headers.contains_key(name)
            && let Entry::Occupied(mut values) = headers.entry(name)
        {
            values.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
}
