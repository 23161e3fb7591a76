//! A text that can be in a header, as a string of a structured field.

use std::{fmt, sync::Arc};

/// A text that cannot be in a header as a string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot be sent in a header; use 1 to 64 printable ASCII characters")]
pub struct TextError {
    text: String,
}

/// A text, and how it is written in a header: that is found out once, and not for each response.
#[derive(Clone)]
pub(crate) struct Text {
    plain: Arc<str>,
    quoted: Arc<str>,
}

impl Text {
    /// What a string of a structured field can hold
    /// ([RFC 9651, section 3.3.3](https://www.rfc-editor.org/rfc/rfc9651#section-3.3.3)), if there is not too much of it.
    pub(crate) fn new(text: &str) -> Result<Self, TextError> {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !printable || !(1..=64).contains(&text.len()) {
            return Err(TextError { text: text.to_owned() });
        }
        let quoted = format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#));
        Ok(Self { plain: text.into(), quoted: quoted.into() })
    }

    /// The text.
    pub(crate) fn plain(&self) -> &str {
        &self.plain
    }

    /// The string in a header, with its quotes.
    pub(crate) const fn quoted(&self) -> &Arc<str> {
        &self.quoted
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plain.fmt(f)
    }
}
