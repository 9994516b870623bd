//! Parses text to a tree. serde-saphyr expands aliases and merge keys, rejects duplicate keys and
//! limits the expansion. Serde's data model loses the text of scalars, so it is cut from the file by
//! its span.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_yaml::{
    Location, Options, RenderOptions, SnippetMode, Spanned, Tagged, UserMessageFormatter,
    localizer::Localizer,
};

use super::{Key, Kind, Node, Position, Scalar, Value, typed};
use crate::problem::Problem;

/// Large enough for every declaration, and small enough to reject an alias bomb at once.
const MAX_NODES: usize = 50_000;
const MAX_TEXT: usize = 4 << 20;
const MAX_DOCUMENTS: usize = 100;

/// A document of a file.
pub(crate) struct Document {
    pub(crate) tree: Node,
    /// Paths of keys with `!reset` or `!override`: the values of earlier documents are removed there.
    pub(crate) cleared: Vec<Vec<String>>,
}

/// Parses the first document in `text`.
///
/// # Errors
/// Those of [`documents`].
pub(crate) fn parse(text: &str, file: usize) -> Result<Node, Problem> {
    let first = documents(text, file)?.into_iter().next();
    Ok(first.map_or_else(|| nothing(file), |document| document.tree))
}

/// Parses the documents in `text`, the declaration's file number `file`; at least one.
///
/// # Errors
/// The first syntax error, duplicate key, unknown tag or exceeded bound.
pub(crate) fn documents(text: &str, file: usize) -> Result<Vec<Document>, Problem> {
    if text.len() > MAX_TEXT {
        let at = start_of(file);
        return Err(Problem::new(at, "", "the file is larger than 4 MiB"));
    }
    let all: Vec<Raw> = serde_yaml::from_multiple_with_options(text, options())
        .map_err(|error| syntax_problem(&error, file))?;
    let mut documents = Vec::new();
    for raw in all {
        let mut reader = Reader {
            text,
            file,
            path: Vec::new(),
            cleared: Vec::new(),
        };
        let tree = reader.node(raw)?.unwrap_or_else(|| nothing(file));
        let cleared = reader.cleared;
        documents.push(Document { tree, cleared });
    }
    if documents.is_empty() {
        let (tree, cleared) = (nothing(file), Vec::new());
        documents.push(Document { tree, cleared });
    }
    Ok(documents)
}

fn nothing(file: usize) -> Node {
    Node {
        value: Value::Null,
        at: start_of(file),
    }
}

fn start_of(file: usize) -> Position {
    Position {
        file,
        line: 1,
        column: 1,
        length: 1,
    }
}

fn options() -> Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_nodes: MAX_NODES,
            max_documents: MAX_DOCUMENTS,
            // Work is bounded below: a file with a few anchors and many aliases is no bomb.
            enforce_alias_anchor_ratio: false,
            max_total_scalar_bytes: MAX_TEXT,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: 2 * MAX_NODES,
        },
        emit_comments: false,
        strict_booleans: true,
        // `Reader` rejects them.
        reject_unsupported_tags: false,
        non_finite_float_policy: serde_yaml::NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    }
}

/// The library's message without its rendering of the position.
fn syntax_problem(error: &serde_yaml::Error, file: usize) -> Problem {
    struct NoPlace;
    impl Localizer for NoPlace {
        fn attach_location<'a>(&self, base: Cow<'a, str>, _: Location) -> Cow<'a, str> {
            base
        }
    }
    let formatter = UserMessageFormatter.with_localizer(&NoPlace);
    let mut render = RenderOptions::new(&formatter);
    render.snippets = SnippetMode::Off;
    let message = error.render_with_options(render);
    let at = match error.location() {
        Some(location) if location != Location::UNKNOWN => position(location, file),
        _ => start_of(file),
    };
    Problem::new(at, "", message)
}

fn position(location: Location, file: usize) -> Position {
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Position {
        file,
        line: count(location.line()),
        column: count(location.column()),
        length: count(location.span().len()).max(1),
    }
}

/// A node as serde-saphyr returns it.
struct Raw(Tagged<Spanned<RawValue>>);

enum RawValue {
    Null,
    Text(String),
    /// An unquoted number or boolean. Its text is used only if the span has none.
    Literal(Kind, String),
    Sequence(Vec<Raw>),
    Mapping(Vec<(Spanned<String>, Raw)>),
}

/// Removes a key of earlier files.
const RESET: &str = "!reset";
/// Replaces a key of earlier files, instead of being merged into it.
const OVERRIDE: &str = "!override";
/// Prefix of YAML's own tags.
const CORE: &str = "tag:yaml.org,2002:";

/// Makes nodes of what serde-saphyr returns.
struct Reader<'a> {
    text: &'a str,
    file: usize,
    /// Keys of the mappings that are being read.
    path: Vec<String>,
    cleared: Vec<Vec<String>>,
}

