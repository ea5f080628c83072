//! The rest of the account: EC2, load balancers, quotas, certificates, permissions and tags, as far as they are asked.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The image that is in the Parameter Store for x86_64.
pub const OF_X86_64: &str = "ami-0123456789abcde86";

/// The resources of the account. By default there is no obstacle.
#[derive(Clone, Debug)]
pub struct Account {
    /// State, architecture and root device of the image; nothing if there is none.
    pub image: Option<(&'static str, &'static str, &'static str)>,
    pub zones: Vec<&'static str>,
    /// The zones in which every instance type can be had.
    pub offered: Vec<&'static str>,
    /// Services without VPC endpoints.
    pub without: Vec<&'static str>,
    /// Endpoints of the VPC: id, service, whether its name is private, a route table.
    pub endpoints: Vec<(&'static str, &'static str, bool, &'static str)>,
    pub vpcs: usize,
    /// The names of the Studio domains, of which each page of a list has one.
    pub domains: Vec<&'static str>,
    /// The tags of the repository `mlflow-appliance` in ECR.
    pub pushed: Vec<&'static str>,
    /// Names of roles; ECS has made its own when it was used before.
    pub roles: Vec<&'static str>,
    /// Status of the certificate; it is for two names.
    pub certificate: &'static str,
    /// Actions that IAM's simulator says no to.
    pub denied: Vec<&'static str>,
    /// ARNs of what bears the tag of the set.
    pub tagged: Vec<String>,
    /// Services that answer only that this must not be asked.
    pub closed: Vec<&'static str>,
    /// The identities for which IAM's simulator was asked.
    pub simulated: Vec<String>,
    /// The load balancers without deletion protection.
    pub unprotected: Vec<String>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            image: Some(("available", "arm64", "/dev/xvda")),
            zones: vec!["us-east-1a", "us-east-1b", "us-east-1c"],
            offered: vec!["us-east-1a", "us-east-1b", "us-east-1c"],
            without: Vec::new(),
            endpoints: Vec::new(),
            vpcs: 1,
            domains: Vec::new(),
            pushed: vec!["0.1.0", "0.2.0"],
            roles: vec!["AWSServiceRoleForECS"],
            certificate: "ISSUED",
            denied: Vec::new(),
            tagged: Vec::new(),
            closed: Vec::new(),
            simulated: Vec::new(),
            unprotected: Vec::new(),
        }
    }
}

