//! Rate limits in front of an HTTP service.
//!
//! # A tour
//!
//! - An [`Identity`] says who a request is counted as; [`identity`] has those that there are.
//! - A [`Problem`] is an answer that says what is wrong.
#![forbid(unsafe_code)]

mod body;
mod head;
pub mod identity;
mod problem;

pub use {
    body::AnswerBody,
    head::{RequestHead, ResponseHead},
    identity::Identity,
    ipnet::IpNet,
    problem::Problem,
};
