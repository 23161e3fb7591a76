//! Why a request has no identity.

use std::borrow::Cow;

use http::StatusCode;

/// A request has not the identity by which it is to be counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Unidentified {
    what: Cow<'static, str>,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Absent,
    Malformed,
    Unknown,
}

impl Unidentified {
    /// The client has not sent `what` it should have: 400.
    pub fn absent(what: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into(), why: Why::Absent }
    }

    /// The client has sent `what` it should, but not as it should: 400.
    pub fn malformed(what: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into(), why: Why::Malformed }
    }

    /// The server does not know `what` it should, as something before this layer is missing: 500.
    pub fn unknown(what: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into(), why: Why::Unknown }
    }

    /// The status of a response that says so.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self.why {
            Why::Absent | Why::Malformed => StatusCode::BAD_REQUEST,
            Why::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn text(&self) -> String {
        let Self { what, why } = self;
        match why {
            Why::Absent => format!("the request has no {what}"),
            Why::Malformed => format!("the request has a malformed {what}, or more than one"),
            Why::Unknown => format!("the server does not know the {what} of the request"),
        }
    }
}
