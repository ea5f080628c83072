//! Networks whose only way out is an HTTP proxy: `HTTPS_PROXY` and `NO_PROXY`.

use std::net::TcpListener;
use std::process::Output;

use serde_json::Value;

use super::forward_proxy::{ForwardProxy, HOST, SECRET};
use crate::support::appliance::{ACCESS_KEY_ID, Appliance, Builder, SECRET_ACCESS_KEY, TRACKING_ARN, command};
use crate::support::authority::authority;
use crate::support::http2::Http2;
use crate::support::upstream::Upstream;
use crate::support::{Message as _, eventually};

/// TLS for all of AWS, whatever host it is.
fn upstream() -> Upstream {
    named(HOST, |_, wire| wire.answer("200 OK", "{}"))
}

fn named(
    host: &str,
    handler: impl Fn(&crate::support::upstream::Recorded, &mut crate::support::upstream::Wire) -> std::io::Result<()>
    + Send
    + Sync
    + 'static,
) -> Upstream {
    Upstream::with_tls(authority().server(host, &[]), handler)
}

fn behind(proxy: &ForwardProxy) -> Builder {
    Builder::to(&format!("https://{HOST}")).env("HTTPS_PROXY", &proxy.url())
}

#[track_caller]
fn keeps_the_password(text: &str) {
    let encoded = "YWRhOnByMHh5LXBhc3N3b3Jk";
    assert!(!text.contains(SECRET) && !text.contains(encoded), "{text}");
}

#[test]
fn requests_to_mlflow_go_through_the_proxy_which_sees_only_the_host() {
    let upstream = upstream();
    let proxy = ForwardProxy::to(upstream.address());
    for variable in ["HTTPS_PROXY", "https_proxy"] {
        let appliance = Builder::to(&format!("https://{HOST}"))
            .env(variable, &proxy.url())
            .with(&["--log-filter", "trace"])
            .start();
        assert_eq!(appliance.get("/version").status, 200);
        assert!(appliance.log().contains(&format!("\"proxy\":\"{}\"", proxy.shown())), "{}", appliance.log());
        keeps_the_password(&appliance.log());
    }
    assert_eq!(proxy.asked(), [format!("{HOST}:443")]);
    let heads = proxy.heads.lock().unwrap().concat();
    assert!(heads.contains("\r\nProxy-Authorization: Basic YWRhOnByMHh5LXBhc3N3b3Jk\r\n"), "{heads}");
    assert!(heads.contains(&format!("\r\nHost: {HOST}:443\r\n")) && !heads.contains("AWS4"), "{heads}");
    for request in upstream.requests() {
        assert!(!request.has("proxy-authorization") && request.header("host") == HOST, "{request:?}");
    }
}

#[test]
fn http2_goes_through_the_tunnel_as_well() {
    let upstream = Http2::named(HOST);
    let proxy = ForwardProxy::to(upstream.address());
    let appliance = behind(&proxy).start();
    for _ in 0..3 {
        assert_eq!(appliance.get("/version").status, 200);
    }
    assert_eq!(proxy.heads.lock().unwrap().len(), 1, "one connection");
}

