//! The AWS SDK's configuration: one HTTP client with our trust and our deadlines, and the default credential chain.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::tunnelled::Tunnelled;
use crate::proxy::Proxies;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The trust and the proxies of the SDK's connector, which are those of the appliance's own connections.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    /// PEM text, already checked, of certificate authorities to trust beside the system's.
    pub authorities: Option<Vec<u8>>,
    /// The proxies for hosts that are not reached directly.
    pub proxies: Proxies,
}

/// The region of the environment, of the profile, or of the instance.
pub async fn default_region(egress: &Egress) -> Option<String> {
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(client(egress));
    config.retry_config(RetryConfig::disabled()).load().await.region().map(ToString::to_string)
}

/// Loads the SDK's configuration: profile files and the standard `AWS_*` variables, among them
/// `AWS_ENDPOINT_URL_STS`.
pub async fn load(region: &str, egress: &Egress) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .app_name(AppName::new("mlflow-appliance").expect("a valid name"))
        .http_client(client(egress))
        .timeout_config(timeouts)
        // `CurrentCredentials::keep_renewed` retries instead, since it knows how much time there is.
        .retry_config(RetryConfig::disabled())
        .load()
        .await
}

fn client(egress: &Egress) -> SharedHttpClient {
    let mut trust = TrustStore::default();
    if let Some(pem) = egress.authorities.as_deref() {
        trust = trust.with_pem_certificate(pem);
    }
    let tls = TlsContext::builder().with_trust_store(trust).build().expect("nothing in it can conflict");
    // Only for TLS: connections without it lead to the metadata service or to this machine.
    let proxy = egress.proxies.parts().map_or_else(ProxyConfig::disabled, |(url, direct)| {
        ProxyConfig::https(url).expect("a URL that the same crate has read").no_proxy(direct)
    });
    let client = Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder();
        builder.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            builder.set_sleep_impl(components.sleep_impl());
        }
        let builder = builder.proxy_config(proxy.clone());
        builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls.clone()).build()
    });
    SharedHttpClient::new(Tunnelled::new(client, egress.proxies.clone()))
}
