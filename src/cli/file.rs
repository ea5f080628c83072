//! The configuration file, or its text in a variable: TOML with the keys of the flags. Every problem is reported with its line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::options::{
    CallerTable, IssuerTable, OptionGroup as _, RawValue, ServeOptions, TargetOptions, TargetTable, ValueOrigin,
    fields, key, similar,
};
use super::problems::{Problem, ProblemOrigin, Problems};
use crate::scalar;

/// The tables that may be repeated.
const TARGET: &str = "target";
const CALLER: &str = "caller";
const ISSUER: &str = "issuer";
/// The size of a file with ten thousand callers. Bytes.
const SIZE_LIMIT: u64 = 4 << 20;
const HINT_SYNTAX: &str = "write `key = value`, one per line, as TOML";
/// The variable that holds the text of a configuration file. A container on Fargate has variables and no files, and only a
/// file has tables.
pub(super) const TEXT_VARIABLE: &str = "APPLIANCE_CONFIG_TEXT";

/// Reads the file, if one is named, or the text of the variable. Unknown keys and wrong types become problems.
///
/// # Errors
/// The file cannot be read, or is no TOML. That is the only problem then: others would only follow from the missing file.
pub(super) fn read(path: Option<&Path>, problems: &mut Problems) -> Result<ServeOptions, Vec<Problem>> {
    let unreadable = |origin: &dyn ProblemOrigin, text: String, hint: &str| {
        let mut problems = Problems::default();
        problems.add(origin, text, hint);
        problems.none_or_all().err().unwrap_or_default()
    };
    let in_variable = std::env::var_os(TEXT_VARIABLE).filter(|text| !text.is_empty());
    let (path, text) = match (path, in_variable) {
        (None, None) => return Ok(ServeOptions::default()),
        (Some(path), Some(_)) => {
            let text = format!("`{}` is named as the configuration file, too", path.display());
            return Err(unreadable(&TEXT_VARIABLE, text, "set the variable or name a file, not both"));
        }
        (None, Some(text)) => {
            let text = text
                .into_string()
                .map_err(|_| unreadable(&TEXT_VARIABLE, "the text is not valid UTF-8".to_owned(), HINT_SYNTAX))?;
            (Path::new(TEXT_VARIABLE), text)
        }
        (Some(path), None) => {
            let text = bounded(path).map_err(|error| {
                unreadable(&path.display(), format!("cannot read the file: {error}"), "check the path of `--config`")
            })?;
            (path, text)
        }
    };
    if let Err((origin, error)) = table(&text, path) {
        return Err(unreadable(&origin, error, HINT_SYNTAX));
    }
    Ok(parse(&text, path, problems))
}

/// Reads a file that is not too large.
fn bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SIZE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SIZE_LIMIT {
        return Err(io::Error::other(format!("it is larger than {SIZE_LIMIT} bytes")));
    }
    Ok(text)
}

/// The content of the text; or the line at which it is no TOML, and the reason.
fn table<'a>(text: &'a str, path: &Path) -> Result<Spanned<DeTable<'a>>, (ValueOrigin, String)> {
    DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(text, span.start));
        (ValueOrigin::File(path.to_owned(), line), error.message().to_owned())
    })
}

fn line_at(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}

/// Reads the text of such a file.
pub(super) fn parse(text: &str, path: &Path, problems: &mut Problems) -> ServeOptions {
    let mut options = ServeOptions::default();
    let table = match table(text, path) {
        Ok(table) => table,
        Err((origin, error)) => {
            problems.add(&origin, error, HINT_SYNTAX);
            return options;
        }
    };
    for (name, value) in in_order(table.get_ref()) {
        let origin = |offset| ValueOrigin::File(path.to_owned(), line_at(text, offset));
        let at = origin(name.span().start);
        match (name.get_ref().as_ref(), value.get_ref()) {
            (list @ (TARGET | CALLER | ISSUER), DeValue::Array(tables)) => {
                for table in tables {
                    let at = origin(table.span().start);
                    match (list, table.get_ref()) {
                        (TARGET, DeValue::Table(table)) => {
                            options.target_tables.push(target(table, at, &origin, problems));
                        }
                        (CALLER, DeValue::Table(table)) => {
                            let keys = (CallerTable::KEYS, CallerTable::LISTS);
                            let (values, lists) = keyed(table, keys, &origin, problems);
                            options.caller_tables.push(CallerTable { origin: at, values, lists });
                        }
                        (_, DeValue::Table(table)) => {
                            let keys = (IssuerTable::KEYS, IssuerTable::LISTS);
                            let (values, lists) = keyed(table, keys, &origin, problems);
                            options.issuer_tables.push(IssuerTable { origin: at, values, lists });
                        }
                        _ => not_a_list(list, &at, problems),
                    }
                }
            }
            (list @ (TARGET | CALLER | ISSUER), _) => not_a_list(list, &at, problems),
            (name, value) => {
                if let Some(given) = given(name, value, at, problems)
                    && !options.set(name, given.clone())
                {
                    unknown(name, given.origin, fields::<ServeOptions>(), problems);
                }
            }
        }
    }
    options
}

