//! Keeps passwords of URLs out of error texts. A password may contain `/`, `@`, `#` or `?` where it should be
//! percent-encoded; such a URL can be read in several ways, and no reading may show a part of it.

/// `text` without the password of `url`, should some library have put it there.
pub(super) fn redact(text: &str, url: &str) -> String {
    let mut redacted = text.to_owned();
    for password in passwords(url) {
        redacted = redacted.replace(&password, "***");
    }
    redacted
}

/// `scheme://user:password@host/path?query` -> `host/path`: what a person needs to know of an address. Begins
/// after the last `@`: everything before it may be a password. A query may have one, too.
pub(super) fn place(url: &str) -> &str {
    let rest = after_scheme(url).unwrap_or(url);
    let place = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    place.split(['?', '#']).next().unwrap_or_default()
}

fn after_scheme(url: &str) -> Option<&str> {
    url.split_once("://").map(|(_, rest)| rest)
}

/// Shorter parts of a password occur by chance in most texts.
const SHORTEST_PART: usize = 3;

/// Whatever may be the password, the longest first: up to each `@`, or a parameter; and the parts of it that
/// a library that ends the authority at `/`, `?` or `#` shows as host, port, path or query.
fn passwords(url: &str) -> Vec<String> {
    let Some(rest) = after_scheme(url) else {
        return Vec::new();
    };
    let ends = rest.match_indices('@').map(|(at, _)| at);
    let mut found: Vec<String> = ends
        .filter_map(|end| rest[..end].split_once(':'))
        .map(|(_, password)| password.to_owned())
        .collect();
    if let Some(whole) = found.last() {
        let decoded = decoded(whole);
        let parts = [whole, &decoded].map(|whole| whole.split(['/', '?', '#', '@']));
        let parts = parts.into_iter().flatten();
        let parts: Vec<_> = parts
            .filter(|part| part.len() >= SHORTEST_PART)
            .map(str::to_owned)
            .collect();
        found.extend(parts);
    }
    let parameters = rest.split(['?', '&', '#']);
    let parameters = parameters.filter_map(|pair| pair.strip_prefix("password="));
    found.extend(parameters.map(str::to_owned));
    let decoded: Vec<_> = found.iter().map(|password| decoded(password)).collect();
    found.extend(decoded);
    found.retain(|password| !password.is_empty());
    found.sort_by_key(|password| std::cmp::Reverse(password.len()));
    found.dedup();
    found
}

/// Percent-decoded, as libraries hold a password (RFC 3986).
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_masked_wherever_it_stands() {
        let url = "postgres://u:s3cret@127.0.0.1:15432/db";
        assert_eq!(
            redact("bad url postgres://u:s3cret@x", url),
            "bad url postgres://u:***@x"
        );
        assert_eq!(redact("refused", url), "refused");
        assert_eq!(redact("refused", "redis://:@h:1/0"), "refused");
        assert_eq!(redact("abc", "localhost:29092"), "abc");
    }

    #[test]
    fn a_password_with_raw_delimiters_is_masked_whole_and_in_parts() {
        for url in [
            "postgres://user:p4ss/w0rd@h/db",
            "postgres://user:p4ss@w0rd@h/db",
            "postgres://user:p4ss#w0rd@h/db",
            "postgres://user:p4ss?w0rd@h/db",
            "postgres://user:p4ss/@?w0rd@h/db",
            "postgres://user:p4ss%2Fw0rd@h/db",
        ] {
            let text = format!("{url}: invalid port p4ss; no host w0rd; p4ss/w0rd");
            let redacted = redact(&text, url);
            for part in ["p4ss", "w0rd"] {
                assert!(!redacted.contains(part), "{url}: {redacted}");
                assert!(!place(url).contains(part), "{url}: {}", place(url));
            }
            assert!(
                redacted.starts_with("postgres://user:***@h/db"),
                "{redacted}"
            );
            assert_eq!(place(url), "h/db");
        }
    }

    #[test]
    fn an_at_sign_after_the_host_uncovers_nothing() {
        let url = "postgres://u:s3cret@h/db?application_name=a@b";
        assert!(!redact(&format!("cannot parse {url}"), url).contains("s3cret"));
        assert!(!place(url).contains("s3cret"));
    }

    #[test]
    fn a_password_in_the_query_is_masked() {
        let url = "postgres://h/db?user=u&password=s3cret&sslmode=disable";
        assert!(!redact(&format!("cannot parse {url}"), url).contains("s3cret"));
        assert_eq!(place(url), "h/db");
    }

    #[test]
    fn an_address_is_shown_without_credentials() {
        assert_eq!(
            place("postgres://u:p@127.0.0.1:15432/db"),
            "127.0.0.1:15432/db"
        );
        assert_eq!(place("redis://127.0.0.1:1/0"), "127.0.0.1:1/0");
        assert_eq!(place("localhost:29092"), "localhost:29092");
        assert_eq!(place("redis://:a@b@h:1/0"), "h:1/0");
    }
}
