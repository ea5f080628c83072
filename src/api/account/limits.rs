//! Service Quotas, AWS Certificate Manager, Studio domains, and the resources that bear a tag.

use serde_json::{Value, json};

use super::calls::Account;
use crate::api::service::ServiceResult;

/// A limit to the number of something in an account.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Its name for people.
    pub title: &'static str,
    /// The service, as Service Quotas calls it.
    pub service: &'static str,
    /// The quota, as Service Quotas calls it.
    pub code: &'static str,
}

/// A certificate.
#[derive(Clone, Debug, Default)]
pub struct AcmCertificate {
    /// Such as `ISSUED`.
    pub status: String,
    /// The names that it is for, some with a wildcard.
    pub names: Vec<String>,
}

impl Account<'_> {
    /// The value of a quota: the account's own, or AWS's default.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`], as for all of these.
    pub async fn quota(&self, quota: &Quota) -> ServiceResult<f64> {
        let input = json!({"ServiceCode": quota.service, "QuotaCode": quota.code});
        let ask = async |operation| self.json("SERVICE_QUOTAS", "servicequotas", operation, &input).await;
        let answer = match ask("ServiceQuotasV20190624.GetServiceQuota").await {
            Err(error) if error.code() == Some("NoSuchResourceException") => {
                ask("ServiceQuotasV20190624.GetAWSDefaultServiceQuota").await?
            }
            answer => answer?,
        };
        Ok(answer["Quota"]["Value"].as_f64().unwrap_or(f64::INFINITY))
    }

    /// A certificate by its ARN; nothing if there is none.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn certificate(&self, arn: &str) -> ServiceResult<Option<AcmCertificate>> {
        let input = json!({"CertificateArn": arn});
        let answer = match self.json("ACM", "acm", "CertificateManager.DescribeCertificate", &input).await {
            Err(error) if error.code() == Some("ResourceNotFoundException") => return Ok(None),
            answer => answer?,
        };
        let about = &answer["Certificate"];
        let mut names = texts(&about["SubjectAlternativeNames"]);
        names.extend(about["DomainName"].as_str().map(ToOwned::to_owned));
        Ok(Some(AcmCertificate { status: about["Status"].as_str().unwrap_or_default().to_owned(), names }))
    }

    /// The id of the Studio domain of this name; nothing if there is none.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn studio_domain(&self, name: &str) -> ServiceResult<Option<String>> {
        let mut token = Value::Null;
        loop {
            let input = if token.is_null() { json!({}) } else { json!({"NextToken": token}) };
            let mut page = self.json("SAGEMAKER", "api.sagemaker", "SageMaker.ListDomains", &input).await?;
            let domains = page["Domains"].as_array().into_iter().flatten();
            if let Some(domain) = domains.into_iter().find(|domain| domain["DomainName"] == name) {
                return Ok(Some(domain["DomainId"].as_str().unwrap_or_default().to_owned()));
            }
            token = page["NextToken"].take();
            if token.is_null() {
                return Ok(None);
            }
        }
    }

    /// The ARNs of what bears a tag.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn tagged(&self, key: &str, value: &str) -> ServiceResult<Vec<String>> {
        const OPERATION: &str = "ResourceGroupsTaggingAPI_20170126.GetResources";
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let input = json!({"TagFilters": [{"Key": key, "Values": [value]}], "PaginationToken": token});
            let page = self.json("RESOURCE_GROUPS_TAGGING_API", "tagging", OPERATION, &input).await?;
            let list = page["ResourceTagMappingList"].as_array().into_iter().flatten();
            found.extend(list.filter_map(|one| one["ResourceARN"].as_str().map(ToOwned::to_owned)));
            page["PaginationToken"].as_str().unwrap_or_default().clone_into(&mut token);
            if token.is_empty() {
                return Ok(found);
            }
        }
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(ToOwned::to_owned)).collect()
}
