//! The settings of traces: our options, and beneath them the variables that every program with OpenTelemetry knows.

use std::sync::Arc;

use actix_web::http::Uri;
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;

use super::options::{RawValue, TelemetryOptions, ValueOrigin};
use super::problems::Problems;
use super::trust::dialer;
use crate::http::client::Endpoint;
use crate::proxy::Proxies;
use crate::serve::{Collector, SpanSettings};

const HINT_ENDPOINT: &str = "write the collector's address for OTLP over HTTP, as in `http://127.0.0.1:4318`, or `off`";
const HINT_RATIO: &str = "write a share from 0 to 1, as in `0.1`";
const HINT_ATTRIBUTES: &str = "write `key=value,key=value`, with `%2C` for a comma within a value";
/// The path of a collector that receives spans.
const PATH: &str = "/v1/traces";
/// The variable whose address includes the path.
const WHOLE_ADDRESS: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// The address of a collector, as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CollectorAddress {
    endpoint: Endpoint,
    target: String,
}

/// The options by the variables of OpenTelemetry's specification; `variable` returns their values. They may be meant for
/// another program, so all our options win over them.
#[must_use]
pub(super) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> TelemetryOptions {
    let read = |name: &str| {
        let text = variable(name).filter(|text| !text.is_empty())?;
        Some(RawValue { text, origin: ValueOrigin::Variable(name.to_owned()) })
    };
    let is_off = read("OTEL_SDK_DISABLED").is_some_and(|given| given.text.eq_ignore_ascii_case("true"))
        || read("OTEL_TRACES_EXPORTER").is_some_and(|given| given.text == "none");
    let protocol = read("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| read("OTEL_EXPORTER_OTLP_PROTOCOL"));
    let is_of_another_kind = protocol.is_some_and(|given| given.text == "grpc");
    let endpoint = read(WHOLE_ADDRESS).or_else(|| read("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let sampling_ratio = read("OTEL_TRACES_SAMPLER").and_then(|sampler| match sampler.text.as_str() {
        "traceidratio" | "parentbased_traceidratio" => read("OTEL_TRACES_SAMPLER_ARG"),
        "always_off" | "parentbased_always_off" => Some(RawValue { text: "0".to_owned(), ..sampler }),
        _ => None,
    });
    TelemetryOptions {
        // A gRPC port does not understand HTTP/1.1.
        otlp_endpoint: endpoint.filter(|_| !is_off && !is_of_another_kind),
        otlp_sampling_ratio: sampling_ratio,
        otlp_service_name: read("OTEL_SERVICE_NAME"),
        otlp_resource_attributes: read("OTEL_RESOURCE_ATTRIBUTES"),
        ..TelemetryOptions::default()
    }
}

/// The settings of spans; none if no collector is configured. `run` is a random number that identifies this process.
pub(super) fn resolve(
    options: &TelemetryOptions,
    (tls, proxies): (Option<&Arc<ClientConfig>>, &Proxies),
    run: u64,
    problems: &mut Problems,
) -> Option<SpanSettings> {
    let given = options.otlp_endpoint.as_ref();
    let ratio = problems.read(options.otlp_sampling_ratio.as_ref(), HINT_RATIO, ratio);
    let attributes = problems.read(options.otlp_resource_attributes.as_ref(), HINT_ATTRIBUTES, attributes);
    let is_whole = given.is_some_and(|given| given.origin == ValueOrigin::Variable(WHOLE_ADDRESS.to_owned()));
    let address =
        problems.read(given.filter(|given| given.text != "off"), HINT_ENDPOINT, |text| address(text, is_whole));
    if given.is_none() {
        let idle = [&options.otlp_sampling_ratio, &options.otlp_service_name, &options.otlp_resource_attributes];
        // OpenTelemetry's variables may be meant for other programs.
        let is_ours =
            |given: &&RawValue| !matches!(&given.origin, ValueOrigin::Variable(name) if name.starts_with("OTEL_"));
        for given in idle.into_iter().flatten().filter(is_ours) {
            let what = "this has no effect, because no spans are recorded";
            problems.add(&given.origin, what, "set `otlp-endpoint`, or remove this option");
        }
    }
    let CollectorAddress { endpoint, target } = address?;
    let name = options.otlp_service_name.as_ref().map(|given| given.text.clone());
    Some(SpanSettings {
        collector: Collector { dialer: dialer(&endpoint, tls?, proxies), target },
        sampling_ratio: ratio.unwrap_or(1.0),
        resource: resource(name, attributes.unwrap_or_default(), run),
    })
}

/// The attributes of this process. Configured ones win; of a key that occurs twice, the last one wins.
fn resource(name: Option<String>, configured: Vec<(String, String)>, run: u64) -> Vec<(String, String)> {
    let mut all = vec![
        ("service.name".to_owned(), "mlflow-appliance".to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id".to_owned(), format!("{run:016x}")),
    ];
    let name = name.map(|name| ("service.name".to_owned(), name));
    for (key, value) in configured.into_iter().chain(name) {
        match all.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => all.push((key, value)),
        }
    }
    all
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        Ok(_) => Err("not from 0 to 1".into()),
        Err(_) => Err("not a number".into()),
    }
}

