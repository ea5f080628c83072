//! Proxy errors: the errors with which the appliance itself answers a request, by question.

mod class;
mod message;
mod page;
mod proxy_error;
mod response;
pub(crate) mod s3_error;

pub(crate) use page::ErrorLinks;
pub(crate) use proxy_error::ProxyError;
