//! An estimate of the monthly cost of the stacks: list prices of us-east-1 of 2026 in US dollars, for 730 hours.

use super::compute::Compute;
use super::error::DeployError;
use super::parameters::unfit;
use super::planned_stacks::MODE;
use super::rules::KnownValues;
use super::settings::DeployMode;
use super::templates::{StackKind, Template};
use crate::api::cloudformation::Pairs;

const HOURS: f64 = 730.0;
const NAT_GATEWAY: f64 = 0.045;
const PUBLIC_ADDRESS: f64 = 0.005;
const INTERFACE_ENDPOINT: f64 = 0.01;
const LOAD_BALANCER: f64 = 0.0225;
/// One capacity unit: 25 new connections a second, or 1 GB an hour.
const CAPACITY_UNIT: f64 = 0.008;
/// A GiB of a gp3 volume, a month.
const VOLUME: f64 = 0.08;
const KMS_KEY: f64 = 1.0;
const SECRET: f64 = 0.4;
/// The web ACL and four rules, without requests.
const WEB_ACL: f64 = 9.0;
/// An alarm on one metric.
const ALARM: f64 = 0.1;
/// The pages on which AWS states its prices.
const SAGEMAKER_PRICES: &str = "https://aws.amazon.com/sagemaker/pricing/";
const S3_PRICES: &str = "https://aws.amazon.com/s3/pricing/";
const CLOUDWATCH_PRICES: &str = "https://aws.amazon.com/cloudwatch/pricing/";
const ECR_PRICES: &str = "https://aws.amazon.com/ecr/pricing/";
const EC2_PRICES: &str = "https://aws.amazon.com/ec2/pricing/on-demand/";
/// An hour of an instance.
const INSTANCES: &[(&str, f64)] = &[
    ("t4g.nano", 0.0042),
    ("t4g.micro", 0.0084),
    ("t4g.small", 0.0168),
    ("t4g.medium", 0.0336),
    ("t4g.large", 0.0672),
    ("c7g.large", 0.0725),
    ("m7g.large", 0.0816),
    ("m7i.large", 0.1008),
    ("c7i.large", 0.08925),
    ("t3.nano", 0.0052),
    ("t3.micro", 0.0104),
    ("t3.small", 0.0208),
    ("t3.medium", 0.0416),
    ("t3.large", 0.0832),
];

/// One item of the estimate.
#[derive(Clone, Debug, PartialEq)]
pub struct CostItem {
    /// A description of the item.
    pub what: String,
    /// The price of the item.
    pub price: CostPrice,
}

/// The price of an item, or the place where AWS states it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CostPrice {
    /// US dollars a month.
    Dollars(f64),
    /// The price is not known here, or depends on use; this page of AWS has it.
    StatedAt(&'static str),
}

impl CostItem {
    /// Returns the US dollars a month; nothing if they are not known here.
    #[must_use]
    pub fn dollars(&self) -> Option<f64> {
        match self.price {
            CostPrice::Dollars(dollars) => Some(dollars),
            CostPrice::StatedAt(_) => None,
        }
    }
}

/// An hour of a virtual processor and of a GiB of memory on Fargate, by architecture.
const TASKS: [(&str, f64, f64); 2] = [("x86_64", 0.04048, 0.004_445), ("arm64", 0.03238, 0.00356)];
/// An hour of a GiB of a task's disk, of which this many GiB are free.
const TASK_DISK: f64 = 0.000_111;
const FREE_TASK_DISK: f64 = 20.0;

