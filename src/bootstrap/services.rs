//! The metadata service, AWS's other services and the credentials for them.

use super::settings::BootstrapSettings;
use crate::api::imds::ImdsClient;
use crate::aws::credentials::CurrentCredentials;
use crate::aws::regional_host;
use crate::aws::sdk;
use crate::aws::source::CredentialSource;
use crate::http::client::Endpoint;

/// Returns a client of the metadata service.
pub(super) fn imds(settings: &BootstrapSettings) -> ImdsClient {
    ImdsClient::new(settings.metadata.clone(), settings.metadata_deadline)
}

/// Returns the credentials that the SDK's default chain has at this moment. AWS rejects a call without any, and it may be retried.
pub(super) async fn credentials(settings: &BootstrapSettings, region: &str) -> CurrentCredentials {
    let config = sdk::load(region, &settings.egress).await;
    CredentialSource::new(&config, None).obtain(None).await.map(CurrentCredentials::holding).unwrap_or_default()
}

/// Returns a service's endpoint in a region, unless another is set.
pub(super) fn endpoint(set: Option<&Endpoint>, name: &str, region: &str) -> Endpoint {
    set.cloned().unwrap_or_else(|| Endpoint::https(regional_host(name, region)))
}
