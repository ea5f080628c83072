//! The share of memory and disk that the bodies of one caller can use, and for how long: other callers are served
//! meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::support::appliance::{Appliance, Builder};
use crate::support::authority::authority;
use crate::support::caller::{Answer, Caller};
use crate::support::tokens::{Token, TokenFile};
use crate::support::upstream::Upstream;
use crate::support::{Message as _, eventually, figure, settled};

const SEARCH: &str = "/api/2.0/mlflow/runs/search";
const LOG_METRIC: &str = "/api/2.0/mlflow/runs/log-metric";
const LOG_BATCH: &str = "/api/2.0/mlflow/runs/log-batch";
/// The longest time that a request of another caller may take during the attack.
const AT_ONCE: Duration = Duration::from_secs(5);

struct Scene {
    upstream: Upstream,
    appliance: Appliance,
    attacker: Token,
    other: Token,
}

fn scene(arguments: &[&str]) -> Scene {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let (attacker, other) = (tokens.add("attacker", "write", &[]), tokens.add("other", "admin", &[]));
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with_admin().with(arguments).start();
    Scene { upstream, appliance, attacker, other }
}

impl Scene {
    /// Begins a request of the attacker with a body that announces `headers`, and sends `body` of it.
    fn begin(&self, path: &str, headers: &str, body: &[u8]) -> Caller {
        let mut caller = self.appliance.connect();
        let bearer = self.attacker.bearer();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\n{headers}\r\n\r\n");
        caller.send([head.as_bytes(), body].concat()).unwrap();
        caller
    }

    #[track_caller]
    fn post(&self, token: &Token, path: &str, length: usize) -> Answer {
        let began = Instant::now();
        let body = vec![b' '; length];
        let answer = self.appliance.connect().request("POST", path, &[("Authorization", &token.bearer())], Some(&body));
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        answer
    }

    #[track_caller]
    fn others_are_served(&self, why: &str) {
        for (path, length) in [(LOG_METRIC, 200), (LOG_BATCH, 60_000), (LOG_BATCH, 1 << 20), (SEARCH, 3 << 20)] {
            assert_eq!(self.post(&self.other, path, length).status, 200, "{why}: {length} bytes to {path}");
        }
        assert_eq!(self.post(&self.attacker, LOG_METRIC, 200).status, 200, "{why}: its own small calls go on, too");
    }

    fn held(&self, place: &str) -> u64 {
        self.appliance.metrics().count("appliance_body_bytes", &[("place", place)])
    }

    /// Begins bodies one after the other. The next one begins when the appliance holds `size` bytes of each, which reach the disk
    /// in pieces of 256 KiB. A piece on its way there is in both counts, so only settled counts are a base.
    #[track_caller]
    fn fill(&self, count: u64, size: u64, begin: impl Fn() -> Caller) -> Vec<Caller> {
        let all = || self.held("memory") + self.held("disk");
        let base = settled("the bytes held before", all);
        let one = |number| {
            let caller = begin();
            eventually("it holds the body", || all() >= base + number * size);
            caller
        };
        (1..=count).map(one).collect()
    }
}

#[test]
fn an_announced_length_reserves_nothing() {
    let scene = scene(&[]);
    let before = scene.appliance.resident();
    let memory = (0..64).map(|_| scene.begin(SEARCH, "Content-Length: 1048576", b"{"));
    let disk = (0..102).map(|_| scene.begin(SEARCH, "Content-Length: 104857600", b"{"));
    let chunked = (0..100).map(|_| scene.begin(SEARCH, "Transfer-Encoding: chunked", b"1\r\n{\r\n"));
    let attack: Vec<Caller> = memory.chain(disk).chain(chunked).collect();
    eventually("the first bytes have come", || scene.held("memory") >= 164 * 8192);
    assert!(scene.held("memory") < 2 << 20 && scene.held("disk") == 0);
    scene.others_are_served("announcements");
    let grown = scene.appliance.resident().saturating_sub(before) >> 20;
    assert!(grown < 64, "{grown} MiB");
    figure(&format!(
        "announcements: {} requests announce 10 GiB and send a byte each: {} KiB held, {grown} MiB more, others served",
        attack.len(),
        scene.held("memory") >> 10
    ));
}

