//! What a refusal is answered with.

use http::{
    HeaderValue, Response, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};
use tollgate::keys::Refusal;

/// The answer to a refused request.
pub(super) fn answer<E, B: From<String>>(refusal: &Refusal<E>, status: StatusCode) -> Response<B> {
    let mut response = Response::new(B::from(String::new()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let (Some(challenge), StatusCode::UNAUTHORIZED) = (refusal.challenge(), status) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(seconds) = refusal.retry_after_secs() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}