/// Estimates the cost of these settings, without data transfer. Items whose price is not known here are listed without one.
///
/// # Errors
/// [`DeployError::Unknown`] and [`DeployError::Parameters`]: the settings are invalid.
pub fn cost(
    given: &Pairs,
    mode: Option<DeployMode>,
    compute: Compute,
    has_domain: bool,
) -> Result<Vec<CostItem>, DeployError> {
    let mut given = given.clone();
    given.extend(mode.map(|mode| (MODE.to_owned(), mode.name().to_owned())));
    let kinds = StackKind::ALL.into_iter().filter(|kind| Compute::of(*kind).is_none_or(|of| of == compute));
    let templates: Vec<_> = kinds.map(|kind| (kind, kind.template())).collect();
    let problems = unfit(&templates, &given)?;
    if !problems.is_empty() {
        return Err(DeployError::Parameters("the estimate".to_owned(), problems));
    }
    let mut values = Pairs::new();
    for (name, parameter) in templates.iter().flat_map(|(_, template)| &template.parameters) {
        values.extend(parameter.default.as_ref().map(|value| (name.clone(), value.to_string())));
    }
    values.extend(given);
    let mut estimate = Estimate { values: &values, templates: &templates, items: Vec::new() };
    estimate.network();
    estimate.balancer();
    match compute {
        Compute::Instances => estimate.instances(),
        Compute::Fargate => estimate.tasks(),
    }
    estimate.around(compute.stack());
    estimate.mlflow();
    if has_domain {
        estimate.domain();
    }
    Ok(estimate.items)
}

/// An estimate in progress.
struct Estimate<'a> {
    values: &'a Pairs,
    templates: &'a [(StackKind, Template)],
    items: Vec<CostItem>,
}