type Answer = (&'static str, String);

impl Account {
    /// Answers a call to a service: `target` is the operation of those that speak JSON.
    pub fn answer(&mut self, service: &str, target: &str, body: &[u8]) -> Answer {
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        if self.closed.contains(&service) {
            let refusal = match service {
                "ec2" => "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors></Response>".to_owned(),
                _ if operation.is_empty() => "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>".to_owned(),
                _ => json!({"__type": "AccessDeniedException", "message": "no"}).to_string(),
            };
            return ("403 Forbidden", refusal);
        }
        if service == "ecr" {
            return self.images(&operation, body);
        }
        if !operation.is_empty() {
            return ("200 OK", self.json(&operation, body).to_string());
        }
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
        let action = &form["Action"];
        if action == "GetRole" && !self.roles.contains(&form["RoleName"].as_str()) {
            let refusal =
                "<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>no</Message></Error></ErrorResponse>";
            return ("404 Not Found", refusal.to_owned());
        }
        let inner = if service == "ec2" {
            self.ec2(action, &form)
        } else {
            format!("<{action}Result>{}</{action}Result>", self.query(action, &form))
        };
        ("200 OK", format!("<{action}Response>{inner}</{action}Response>"))
    }

    fn images(&self, operation: &str, body: &[u8]) -> Answer {
        assert_eq!(operation, "DescribeImages");
        let question: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(question["registryId"], "123456789012");
        let tag = question["imageIds"][0]["imageTag"].as_str().unwrap();
        if question["repositoryName"] != "mlflow-appliance" {
            return ("400 Bad Request", json!({"__type": "RepositoryNotFoundException", "message": "no"}).to_string());
        }
        if !self.pushed.contains(&tag) {
            return ("400 Bad Request", json!({"__type": "ImageNotFoundException", "message": "no"}).to_string());
        }
        ("200 OK", json!({"imageDetails": [{"imageTags": [tag]}]}).to_string())
    }

    fn ec2(&self, action: &str, form: &BTreeMap<String, String>) -> String {
        let items = |list: &str, items: Vec<String>| {
            let items: String = items.iter().map(|one| format!("<item>{one}</item>")).collect();
            format!("<{list}>{items}</{list}>")
        };
        let wanted = |number: usize| form.get(&format!("Filter.1.Value.{number}")).cloned();
        match action {
            "DescribeImages" => {
                let image = self.image.map(|(state, architecture, device)| {
                    let architecture = if form["ImageId.1"] == OF_X86_64 { "x86_64" } else { architecture };
                    format!("<imageState>{state}</imageState><architecture>{architecture}</architecture><rootDeviceName>{device}</rootDeviceName><name>mlflow-appliance-1</name><description>by a bake</description>")
                });
                items("imagesSet", image.into_iter().collect())
            }
            "DescribeSubnets" if form.contains_key("Filter.1.Name") => items("subnetSet", Vec::new()),
            "DescribeSubnets" => {
                let zone = |zone: &&str| format!("<availabilityZone>{zone}</availabilityZone>");
                items("subnetSet", self.zones.iter().map(zone).collect())
            }
            "DescribeAvailabilityZones" => items(
                "availabilityZoneInfo",
                self.zones.iter().map(|zone| format!("<zoneName>{zone}</zoneName>")).collect(),
            ),
            "DescribeInstanceTypeOfferings" => {
                let zone = |zone: &&str| format!("<location>{zone}</location>");
                items("instanceTypeOfferingSet", self.offered.iter().map(zone).collect())
            }
            "DescribeVpcEndpointServices" => {
                let names = (1..).map_while(wanted).filter(|name| !self.without.iter().any(|one| name.ends_with(one)));
                let zones = items("availabilityZoneSet", self.zones.iter().map(|zone| (*zone).to_owned()).collect());
                items(
                    "serviceDetailSet",
                    names.map(|name| format!("<serviceName>{name}</serviceName>{zones}")).collect(),
                )
            }
            "DescribeVpcEndpoints" => {
                let endpoint = |(id, service, is_private, table): &(&str, &str, bool, &str)| {
                    let tables = items("routeTableIdSet", vec![(*table).to_owned()]);
                    format!(
                        "<vpcEndpointId>{id}</vpcEndpointId><vpcEndpointState>available</vpcEndpointState><serviceName>{service}</serviceName><privateDnsEnabled>{is_private}</privateDnsEnabled>{tables}"
                    )
                };
                items("vpcEndpointSet", self.endpoints.iter().map(endpoint).collect())
            }
            "DescribeVpcs" => items("vpcSet", vec![String::new(); self.vpcs]),
            "DescribeAddresses" => items("addressesSet", Vec::new()),
            other => panic!("there is no response to {other}"),
        }
    }

    fn query(&mut self, action: &str, form: &BTreeMap<String, String>) -> String {
        match action {
            "GetCallerIdentity" => "<Arn>arn:aws:sts::123456789012:assumed-role/deployer/me</Arn>".to_owned(),
            "SimulatePrincipalPolicy" => {
                assert_eq!(form["Version"], "2010-05-08");
                self.simulated.push(form["PolicySourceArn"].clone());
                let actions = (1..).map_while(|number| form.get(&format!("ActionNames.member.{number}")));
                let result = |action: &String| {
                    let decision = if self.denied.contains(&action.as_str()) { "implicitDeny" } else { "allowed" };
                    format!(
                        "<member><EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision></member>"
                    )
                };
                format!("<EvaluationResults>{}</EvaluationResults>", actions.map(result).collect::<String>())
            }
            "GetRole" => {
                assert_eq!(form["Version"], "2010-05-08");
                let name = &form["RoleName"];
                format!("<Role><RoleName>{name}</RoleName><Arn>arn:aws:iam::123456789012:role/path/{name}</Arn></Role>")
            }
            "DescribeLoadBalancers" => "<LoadBalancers/>".to_owned(),
            "ModifyLoadBalancerAttributes" => {
                assert_eq!(form["Attributes.member.1.Key"], "deletion_protection.enabled");
                assert_eq!(form["Attributes.member.1.Value"], "false");
                self.unprotected.push(form["LoadBalancerArn"].clone());
                String::new()
            }
            other => panic!("there is no response to {other}"),
        }
    }

    fn json(&self, operation: &str, body: &[u8]) -> Value {
        let question: Value = serde_json::from_slice(body).unwrap();
        match operation {
            "GetServiceQuota" => json!({"Quota": {"Value": 5.0}}),
            "DescribeCertificate" => json!({"Certificate": {
                "Status": self.certificate, "DomainName": "mlflow.corp", "SubjectAlternativeNames": ["mlflow.corp", "*.corp"],
            }}),
            "ListDomains" => {
                let page: usize = question["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
                let domain =
                    self.domains.get(page).map(|name| json!({"DomainId": format!("d-{page}"), "DomainName": name}));
                let next = (page + 1 < self.domains.len()).then(|| (page + 1).to_string());
                json!({"Domains": domain.into_iter().collect::<Vec<_>>(), "NextToken": next})
            }
            "GetResources" => {
                assert_eq!(question["TagFilters"][0], json!({"Key": "mlflow-appliance-set", "Values": ["mlflow"]}));
                let list: Vec<Value> = self.tagged.iter().map(|arn| json!({"ResourceARN": arn})).collect();
                json!({"ResourceTagMappingList": list, "PaginationToken": ""})
            }
            other => panic!("there is no response to {other}"),
        }
    }
}
