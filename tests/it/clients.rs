//! The programs of docs/use/clients.md and docs/use/clients-r-and-java.md run as they stand there, and their runs arrive.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::appliance::Appliance;
use crate::support::caller::Caller;
use crate::support::sandbox::Sandbox;
use crate::support::tokens::{Token, TokenFile};
use crate::support::{prepared, python};

/// The target that the clients are sent to, by its name.
const TARGET: &str = "serverless";

/// A page about clients.
fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/use").join(name)).unwrap()
}

/// The fenced blocks of both pages, by the heading that each stands under.
fn blocks() -> BTreeMap<String, (String, String)> {
    let pages = [page("clients.md"), page("clients-r-and-java.md")];
    let mut blocks = BTreeMap::new();
    for section in pages.iter().flat_map(|page| page.split("\n## ").skip(1)) {
        let (heading, text) = section.split_once('\n').unwrap();
        for (index, fenced) in text.split("\n```").enumerate().filter(|(index, _)| index % 2 == 1) {
            let (language, program) = fenced.split_once('\n').unwrap();
            let block = (language.to_owned(), format!("{program}\n"));
            assert!(blocks.insert(heading.to_owned(), block).is_none() && index == 1, "one block under {heading}");
        }
    }
    blocks
}

/// An appliance that asks for tokens, before the sandbox's AWS and a real MLflow.
struct Scene {
    sandbox: Sandbox,
    appliance: Appliance,
    token: Token,
    bin: PathBuf,
    directory: tempfile::TempDir,
    files: (tempfile::NamedTempFile, TokenFile),
}

impl Scene {
    fn start() -> Self {
        let bin = python::environment();
        let sandbox = Sandbox::start(&bin, &[]);
        let (file, tokens) = (sandbox.configuration(), TokenFile::new());
        let token = tokens.add("ada", "write", &[]);
        let appliance = sandbox.serve(file.path()).with_tokens(&tokens).start();
        crate::support::eventually("it is ready", || appliance.get("/_appliance/readyz").status == 200);
        let directory = tempfile::tempdir().unwrap();
        Self { sandbox, appliance, token, bin, directory, files: (file, tokens) }
    }

    /// Runs a program as a client would, with nothing but the two variables and what GitHub sets.
    #[track_caller]
    fn run(&self, program: &[&str], more: &[(&str, &str)]) -> Output {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.bin.display());
        let output = Command::new(program[0])
            .args(&program[1..])
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.directory.path())
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("MLFLOW_TRACKING_URI", format!("{}/t/{TARGET}", self.appliance.url()))
            .env("MLFLOW_TRACKING_TOKEN", &self.token.text)
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains(&self.token.text), "{program:?} shows the token: {said}");
        output
    }

    /// Writes a program of the page into a file, and runs it.
    #[track_caller]
    fn run_file(&self, name: &str, text: &str, before: &[&str], more: &[(&str, &str)]) {
        let file = self.directory.path().join(name);
        fs::write(&file, text).unwrap();
        let program: Vec<&str> = before.iter().copied().chain([file.to_str().unwrap()]).collect();
        let output = self.run(&program, more);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {}\n{said}", output.status);
    }

    /// Returns the only run of an experiment from MLflow itself, and the run's report from S3.
    #[track_caller]
    fn assert_arrived(&self, experiment: &str) -> Value {
        let mut mlflow =
            Caller::connect(self.sandbox.text("mlflow").trim_start_matches("http://").parse().expect("an address"));
        let api = "/api/2.0/mlflow";
        let found = mlflow.get(&format!("{api}/experiments/get-by-name?experiment_name={experiment}"));
        let id = found.json()["experiment"]["experiment_id"].clone();
        let question = json!({"experiment_ids": [id], "max_results": 10}).to_string();
        let headers = [("Content-Type", "application/json")];
        let answer = mlflow.request("POST", &format!("{api}/runs/search"), &headers, Some(question.as_bytes()));
        let runs = answer.json()["runs"].clone();
        assert_eq!(runs.as_array().map(Vec::len), Some(1), "{experiment}: {}", answer.text());
        let run = runs[0].clone();
        assert_eq!(run["info"]["status"], "FINISHED", "{experiment}: {run}");
        let metric = &run["data"]["metrics"][0];
        assert_eq!((metric["key"].as_str(), metric["value"].as_f64()), (Some("accuracy"), Some(0.93)), "{run}");
        let stored = run["info"]["artifact_uri"].as_str().unwrap().replace("s3://", "");
        let place = run["info"]["artifact_uri"].as_str().unwrap().split('/').skip(4).collect::<Vec<_>>().join("/");
        let target = format!("/t/{TARGET}/api/2.0/mlflow-artifacts/artifacts/{place}/report.txt");
        let report = self.appliance.connect().request("GET", &target, &[("Authorization", &self.token.bearer())], None);
        assert_eq!((report.status, report.text().as_str()), (200, "all is well\n"), "{experiment}: {stored} {target}");
        run
    }
}

