//! `appliance login` and `appliance logout`: a terminal asks for a personal token, and a person confirms it in a browser.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use crate::support::Message as _;
use crate::support::appliance::{Appliance, command, run};
use crate::support::personal::{OWN, PAGE, PersonAt, PersonalFile};
use crate::support::tokens::{Token, TokenFile};
use crate::support::upstream::Upstream;

const SEARCH: &str = "/api/2.0/mlflow/experiments/search";

/// A running `appliance login`.
struct Terminal {
    child: Child,
    /// The path and query of the page that confirms.
    page: String,
    code: String,
}

impl Terminal {
    #[track_caller]
    fn start(url: &str, arguments: &[&str]) -> Self {
        let all = [&["login", url, "--no-browser"], arguments].concat();
        let mut child = command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines().map_while(Result::ok);
        let (mut page, mut said) = (None, String::new());
        let code = loop {
            let Some(line) = lines.next() else { panic!("no code: {said}") };
            if let Some(at) = line.find("/_appliance/") {
                page = Some(line[at..].to_owned());
            }
            if let Some((_, code)) = line.split_once("Code: ") {
                break code.to_owned();
            }
            said += &line;
        };
        drop(lines);
        Self { child, page: page.unwrap(), code }
    }

    fn query(&self) -> &str {
        self.page.split_once('?').unwrap().1
    }

    /// The form of the page, with this query and this code.
    fn form(query: &str, code: &str) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("request", query).append_pair("code", code).finish()
    }

    /// Waits for the end, and returns the output.
    #[track_caller]
    fn finish(mut self) -> String {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success());
        text
    }
}

/// An appliance with a writer and a reader who can sign in.
struct Setting {
    appliance: Appliance,
    personal: PersonalFile,
    ada: Token,
    bob: Token,
    _upstream: Upstream,
    _tokens: TokenFile,
}

fn start() -> Setting {
    let (upstream, tokens, personal) = (Upstream::ok(), TokenFile::new(), PersonalFile::new());
    let (ada, bob) = (tokens.add("ada", "write", &[]), tokens.add("bob", "read", &[]));
    let appliance = personal.builder(&upstream, &tokens).start();
    Setting { appliance, personal, ada, bob, _upstream: upstream, _tokens: tokens }
}

fn status(appliance: &Appliance, token: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    appliance.connect().request("GET", SEARCH, &[("Authorization", &*authorization)], None).status
}