impl Estimate<'_> {
    fn network(&mut self) {
        let zones = self.number("Zones", 2.0);
        let gateways = self.count(StackKind::Networking, "AWS::EC2::NatGateway");
        if gateways > 0.0 {
            let hour = NAT_GATEWAY + PUBLIC_ADDRESS;
            self.add(format!("{gateways} NAT gateway(s), without data"), gateways * hour * HOURS);
        }
        // All but the gateway to S3, which is free.
        let endpoints = self.count_but(StackKind::Networking, "AWS::EC2::VPCEndpoint", "S3Endpoint");
        if endpoints > 0.0 {
            let dollars = endpoints * zones * INTERFACE_ENDPOINT * HOURS;
            self.add(format!("{endpoints} interface endpoints in {zones} zones"), dollars);
        }
        if self.count(StackKind::Networking, "AWS::Logs::LogGroup") > 0.0 {
            let which = if self.is("FlowLogs", "all") { "all" } else { "rejected" };
            self.leave_open(format!("flow logs of {which} connections, by the GB"), CLOUDWATCH_PRICES);
        }
    }

    fn balancer(&mut self) {
        let zones = self.number("Zones", 2.0);
        let addresses = if self.is("Scheme", "internet-facing") { zones } else { 0.0 };
        let hour = LOAD_BALANCER + CAPACITY_UNIT + addresses * PUBLIC_ADDRESS;
        self.add("load balancer with one capacity unit".to_owned(), hour * HOURS);
        self.leave_open("logs of the load balancer in S3, by the GB".to_owned(), S3_PRICES);
        if self.count(StackKind::Appliance, "AWS::Logs::LogGroup") > 0.0 {
            let what = "the log and the audit log in CloudWatch Logs, about 1 GB for each million requests, by the GB";
            self.leave_open(what.to_owned(), CLOUDWATCH_PRICES);
        }
    }

    fn instances(&mut self) {
        let instances = self.number("MinInstances", 1.0);
        let chosen = match self.values.get("InstanceType").map_or("", String::as_str) {
            "" if self.is("Architecture", "x86_64") => "t3.small",
            "" => "t4g.small",
            other => other,
        };
        let what = format!("{instances} × {chosen}");
        match INSTANCES.iter().find(|(name, _)| *name == chosen) {
            Some((_, price)) => self.add(what, price * HOURS * instances),
            None => self.leave_open(format!("{what}, by the hour"), EC2_PRICES),
        }
        let size = self.number("RootVolumeSize", 8.0);
        self.add(format!("{instances} × {size} GiB of disk"), VOLUME * size * instances);
    }

    fn tasks(&mut self) {
        let tasks = self.number("MinTasks", 1.0);
        let size = self.values.get("TaskSize").map_or("", String::as_str);
        let (units, mebibytes) = size.split_once('/').unwrap_or_default();
        let (processors, memory) = (part(units) / 1024.0, part(mebibytes) / 1024.0);
        let architecture = self.values.get("Architecture").map_or("", String::as_str);
        let (_, by_processor, by_memory) = TASKS.into_iter().find(|(of, ..)| *of == architecture).unwrap_or(TASKS[0]);
        let disk = (self.number("EphemeralStorage", FREE_TASK_DISK) - FREE_TASK_DISK) * TASK_DISK;
        let hour = processors * by_processor + memory * by_memory + disk;
        let what = format!("{tasks} × Fargate task with {processors} processors and {memory} GiB, {architecture}");
        self.add(what, tasks * hour * HOURS);
        self.leave_open("the log of the tasks, by the GB".to_owned(), CLOUDWATCH_PRICES);
        if !self.is("ContainerInsights", "disabled") {
            self.leave_open("metrics of Container Insights".to_owned(), CLOUDWATCH_PRICES);
        }
        self.leave_open("the image in ECR, by the GB".to_owned(), ECR_PRICES);
    }

    /// The parts of the appliance with each kind of compute.
    fn around(&mut self, kind: StackKind) {
        let secrets = self.count(kind, "AWS::SecretsManager::Secret");
        let plural = if secrets > 1.0 { "s" } else { "" };
        self.add(format!("{secrets} secret{plural} for tokens and sessions"), SECRET * secrets);
        if self.is("WebAcl", "managed") {
            self.add("WAF with its rules, without requests".to_owned(), WEB_ACL);
        }
        let alarms = self.count(kind, "AWS::CloudWatch::Alarm");
        self.add(format!("{alarms} alarms"), alarms * ALARM);
        self.leave_open("a dashboard; the first three of an account are free".to_owned(), CLOUDWATCH_PRICES);
    }

    fn mlflow(&mut self) {
        if self.values.get("ExistingResourceArn").is_some_and(|arn| !arn.is_empty()) {
            return;
        }
        self.leave_open(
            match self.values.get(MODE).map(String::as_str) {
                Some("tracking") => {
                    let size = self.values.get("TrackingServerSize").map_or("", String::as_str);
                    format!("managed MLflow: a tracking server of the size {size}, by the hour, and its storage")
                }
                Some(_) => "managed MLflow: a serverless app, by use".to_owned(),
                None => "managed MLflow, a tracking server (by the hour) or a serverless app (by use): set `--mode`"
                    .to_owned(),
            },
            SAGEMAKER_PRICES,
        );
        self.leave_open("artifacts in S3, by the GB".to_owned(), S3_PRICES);
        if self.count(StackKind::Mlflow, "AWS::KMS::Key") > 0.0 {
            self.add("the KMS key of the artifacts".to_owned(), KMS_KEY);
        }
    }

    fn domain(&mut self) {
        self.add("the KMS key of Studio".to_owned(), KMS_KEY);
        self.leave_open(
            "applications of Studio by the hour, and its file system by the GB".to_owned(),
            SAGEMAKER_PRICES,
        );
        self.leave_open("the bucket of Studio, by the GB".to_owned(), S3_PRICES);
    }

    fn add(&mut self, what: String, dollars: f64) {
        self.items.push(CostItem { what, price: CostPrice::Dollars(dollars) });
    }

    /// Adds an item whose price is not known here.
    fn leave_open(&mut self, what: String, page: &'static str) {
        self.items.push(CostItem { what, price: CostPrice::StatedAt(page) });
    }

    fn is(&self, name: &str, text: &str) -> bool {
        self.values.get(name).is_some_and(|value| value == text)
    }

    fn number(&self, name: &str, otherwise: f64) -> f64 {
        self.values.get(name).and_then(|value| value.parse().ok()).unwrap_or(otherwise)
    }

    /// Returns the number of resources of a type that a stack would have.
    fn count(&self, kind: StackKind, of_type: &str) -> f64 {
        self.count_but(kind, of_type, "")
    }

    /// Returns the number of resources of a type that a stack would have, without the one of this name.
    fn count_but(&self, kind: StackKind, of_type: &str, but: &str) -> f64 {
        let Some((_, template)) = self.templates.iter().find(|(known, _)| *known == kind) else { return 0.0 };
        let known = KnownValues { template, values: self.values };
        let made = template.resources.iter().filter(|(name, one)| {
            // A condition that depends on an output of another stack is open, and the resource may come.
            one.r#type == of_type && *name != but && known.makes(one) != Some(false)
        });
        made.map(|_| 1.0).sum()
    }
}

/// Returns the number in a part of a parameter's value, of which the template allows only numbers.
fn part(text: &str) -> f64 {
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests;
