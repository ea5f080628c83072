//! Proxy errors: the errors with which the appliance itself answers a request, by question.

mod kind;
mod message;
mod page;
mod proxy_error;
mod response;
pub(crate) mod s3_error;
mod status;

pub(crate) use page::ErrorLinks;
pub(crate) use proxy_error::ProxyError;