#[test]
fn announced_lengths_over_one_http2_connection_reserve_nothing() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let (attacker, other) = (tokens.add("attacker", "write", &[]), tokens.add("other", "write", &[]));
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = authority().pair(vec![rcgen::SanType::DnsName("localhost".try_into().unwrap())]);
    let (certificate, key) = (file("certificate.pem", &certificate), file("key.pem", &key));
    let tls = ["--tls-certificate", &certificate, "--tls-key", &key];
    let budgets = ["--body-memory-budget", "1 MiB", "--body-disk-budget", "4 MiB"];
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with(&tls).with(&budgets).without_waiting().start();
    eventually("credentials are there", || appliance.log().contains("the AWS credentials were obtained"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let status = runtime.block_on(async {
        let connector = tokio_rustls::TlsConnector::from(authority().client(None, &["h2"]));
        let tcp = tokio::net::TcpStream::connect(appliance.address()).await.unwrap();
        let tls = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        let (client, connection) = h2::client::handshake(tls).await.unwrap();
        tokio::spawn(connection);
        let request = |token: &Token, length: usize| {
            http::Request::post(format!("https://localhost{LOG_METRIC}"))
                .header("authorization", token.bearer())
                .header("content-length", length)
                .body(())
                .unwrap()
        };
        let mut attack = Vec::new();
        // As many as one connection is sure to have, whatever limit it announces.
        for _ in 0..80 {
            let mut client = client.clone().ready().await.unwrap();
            let (response, mut stream) = client.send_request(request(&attacker, 1 << 20), false).unwrap();
            stream.send_data(Bytes::from_static(b"{"), false).unwrap();
            attack.push((response, stream));
        }
        let mut client = client.clone().ready().await.unwrap();
        let (response, mut stream) = client.send_request(request(&other, 2), false).unwrap();
        stream.send_data(Bytes::from_static(b"{}"), true).unwrap();
        let status = tokio::time::timeout(AT_ONCE, response).await.expect("an answer").unwrap().status().as_u16();
        drop(attack);
        status
    });
    assert_eq!(status, 200);
}

#[test]
fn a_caller_that_fills_the_disk_budget_leaves_room_for_others() {
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let scene = scene(&["--body-memory-limit", "1 KiB", "--body-disk-budget", "3 MiB"]);
        let mut body = vec![b' '; 900_000];
        if framing.starts_with("Transfer") {
            body = [format!("{:x}\r\n", 1_000_000).as_bytes(), &body].concat();
        }
        // Two of them are the attacker's share. They come first, because eight at the same pace would all be too much.
        let mut attack = scene.fill(2, 600_000, || scene.begin(SEARCH, framing, &body));
        attack.extend((0..6).map(|_| scene.begin(SEARCH, framing, &body)));
        let mut refused = 0;
        for caller in &mut attack {
            caller.wait_for(Duration::from_millis(500));
            if let Ok(answer) = caller.answer(false) {
                assert_eq!((answer.status, answer.header("x-appliance-error")), (429, "uploads-over-budget"));
                refused += 1;
            }
        }
        assert!(refused >= 5, "{framing}: {refused}; two thirds of the disk are two such bodies and a bit");
        assert!(scene.held("disk") <= 2 << 20, "{}", scene.held("disk"));
        assert_eq!(scene.post(&scene.other, SEARCH, 500_000).status, 200, "{framing}");
        assert_eq!(scene.post(&scene.other, LOG_METRIC, 200).status, 200, "{framing}");
        assert_eq!(scene.post(&scene.attacker, LOG_METRIC, 200).status, 200, "{framing}");
        drop(attack);
        eventually("it is given back", || scene.held("disk") == 0);
        assert_eq!(scene.post(&scene.attacker, SEARCH, 1_000_000).status, 200, "{framing}: there is room again");
    }
}