#[test]
fn a_terminal_gets_the_token_that_a_person_confirms_and_revokes_it() {
    let Setting { appliance, personal, ada, .. } = &start();
    let person = PersonAt::sign_in(appliance, &ada.text);
    let url = appliance.url();
    let terminal = Terminal::start(&url, &["--name", "laptop", "--role", "read", "--expires", "7d"]);
    let page = person.get(&terminal.page);
    for part in ["laptop", "<dd>read</dd>", "<dd>7 days</dd>", "your terminal shows"] {
        assert!(page.text().contains(part), "{part}: {}", page.text());
    }
    assert!(!page.text().contains(&terminal.code), "the page does not show the code: {}", page.text());
    let confirm = format!("{PAGE}/confirm");
    let done = person.post(&confirm, &Terminal::form(terminal.query(), &terminal.code.to_lowercase()));
    assert!(done.status == 200 && done.text().contains("Return to your terminal"), "{}", done.text());
    let form = Terminal::form(terminal.query(), &terminal.code);
    let printed = terminal.finish();
    let token = printed.trim();
    assert_eq!((printed.lines().count(), status(appliance, token)), (1, 200), "{printed}");
    assert_eq!(person.post(&confirm, &form).status, 400, "a second confirmation makes no second token");
    let itself = |method: &str, token: &str| {
        let authorization = format!("Bearer {token}");
        appliance.connect().request(method, &format!("{PAGE}/self"), &[("Authorization", &*authorization)], None)
    };
    let described = itself("GET", token).json();
    assert_eq!(
        (&described["name"], &described["owner"], &described["role"]),
        (&"laptop".into(), &"ada".into(), &"read".into())
    );
    assert_eq!(itself("GET", &ada.text).header("x-appliance-error"), "wrong-credential");
    assert_eq!(itself("DELETE", &ada.text).status, 403);
    for text in [page.text(), done.text(), personal.text(), appliance.log()] {
        assert!(!text.contains(&token[16..]), "the token never leaves the terminal: {text}");
    }

    let out = run(&["logout", &url], &[("MLFLOW_TRACKING_TOKEN", token)]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(status(appliance, token), 401);
    let again = run(&["logout", &url], &[("MLFLOW_TRACKING_TOKEN", token)]);
    assert!(again.status.success() && String::from_utf8_lossy(&again.stderr).contains("was not valid"), "{again:?}");
    let wrong = run(&["logout", &url], &[("MLFLOW_TRACKING_TOKEN", &ada.text)]);
    assert_eq!(wrong.status.code(), Some(78), "{wrong:?}");
    assert_eq!(status(appliance, &ada.text), 200);
}

#[test]
fn a_terminal_writes_the_token_to_a_file_that_only_its_user_reads() {
    use std::os::unix::fs::PermissionsExt as _;
    let Setting { appliance, ada, .. } = &start();
    let person = PersonAt::sign_in(appliance, &ada.text);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let (url, path) = (format!("{}/t/default", appliance.url()), file.to_str().unwrap());
    let terminal = Terminal::start(&url, &["--write", path]);
    assert_eq!(person.post(&format!("{PAGE}/confirm"), &Terminal::form(terminal.query(), &terminal.code)).status, 200);
    assert_eq!(terminal.finish(), "");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&file).unwrap();
    assert_eq!(status(appliance, token.trim()), 200);
    let out = run(&["logout", &url, "--file", path], &[]);
    assert!(out.status.success() && !file.exists(), "{out:?}");
    assert_eq!(status(appliance, token.trim()), 401);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn forged_changed_and_old_requests_make_no_token() {
    let Setting { appliance, personal, ada, bob, .. } = &start();
    let person = PersonAt::sign_in(appliance, &ada.text);
    let mut terminal = Terminal::start(&appliance.url(), &["--name", "laptop"]);
    let (query, code) = (terminal.query().to_owned(), terminal.code.clone());
    let asked: u64 = query.rsplit_once("asked=").unwrap().1.parse().unwrap();
    let confirm = format!("{PAGE}/confirm");
    let old = query.replace(&format!("asked={asked}"), &format!("asked={}", asked - 700));
    for (what, query, code) in [
        ("no code", query.clone(), ""),
        ("another code", query.clone(), "BCDF-GHJK"),
        ("another name", query.replace("name=laptop", "name=desktop"), &*code),
        ("another hash", query.replace("hash=", "hash=00"), &*code),
        ("another lifetime", query.replace("seconds=", "seconds=1"), &*code),
        ("another role", query.replace("&seconds", "&role=admin&seconds"), &*code),
        ("an older request", old, &*code),
        ("no request", String::new(), &*code),
        ("markup", format!("{query}&%3Cscript%3E"), &*code),
    ] {
        let shown = person.get(&format!("{confirm}?{query}"));
        assert!(!shown.text().contains("<script"), "{what}");
        let answer = person.post(&confirm, &Terminal::form(&query, code));
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        let foreign = [("Cookie", &*person.cookie), ("Origin", "https://evil.example")];
        let form = Terminal::form(&query, code);
        assert_eq!(
            appliance.connect().request("POST", &confirm, &foreign, Some(form.as_bytes())).status,
            403,
            "{what}"
        );
    }
    // Opening the address alone changes nothing.
    assert_eq!(person.get(&terminal.page).status, 200);
    assert_eq!(personal.text(), "");
    // A person cannot give more than they have.
    let reader = PersonAt::sign_in(appliance, &bob.text);
    let mut greedy = Terminal::start(&appliance.url(), &["--role", "write"]);
    let answer = reader.post(&confirm, &Terminal::form(greedy.query(), &greedy.code));
    assert!(answer.status == 400 && answer.text().contains("higher role"), "{}", answer.text());
    let headers = [OWN, ("Accept", "text/html")];
    let stranger = appliance.connect().request("GET", &terminal.page, &headers, None);
    assert!(stranger.status == 303 && stranger.header("location").contains("login?next="), "{}", stranger.status);
    for terminal in [&mut terminal, &mut greedy] {
        terminal.child.kill().unwrap();
        terminal.child.wait().unwrap();
    }
}

#[test]
fn login_reports_at_once_why_it_cannot_work() {
    let (upstream, tokens) = (Upstream::ok(), TokenFile::new());
    tokens.add("ada", "write", &[]);
    let without = crate::support::appliance::Builder::new(&upstream).with_tokens(&tokens).start();
    let other = Upstream::plain(|_, wire| wire.answer("200 OK", "<html>"));
    let other = format!("http://{}", other.address());
    for (url, code, expected) in [
        (&*without.url(), 78, "has no personal tokens"),
        (&*other, 1, "not as an appliance does"),
        ("http://mlflow.corp", 2, "unencrypted"),
        ("mlflow.corp", 2, "not an address"),
        ("http://127.0.0.1:9", 1, "127.0.0.1:9"),
    ] {
        let output = run(&["login", url, "--no-browser"], &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(expected), "{url}: {said}");
        assert!(output.status.code() == Some(code) || expected.contains("appliance does"), "{url}: {output:?}");
    }
    for (arguments, expected) in [
        (["--expires", "soon"], "not a duration"),
        (["--name", "a b"], "a name has 2 to 64"),
        (["--write", "/nonexistent/token"], "/nonexistent/token"),
    ] {
        let output = run(&[&["login", &without.url(), "--no-browser"], &arguments[..]].concat(), &[]);
        assert!(String::from_utf8_lossy(&output.stderr).contains(expected), "{output:?}");
    }
}