#[test]
fn requests_to_all_services_of_aws_go_through_the_proxy() {
    // All hosts lead to one place, whose certificate has a name that none of them goes by: what counts is who was asked for.
    let proxy = ForwardProxy::to(upstream().address());
    let role = "arn:aws:iam::123456789012:role/mlflow";
    let appliance = Builder::anywhere()
        .with(&["--artifact-store", "auto", "--role-arn", role])
        .env("SM_MLFLOW_RESOURCE_ARN", TRACKING_ARN)
        .env("HTTPS_PROXY", &proxy.url())
        .with(&["--tokens", "secretsmanager:mlflow"])
        .without_waiting()
        .start();
    let asked = |host: &str| proxy.asked().iter().any(|asked| asked == &format!("{host}:443"));
    eventually("STS and Secrets Manager are asked for", || {
        asked("sts.us-east-1.amazonaws.com") && asked("secretsmanager.us-east-1.amazonaws.com")
    });
    keeps_the_password(&appliance.log());

    let appliance = Builder::anywhere()
        .with(&["--artifact-store", "auto"])
        .env("SM_MLFLOW_RESOURCE_ARN", TRACKING_ARN)
        .env("HTTPS_PROXY", &proxy.url())
        .without_waiting()
        .start();
    eventually("the SageMaker API is asked for", || asked("api.sagemaker.us-east-1.amazonaws.com"));
    drop(appliance);
    let appliance = Builder::anywhere()
        .with(&["--artifact-store", "s3://bucket/x"])
        .env("SM_MLFLOW_RESOURCE_ARN", TRACKING_ARN)
        .env("HTTPS_PROXY", &proxy.url())
        .without_waiting()
        .start();
    eventually("it is ready", || appliance.get("/_appliance/readyz").status == 200);
    appliance.get("/api/2.0/mlflow-artifacts/artifacts/x");
    appliance.get("/version");
    let s3 = |asked: &String| asked.starts_with("bucket.s3.") && asked.ends_with("amazonaws.com:443");
    assert!(proxy.asked().iter().any(s3), "{:?}", proxy.asked());
    assert!(proxy.asked().iter().any(|asked| asked.contains("sagemaker") && asked.contains("us-east-1")));

    let mut child = command(&["deploy", "status", "--mode", "tracking"])
        .env("HTTPS_PROXY", proxy.url())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .spawn()
        .unwrap();
    eventually("CloudFormation is asked for", || asked("cloudformation.us-east-1.amazonaws.com"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn excluded_and_local_hosts_are_reached_directly() {
    let upstream = Upstream::ok();
    let proxy = ForwardProxy::answering(None, "403 Forbidden");
    let appliance = Builder::new(&upstream).env("HTTPS_PROXY", &proxy.url()).start();
    assert_eq!(appliance.get("/version").status, 200, "this machine");
    for direct in [HOST, "corp.invalid", ".corp.invalid", "*.corp.invalid", "x, corp.invalid", "*"] {
        for variable in ["NO_PROXY", "no_proxy"] {
            let appliance = behind(&proxy).env(variable, direct).start();
            let answer = appliance.get("/version");
            assert_eq!((answer.status, answer.header("x-appliance-error")), (502, "upstream-unresolved"), "{direct}");
        }
    }
    for (address, direct) in [("192.0.2.1", "192.0.2.0/24"), ("192.0.2.1", "192.0.2.1")] {
        let builder =
            Builder::to(&format!("https://{address}:9")).env("HTTPS_PROXY", &proxy.url()).env("NO_PROXY", direct);
        let appliance = builder.with(&["--upstream-connect-timeout", "100ms"]).start();
        assert_ne!(appliance.get("/version").status, 200);
    }
    assert_eq!(proxy.asked(), Vec::<String>::new());

    // An imds that is here has to be reached without it, too.
    let imds = Upstream::plain(|_, wire| wire.answer("404 Not Found", ""));
    let appliance = behind(&proxy)
        .without_credentials()
        .env("AWS_EC2_METADATA_DISABLED", "false")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds.url())
        .env("HTTP_PROXY", &proxy.url())
        .start();
    eventually("it was asked", || !imds.requests().is_empty());
    eventually("there are none", || appliance.log().contains("the AWS credentials could not be obtained"));
    assert_eq!(proxy.asked(), Vec::<String>::new());
}

#[test]
fn a_proxy_that_rejects_a_tunnel_is_named_with_its_status() {
    for (status, retried) in
        [("407 Proxy Authentication Required", false), ("403 Forbidden", false), ("503 Busy", true)]
    {
        let proxy = ForwardProxy::answering(None, status);
        let appliance = behind(&proxy).start();
        let answer = appliance.get("/version");
        assert_eq!((answer.status, answer.header("x-appliance-error")), (502, "upstream-unreachable"), "{status}");
        assert!(!answer.text().contains("proxy"), "a caller need not know: {}", answer.text());
        let cause = format!("cannot reach `{HOST}:443` through the proxy `{}`: it answered {status}", proxy.shown());
        appliance.saw("the cause", |event| event["cause"] == cause);
        keeps_the_password(&appliance.log());
        assert_eq!(proxy.heads.lock().unwrap().len(), if retried { 2 } else { 1 }, "{status}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let appliance =
        Builder::to(&format!("https://{HOST}")).env("HTTPS_PROXY", &format!("http://ada:{SECRET}@{nobody}")).start();
    assert_eq!(appliance.get("/version").status, 502);
    let cause = format!("cannot reach `{HOST}:443` through the proxy `http://{nobody}`: cannot connect to `{nobody}`");
    appliance.saw("the cause", |event| event["cause"].as_str().is_some_and(|said| said.starts_with(&cause)));
    keeps_the_password(&appliance.log());
}

#[test]
fn a_proxy_that_blocks_the_credentials_is_named() {
    let proxy = ForwardProxy::answering(None, "407 Proxy Authentication Required");
    let appliance =
        behind(&proxy).with(&["--role-arn", "arn:aws:iam::123456789012:role/mlflow"]).without_waiting().start();
    eventually("STS cannot be asked", || appliance.log().contains("the AWS credentials could not be obtained"));
    assert!(appliance.log().contains(&format!("through proxy {}", proxy.shown())), "{}", appliance.log());
    keeps_the_password(&appliance.log());
}

fn check(proxy: &str, more: &[(&str, &str)]) -> (Output, String) {
    let mut command =
        command(&["check", "--json", "--resource-arn", TRACKING_ARN, "--listen", "127.0.0.1:0", "--ca-file"]);
    command
        .arg(authority().file())
        .args(["--upstream-endpoint", &format!("https://{HOST}")])
        .env("AWS_ENDPOINT_URL_STS", "https://sts.corp.invalid")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .env("HTTPS_PROXY", proxy)
        .envs(more.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output, said)
}

#[test]
fn check_prints_the_route_to_each_host() {
    let upstream = upstream();
    let proxy = ForwardProxy::to(upstream.address());
    let findings = |said: &str| serde_json::from_str::<Value>(said).unwrap()["findings"].as_array().unwrap().clone();
    let (_, said) = check(&proxy.url(), &[]);
    keeps_the_password(&said);
    let all = findings(&said);
    let of = |check: &str| all.iter().find(|one| one["check"] == check && one["subject"] == HOST).unwrap().clone();
    assert_eq!(of("proxy")["text"], format!("MLflow: through the proxy {}", proxy.shown()));
    assert_eq!(of("connection")["outcome"], "ok", "{said}");
    assert!(!all.iter().any(|one| one["check"] == "name" && one["subject"] == HOST), "{said}");

    let refusing = ForwardProxy::answering(None, "407 Proxy Authentication Required");
    let (output, said) = check(&refusing.url(), &[]);
    assert_eq!(output.status.code(), Some(1));
    keeps_the_password(&said);
    let all = findings(&said);
    let failed = all.iter().find(|one| one["check"] == "connection" && one["subject"] == HOST).unwrap();
    let text = failed["text"].as_str().unwrap();
    assert!(
        text.contains(&refusing.shown()) && text.contains("it answered 407 Proxy Authentication Required"),
        "{said}"
    );
    assert!(failed["hint"].as_str().unwrap().contains("HTTPS_PROXY"), "{said}");

    let (_, said) = check(&proxy.url(), &[("NO_PROXY", ".corp.invalid")]);
    assert!(!findings(&said).iter().any(|one| one["check"] == "proxy"), "{said}");
}

#[test]
fn an_unusable_proxy_is_a_configuration_problem() {
    for (url, what) in [
        (format!("socks5://ada:{SECRET}@127.0.0.1:1080"), "only HTTP proxies are supported"),
        (format!("https://ada:{SECRET}@127.0.0.1:1080"), "over TLS is not supported"),
        (format!("http://ada:{SECRET}@"), "it is not a URL"),
    ] {
        let (output, said) = check(&url, &[]);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("HTTPS_PROXY") && said.contains(what), "{said}");
        keeps_the_password(&said);
    }
    let upstream = Upstream::ok();
    let appliance: Appliance = Builder::new(&upstream).env("HTTPS_PROXY", "").env("https_proxy", " ").start();
    assert_eq!(appliance.get("/version").status, 200, "empty is unset");
}
