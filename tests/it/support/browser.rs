//! A headless Chromium without network, which tests control over a pipe (the DevTools protocol).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use super::PATIENCE;

const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The running browser with one page.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    /// The messages that are no answers.
    events: Vec<Value>,
    session: String,
    next: u64,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts the browser with one empty page.
    #[track_caller]
    pub fn start() -> Self {
        let program = PROGRAMS.into_iter().find(|program| {
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
        });
        let program = program.expect("Chromium is not on the PATH: run this test with `tests/run`, which installs it");
        let profile = tempfile::tempdir().unwrap();
        // Chromium takes commands from descriptor 3 and answers on 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>&2", "sh", program])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let (sender, messages) = channel();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { break };
                if sender.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut browser =
            Self { child, commands, messages, events: Vec::new(), session: String::new(), next: 0, _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attached = browser.call("Target.attachToTarget", &json!({"targetId": target["targetId"], "flatten": true}));
        attached["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Sends a command and waits for its answer.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.try_call(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The same for a command that may fail, as when the page leaves at this moment.
    #[track_caller]
    fn try_call(&mut self, method: &str, parameters: &Value) -> Result<Value, Value> {
        self.next += 1;
        let mut command = json!({"id": self.next, "method": method, "params": parameters});
        if !self.session.is_empty() {
            command["sessionId"] = self.session.clone().into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).unwrap();
        self.commands.flush().unwrap();
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left).unwrap_or_else(|_| panic!("no answer to {method}"));
            if message["id"] == self.next {
                return match message.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(message["result"].clone()),
                };
            }
            self.events.push(message);
        }
    }

    /// A window of this size, on a screen that is dark or light.
    pub fn look_like(&mut self, size: (u32, u32), scheme: &str) {
        self.look_like_for(size, scheme, &[]);
    }

    /// Opens the page for a person with these preferences, as in `forced-colors` and `active`.
    pub fn look_like_for(&mut self, (width, height): (u32, u32), scheme: &str, preferences: &[(&str, &str)]) {
        let features = [&[("prefers-color-scheme", scheme)], preferences].concat();
        let features: Vec<_> = features.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        // They come before the size: only a new size paints the background behind the page anew.
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
        let is_phone = width < 600;
        self.call(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": height, "deviceScaleFactor": if is_phone { 2 } else { 1 }, "mobile": is_phone}),
        );
    }

    /// Opens a page.
    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
    }

    /// The value of an expression of JavaScript.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let result = self
            .call("Runtime.evaluate", &json!({"expression": expression, "returnByValue": true, "awaitPromise": true}));
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait_for(&mut self, expression: &str) {
        self.wait_up_to(PATIENCE, expression);
    }

    /// The same for a page that takes longer, with megabytes of scripts.
    #[track_caller]
    pub fn wait_up_to(&mut self, limit: Duration, expression: &str) {
        let deadline = Instant::now() + limit;
        // While the page is being loaded, it has not what is asked for.
        let patient = format!("(() => {{ try {{ return {expression}; }} catch {{ return false; }} }})()");
        let parameters = json!({"expression": patient, "returnByValue": true, "awaitPromise": true});
        // A page that is on its way to another one does not answer.
        while !self.try_call("Runtime.evaluate", &parameters).is_ok_and(|found| found["result"]["value"] == true) {
            assert!(Instant::now() < deadline, "gave up waiting for {expression}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str) {
        let text = if key == "Enter" {
            "\r"
        } else if key == " " {
            " "
        } else {
            ""
        };
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            " " => 32,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            _ => 0,
        };
        let event = |kind: &str| {
            let mut event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            event
        };
        self.call("Input.dispatchKeyEvent", &event("keyDown"));
        self.call("Input.dispatchKeyEvent", &event("keyUp"));
    }

    /// A picture of the whole page, as a PNG file.
    pub fn picture(&mut self, file: &Path) {
        self.picture_down_to(file, None);
    }

    /// A picture of the page down to this number of pixels, as a PNG file.
    pub fn picture_down_to(&mut self, file: &Path, height: Option<f64>) {
        let mut clip = self.call("Page.getLayoutMetrics", &json!({}))["cssContentSize"].clone();
        clip["scale"] = 1.into();
        if let Some(height) = height {
            clip["height"] = height.into();
        }
        let parameters = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let taken = self.call("Page.captureScreenshot", &parameters);
        let bytes = base64::prelude::BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    /// Returns the errors of scripts, and the violations of the page's policy.
    pub fn complaints(&self) -> Vec<&Value> {
        let is_bad = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
            _ => false,
        };
        self.events.iter().filter(is_bad).collect()
    }

    /// The addresses that the page has asked for.
    pub fn requested(&self) -> Vec<&str> {
        let asked = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        asked.filter_map(|event| event["params"]["request"]["url"].as_str()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
