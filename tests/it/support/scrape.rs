//! Prometheus's text format 0.0.4, read strictly: whatever a parser may object to is a failed test.

use std::collections::BTreeMap;

/// The labels of a sample.
pub type Labels = BTreeMap<String, String>;

/// A family as it was announced.
#[derive(Clone, Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    /// Names as they stand, with the suffixes of a histogram.
    pub samples: Vec<(String, Labels, f64)>,
}

/// A whole document.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    pub families: BTreeMap<String, Family>,
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// `{a="b",c="d"}` at the beginning of a text, and what follows.
fn labels(text: &str) -> (Labels, &str) {
    let Some(mut rest) = text.strip_prefix('{') else { return (Labels::new(), text) };
    let mut found = Labels::new();
    loop {
        let (name, quoted) = rest.split_once("=\"").expect(text);
        assert!(is_name(name), "{text}");
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let end = loop {
            match characters.next().expect("the quotes are closed") {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next().expect("something is escaped").1 {
                    'n' => '\n',
                    plain @ ('\\' | '"') => plain,
                    other => panic!("`\\{other}` is no escape: {text}"),
                }),
                (_, plain) => value.push(plain),
            }
        };
        assert!(found.insert(name.to_owned(), value).is_none(), "a label twice: {text}");
        rest = &quoted[end + 1..];
        match rest.chars().next() {
            Some(',') => rest = &rest[1..],
            Some('}') => return (found, &rest[1..]),
            other => panic!("{other:?} after a label: {text}"),
        }
    }
}

impl Scrape {
    /// Reads a document.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has an end");
        let mut scrape = Self::default();
        let mut current = String::new();
        let mut help = BTreeMap::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, words) = rest.split_once(' ').expect(line);
                assert!(help.insert(name.to_owned(), words.to_owned()).is_none(), "said twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert!(is_name(name) && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let help = help.get(name).expect("the help comes before the type").clone();
                let family = Family { kind: kind.to_owned(), help, samples: Vec::new() };
                assert!(scrape.families.insert(name.to_owned(), family).is_none(), "a family twice: {line}");
                name.clone_into(&mut current);
            } else {
                let end = line.find(['{', ' ']).expect(line);
                let name = &line[..end];
                let (labels, rest) = labels(&line[end..]);
                let value: f64 = rest.strip_prefix(' ').expect(line).parse().expect(line);
                let family = scrape.families.get_mut(&current).expect("a family comes first");
                let suffix = name.strip_prefix(current.as_str()).expect("samples stand below their family");
                let fits = suffix.is_empty() != (family.kind == "histogram");
                assert!(fits && ["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
                family.samples.push((name.to_owned(), labels, value));
            }
        }
        scrape.families.iter().for_each(|(name, family)| family.check(name));
        scrape
    }

    /// The samples that have these labels, among others.
    pub fn samples<'a>(&'a self, name: &str, wanted: &'a [(&str, &str)]) -> Vec<&'a (String, Labels, f64)> {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let family = self.families.get(name).or_else(|| base.and_then(|base| self.families.get(base)));
        let family = family.unwrap_or_else(|| panic!("there is no `{name}`"));
        let name = name.to_owned();
        let has = |labels: &Labels| wanted.iter().all(|(key, value)| labels.get(*key).is_some_and(|is| is == value));
        family.samples.iter().filter(move |(known, labels, _)| *known == name && has(labels)).collect()
    }

    /// The sum of the samples that have these labels.
    pub fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> f64 {
        self.samples(name, wanted).iter().map(|(_, _, value)| value).sum()
    }

    /// The sum as a whole number.
    #[track_caller]
    pub fn count(&self, name: &str, wanted: &[(&str, &str)]) -> u64 {
        let sum = self.sum(name, wanted);
        assert!(sum >= 0.0 && sum.fract() == 0.0, "{name}: {sum}");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and not negative")]
        let whole = sum as u64;
        whole
    }

    /// Returns the number of series.
    pub fn series(&self) -> usize {
        self.families.values().map(|family| family.samples.len()).sum()
    }
}

impl Family {
    fn check(&self, name: &str) {
        assert!(!self.help.is_empty() && !self.help.ends_with('.'), "{name}: {}", self.help);
        assert_eq!(self.kind == "counter", name.ends_with("_total"), "{name} is a {}", self.kind);
        let mut seen = std::collections::HashSet::new();
        for (name, labels, value) in &self.samples {
            assert!(seen.insert((name, labels)), "a series twice: {name} {labels:?}");
            assert!(value.is_finite() && (self.kind == "gauge" || *value >= 0.0), "{name} {labels:?} {value}");
            assert!(name.ends_with("_bucket") || !labels.contains_key("le"), "{name} {labels:?}");
        }
        if self.kind == "histogram" {
            self.check_distributions(name);
        }
    }

    /// Buckets rise, the last one is infinite and agrees with the count.
    fn check_distributions(&self, name: &str) {
        let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        let of = |suffix: &str, wanted: &Labels| {
            let name = format!("{name}{suffix}");
            self.samples.iter().find(|(known, labels, _)| *known == name && labels == wanted).map(|(.., value)| *value)
        };
        for (known, labels, value) in &self.samples {
            if known.ends_with("_bucket") {
                let mut labels = labels.clone();
                let bound = labels.remove("le").expect("a bucket has a bound");
                buckets.entry(labels).or_default().push((bound.parse().unwrap(), *value));
            }
        }
        for (labels, buckets) in buckets {
            assert!(
                buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1),
                "{name} {labels:?}"
            );
            let (bound, all) = buckets[buckets.len() - 1];
            assert!(bound.is_infinite() && of("_count", &labels) == Some(all), "{name} {labels:?}");
            assert!(of("_sum", &labels).is_some(), "{name} {labels:?}");
        }
    }
}
