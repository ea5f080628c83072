//! Elastic Load Balancing: counts load balancers, and lets one be deleted.

use super::calls::Account;
use crate::api::service::QueryService;
use crate::api::service::ServiceResult;

impl<'a> Account<'a> {
    fn load_balancing(&self) -> QueryService<'a> {
        self.query("ELASTIC_LOAD_BALANCING_V2", "Elastic Load Balancing", "elasticloadbalancing", "2015-12-01")
    }

    /// Lets a load balancer be deleted. It is done here and not by an update of its stack, because CloudFormation reads
    /// the parameter of the image anew at each update: it would start instances of a new image, or fail without one.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn unprotect(&self, balancer: &str) -> ServiceResult<()> {
        let given = [
            ("LoadBalancerArn", balancer),
            ("Attributes.member.1.Key", "deletion_protection.enabled"),
            ("Attributes.member.1.Value", "false"),
        ];
        self.load_balancing().call("ModifyLoadBalancerAttributes", &given).await.map(drop)
    }

    /// Counts the application load balancers.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn load_balancers(&self) -> ServiceResult<usize> {
        let found = self.load_balancing().ask("DescribeLoadBalancers", &[("PageSize", "400")]).await?;
        Ok(found.members("LoadBalancers").filter(|one| one.text("Type") == "application").count())
    }
}
