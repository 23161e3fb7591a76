//! Answers that say what is wrong, for programs and for people: problem details.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

/// A refusal in the form of [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457), `application/problem+json`.
///
/// ```
/// use http::StatusCode;
/// use tollgate_tower::Problem;
///
/// let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, Problem::QUOTA_EXCEEDED, "Too many requests")
///     .detail("Retry after 7 seconds.")
///     .violated(["minute"]);
/// let response = problem.into_response();
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// assert_eq!(
///     response.body(),
///     concat!(
///         r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too many requests","#,
///         r#""status":429,"detail":"Retry after 7 seconds.","violated-policies":["minute"]}"#
///     )
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Problem<'a> {
    status: StatusCode,
    kind: &'a str,
    title: &'a str,
    detail: Option<Cow<'a, str>>,
    violated: Vec<&'a str>,
}

impl<'a> Problem<'a> {
    /// The requests of a client exceed its quota. Of the same draft as the `RateLimit` header, section 5.
    pub const QUOTA_EXCEEDED: &'static str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

    /// The server can do less than usual for a while. Of the same draft.
    pub const REDUCED_CAPACITY: &'static str =
        "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

    /// Requests look like an abuse, as many failed attempts do. Of the same draft.
    pub const ABNORMAL_USAGE: &'static str = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";

    /// Nothing but what the status says.
    pub const ABOUT_BLANK: &'static str = "about:blank";

    /// A problem of this type, a URI, with a title that is the same for all problems of the type.
    #[must_use]
    pub const fn new(status: StatusCode, kind: &'a str, title: &'a str) -> Self {
        Self { status, kind, title, detail: None, violated: Vec::new() }
    }

    /// What is wrong with this request.
    #[must_use]
    pub fn detail(self, detail: impl Into<Cow<'a, str>>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// The names of the policies that the request would violate.
    #[must_use]
    pub fn violated(self, policies: impl IntoIterator<Item = &'a str>) -> Self {
        Self { violated: policies.into_iter().collect(), ..self }
    }

    /// The response that says so. It is not to be cached.
    #[must_use]
    pub fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.to_json()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// The body of the response.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = String::with_capacity(256);
        json.push_str("{\"type\":");
        push_string(&mut json, self.kind);
        json.push_str(",\"title\":");
        push_string(&mut json, self.title);
        json.push_str(",\"status\":");
        json.push_str(self.status.as_str());
        if let Some(detail) = &self.detail {
            json.push_str(",\"detail\":");
            push_string(&mut json, detail);
        }
        if !self.violated.is_empty() {
            json.push_str(",\"violated-policies\":");
            for (index, name) in self.violated.iter().enumerate() {
                json.push(if index == 0 { '[' } else { ',' });
                push_string(&mut json, name);
            }
            json.push(']');
        }
        json.push('}');
        json
    }
}

/// A string of JSON ([RFC 8259, section 7](https://www.rfc-editor.org/rfc/rfc8259#section-7)).
fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\0'..='\x1f' => {
                // Two digits are enough: there are 32 of them.
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let [high, low] = [character as usize >> 4, character as usize & 15];
                json.push_str("\\u00");
                json.extend([DIGITS[high] as char, DIGITS[low] as char]);
            }
            _ => json.push(character),
        }
    }
    json.push('"');
}
