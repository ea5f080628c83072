//! The templates without their comments, compressed, and what they say of themselves, as JSON, so that the binary reads no
//! YAML: parameters, rules and conditions, what is made and kept, outputs. And how the static binary is linked.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::{env, fmt, fs};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};
use serde_saphyr::Tagged;

/// The functions of rules and conditions that `src/deploy/rules.rs` can evaluate.
const FUNCTIONS: [&str; 5] = ["Fn::And", "Fn::Contains", "Fn::Equals", "Fn::Not", "Fn::Or"];

fn main() {
    println!("cargo::rerun-if-changed=infra");
    pack_relocations();
    let directory = env::var_os("OUT_DIR").expect("Cargo sets it");
    for name in ["networking", "sagemaker-domain", "mlflow", "appliance", "fargate"] {
        let path = format!("infra/{name}.yaml");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let template = parsed(&text, &path);
        let text = stripped(&text);
        assert_eq!(parsed(&text, &path), template, "{path}: a line of a text looks like a comment, or is empty");
        // CloudFormation takes no larger one in a call.
        assert!(text.len() <= 51_200, "{path} has {} bytes without its comments", text.len());
        let entries = |section: &str| template[section].as_object().into_iter().flatten();
        let resources: Map<String, Value> = entries("Resources")
            .map(|(name, one)| {
                let wanted = ["Type", "Condition", "DeletionPolicy"];
                let about = wanted.iter().filter_map(|key| Some(((*key).to_owned(), one.get(*key)?.clone())));
                let mut about: Map<String, Value> = about.collect();
                // The service that an endpoint leads to, with the region left open.
                if let Some(text) = one["Properties"]["ServiceName"]["Fn::Sub"].as_str() {
                    about.insert("Service".to_owned(), text.into());
                }
                (name.clone(), Value::Object(about))
            })
            .collect();
        for section in ["Rules", "Conditions"] {
            entries(section).for_each(|(name, one)| known(one, &format!("{path}: {section}: {name}")));
        }
        let extract = json!({
            "Parameters": template["Parameters"],
            "Rules": entries("Rules").map(|(_, rule)| rule).collect::<Vec<_>>(),
            "Conditions": entries("Conditions").collect::<BTreeMap<_, _>>(),
            "Resources": resources,
            "Outputs": entries("Outputs").map(|(name, _)| name).collect::<Vec<_>>(),
        });
        let write = |name: String, bytes: &[u8]| {
            let mut compressed = GzEncoder::new(Vec::new(), Compression::best());
            compressed.write_all(bytes).expect("memory takes everything");
            let place = Path::new(&directory).join(name);
            let bytes = compressed.finish().expect("memory takes everything");
            fs::write(&place, bytes).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
        };
        write(format!("{name}.json.gz"), extract.to_string().as_bytes());
        write(format!("{name}.yaml.gz"), text.as_bytes());
    }
}

/// The template without comments and empty lines, and with the least indentation that keeps its meaning: one column for each
/// level of a map, none for a list below a key. Texts in blocks keep their own indentation.
fn stripped(text: &str) -> String {
    let mut stripped = String::new();
    // The columns of the levels around a line, in the source and here.
    let mut levels = vec![(0, 0)];
    // The column of the line that a block belongs to, and how far the block moves to the left, once its first line is known.
    let mut block: Option<(usize, Option<usize>)> = None;
    let mut is_list_below = false;
    for line in text.lines().filter(|line| !matches!(line.trim_start().chars().next(), None | Some('#'))) {
        let mut content = line.trim_start();
        let column = line.len() - content.len();
        if let Some((owner, shift)) = &mut block
            && column > *owner
        {
            let shift = *shift.get_or_insert(column - levels.last().map_or(0, |(_, here)| here + 1));
            stripped.extend([&line[shift..], "\n"]);
            continue;
        }
        levels.retain(|(there, _)| *there <= column);
        let (there, mut here) = levels.last().copied().unwrap_or_default();
        if there < column {
            here += usize::from(!(is_list_below && content.starts_with("- ")));
            levels.push((column, here));
        }
        stripped.extend([&" ".repeat(here), content, "\n"]);
        let mut owner = column;
        while let Some(item) = content.strip_prefix("- ") {
            content = item;
            let inner = levels.last().map_or((0, 0), |(there, here)| (there + 2, here + 2));
            levels.push(inner);
            // A block without a key of its own belongs to the item.
            owner = if content.contains(": ") { inner.0 } else { owner };
        }
        block = ["|", ">", ">-"].iter().any(|sign| content.ends_with(sign)).then_some((owner, None));
        is_list_below = content.ends_with(':');
    }
    stripped
}

fn parsed(text: &str, path: &str) -> Value {
    let node: Node = serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    node.json()
}

/// A static binary relocates itself when it starts. Packed, the list of 30,000 places is a fiftieth as long: less to
/// ship and to read. musl can read it since 1.2.4.
fn pack_relocations() {
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("musl") {
        return;
    }
    // A linker itself, or a compiler that calls one.
    let is_lld = env::var("RUSTC_LINKER").is_ok_and(|linker| linker.ends_with("lld"));
    let option = if is_lld { "--pack-dyn-relocs=relr" } else { "-Wl,-z,pack-relative-relocs" };
    println!("cargo::rustc-link-arg-bins={option}");
}

/// Panics unless a rule or a condition calls only what can be evaluated: the author of another one hears of it here.
fn known(part: &Value, at: &str) {
    match part {
        Value::Object(map) => map.iter().for_each(|(key, inner)| {
            assert!(!key.starts_with("Fn::") || FUNCTIONS.contains(&key.as_str()), "{at}: {key} cannot be evaluated");
            known(inner, at);
        }),
        Value::Array(list) => list.iter().for_each(|inner| known(inner, at)),
        Value::String(_) => {}
        // It would be compared with the text of a parameter.
        Value::Null | Value::Bool(_) | Value::Number(_) => panic!("{at}: {part} is not text"),
    }
}

/// A part of a template with the tags that CloudFormation has for its functions.
struct Node(Tagged<Plain>);

enum Plain {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The same in CloudFormation's long form: `!Not [x]` is `{"Fn::Not": ["x"]}`.
    fn json(self) -> Value {
        let Self(Tagged(value, tag)) = self;
        let plain = match value {
            Plain::Scalar(value) => value,
            Plain::List(list) => list.into_iter().map(Node::json).collect(),
            Plain::Map(map) => map.into_iter().map(|(key, node)| (key, node.json())).collect::<Map<_, _>>().into(),
        };
        match tag.as_deref().and_then(|tag| tag.strip_prefix('!')) {
            None => plain,
            Some(name @ ("Ref" | "Condition")) => json!({ name: plain }),
            Some(function) => json!({ format!("Fn::{function}"): plain }),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Tagged::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Plain;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a part of a template")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Plain, E> {
                Ok(Plain::Scalar(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Plain, E> {
                Ok(Plain::Scalar(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Plain, E> {
                Ok(Plain::Scalar(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Plain, E> {
                Ok(Plain::Scalar(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Plain, E> {
                Ok(Plain::Scalar(value.into()))
            }

            fn visit_unit<E>(self) -> Result<Plain, E> {
                Ok(Plain::Scalar(Value::Null))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Plain, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Plain::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Plain, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Plain::Map(map))
            }
        }

        deserializer.deserialize_any(Any)
    }
}
