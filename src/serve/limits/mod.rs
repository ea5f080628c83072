//! The limits that keep one caller, or one failing upstream, from hurting others.

pub(crate) mod circuit_breaker;
pub(crate) mod in_flight;
pub(crate) mod lifo_semaphore;
pub(crate) mod permits;
pub(crate) mod retry_budget;
pub(crate) mod shares;
pub(crate) mod single_flight;
