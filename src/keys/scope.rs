//! What a key may be used for.
//!
//! A scope is a path of names, `orders:read`. A grant is a scope, or the beginning of scopes followed by `*`: `orders:*`
//! grants `orders:read` and `orders:items:write`, but not `orders` itself; `*` grants everything. What a request
//! requires is always a scope in full, by type.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::{fmt, str::FromStr};

/// One scope in full, as a request requires it: names of `[A-Za-z0-9_.-]` with `:` between them, no `*`.
///
/// ```
/// use tollgate::keys::{Scope, ScopeError};
///
/// const READ: Scope<'static> = Scope::literal("orders:read");
/// assert_eq!(READ.as_str(), "orders:read");
/// assert_eq!(Scope::new("orders:*"), Err(ScopeError::Star));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope<'a>(&'a str);

impl<'a> Scope<'a> {
    /// A scope.
    ///
    /// # Errors
    ///
    /// [`ScopeError`] if a name is empty or has a character that names do not have, `*` included.
    pub const fn new(scope: &'a str) -> Result<Self, ScopeError> {
        match check(scope.as_bytes(), false) {
            Ok(()) => Ok(Self(scope)),
            Err(error) => Err(error),
        }
    }

    /// The scope as a string.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.0
    }
}

impl Scope<'static> {
    /// A scope that is written in the source; as a `const` it is checked by the compiler.
    ///
    /// # Panics
    ///
    /// If [`new`](Self::new) would refuse it.
    #[must_use]
    pub const fn literal(scope: &'static str) -> Self {
        match Self::new(scope) {
            Ok(scope) => scope,
            Err(_) => panic!("a scope is names of [A-Za-z0-9_.-] with `:` between them"),
        }
    }
}

/// The grants of a key: scopes, each of them in full or ending in `*`. An empty list grants nothing.
///
/// One string with spaces between the grants, sorted and without repetitions; a clone is a count.
///
/// ```
/// use tollgate::keys::{Scope, Scopes};
///
/// let scopes: Scopes = "orders:* users:read".parse()?;
/// assert!(scopes.grants(Scope::new("orders:items:write")?));
/// assert!(!scopes.grants(Scope::new("users:write")?));
/// assert!(!scopes.grants(Scope::new("orders")?));
///
/// // Nobody mints a key that is stronger than their own.
/// assert!(scopes.covers(&"orders:read users:read".parse()?));
/// assert!(!scopes.covers(&"users:*".parse()?));
/// assert!(!Scopes::none().grants(Scope::new("users:read")?));
/// # Ok::<(), tollgate::keys::ScopeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Scopes(Arc<str>);

impl Scopes {
    /// Grants nothing.
    #[must_use]
    pub fn none() -> Self {
        Self("".into())
    }

    /// The grants that a list of strings names.
    ///
    /// # Errors
    ///
    /// [`ScopeError`] if one of them has an empty name, a character that names do not have, or a `*` that is not all of
    /// its last name.
    pub fn new<'s>(grants: impl IntoIterator<Item = &'s str>) -> Result<Self, ScopeError> {
        let mut sorted: Vec<&str> = grants.into_iter().collect();
        for grant in &sorted {
            check(grant.as_bytes(), true)?;
        }
        sorted.sort_unstable();
        sorted.dedup();
        let mut joined = String::new();
        for grant in sorted {
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(grant);
        }
        Ok(Self(joined.into()))
    }

    /// The grants with spaces between them, which [`parse`](str::parse) reads back.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The grants, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ').filter(|grant| !grant.is_empty())
    }

    /// Whether there is no grant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `scope` is granted.
    #[must_use]
    pub fn grants(&self, scope: Scope<'_>) -> bool {
        self.iter().any(|grant| covers(grant, scope.0))
    }

    /// Whether everything that `other` grants is granted here too.
    ///
    /// Each grant of `other` has to be covered by a single one of these; scopes are without end, so several that
    /// together came to the same cannot exist.
    #[must_use]
    pub fn covers(&self, other: &Scopes) -> bool {
        other.iter().all(|wanted| self.iter().any(|grant| covers(grant, wanted)))
    }
}

/// Whether one grant covers another grant or a scope.
fn covers(grant: &str, wanted: &str) -> bool {
    match grant.strip_suffix('*') {
        // `a:*` is left as `a:`, and what begins so has more names. `a:*` itself does, too.
        Some(beginning) => wanted.starts_with(beginning),
        None => grant == wanted,
    }
}

/// Checks a scope, or a grant if a `*` may stand for its last name.
const fn check(scope: &[u8], star: bool) -> Result<(), ScopeError> {
    let mut at = 0;
    let mut name = 0;
    while at < scope.len() {
        match scope[at] {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' => {}
            b':' if at > name => name = at + 1,
            b':' => return Err(ScopeError::EmptyName { at }),
            b'*' if star && at == name && at + 1 == scope.len() => {}
            b'*' => return Err(ScopeError::Star),
            _ => return Err(ScopeError::Character { at }),
        }
        at += 1;
    }
    if at == name { Err(ScopeError::EmptyName { at }) } else { Ok(()) }
}

/// Reads grants with spaces between them; the empty string is [`Scopes::none`].
impl FromStr for Scopes {
    type Err = ScopeError;

    fn from_str(grants: &str) -> Result<Self, ScopeError> {
        Self::new(grants.split(' ').filter(|grant| !grant.is_empty()))
    }
}

impl Default for Scopes {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Why a string is no scope, or no grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// Nothing stands before, between or after the `:`.
    #[error("scope: empty name at byte {at}; write it as `orders:read`")]
    EmptyName {
        /// Where, in bytes.
        at: usize,
    },

    /// A `*` where none may be.
    #[error(
        "scope: `*` may only be the last name of a grant, as in `orders:*`, and stands in nothing that is required"
    )]
    Star,

    /// A character that names do not have.
    #[error("scope: the character at byte {at} is none of A-Z, a-z, 0-9, `_`, `.`, `-` and `:`")]
    Character {
        /// Where, in bytes.
        at: usize,
    },
}