/// One `[[target]]`.
fn target(
    table: &DeTable<'_>,
    at: ValueOrigin,
    origin: &dyn Fn(usize) -> ValueOrigin,
    problems: &mut Problems,
) -> TargetTable {
    let mut target = TargetTable { origin: at, name: None, default: None, options: TargetOptions::default() };
    for (name, value) in in_order(table) {
        let at = origin(name.span().start);
        let name = name.get_ref().as_ref();
        let Some(given) = given(name, value.get_ref(), at, problems) else { continue };
        let at = given.origin.clone();
        match name {
            "name" => target.name = Some(given),
            "default" => target.default = Some(given),
            _ if target.options.set(name, given) => {}
            _ if fields::<ServeOptions>().iter().any(|field| key(field) == name) => problems.add(
                &at.without_key(),
                format!("`{name}` is the same for all targets"),
                "write it above the first `[[target]]`",
            ),
            _ => unknown(name, at, fields::<TargetOptions>(), problems),
        }
    }
    target
}

/// The values of one `[[caller]]` or `[[issuer]]`: those under the keys for one value, and those under the keys for several.
fn keyed(
    table: &DeTable<'_>,
    (keys, lists): (&[&str], &[&str]),
    origin: &dyn Fn(usize) -> ValueOrigin,
    problems: &mut Problems,
) -> (BTreeMap<String, RawValue>, BTreeMap<String, Vec<RawValue>>) {
    let (mut single, mut several) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in in_order(table) {
        let at = origin(name.span().start);
        let name = name.get_ref().as_ref();
        match value.get_ref() {
            DeValue::Array(items) if lists.contains(&name) => {
                let at = |item: &Spanned<DeValue<'_>>| origin(item.span().start);
                let items = items.iter().filter_map(|item| given(name, item.get_ref(), at(item), problems));
                several.insert(name.to_owned(), items.collect());
            }
            value => {
                let Some(given) = given(name, value, at, problems) else { continue };
                if lists.contains(&name) {
                    several.insert(name.to_owned(), vec![given]);
                } else if keys.contains(&name) {
                    single.insert(name.to_owned(), given);
                } else {
                    unknown(name, given.origin, keys.iter().chain(lists), problems);
                }
            }
        }
    }
    (single, several)
}

fn not_a_list(name: &str, at: &ValueOrigin, problems: &mut Problems) {
    problems.add(at, format!("`{name}` must be a list of tables"), format!("write `[[{name}]]` on a line of its own"));
}

fn in_order<'a, 'b>(table: &'b DeTable<'a>) -> Vec<(&'b Spanned<DeString<'a>>, &'b Spanned<DeValue<'a>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

fn given(name: &str, value: &DeValue<'_>, origin: ValueOrigin, problems: &mut Problems) -> Option<RawValue> {
    let text = scalar::from_toml(value);
    if text.is_none() {
        problems.add(&origin, format!("`{name}` must be a string, a number or true/false"), "write one value");
    }
    Some(RawValue { text: text?, origin: origin.with_key(name) })
}

fn unknown(name: &str, origin: ValueOrigin, known: impl IntoIterator<Item: AsRef<str>>, problems: &mut Problems) {
    let hint = similar(name, known.into_iter().map(|field| key(field.as_ref()))).map_or_else(
        || "remove it, or see `appliance serve --help-all` for all options".to_owned(),
        |known| format!("did you mean `{known}`?"),
    );
    problems.add(&origin.without_key(), format!("`{name}` is not an option"), hint);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (ServeOptions, Vec<String>) {
        let mut problems = Problems::default();
        let options = parse(text, Path::new("a.toml"), &mut problems);
        let problems = problems.none_or_all().err().unwrap_or_default();
        (options, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn scalars_become_text_with_their_line() {
        let (options, problems) =
            parsed("# comment\nlisten = \"127.0.0.1:1\"\n\nworkers = 2\nallow-anonymous = true\n");
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            options.listener.workers,
            Some(RawValue { text: "2".into(), origin: ValueOrigin::Key("a.toml".into(), 4, "workers".into()) })
        );
        assert_eq!(options.callers.allow_anonymous.map(|given| given.text).as_deref(), Some("true"));
    }

    #[test]
    fn every_wrong_key_is_reported_with_its_line() {
        let (_, problems) = parsed("resorce-arn = \"x\"\nworkers = 1\nlisten = [1]\nzzz = 1\nbody_size_limit = 1\n");
        assert_eq!(
            problems,
            [
                "a.toml:1: `resorce-arn` is not an option\n    hint: did you mean `resource-arn`?",
                "a.toml:3: `listen` must be a string, a number or true/false\n    hint: write one value",
                "a.toml:4: `zzz` is not an option\n    hint: remove it, or see `appliance serve --help-all` for all options",
                "a.toml:5: `body_size_limit` is not an option\n    hint: did you mean `body-size-limit`?",
            ]
        );
    }

    #[test]
    fn broken_toml_names_the_line() {
        let (_, problems) = parsed("workers = 1\nlisten = \n");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("a.toml:2: "), "{problems:?}");
    }
}