/// Runs programs of the page in one scene, and checks that each became a run and that no log shows the token.
fn works(headings: &[&str]) {
    let scene = Scene::start();
    let blocks = blocks();
    for heading in headings {
        let (_, program) = &blocks[*heading];
        match *heading {
            "Python" => {
                scene.run_file("client.py", program, &["python"], &[]);
                let run = scene.assert_arrived("from-python");
                assert_eq!(run["data"]["params"][0], json!({"key": "learning rate", "value": "0.1"}));
            }
            "Shell" => {
                scene.run_file("client.sh", program, &["sh"], &[]);
                scene.assert_arrived("from-shell");
                // The second time, the experiment exists already.
                scene.run_file("client.sh", program, &["sh"], &[]);
            }
            "R" => {
                scene.run_file("client.R", program, &["Rscript"], &[]);
                scene.assert_arrived("from-r");
            }
            "Java" => {
                scene.run_file("LogRun.java", program, &["java"], &[]);
                scene.assert_arrived("from-java");
            }
            "GitHub Actions" => {
                run_workflow(&scene, program);
                let run = scene.assert_arrived("from-ci");
                assert_eq!(run["info"]["run_name"], "0123456");
            }
            other => panic!("no test knows how to run the program under {other}"),
        }
    }
    scene.appliance.saw("the caller by name", |event| event["caller"] == "ada" && event["mlflow"] == TARGET);
    assert!(!scene.appliance.log().contains(&scene.token.text));
    let said = scene.sandbox.interrupt();
    assert!(said.contains("serverless: ") && !said.contains("serverless: 0 "), "{said}");
}

#[test]
fn every_program_of_the_page_has_a_test() {
    let headings: Vec<_> = blocks().into_keys().collect();
    // The block about the plugin is a line of its log, which another test compares.
    assert_eq!(headings, ["AWS's plugin", "GitHub Actions", "Java", "Python", "R", "Shell"]);
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn the_programs_for_python_shells_and_github_work() {
    works(&["Python", "Shell", "GitHub Actions"]);
}

#[test]
#[ignore = "needs tests/run: MLflow, and R 4.1 with httr2 and jsonlite"]
fn the_r_program_works() {
    works(&["R"]);
}

#[test]
#[ignore = "needs tests/run: MLflow, and a JDK 17"]
fn the_java_program_works() {
    works(&["Java"]);
}

/// Does with a workflow what a runner would, but for `uses` and for what keeps secrets.
fn run_workflow(scene: &Scene, text: &str) {
    let workflow: Value = serde_saphyr::from_str(text).unwrap();
    let job = &workflow["jobs"]["train"];
    let variables: Vec<&String> = job["env"].as_object().unwrap().keys().collect();
    assert_eq!(variables, ["MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_URI"]);
    assert_eq!(job["env"]["MLFLOW_TRACKING_TOKEN"], "${{ secrets.MLFLOW_TRACKING_TOKEN }}", "a secret stays one");
    let github = [("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567"), ("GITHUB_REF_NAME", "main")];
    let mut steps = 0;
    for step in job["steps"].as_array().unwrap() {
        let Some(run) = step["run"].as_str() else {
            assert!(step["uses"].is_string(), "{step}");
            continue;
        };
        scene.run_file("step.sh", run, &["bash", "-e"], &github);
        steps += 1;
    }
    assert_eq!(steps, 2);
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn clients_with_the_plugin_of_aws_get_an_instruction_or_are_served() {
    const LOG: &str = "import mlflow, sys\nmlflow.set_tracking_uri(sys.argv[1])\nmlflow.set_experiment('plugin')\n\
                       with mlflow.start_run():\n    mlflow.log_metric('accuracy', 0.93)\n    \
                       mlflow.log_text('all is well', 'report.txt')\n";
    let plugin = prepared("APPLIANCE_TEST_PLUGIN");
    let scene = Scene::start();
    let page = page("clients.md");
    let arn = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/elsewhere";
    let with_plugin = |uri: &str, endpoint: &str| {
        let more = [
            ("PYTHONPATH", plugin.as_str()),
            ("SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT", endpoint),
            ("AWS_ACCESS_KEY_ID", "AKIDPLUGIN"),
            ("AWS_SECRET_ACCESS_KEY", "plugin"),
        ];
        let output = scene.run(&["python", "-c", LOG, uri], &more);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };

    // Merely installed, it complains, and all works.
    let line = page.lines().find(|line| line.starts_with("WARNING mlflow")).unwrap();
    let (is_well, said) = with_plugin(&format!("{}/t/{TARGET}", scene.appliance.url()), "");
    assert!(is_well && said.contains(line), "{said}");

    // With tokens asked for, a signature is no token, and the answer says what to change.
    let (is_well, said) = with_plugin(arn, &format!("{}/t/{TARGET}", scene.appliance.url()));
    assert!(!is_well && said.contains("RestException: UNAUTHENTICATED"), "{said}");
    for part in ["Uninstall `sagemaker-mlflow`", "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT", "MLFLOW_TRACKING_TOKEN"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    scene.appliance.saw("why", |event| {
        event["error_code"] == "unauthenticated"
            && event["cause"] == "the request is signed with AWS credentials and has no token"
    });
    assert!(!scene.appliance.log().contains("AKIDPLUGIN"), "{}", scene.appliance.log());

    // If no token is required, the path selects the target and the appliance signs; the plugin reads and writes artifacts itself.
    let open = scene.sandbox.serve(scene.files.0.path()).start();
    crate::support::eventually("it is ready", || open.get("/_appliance/readyz").status == 200);
    let (is_well, said) = with_plugin(arn, &format!("{}/t/tracking", open.url()));
    open.saw("a run of anybody, at the path's target", |event| {
        event["action"] == "runs:log-metric" || event["path"].as_str().is_some_and(|path| path.contains("log-metric"))
    });
    let events = open.access_log();
    assert!(events.iter().all(|event| event["mlflow"] != "serverless"), "{events:?}");
    assert!(events.iter().any(|event| event["mlflow"] == "tracking" && event["status"] == 200), "{events:?}");
    let fails_with = "the tracking URI must be a valid http or https URI";
    assert!(page.contains(fails_with) && !is_well && said.contains(fails_with), "{said}");
}
