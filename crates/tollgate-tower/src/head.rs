//! A request or a response without its body.

use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, SizeHint};

/// What can be known of a request before its body is read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target, as the client has written it; or what a router has left of it, as axum's `nest` takes its prefix off.
    pub uri: &'a Uri,
    /// The headers. Those that a client sends can say anything.
    pub headers: &'a HeaderMap,
    /// What those who have handled the request before have found out about it.
    pub extensions: &'a Extensions,
}

impl<'a, B> From<&'a Request<B>> for RequestHead<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

impl RequestHead<'_> {
    /// The length of the body, if the client has told it in one `Content-Length`. A body that comes in chunks has none.
    ///
    /// ```
    /// use http::Request;
    /// use tollgate_tower::RequestHead;
    ///
    /// let upload = Request::post("/").header("content-length", "1024").body(())?;
    /// assert_eq!(RequestHead::from(&upload).content_length(), Some(1024));
    /// # Ok::<(), http::Error>(())
    /// ```
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        content_length(self.headers)
    }
}

/// What can be known of a response before its body is sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// What those who have made the response say about it.
    pub extensions: &'a Extensions,
    body: SizeHint,
}

impl<'a, B: Body> From<&'a Response<B>> for ResponseHead<'a> {
    fn from(response: &'a Response<B>) -> Self {
        let body = response.body().size_hint();
        Self { status: response.status(), headers: response.headers(), extensions: response.extensions(), body }
    }
}

impl ResponseHead<'_> {
    /// The length of the body: its `Content-Length`, or what the body says itself. One that is streamed has none.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        content_length(self.headers).or_else(|| self.body.exact())
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(http::header::CONTENT_LENGTH).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    // `u64::from_str` also takes a sign.
    value.to_str().ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}
