//! Keeps passwords of URLs out of error texts.

/// `text` without the password of `url`, should some library have put it there.
pub(super) fn redact(text: &str, url: &str) -> String {
    match password(url) {
        Some(password) if !password.is_empty() => text.replace(password, "***"),
        _ => text.to_owned(),
    }
}

/// `scheme://user:password@host` -> `host…`: what a person needs to know of an address.
pub(super) fn place(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority_ends = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_ends].rfind('@') {
        Some(at) => &rest[at + 1..],
        None => rest,
    }
}

fn password(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    let (user_info, _) = authority.rsplit_once('@')?;
    user_info.split_once(':').map(|(_, password)| password)
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
