//! The SDK's HTTP client, with errors that name the proxy, since its own errors do not.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use crate::proxy::{Proxies, Proxy};

/// The client; of it, the connectors.
#[derive(Debug)]
pub(super) struct Tunnelled<T> {
    inner: T,
    proxies: Proxies,
}

/// A connection through a proxy failed.
#[derive(Debug, thiserror::Error)]
#[error("through proxy {0}")]
struct ByWayOf(Proxy, #[source] ConnectorError);

impl Tunnelled<SharedHttpClient> {
    pub(super) fn new(inner: SharedHttpClient, proxies: Proxies) -> Self {
        Self { inner, proxies }
    }
}

impl HttpClient for Tunnelled<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let (inner, proxies) = (self.inner.http_connector(settings, components), self.proxies.clone());
        SharedHttpConnector::new(Tunnelled { inner, proxies })
    }
}

impl HttpConnector for Tunnelled<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let host = url::Url::parse(request.uri()).ok().filter(|url| url.scheme() == "https");
        let host = host.as_ref().and_then(url::Url::host_str).map(|host| host.trim_matches(['[', ']']));
        let proxy = host.and_then(|host| self.proxies.to(host)).cloned();
        let answer = self.inner.call(request);
        let Some(proxy) = proxy else { return answer };
        HttpConnectorFuture::new(async move {
            answer.await.map_err(|error| {
                let is_timeout = error.is_timeout();
                let named = ByWayOf(proxy, error).into();
                if is_timeout { ConnectorError::timeout(named) } else { ConnectorError::io(named) }
            })
        })
    }
}
