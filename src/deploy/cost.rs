//! An estimate of the monthly cost of the stacks: list prices of us-east-1 of 2026 in US dollars, for 730 hours.

use super::error::DeployError;
use super::parameters::unfit;
use super::rules::KnownValues;
use super::templates::StackKind;
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
    /// US dollars a month; nothing if the price is not known here.
    pub dollars: Option<f64>,
}

/// Estimates the cost of these settings, without data transfer and managed MLflow itself.
///
/// # Errors
/// [`DeployError::Unknown`] and [`DeployError::Parameters`]: the settings are invalid.
pub fn cost(given: &Pairs, has_domain: bool) -> Result<Vec<CostItem>, DeployError> {
    let templates = StackKind::ALL.map(|kind| (kind, kind.template()));
    let problems = unfit(&templates, given)?;
    if !problems.is_empty() {
        return Err(DeployError::Parameters("the estimate".to_owned(), problems));
    }
    let mut values = Pairs::new();
    for (name, parameter) in templates.into_iter().flat_map(|(_, template)| template.parameters) {
        values.extend(parameter.default.map(|value| (name, value.to_string())));
    }
    values.extend(given.clone());
    Ok(items(&values, has_domain))
}

fn items(values: &Pairs, has_domain: bool) -> Vec<CostItem> {
    let is = |name: &str, text: &str| values.get(name).is_some_and(|value| value == text);
    let number =
        |name: &str, otherwise: f64| values.get(name).and_then(|value| value.parse().ok()).unwrap_or(otherwise);
    let mut items = Vec::new();
    let mut add = |what: String, dollars: f64| items.push(CostItem { what, dollars: Some(dollars) });
    let zones = number("Zones", 2.0);
    if values.get("ExistingVpcId").is_none_or(String::is_empty) {
        let gateways = if is("NatMode", "none") {
            0.0
        } else if is("NatMode", "one") {
            1.0
        } else {
            zones
        };
        if gateways > 0.0 {
            add(format!("{gateways} NAT gateway(s), without data"), gateways * (NAT_GATEWAY + PUBLIC_ADDRESS) * HOURS);
        }
    }
    // All but the gateway to S3, which is free.
    let network = StackKind::Networking.template();
    let known = KnownValues { template: &network, values };
    let interfaces = network.resources.iter().filter(|(name, one)| {
        one.r#type == "AWS::EC2::VPCEndpoint" && *name != "S3Endpoint" && known.makes(one) == Some(true)
    });
    let endpoints: f64 = interfaces.map(|_| 1.0).sum();
    if endpoints > 0.0 {
        add(
            format!("{endpoints} interface endpoints in {zones} zones"),
            endpoints * zones * INTERFACE_ENDPOINT * HOURS,
        );
    }
    let addresses = if is("Scheme", "internet-facing") { zones } else { 0.0 };
    let hour = LOAD_BALANCER + CAPACITY_UNIT + addresses * PUBLIC_ADDRESS;
    add("load balancer with one capacity unit".to_owned(), hour * HOURS);
    let instances = number("MinInstances", 1.0);
    let chosen = values.get("InstanceType").map_or("", String::as_str);
    let chosen = match chosen {
        "" if is("Architecture", "x86_64") => "t3.small",
        "" => "t4g.small",
        other => other,
    };
    let price = INSTANCES.iter().find(|(name, _)| *name == chosen).map(|(_, price)| price * HOURS * instances);
    items.push(CostItem { what: format!("{instances} × {chosen}"), dollars: price });
    let mut add = |what: String, dollars: f64| items.push(CostItem { what, dollars: Some(dollars) });
    let size = number("RootVolumeSize", 8.0);
    add(format!("{instances} × {size} GiB of disk"), VOLUME * size * instances);
    add("the tokens' secret".to_owned(), SECRET);
    if is("WebAcl", "managed") {
        add("WAF with its rules".to_owned(), WEB_ACL);
    }
    let has_key =
        is("ArtifactEncryption", "kms") && values.get("ExistingArtifactKmsKeyArn").is_none_or(String::is_empty);
    if has_domain || has_key {
        add("KMS keys".to_owned(), KMS_KEY * f64::from(u8::from(has_domain) + u8::from(has_key)));
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(pairs: &[(&str, &str)]) -> f64 {
        let values = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        cost(&values, false).expect("these can be chosen").iter().filter_map(|item| item.dollars).sum()
    }

    #[test]
    fn the_estimate_follows_the_parameters() {
        let lean = [("NatMode", "none"), ("InterfaceEndpoints", "none"), ("InstanceType", "t4g.micro")];
        let nat = [("NatMode", "one"), ("InterfaceEndpoints", "none"), ("InstanceType", "t4g.micro")];
        let endpoints = [
            ("NatMode", "none"),
            ("InterfaceEndpoints", "minimal"),
            ("MlflowEndpoints", "both"),
            ("InstanceType", "t4g.micro"),
        ];
        assert!((sum(&nat) - sum(&lean) - 36.5).abs() < 0.01, "{}", sum(&nat));
        assert!((sum(&endpoints) - sum(&lean) - 87.6).abs() < 0.01, "{}", sum(&endpoints));
        let one_less = [&endpoints[..], &[("EndpointSts", "no")]].concat();
        assert!((sum(&endpoints) - sum(&one_less) - 14.6).abs() < 0.01, "{}", sum(&one_less));
        let choices = StackKind::Appliance.template().parameters["InstanceType"].allowed_values.clone();
        for choice in choices.iter().map(ToString::to_string).filter(|choice| !choice.is_empty()) {
            assert!(INSTANCES.iter().any(|(name, _)| *name == choice), "{choice} has no price");
        }
        let unknown = items(&Pairs::from([("InstanceType".into(), "m9z.huge".into())]), false);
        assert!(unknown.iter().any(|item| item.dollars.is_none()));
    }
}
