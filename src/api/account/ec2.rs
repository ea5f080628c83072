//! EC2: images, zones, instance types, VPC endpoints.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{Account, borrowed, filters};
use crate::api::service::QueryService;
use crate::api::service::ServiceResult;

/// An image.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Such as `available`.
    pub state: String,
    /// `arm64` or `x86_64`.
    pub architecture: String,
    /// The name of its own disk, such as `/dev/xvda`.
    pub root_device: String,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
}

/// An endpoint in a VPC.
#[derive(Clone, Debug)]
pub struct VpcEndpoint {
    /// Its id.
    pub id: String,
    /// Such as `com.amazonaws.us-east-1.sts`.
    pub service: String,
    /// True if the service's own name leads to it.
    pub has_private_name: bool,
    /// The route tables that lead to it, if it is a gateway.
    pub route_tables: BTreeSet<String>,
}

impl<'a> Account<'a> {
    fn ec2(&self) -> QueryService<'a> {
        self.query("EC2", "EC2", "ec2", "2016-11-15")
    }

    /// An image by its id; nothing if there is none that this account may use.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`], as for all of these.
    pub async fn image(&self, id: &str) -> ServiceResult<Option<Image>> {
        let found = match self.ec2().ask("DescribeImages", &[("ImageId.1", id)]).await {
            Err(error) if error.code().is_some_and(|code| code.starts_with("InvalidAMIID")) => return Ok(None),
            found => found?,
        };
        Ok(found.members("imagesSet").next().map(|one| Image {
            state: one.text("imageState"),
            architecture: one.text("architecture"),
            root_device: one.text("rootDeviceName"),
            name: one.text("name"),
            description: one.some("description"),
        }))
    }

    /// The zones of this region in the order of CloudFormation's `Fn::GetAZs`: those with a default subnet, or all.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn zones(&self) -> ServiceResult<BTreeSet<String>> {
        let wanted = filters(&[("default-for-az", "true")]);
        let subnets = self.ec2().ask("DescribeSubnets", &borrowed(&wanted)).await?;
        let usual: BTreeSet<String> = subnets.members("subnetSet").map(|one| one.text("availabilityZone")).collect();
        if !usual.is_empty() {
            return Ok(usual);
        }
        let wanted = filters(&[("zone-type", "availability-zone"), ("state", "available")]);
        let zones = self.ec2().ask("DescribeAvailabilityZones", &borrowed(&wanted)).await?;
        Ok(zones.members("availabilityZoneInfo").map(|one| one.text("zoneName")).collect())
    }

    /// The zones of subnets.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn zones_of(&self, subnets: &[&str]) -> ServiceResult<BTreeSet<String>> {
        let given: Vec<_> = (1..).zip(subnets).map(|(number, id)| (format!("SubnetId.{number}"), *id)).collect();
        let found = self.ec2().ask("DescribeSubnets", &borrowed(&given)).await?;
        Ok(found.members("subnetSet").map(|one| one.text("availabilityZone")).collect())
    }

    /// The zones in which instances of a type can be had.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn zones_with(&self, instance_type: &str) -> ServiceResult<BTreeSet<String>> {
        let mut given = filters(&[("instance-type", instance_type)]);
        given.push(("LocationType".to_owned(), "availability-zone"));
        let found = self.ec2().ask("DescribeInstanceTypeOfferings", &borrowed(&given)).await?;
        Ok(found.members("instanceTypeOfferingSet").map(|one| one.text("location")).collect())
    }

    /// The zones in which each of these services has endpoints; those that this region lacks are left out.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn endpoint_services(&self, names: &[&str]) -> ServiceResult<BTreeMap<String, BTreeSet<String>>> {
        let mut given = vec![("Filter.1.Name".to_owned(), "service-name")];
        given.extend((1..).zip(names).map(|(number, name)| (format!("Filter.1.Value.{number}"), *name)));
        let found = self.ec2().ask("DescribeVpcEndpointServices", &borrowed(&given)).await?;
        let services = found.members("serviceDetailSet").map(|one| {
            let zones = one.members("availabilityZoneSet").map(|zone| zone.content().to_owned());
            (one.text("serviceName"), zones.collect())
        });
        Ok(services.collect())
    }

    /// The endpoints that a VPC has.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn vpc_endpoints(&self, vpc: &str) -> ServiceResult<Vec<VpcEndpoint>> {
        let wanted = filters(&[("vpc-id", vpc)]);
        let found = self.ec2().ask("DescribeVpcEndpoints", &borrowed(&wanted)).await?;
        let there = found.members("vpcEndpointSet").filter(|one| !one.text("vpcEndpointState").starts_with("delet"));
        let endpoints = there.map(|one| VpcEndpoint {
            id: one.text("vpcEndpointId"),
            service: one.text("serviceName"),
            has_private_name: one.text("privateDnsEnabled") == "true",
            route_tables: one.members("routeTableIdSet").map(|table| table.content().to_owned()).collect(),
        });
        Ok(endpoints.collect())
    }

    /// Counts the VPCs.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn vpcs(&self) -> ServiceResult<usize> {
        Ok(self.ec2().ask("DescribeVpcs", &[]).await?.members("vpcSet").count())
    }

    /// Counts the public addresses that are taken.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn addresses(&self) -> ServiceResult<usize> {
        Ok(self.ec2().ask("DescribeAddresses", &[]).await?.members("addressesSet").count())
    }
}
