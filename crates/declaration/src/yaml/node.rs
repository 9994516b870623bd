//! The tree of a YAML document: aliases and merge keys expanded, every node with its position.

/// A position in the declaration; lines and columns start at 1, columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Index among the declaration's files.
    pub file: usize,
    pub line: usize,
    pub column: usize,
    /// Characters, for underlining; may reach beyond the line.
    pub length: usize,
}

/// A value and its position (of an alias: the position of its anchor).
#[derive(Debug, Clone)]
pub struct Node {
    pub value: Value,
    pub at: Position,
}

#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Scalar(Scalar),
    Sequence(Vec<Node>),
    /// In the file's order, keys unique.
    Mapping(Vec<(Key, Node)>),
}

/// A scalar. An unquoted number or boolean has the text that docker compose makes of it (`1.10` is `1.1`).
#[derive(Debug, Clone)]
pub struct Scalar {
    pub text: String,
    pub kind: Kind,
    /// Whether interpolation inserted a secret; its text must not be shown.
    pub secret: bool,
}

/// The YAML type of an unquoted scalar; quoted scalars are strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    String,
    Number,
    Bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    pub at: Position,
}

impl Node {
    /// The value of `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, value)| value)
    }

    pub fn entry(&self, key: &str) -> Option<(&Key, &Self)> {
        let Value::Mapping(entries) = &self.value else {
            return None;
        };
        let (key, value) = entries.iter().find(|(k, _)| k.name == key)?;
        Some((key, value))
    }

    /// The items of a sequence; empty for other values.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::Sequence(items) => items,
            Value::Null | Value::Scalar(_) | Value::Mapping(_) => &[],
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// Position of the last step of `path`: a key or its scalar in a mapping, an item with this text in a
    /// sequence. Missing steps are skipped, so there is always a position.
    pub fn find(&self, path: &[&str]) -> Position {
        self.seek(path).unwrap_or(self.at)
    }

    fn seek(&self, path: &[&str]) -> Option<Position> {
        let (step, rest) = path.split_first()?;
        match &self.value {
            Value::Mapping(_) => {
                let (key, value) = self.entry(step)?;
                let scalar = value.text().map(|_| value.at);
                Some(value.seek(rest).or(scalar).unwrap_or(key.at))
            }
            Value::Sequence(items) => items
                .iter()
                .find(|item| item.text() == Some(step))
                .or_else(|| items.iter().find(|item| item.mentions(step)))
                .map(|item| item.at),
            Value::Null | Value::Scalar(_) => None,
        }
    }

    /// Whether one of its parts is `word`: `data` in `data:/var/lib:ro`.
    fn mentions(&self, word: &str) -> bool {
        match &self.value {
            Value::Scalar(scalar) => scalar.text.split([':', '/', '=']).any(|part| part == word),
            Value::Mapping(entries) => entries.iter().any(|(_, v)| v.text() == Some(word)),
            Value::Null | Value::Sequence(_) => false,
        }
    }
}

impl Value {
    /// For "expected …, found …".
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(scalar) => match scalar.kind {
                Kind::String => "a string",
                Kind::Number => "a number",
                Kind::Bool => "a boolean",
            },
            Self::Sequence(_) => "a list",
            Self::Mapping(_) => "a mapping",
        }
    }
}
