//! Masks secrets. Values are masked before they are quoted, escaped, wrapped or cut: afterwards a secret may
//! look different, and a mask could replace parts of ids and of the format's syntax.

use std::{ops::Range, sync::RwLock};

use serde_json::Value;

use super::json::Ordered;

/// Replaces a secret.
const MASK: &str = "****";
/// In bytes: a shorter value occurs in most texts by chance, and masking it would make them unreadable.
const SHORTEST: usize = 4;
/// In bytes: the same for one line of a secret with several lines.
const SHORTEST_LINE: usize = 8;

/// Keys of JSON documents whose values are not masked: Caravan's own words, and names and ids that are in the
/// declaration, too. The values of all other keys are masked: if a new report's id is missing here, it may be
/// masked, but no secret leaks.
const NAMES: [&str; 44] = [
    "action",
    "cause",
    "command",
    "container",
    "containers",
    "correlationId",
    "group",
    "groups",
    "health",
    "id",
    "imageId",
    "images",
    "instance",
    "kept",
    "kind",
    "layer",
    "name",
    "notDeployed",
    "outcome",
    "partition",
    "place",
    "project",
    "projects",
    "protocol",
    "record",
    "reference",
    "service",
    "services",
    "severity",
    "source",
    "stage",
    "state",
    "status",
    "subject",
    "table",
    "tables",
    "template",
    "topic",
    "topics",
    "type",
    "unit",
    "variable",
    "verdict",
    "version",
];

/// The secrets that are known so far.
#[derive(Debug, Default)]
pub(crate) struct Secrets(RwLock<Vec<String>>);

impl Secrets {
    /// Masks these values from now on, also in JSON strings and URLs, and each line of a value with several
    /// lines. Values shorter than four bytes are not masked.
    pub(crate) fn add(&self, values: &[String]) {
        if let Ok(mut forms) = self.0.write() {
            forms.extend(values.iter().flat_map(|value| forms_of(value)));
            forms.sort();
            forms.dedup();
        }
    }

    /// `text` with all secrets masked.
    pub(crate) fn masked(&self, text: &str) -> String {
        let spans = self.spans(|form, from| Some(from + text.get(from..)?.find(form)?));
        let mut masked = String::new();
        let mut from = 0;
        for span in spans {
            masked.push_str(&text[from..span.start]);
            masked.push_str(MASK);
            from = span.end;
        }
        masked.push_str(&text[from..]);
        masked
    }

    /// As [`Self::masked`], for bytes that may not be UTF-8.
    pub(crate) fn masked_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let spans = self.spans(|form, from| {
            let mut windows = bytes.get(from..)?.windows(form.len());
            Some(from + windows.position(|window| window == form.as_bytes())?)
        });
        let mut masked = Vec::new();
        let mut from = 0;
        for span in spans {
            masked.extend_from_slice(&bytes[from..span.start]);
            masked.extend_from_slice(MASK.as_bytes());
            from = span.end;
        }
        masked.extend_from_slice(&bytes[from..]);
        masked
    }

    /// A document with masked strings. Keys, numbers, booleans and the values of [`NAMES`] are unchanged.
    pub(super) fn masked_value(&self, value: &Ordered) -> Ordered {
        match value {
            Ordered::String(text) => Ordered::String(self.masked(text)),
            Ordered::Array(items) => {
                Ordered::Array(items.iter().map(|item| self.masked_value(item)).collect())
            }
            Ordered::Object(entries) => {
                let entry = |(key, value): &(String, Ordered)| {
                    let masked = match is_name(key) && is_plain(value) {
                        true => value.clone(),
                        false => self.masked_value(value),
                    };
                    (key.clone(), masked)
                };
                Ordered::Object(entries.iter().map(entry).collect())
            }
            Ordered::Scalar(_) => value.clone(),
        }
    }

    /// The positions of secrets; overlapping ones are merged. `next` returns the first position of a form at
    /// or after an offset.
    fn spans(&self, next: impl Fn(&str, usize) -> Option<usize>) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        if let Ok(forms) = self.0.read() {
            for form in forms.iter() {
                let step = form.chars().next().map_or(1, char::len_utf8);
                let mut from = 0;
                while let Some(at) = next(form, from) {
                    found.push(at..at + form.len());
                    from = at + step;
                }
            }
        }
        found.sort_by_key(|span| span.start);
        let mut spans: Vec<Range<usize>> = Vec::new();
        for span in found {
            match spans.last_mut() {
                Some(last) if span.start < last.end => last.end = last.end.max(span.end),
                Some(_) | None => spans.push(span),
            }
        }
        spans
    }
}

