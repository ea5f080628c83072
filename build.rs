//! The templates, compressed, and what they say of themselves, as JSON, so that the binary reads no YAML: parameters,
//! what is kept, outputs.

use std::io::Write as _;
use std::path::Path;
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

fn main() {
    println!("cargo::rerun-if-changed=infra");
    let directory = env::var_os("OUT_DIR").expect("Cargo sets it");
    for name in ["networking", "sagemaker-domain", "mlflow", "appliance"] {
        let path = format!("infra/{name}.yaml");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let template: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let resources = template["Resources"].as_object().into_iter().flatten();
        let resources = resources.map(|(name, one)| (name.clone(), json!({"DeletionPolicy": one["DeletionPolicy"]})));
        let outputs: Vec<&String> =
            template["Outputs"].as_object().into_iter().flatten().map(|(name, _)| name).collect();
        let extract = json!({
            "Parameters": template["Parameters"],
            "Resources": resources.collect::<Map<_, _>>(),
            "Outputs": outputs,
        });
        let write = |name: String, bytes: &[u8]| {
            let place = Path::new(&directory).join(name);
            fs::write(&place, bytes).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
        };
        write(format!("{name}.json"), extract.to_string().as_bytes());
        let mut compressed = GzEncoder::new(Vec::new(), Compression::best());
        compressed.write_all(text.as_bytes()).expect("memory takes everything");
        write(format!("{name}.yaml.gz"), &compressed.finish().expect("memory takes everything"));
    }
}
