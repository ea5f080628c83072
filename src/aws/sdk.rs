//! The AWS SDK's configuration: one HTTP client with our trust and our deadlines, and the default credential chain.

use std::time::Duration;

use aws_config::meta::region::RegionProviderChain;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The region of the environment, or of the profile.
pub async fn default_region() -> Option<String> {
    RegionProviderChain::default_provider().region().await.map(|region| region.to_string())
}

/// Loads the SDK's configuration: profile files and the standard `AWS_*` variables, among them
/// `AWS_ENDPOINT_URL_STS`.
///
/// `authorities` is PEM text, already checked, of certificate authorities to trust beside the system's.
pub async fn load(region: &str, authorities: Option<&[u8]>) -> SdkConfig {
    let mut trust = TrustStore::default();
    if let Some(pem) = authorities {
        trust = trust.with_pem_certificate(pem);
    }
    let tls = TlsContext::builder().with_trust_store(trust).build().expect("nothing in it can conflict");
    let client = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls).build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .app_name(AppName::new("mlflow-appliance").expect("a valid name"))
        .http_client(client)
        .timeout_config(timeouts)
        // `Current::keep_fresh` tries again, and knows better how long there is time for it.
        .retry_config(RetryConfig::disabled())
        .load()
        .await
}