#[test]
fn small_calls_do_not_starve_behind_uploads() {
    let scene = scene(&["--body-memory-budget", "2 MiB", "--body-disk-budget", "8 MiB"]);
    let large = || scene.begin(LOG_BATCH, "Content-Length: 1000000", &vec![b' '; 900_000]);
    let small = || scene.begin(LOG_BATCH, "Content-Length: 60000", &vec![b' '; 59_000]);
    let mut held = scene.fill(7, 600_000, large);
    held.extend(scene.fill(10, 50_000, small));
    held.extend((0..13).map(|_| large()));
    held.extend((0..30).map(|_| small()));
    assert!(scene.held("memory") > 1 << 20 && scene.held("disk") > 3 << 20, "memory and disk are in use");
    for _ in 0..20 {
        assert_eq!(scene.post(&scene.other, LOG_METRIC, 200).status, 200);
        assert_eq!(scene.post(&scene.attacker, LOG_METRIC, 200).status, 200);
    }
    assert_eq!(
        scene.post(&scene.other, SEARCH, 1_200_000).status,
        200,
        "the upload of another caller fits on the disk"
    );
}

#[test]
fn a_body_that_is_too_slow_or_takes_too_long_is_rejected() {
    let unsigned = ["--unsigned-payload", "--body-memory-limit", "1 KiB"];
    for (why, more, timing, framing, piece) in [
        ("a length", &[][..], ["1s", "1h"], "Content-Length: 1000000", " "),
        ("chunks", &[], ["1s", "1h"], "Transfer-Encoding: chunked", "1\r\n \r\n"),
        ("to the disk", &unsigned[1..], ["1s", "1h"], "Content-Length: 1000000", " "),
        ("unsigned", &unsigned, ["1s", "1h"], "Content-Length: 1000000", " "),
        ("the whole time", &[], ["30s", "2s"], "Content-Length: 1000000", " "),
        ("the whole time, unsigned", &unsigned, ["30s", "2s"], "Content-Length: 1000000", " "),
    ] {
        let scene = scene(&[&["--body-idle-timeout", timing[0], "--body-timeout", timing[1]], more].concat());
        let began = Instant::now();
        let mut caller = scene.begin(SEARCH, framing, b"");
        caller.wait_for(Duration::from_millis(200));
        let answer = loop {
            assert!(began.elapsed() < Duration::from_secs(10), "{why}: {:?}", began.elapsed());
            let _ = caller.send(piece);
            if let Ok(answer) = caller.answer(false) {
                break answer;
            }
        };
        assert_eq!((answer.status, answer.header("x-appliance-error")), (408, "body-stalled"), "{why}");
        eventually("nothing is held any more", || scene.held("memory") + scene.held("disk") == 0);
        figure(&format!("a byte every 200 ms, {why}: ended after {:.1?}", began.elapsed()));
    }
}

#[test]
fn a_slow_but_honest_upload_arrives() {
    let scene = scene(&["--body-idle-timeout", "1s"]);
    let mut caller = scene.begin(LOG_BATCH, "Content-Length: 20000", b"");
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(200));
        caller.send(vec![b' '; 1000]).unwrap();
    }
    assert_eq!(caller.answer(false).unwrap().status, 200, "5 kB per second");
    assert_eq!(scene.upstream.requests().len(), 1);
}

#[test]
fn a_sign_in_form_must_arrive_within_ten_seconds() {
    let scene = scene(&[]);
    let mut caller = scene.appliance.connect();
    let head = "POST /_appliance/login HTTP/1.1\r\nHost: localhost:5000\r\nOrigin: http://localhost:5000\r\n";
    caller.send(format!("{head}Content-Length: 100\r\n\r\nt")).unwrap();
    let began = Instant::now();
    caller.wait_for(Duration::from_millis(500));
    let answer = loop {
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        let _ = caller.send("o");
        if let Ok(answer) = caller.answer(false) {
            break answer;
        }
    };
    assert_eq!((answer.status, answer.header("x-appliance-error")), (408, "body-stalled"));
}

#[test]
fn a_busy_caller_is_not_throttled_by_default() {
    let scene = Arc::new(scene(&[]));
    let callers: Vec<_> = (0..256)
        .map(|_| {
            let scene = Arc::clone(&scene);
            std::thread::spawn(move || {
                let (mut caller, bearer) = (scene.appliance.connect(), scene.attacker.bearer());
                let ask = |_| caller.request("POST", LOG_METRIC, &[("Authorization", &bearer)], Some(b"{}")).status;
                (0..4).map(ask).collect::<Vec<_>>()
            })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.join().unwrap(), [200; 4]);
    }
}
