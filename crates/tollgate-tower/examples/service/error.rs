//! Why the service could not do what was asked of it.

use axum::{
    body::Body,
    extract::rejection::{JsonRejection, QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use tollgate::keys::{ChangeError, CreditError, ScopeError};
use tollgate_tower::Problem;

/// Why an administrator's request was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Body(#[from] JsonRejection),

    #[error(transparent)]
    Query(#[from] QueryRejection),

    #[error("there is no such key")]
    NoSuchKey,

    #[error("owner: 1 to 200 bytes")]
    Owner,

    #[error("tier: none of basic, premium and internal")]
    Tier,

    #[error("the key was revoked, or rotated: change the one that took its place")]
    Replaced,

    #[error(transparent)]
    Scopes(#[from] ScopeError),

    #[error("scopes: more than those of the key that asks for it")]
    Stronger,

    #[error(transparent)]
    Change(#[from] ChangeError<rusqlite::Error, getrandom::Error>),

    #[error(transparent)]
    Database(#[from] rusqlite::Error),

    #[error(transparent)]
    Credits(#[from] CreditError),

    #[error("the work was given up")]
    GivenUp(#[from] tokio::task::JoinError),
}

impl From<ChangeError<rusqlite::Error>> for Error {
    fn from(error: ChangeError<rusqlite::Error>) -> Self {
        match error {
            ChangeError::NotFound => Self::NoSuchKey,
            ChangeError::Unavailable(error) => Self::Database(error),
            ChangeError::Revoked(error) => Self::Change(error.into()),
            _ => Self::Change(ChangeError::Contended),
        }
    }
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::Body(rejection) => rejection.status(),
            Self::Query(rejection) => rejection.status(),
            Self::NoSuchKey | Self::Change(ChangeError::NotFound) => StatusCode::NOT_FOUND,
            Self::Owner | Self::Tier | Self::Scopes(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Stronger => StatusCode::FORBIDDEN,
            Self::Replaced
            | Self::Change(ChangeError::Revoked(_) | ChangeError::Rotated | ChangeError::Expired { .. }) => {
                StatusCode::CONFLICT
            }
            Self::Database(_) | Self::Change(_) | Self::GivenUp(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Credits(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        let title = status.canonical_reason().unwrap_or_default();
        // What the database says is not for strangers.
        let detail = if status.is_server_error() { "try again later".to_owned() } else { self.to_string() };
        if status.is_server_error() {
            eprintln!("{self}");
        }
        Problem::new(status, Problem::ABOUT_BLANK, title).detail(detail).into_response().map(Body::from)
    }
}