/// Whether the values of a key are names or times, which are not masked.
fn is_name(key: &str) -> bool {
    NAMES.contains(&key) || key == "at" || key.ends_with("At")
}

/// A string or an array of strings. Objects are masked by their own keys.
fn is_plain(value: &Ordered) -> bool {
    match value {
        Ordered::Array(items) => {
            let is_string = |item: &Ordered| matches!(item, Ordered::String(_));
            items.iter().all(is_string)
        }
        Ordered::String(_) => true,
        Ordered::Object(_) | Ordered::Scalar(_) => false,
    }
}

/// The forms in which other programs may write a secret: as it is, escaped, percent-encoded, or one line of it.
fn forms_of(secret: &str) -> Vec<String> {
    let lines = secret.lines().map(str::trim);
    let lines = lines.filter(|line| secret.contains('\n') && line.len() >= SHORTEST_LINE);
    let whole = [secret, secret.trim_end()];
    let plain = whole.into_iter().filter(|text| text.len() >= SHORTEST);
    let mut forms = Vec::new();
    for text in plain.chain(lines) {
        let debug = format!("{text:?}");
        let json = Value::String(text.to_owned()).to_string();
        forms.push(text.to_owned());
        forms.push(debug[1..debug.len() - 1].to_owned());
        forms.push(json[1..json.len() - 1].to_owned());
        forms.push(crate::percent_encoding::encode(text));
    }
    forms
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secrets(values: &[&str]) -> Secrets {
        let secrets = Secrets::default();
        secrets.add(&values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>());
        secrets
    }

    #[test]
    fn every_occurrence_of_a_secret_is_masked() {
        let secrets = secrets(&["hunter2", "hunter2hunter3", "ab"]);
        assert_eq!(
            secrets.masked("postgres://u:hunter2@h/d abba hunter2hunter3"),
            "postgres://u:****@h/d abba ****"
        );
        assert_eq!(
            secrets.masked_bytes(b"\xffhunter2 hunter2hunter3hunter2\x00"),
            b"\xff**** ********\x00"
        );
    }

    #[test]
    fn secrets_that_overlap_are_masked_as_one() {
        let secrets = secrets(&["abcd", "cdef", "xxxx"]);
        assert_eq!(secrets.masked("-abcdef-xxxxxx-"), "-****-****-");
        assert_eq!(secrets.masked_bytes(b"-abcdef-xxxxxx-"), b"-****-****-");
    }

    #[test]
    fn escaped_forms_of_a_secret_are_masked() {
        let secrets = secrets(&[r#"a"b\c/d"#, "Grüße✓"]);
        for text in [r#"a"b\c/d"#, r#"a\"b\\c/d"#, "a%22b%5Cc%2Fd", "Grüße✓"] {
            assert_eq!(secrets.masked(&format!("<{text}>")), "<****>");
        }
    }

    #[test]
    fn each_line_of_a_key_is_masked() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nZm9vYmFyYmF6\n-----END PRIVATE KEY-----\n";
        let secrets = secrets(&[key]);
        assert_eq!(secrets.masked(key), "****");
        assert_eq!(secrets.masked("read MIIEvQIBADANBg"), "read ****");
        assert_eq!(secrets.masked(&format!("{key:?}")), "\"****\"");
    }

    #[test]
    fn a_document_keeps_its_ids_and_its_structure() {
        let secrets = secrets(&["running", "true", "pass", "seen"]);
        let document = json!({
            "id": "containers.r.running", "status": "pass", "present": true, "seen": "is running",
            "environment": { "status": ["true story"], "seen": 3 },
            "services": [{ "name": "running", "why": "no pass" }], "finishedAt": "true", "x": null,
        });
        let expected = json!({
            "id": "containers.r.running", "status": "pass", "present": true, "seen": "is ****",
            "environment": { "status": ["true story"], "seen": 3 },
            "services": [{ "name": "running", "why": "no ****" }], "finishedAt": "true", "x": null,
        });
        assert_eq!(
            secrets.masked_value(&Ordered::of(&document)),
            Ordered::of(&expected)
        );
    }
}