/// Attributes in the form of the header `baggage`, which OpenTelemetry uses.
fn attributes(text: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let read = |pair: &str| {
        let (key, value) = pair.split_once('=').ok_or("a part has no `=`")?;
        let value = percent_decode_str(value.trim()).decode_utf8().map_err(|_| "a value is not UTF-8")?;
        let key = key.trim();
        if key.is_empty() { Err("a value has no key") } else { Ok((key.to_owned(), value.into_owned())) }
    };
    pairs.map(read).collect::<Result<_, _>>().map_err(ToOwned::to_owned)
}

fn address(text: &str, is_whole: bool) -> Result<CollectorAddress, String> {
    let uri: Uri = text.parse().map_err(|error| format!("not a URL ({error})"))?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err("the URL must start with `http://` or `https://`".into()),
    };
    if uri.query().is_some() || text.contains(['#', '@']) {
        // SECURITY: other users can see flags, and the log shows the URL, so it must not contain a secret.
        return Err("the URL must have a host, a port and a path only".into());
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    if host.is_empty() {
        return Err("the URL has no host".into());
    }
    let endpoint = Endpoint { tls, host, port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }) };
    let path = uri.path();
    let target = if is_whole || path.ends_with(PATH) {
        path.to_owned()
    } else {
        format!("{}{PATH}", path.trim_end_matches('/'))
    };
    Ok(CollectorAddress { endpoint, target })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_collector_address_gets_the_path_of_the_specification() {
        for (text, is_whole, shown) in [
            ("http://127.0.0.1:4318", false, "http://127.0.0.1:4318 /v1/traces"),
            ("http://collector/", false, "http://collector /v1/traces"),
            ("https://otlp.corp/gateway/", false, "https://otlp.corp /gateway/v1/traces"),
            ("https://otlp.corp:443/gateway/v1/traces", false, "https://otlp.corp /gateway/v1/traces"),
            ("http://[::1]:4318/spans", true, "http://[::1]:4318 /spans"),
            ("http://collector:4318", true, "http://collector:4318 /"),
        ] {
            let CollectorAddress { endpoint, target } = address(text, is_whole).unwrap();
            assert_eq!(format!("{} {target}", endpoint.url()), shown);
        }
        for text in [
            "",
            "collector:4318",
            "grpc://collector",
            "http://",
            "http://u:p@collector",
            "http://collector/?key=1",
            "x",
        ] {
            assert!(address(text, false).is_err(), "{text}");
        }
    }

    fn from(variables: &[(&str, &str)]) -> TelemetryOptions {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        from_environment(|name| variables.get(name).map(|text| (*text).to_owned()))
    }

    #[test]
    fn variables_have_the_meaning_of_the_specification() {
        const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318");
        const ARGUMENT: (&str, &str) = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
        let endpoint = |variables: &[(&str, &str)]| from(variables).otlp_endpoint.map(|given| given.text);
        assert_eq!(endpoint(&[]), None);
        assert_eq!(endpoint(&[BASE]).as_deref(), Some("http://a:4318"));
        assert_eq!(endpoint(&[BASE, (WHOLE_ADDRESS, "http://b/x")]).as_deref(), Some("http://b/x"));
        assert_eq!(endpoint(&[BASE, ("OTEL_SDK_DISABLED", "True")]), None);
        assert_eq!(endpoint(&[BASE, ("OTEL_TRACES_EXPORTER", "none")]), None);
        assert_eq!(endpoint(&[BASE, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), None);
        assert!(endpoint(&[BASE, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]).is_some());
        assert_eq!(endpoint(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
        let ratio = |variables: &[(&str, &str)]| from(variables).otlp_sampling_ratio.map(|given| given.text);
        assert_eq!(ratio(&[ARGUMENT]), None);
        assert_eq!(ratio(&[ARGUMENT, ("OTEL_TRACES_SAMPLER", "always_on")]), None);
        assert_eq!(ratio(&[ARGUMENT, ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")]).as_deref(), Some("0.25"));
        assert_eq!(ratio(&[ARGUMENT, ("OTEL_TRACES_SAMPLER", "always_off")]).as_deref(), Some("0"));
    }

    #[test]
    fn configured_attributes_win_over_those_of_the_process() {
        let configured = attributes("service.name=a, deployment.environment=prod%2Ceu,,service.name=b").unwrap();
        let all = resource(None, configured.clone(), 7);
        let value = |all: &[(String, String)], key: &str| {
            let found: Vec<_> = all.iter().filter(|(known, _)| known == key).map(|(_, value)| value.clone()).collect();
            assert_eq!(found.len(), 1, "{key} in {all:?}");
            found[0].clone()
        };
        assert_eq!(value(&all, "service.name"), "b");
        assert_eq!(value(&all, "deployment.environment"), "prod,eu");
        assert_eq!(value(&all, "service.instance.id"), "0000000000000007");
        assert_eq!(value(&resource(Some("c".to_owned()), configured, 7), "service.name"), "c");
        assert_eq!(value(&resource(None, Vec::new(), 7), "service.name"), "mlflow-appliance");
        assert!(attributes("a").is_err() && attributes("=a").is_err() && attributes("a=%ff").is_err());
        assert!(ratio("1.5").is_err() && ratio("-0.1").is_err() && ratio("NaN").is_err() && ratio("some").is_err());
        assert_eq!((ratio("0"), ratio("1"), ratio("0.5")), (Ok(0.0), Ok(1.0), Ok(0.5)));
    }
}
