//! Random requests: botocore verifies the appliance's signatures on the bytes that arrived on the wire.

use std::fmt::Write as _;

use crate::support::appliance::{ACCESS_KEY_ID, APP_ARN, Builder, SECRET_ACCESS_KEY, TRACKING_ARN};
use crate::support::upstream::{Recorded, Upstream};
use crate::support::{figure, python};

/// Requests for each of the two modes.
const REQUESTS: usize = 1500;

/// SplitMix64 (Steele, Lea, Flood 2014): small, good enough, and the same everywhere for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.roll(among.len())]
    }

    /// Text as it may stand in a path or a query: literal, reserved, escaped in either case, escaped wrongly.
    fn text(&mut self, most: usize) -> String {
        const PIECES: [&str; 48] = [
            "a",
            "B",
            "7",
            "-",
            "_",
            ".",
            "~",
            "mlflow",
            "api",
            "2.0",
            "+",
            "%2B",
            "%2b",
            "%20",
            "%25",
            "%",
            "%zz",
            "%4",
            "=",
            "%3D",
            ":",
            "%3a",
            "@",
            ",",
            ";",
            "!",
            "'",
            "(",
            ")",
            "*",
            "$",
            "%2F",
            "%2f",
            "%C3%BC",
            "%e2%82%ac",
            "%F0%9F%98%80",
            "%00",
            "%0A",
            "%0d",
            "%7E",
            "%41",
            "%22",
            "%3C",
            "%5C",
            "%7B",
            "%ff",
            "|",
            "^",
        ];
        (0..self.roll(most)).map(|_| self.pick(&PIECES)).collect()
    }

    fn target(&mut self) -> String {
        let mut target = String::new();
        for _ in 0..=self.roll(5) {
            target.push('/');
            target.push_str(&self.text(6));
        }
        if self.roll(3) > 0 {
            target.push('?');
            for number in 0..self.roll(5) {
                if number > 0 {
                    target.push('&');
                }
                target.push_str(&self.text(5));
                if self.roll(5) > 0 {
                    target.push('=');
                    target.push_str(&self.text(8));
                }
            }
        }
        target
    }

    fn request(&mut self) -> Vec<u8> {
        let method = self.pick(&["GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
        let mut request = format!("{method} {} HTTP/1.1\r\nHost: localhost:5000\r\n", self.target()).into_bytes();
        let content_types = [
            "application/json",
            "text/plain; charset=utf-8",
            "application/x-protobuf",
            " a/b ;  c=d  ",
            "multipart/form-data; boundary=\"x y\"",
        ];
        if self.roll(2) > 0 {
            request.extend_from_slice(format!("Content-Type: {}\r\n", self.pick(&content_types)).as_bytes());
        }
        for header in [
            "Accept: */*",
            "X-MLflow-Client-Version: 3.17.2",
            "Authorization: Bearer t",
            "X-Amz-Date: 1",
            "User-Agent: x  y",
        ] {
            if self.roll(2) > 0 {
                request.extend_from_slice(format!("{header}\r\n").as_bytes());
            }
        }
        let length = [0, 0, 1, 17, 1000, 70_000][self.roll(6)];
        let body: Vec<u8> = (0..length).map(|_| u8::try_from(self.roll(256)).unwrap()).collect();
        match self.roll(3) {
            0 if method != "GET" => {
                request.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for piece in body.chunks(500) {
                    request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    request.extend_from_slice(piece);
                    request.extend_from_slice(b"\r\n");
                }
                request.extend_from_slice(b"0\r\n\r\n");
            }
            1 => request.extend_from_slice(b"\r\n"),
            _ => {
                request.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes());
                request.extend_from_slice(&body);
            }
        }
        request
    }
}

fn as_line(request: &Recorded, host: &str, (region, service): (&str, &str), is_unsigned: bool) -> String {
    let body = request.body.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let record = serde_json::json!({
        "method": request.method,
        "url": format!("https://{host}{}", request.target),
        "headers": request.headers,
        "body": body,
        "region": region,
        "service": service,
        "access_key": ACCESS_KEY_ID,
        "secret_key": SECRET_ACCESS_KEY,
        "is_unsigned": is_unsigned,
    });
    format!("{record}\n")
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn botocore_computes_the_same_signature_for_every_request() {
    let python = python::environment();
    let seed = std::env::var("APPLIANCE_TEST_SEED").map_or_else(
        |_| std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into(),
        |seed| seed.parse().expect("APPLIANCE_TEST_SEED is a number"),
    );
    figure(&format!("APPLIANCE_TEST_SEED={seed}"));
    let mut dice = Dice(seed);
    let mut lines = String::new();
    let mut refused = 0;
    for (arn, region, service) in [(TRACKING_ARN, "us-east-1", "sagemaker-mlflow"), (APP_ARN, "eu-west-1", "sagemaker")]
    {
        let upstream = Upstream::ok();
        let appliance = Builder::new(&upstream).env("SM_MLFLOW_RESOURCE_ARN", arn).start();
        let mut caller = appliance.connect();
        for number in 0..REQUESTS {
            let request = dice.request();
            caller.send(&request).unwrap();
            match caller.answer(false).map(|answer| answer.status) {
                Ok(200) => {}
                // A dot segment, or a byte that no request line may have; the connection may be gone with it.
                Ok(400) => {
                    refused += 1;
                    caller = appliance.connect();
                }
                other => panic!("request {number}: {other:?}\n{}", String::from_utf8_lossy(&request)),
            }
        }
        for request in upstream.requests() {
            lines.push_str(&as_line(&request, &upstream.authority(), (region, service), false));
        }
    }
    let verdict = python::run(&python, "oracle.py", &[], lines.as_bytes());
    figure(&format!("botocore compared {} requests; {refused} were refused before signing", verdict["compared"]));
    assert_eq!(verdict["count"], 0, "seed {seed}: {verdict:#}");
    assert!(verdict["compared"].as_u64().unwrap() >= 2000, "{verdict}");
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn botocore_computes_the_same_signature_without_the_body() {
    let python = python::environment();
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream)
        .env("SM_MLFLOW_RESOURCE_ARN", TRACKING_ARN)
        .with(&["--unsigned-payload", "--body-memory-limit", "1 KiB"])
        .start();
    let mut caller = appliance.connect();
    let bodies: Vec<Vec<u8>> = (1020..1030).map(|length| vec![b'x'; length]).collect();
    for body in &bodies {
        assert_eq!(caller.request("PUT", "/a%20b?c=d+e", &[("Content-Type", "text/plain")], Some(body)).status, 200);
    }
    let requests = upstream.requests();
    let lines: String = requests
        .iter()
        .map(|request| {
            as_line(request, &upstream.authority(), ("us-east-1", "sagemaker-mlflow"), request.body.len() > 1024)
        })
        .collect();
    let verdict = python::run(&python, "oracle.py", &[], lines.as_bytes());
    assert_eq!((&verdict["count"], &verdict["compared"]), (&0.into(), &10.into()), "{verdict:#}");
    assert!(requests.iter().zip(&bodies).all(|(request, body)| request.body == *body));
}
