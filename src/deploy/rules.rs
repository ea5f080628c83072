//! The rules and conditions of a template, evaluated as CloudFormation will, on the values that are known so far.
//!
//! CloudFormation evaluates rules when it creates a change set: for the last stack, that is after it has created the others.
//! An expression that depends on a value that is not known yet is neither true nor false, and is left to CloudFormation.

use serde_json::Value;

use super::templates::{Template, TemplateResource};
use crate::api::cloudformation::Pairs;

/// The known values of a template's parameters, and of its pseudo parameters such as `AWS::Region`.
#[derive(Clone, Copy)]
pub(super) struct KnownValues<'a> {
    /// The template with the conditions.
    pub template: &'a Template,
    /// Values by name.
    pub values: &'a Pairs,
}

impl KnownValues<'_> {
    /// Returns the messages of the rules that do not hold.
    #[must_use]
    pub(super) fn broken(self) -> Vec<String> {
        let applies = |condition: &Option<Value>| match condition {
            Some(condition) => self.holds(condition) == Some(true),
            None => true,
        };
        let rules = self.template.rules.iter().filter(|rule| applies(&rule.rule_condition));
        let broken = rules.flat_map(|rule| &rule.assertions).filter(|one| self.holds(&one.assert) == Some(false));
        broken.map(|one| one.assert_description.clone()).collect()
    }

    /// Returns true if a resource would be created; nothing if that is not known yet.
    #[must_use]
    pub(super) fn makes(self, resource: &TemplateResource) -> Option<bool> {
        resource.condition.as_ref().map_or(Some(true), |name| self.holds(self.template.conditions.get(name)?))
    }

    /// Returns the truth of an expression; nothing if it depends on an unknown value.
    fn holds(self, expression: &Value) -> Option<bool> {
        let (function, operand) = expression.as_object()?.iter().next()?;
        if function == "Condition" {
            return self.holds(self.template.conditions.get(operand.as_str()?)?);
        }
        let operands = operand.as_array()?;
        match function.as_str() {
            "Fn::And" => self.decided(operands, false),
            "Fn::Or" => self.decided(operands, true),
            "Fn::Not" => self.holds(operands.first()?).map(|holds| !holds),
            "Fn::Equals" => Some(self.text(operands.first()?)? == self.text(operands.get(1)?)?),
            "Fn::Contains" => {
                let (all, one) = (operands.first()?.as_array()?, self.text(operands.get(1)?)?);
                Some(all.iter().any(|member| self.text(member).is_some_and(|member| member == one)))
            }
            _ => None,
        }
    }

    /// Evaluates operands of which one that is `by` decides the result. Without such an operand, all have to be known.
    fn decided(self, operands: &[Value], by: bool) -> Option<bool> {
        let all: Vec<Option<bool>> = operands.iter().map(|operand| self.holds(operand)).collect();
        if all.contains(&Some(by)) {
            return Some(by);
        }
        (!all.contains(&None)).then_some(!by)
    }

    /// Returns a text, or the value that a reference names.
    fn text<'b>(&'b self, operand: &'b Value) -> Option<&'b str> {
        match operand {
            Value::Object(reference) => self.values.get(reference.get("Ref")?.as_str()?).map(String::as_str),
            other => other.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::templates::StackKind;
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Pairs {
        pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    /// Returns the template's defaults, with some of them replaced by these values.
    fn values(template: &Template, given: &[(&str, &str)]) -> Pairs {
        let defaults = template.parameters.iter();
        let mut all: Pairs =
            defaults.filter_map(|(name, one)| Some((name.clone(), one.default.as_ref()?.to_string()))).collect();
        all.extend(pairs(given));
        all
    }

    #[test]
    fn expressions_on_unknown_values_are_left_open() {
        let template = Template::default();
        let values = pairs(&[("A", "x")]);
        let known = KnownValues { template: &template, values: &values };
        let (yes, no, open) = (
            r#"{"Fn::Equals":[{"Ref":"A"},"x"]}"#,
            r#"{"Fn::Equals":["y","x"]}"#,
            r#"{"Fn::Equals":[{"Ref":"B"},"x"]}"#,
        );
        let cases = [
            (format!(r#"{{"Fn::And":[{yes},{yes}]}}"#), Some(true)),
            (format!(r#"{{"Fn::And":[{open},{no}]}}"#), Some(false)),
            (format!(r#"{{"Fn::And":[{open},{yes}]}}"#), None),
            (format!(r#"{{"Fn::Or":[{no},{no}]}}"#), Some(false)),
            (format!(r#"{{"Fn::Or":[{open},{yes}]}}"#), Some(true)),
            (format!(r#"{{"Fn::Or":[{open},{no}]}}"#), None),
            (format!(r#"{{"Fn::Not":[{no}]}}"#), Some(true)),
            (format!(r#"{{"Fn::Not":[{open}]}}"#), None),
            (r#"{"Fn::Contains":[["w","x"],{"Ref":"A"}]}"#.to_owned(), Some(true)),
            (r#"{"Fn::Contains":[["w"],{"Ref":"A"}]}"#.to_owned(), Some(false)),
            (r#"{"Fn::Contains":[["w"],{"Ref":"B"}]}"#.to_owned(), None),
            (r#"{"Condition":"Nowhere"}"#.to_owned(), None),
        ];
        for (text, expected) in cases {
            assert_eq!(known.holds(&serde_json::from_str(&text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn broken_rules_report_their_own_messages() {
        type Given = &'static [(&'static str, &'static str)];
        const CERTIFICATE: (&str, &str) = ("CertificateArn", "arn:aws:acm:us-east-1:123456789012:certificate/x");
        const PUBLIC: (&str, &str) = ("Scheme", "internet-facing");
        let cases: [(StackKind, Given, &[&str]); 15] = [
            (StackKind::Networking, &[], &[]),
            (
                StackKind::Networking,
                &[("ExistingVpcId", "vpc-1")],
                &[
                    "With ExistingVpcId, ExistingPrivateSubnetIds has to name",
                    "With ExistingVpcId, ExistingVpcCidr has to be",
                ],
            ),
            (
                StackKind::Networking,
                &[("ExistingPublicSubnetIds", "subnet-1")],
                &["Existing subnets and route tables need"],
            ),
            (StackKind::Mlflow, &[("Mode", "serverless"), ("AWS::Region", "us-east-1")], &[]),
            (
                StackKind::Mlflow,
                &[("Mode", "serverless"), ("AWS::Region", "af-south-1")],
                &["CloudFormation has no MLflow apps"],
            ),
            (StackKind::Appliance, &[("Mode", "tracking")], &[]),
            (StackKind::Appliance, &[CERTIFICATE], &["With CertificateArn, DomainName has to be"]),
            (
                StackKind::Appliance,
                &[PUBLIC, ("AllowedCidr", "0.0.0.0/0"), ("PlainHttp", "accepted")],
                &["AllowedCidr=0.0.0.0/0 lets the whole", "AllowedCidr=0.0.0.0/0 needs CertificateArn"],
            ),
            (
                StackKind::Appliance,
                &[PUBLIC],
                &["An internet-facing load balancer needs CertificateArn", "With Scheme=internet-facing, AllowedCidr"],
            ),
            (
                StackKind::Appliance,
                &[("InstanceType", "t4g.small")],
                &["With Architecture=x86_64, InstanceType has to be"],
            ),
            (
                StackKind::Appliance,
                &[("MinInstances", "3"), ("MaxInstances", "2")],
                &["MaxInstances has to be more than"],
            ),
            (
                StackKind::Appliance,
                &[("Mode", "serverless"), ("Access", "read-only")],
                &["IAM cannot limit an app to reading"],
            ),
            (StackKind::Fargate, &[("Mode", "tracking")], &[]),
            (StackKind::Fargate, &[("MinTasks", "3"), ("MaxTasks", "2")], &["MaxTasks has to be more than"]),
            (StackKind::Fargate, &[CERTIFICATE], &["With CertificateArn, DomainName has to be"]),
        ];
        for (kind, given, expected) in cases {
            let template = kind.template();
            let values = values(&template, given);
            let broken = KnownValues { template: &template, values: &values }.broken();
            assert_eq!(broken.len(), expected.len(), "{given:?}: {broken:?}");
            for (words, beginning) in broken.iter().zip(expected) {
                assert!(words.starts_with(beginning), "{given:?}: {words}");
            }
        }
    }

    #[test]
    fn conditions_decide_which_resources_are_created() {
        let template = StackKind::Networking.template();
        let made = |given: &[(&str, &str)], kind: &str| {
            let values = values(&template, given);
            let known = KnownValues { template: &template, values: &values };
            let all = template.resources.values().filter(|one| one.r#type == kind);
            all.filter(|one| known.makes(one) == Some(true)).count()
        };
        assert_eq!(made(&[], "AWS::EC2::NatGateway"), 1);
        assert_eq!(made(&[("NatMode", "per-zone"), ("Zones", "3")], "AWS::EC2::NatGateway"), 3);
        assert_eq!(made(&[("NatMode", "none")], "AWS::EC2::NatGateway"), 0);
        assert_eq!(made(&[("ExistingVpcId", "vpc-1")], "AWS::EC2::VPC"), 0);
        let open = KnownValues { template: &template, values: &Pairs::new() };
        assert_eq!(open.makes(&template.resources["Vpc"]), None);
    }
}
