//! What the templates say of themselves, as JSON, so that the binary reads no YAML: parameters, what is kept, outputs.

use std::path::Path;
use std::{env, fs};

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
        let place = Path::new(&directory).join(format!("{name}.json"));
        fs::write(&place, extract.to_string()).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    }
}
