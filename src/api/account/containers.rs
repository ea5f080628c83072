//! ECR: images of containers.

use serde_json::json;

use super::calls::Account;
use crate::api::service::ServiceResult;

/// The errors of a repository, and of an image in it, that does not exist.
const ABSENT: [&str; 2] = ["ImageNotFoundException", "RepositoryNotFoundException"];

impl Account<'_> {
    /// Returns true if a registry of this region has an image. `reference` is `imageTag` or `imageDigest`, and its value.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn has_container_image(
        &self,
        registry: &str,
        repository: &str,
        (kind, reference): (&str, &str),
    ) -> ServiceResult<bool> {
        const OPERATION: &str = "AmazonEC2ContainerRegistry_V20150921.DescribeImages";
        let input = json!({"registryId": registry, "repositoryName": repository, "imageIds": [{kind: reference}]});
        match self.json("ECR", "api.ecr", OPERATION, &input).await {
            Ok(_) => Ok(true),
            Err(error) if error.code().is_some_and(|code| ABSENT.contains(&code)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
