//! Bootstrap signals success when the load balancer reports the instance as healthy, because an update then terminates the old
//! instance.

use std::sync::Mutex;

use super::signal::Serving;
use super::{Instance, call};
use crate::support::upstream::{Recorded, Upstream, Wire};
use crate::support::{Message as _, quiet_port};

const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/mlflow/0123456789abcdef";

/// An instance with an appliance that is ready, behind a load balancer that answers in this order, the last one for ever.
fn behind(answers: &'static [(&'static str, &'static str)]) -> (Instance, Serving) {
    let mut instance = Instance::new();
    let asked = Mutex::new(0);
    instance.signals = Upstream::start(move |request: &Recorded, wire: &mut Wire| {
        if !request.target.contains("DescribeTargetHealth") {
            return wire.answer("200 OK", "{}");
        }
        let mut asked = asked.lock().unwrap();
        let (status, state) = answers[(*asked).min(answers.len() - 1)];
        *asked += 1;
        let health = format!("<State>{state}</State><Reason>Target.FailedHealthChecks</Reason>");
        wire.answer(status, format!("<R><TargetHealthDescriptions><member><TargetHealth>{health}</TargetHealth></member></TargetHealthDescriptions></R>"))
    });
    let port = quiet_port();
    let own = format!(
        "[bootstrap]\ntarget-group = \"{GROUP}\"\nstack-name = \"s\"\nlogical-id = \"Group\"\nlifecycle-hook = \"boot\"\nauto-scaling-group = \"asg\"\n"
    );
    instance.has("user-data", instance.configuration(&format!("listen = \"127.0.0.1:{port}\"\n{own}")));
    let (output, said) = instance.bootstrap(&[]);
    assert!(output.status.success(), "{said}");
    let appliance = Serving::start(&instance.state.path().join("appliance.toml"));
    (instance, appliance)
}

/// Returns the calls in their order, with repeated questions about health as one.
fn told(instance: &Instance) -> Vec<String> {
    let mut told: Vec<String> = instance.signals.requests().iter().map(|one| call(one)["Action"].clone()).collect();
    told.dedup();
    told
}

#[test]
fn success_is_signalled_when_the_balancer_reports_the_instance_as_healthy() {
    let (instance, _appliance) = behind(&[("200 OK", "unhealthy"), ("200 OK", "healthy")]);
    let (output, said) = instance.bootstrap(&["signal", "--timeout", "30s"]);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("waiting: the load balancer reports this instance as unhealthy, Target.FailedHealthChecks"),
        "{said}"
    );
    assert!(said.contains("the load balancer reports this instance as healthy"), "{said}");
    // The group registers the instance once its hook is complete, so that call comes first.
    assert_eq!(told(&instance), ["CompleteLifecycleAction", "DescribeTargetHealth", "SignalResource"]);
    let requests = instance.signals.requests();
    let asked = requests.iter().find(|one| one.target.contains("DescribeTargetHealth")).unwrap();
    assert_eq!(
        (call(asked)["TargetGroupArn"].as_str(), call(asked)["Targets.member.1.Id"].as_str()),
        (GROUP, "i-0123456789abcdef0")
    );
    assert!(asked.all("authorization")[0].contains("/us-east-1/elasticloadbalancing/aws4_request"));
    assert_eq!(call(requests.last().unwrap())["Status"], "SUCCESS");
    // All signals were sent, so AWS is not called again.
    let (output, said) = instance.bootstrap(&["signal"]);
    assert!(output.status.success() && instance.signals.requests().len() == requests.len(), "{said}");
}

#[test]
fn an_instance_that_stays_unhealthy_is_a_failure() {
    let (instance, _appliance) = behind(&[("200 OK", "unhealthy")]);
    let (output, said) = instance.bootstrap(&["signal", "--timeout", "3s"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the load balancer does not report this instance as healthy: unhealthy"), "{said}");
    assert_eq!(call(instance.signals.requests().last().unwrap())["LifecycleActionResult"], "ABANDON");
    let requests = instance.signals.requests();
    let signalled: Vec<String> = requests.iter().map(call).filter_map(|call| call.get("Status").cloned()).collect();
    assert_eq!(signalled, ["FAILURE"], "{said}");
}

#[test]
fn an_unreachable_balancer_gets_time_for_its_checks() {
    let (instance, _appliance) = behind(&[("403 Forbidden", "")]);
    let (output, said) = instance.bootstrap(&["signal", "--timeout", "2s"]);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("cannot ask the load balancer") && said.contains(" s for its health checks"), "{said}");
    assert!(said.contains("`elasticloadbalancing:DescribeTargetHealth` is needed"), "{said}");
    assert_eq!(call(instance.signals.requests().last().unwrap())["Status"], "SUCCESS");
}