impl Reader<'_> {
    /// None: it has the tag `!reset`.
    fn node(&mut self, raw: Raw) -> Result<Option<Node>, Problem> {
        let Tagged(Spanned { value, defined, .. }, tag) = raw.0;
        let at = position(defined, self.file);
        match tag.as_deref() {
            Some(RESET) => {
                self.cleared.push(self.path.clone());
                return Ok(None);
            }
            Some(OVERRIDE) => self.cleared.push(self.path.clone()),
            Some(tag) if !tag.starts_with(CORE) && tag != "!" => {
                let message = format!("the tag {tag} is not one of {RESET}, {OVERRIDE}");
                return Err(Problem::new(at, self.path.join("."), message));
            }
            _ => {}
        }
        let scalar = |text: String, kind| {
            Value::Scalar(Scalar {
                text,
                kind,
                secret: false,
            })
        };
        let value = match value {
            RawValue::Null => Value::Null,
            RawValue::Text(text) => scalar(text, Kind::String),
            RawValue::Literal(kind, fallback) => {
                let written = slice(self.text, defined).unwrap_or(&fallback);
                scalar(typed::as_text(written, kind), kind)
            }
            RawValue::Sequence(raw) => {
                let mut items = Vec::new();
                for item in raw {
                    items.extend(self.node(item)?);
                }
                Value::Sequence(items)
            }
            RawValue::Mapping(raw) => {
                let mut entries = Vec::new();
                for (key, value) in raw {
                    let at = position(key.defined, self.file);
                    let name = key.value;
                    self.path.push(name.clone());
                    let value = self.node(value)?;
                    self.path.pop();
                    entries.extend(value.map(|value| (Key { name, at }, value)));
                }
                Value::Mapping(entries)
            }
        };
        Ok(Some(Node { value, at }))
    }
}

/// The text at a location.
fn slice(text: &str, location: Location) -> Option<&str> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let length = usize::try_from(location.span().byte_len()?).ok()?;
    text.get(start..start.checked_add(length)?)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Tagged::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Literal(Kind::Bool, value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<RawValue, E> {
        Ok(RawValue::Literal(Kind::Number, value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<RawValue, E> {
        Ok(RawValue::Literal(Kind::Number, value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<RawValue, E> {
        Ok(RawValue::Literal(Kind::Number, value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<RawValue, E> {
        Ok(RawValue::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<RawValue, E> {
        Ok(RawValue::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawValue, A::Error> {
        let mut sequence = Vec::new();
        while let Some(item) = items.next_element()? {
            sequence.push(item);
        }
        Ok(RawValue::Sequence(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<RawValue, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(RawValue::Mapping(mapping))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        parse(text, 0).expect("valid YAML")
    }

    fn place(node: &Node) -> (usize, usize) {
        (node.at.line, node.at.column)
    }

    #[test]
    fn scalars_have_the_text_of_compose_and_their_place() {
        let node = tree("a: 1.10\nb: \"x\"\nc: [0x1F, true, ~, 007, no]\nd:\n");
        assert_eq!(node.get("a").and_then(Node::text), Some("1.1"));
        assert_eq!(place(node.get("a").expect("a")), (1, 4));
        assert_eq!(place(node.get("b").expect("b")), (2, 4));
        let Value::Sequence(items) = &node.get("c").expect("c").value else {
            panic!("a list")
        };
        let texts: Vec<_> = items.iter().map(Node::text).collect();
        assert_eq!(
            texts,
            [Some("31"), Some("true"), None, Some("7"), Some("no")]
        );
        assert!(matches!(node.get("d").expect("d").value, Value::Null));
    }

    #[test]
    fn aliases_and_merges_point_at_what_they_repeat() {
        let node = tree(
            "base: &base\n  one: 1\n  two: 2\nmore: &more {three: 3}\n\
             both:\n  <<: [*base, *more]\n  two: 22\nalias: *more\n",
        );
        let both = node.get("both").expect("both");
        assert_eq!(both.get("two").and_then(Node::text), Some("22"));
        assert_eq!(both.get("three").and_then(Node::text), Some("3"));
        let (key, value) = both.entry("one").expect("one");
        assert_eq!((key.at.line, key.at.column), (2, 3));
        assert_eq!(place(value), (2, 8));
        assert_eq!(place(node.get("alias").expect("alias")), (4, 13));
    }

    #[test]
    fn a_duplicate_key_is_an_error_with_its_place() {
        let problem = parse("a: 1\nb:\n  c: 1\n  c: 2\n", 0).expect_err("a duplicate");
        assert_eq!((problem.at.line, problem.at.column), (4, 3), "{problem:?}");
        assert!(problem.message.contains("duplicate"), "{problem:?}");
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let alias = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
        }
        let started = std::time::Instant::now();
        parse(&bomb, 0).expect_err("a bomb");
        assert!(started.elapsed().as_secs() < 30);
    }

    /// As getsentry/self-hosted: the work is small, though each anchor has many aliases.
    #[test]
    fn many_aliases_of_one_anchor_are_no_bomb() {
        let aliases = "*env, ".repeat(10);
        let mut text = "env: &env {A: '1'}\nempty: ''\n".to_owned();
        for number in 0..20 {
            text.push_str(&format!("w{number}: {{<<: [{aliases}]}}\n"));
        }
        let node = tree(&text);
        let last = node
            .get("w19")
            .and_then(|w| w.get("A"))
            .and_then(Node::text);
        assert_eq!(last, Some("1"));
    }

    #[test]
    fn documents_and_what_they_clear() {
        let text = "a: &x !reset []\nb: {c: !override {d: 1}, e: *x}\n---\nf: !!str 1\n";
        let all = documents(text, 0).expect("valid YAML");
        let [first, second] = all.as_slice() else {
            panic!("two documents")
        };
        assert!(first.tree.get("a").is_none(), "{:?}", first.tree);
        assert_eq!(first.cleared, [vec!["a"], vec!["b", "c"], vec!["b", "e"]]);
        let c = first.tree.get("b").and_then(|b| b.get("c"));
        assert!(c.is_some_and(|c| c.get("d").is_some()));
        assert_eq!(second.tree.get("f").and_then(Node::text), Some("1"));
        assert_eq!(documents("# nothing\n", 0).expect("no document").len(), 1);
        let problem = parse("a:\n  b: !secret x\n", 0).expect_err("an unknown tag");
        assert_eq!(
            (problem.at.line, problem.path.as_str()),
            (2, "a.b"),
            "{problem:?}"
        );
    }
}
