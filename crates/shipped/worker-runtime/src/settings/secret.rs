//! Secrets: the variable contains the value, or `NAME_FILE` names a file that contains it. `docker
//! inspect` shows environment variables, but not the content of files.

use std::{fs::File, io::Read, path::Path};

use super::{SecretFileError, SettingsError, optional};

/// Maximum size of a secret's file, in bytes.
const MAX_SIZE: u64 = 64 << 10;

/// The secret, or None where neither `name` nor `NAME_FILE` is set; empty counts as unset.
///
/// # Errors
/// Both are set, or the file cannot be read, or is empty.
pub fn secret(name: &str) -> Result<Option<String>, SettingsError> {
    let by_file = by_file(name);
    choose(name, optional(name), optional(&by_file))
}

/// As [`secret`], but the secret has to be set.
///
/// # Errors
/// As [`secret`]; also [`SettingsError::MissingSecret`].
pub fn required_secret(name: &str) -> Result<String, SettingsError> {
    secret(name)?.ok_or_else(|| SettingsError::MissingSecret {
        name: name.to_owned(),
    })
}

/// The name of the variable that is set, of a secret's two; for error messages.
#[must_use]
pub fn name_in_use(name: &str) -> String {
    let by_file = by_file(name);
    match optional(&by_file) {
        Some(_) => by_file,
        None => name.to_owned(),
    }
}

fn by_file(name: &str) -> String {
    format!("{name}_FILE")
}

fn choose(
    name: &str,
    value: Option<String>,
    file: Option<String>,
) -> Result<Option<String>, SettingsError> {
    match (value, file) {
        (Some(_), Some(_)) => Err(SettingsError::Both {
            first: name.to_owned(),
            second: by_file(name),
        }),
        (value, None) => Ok(value),
        (None, Some(path)) => match read(Path::new(&path)) {
            Ok(secret) => Ok(Some(secret)),
            Err(source) => Err(SettingsError::File {
                name: by_file(name),
                path,
                source,
            }),
        },
    }
}

/// The file's text without the line end that editors and `echo` leave.
fn read(path: &Path) -> Result<String, SecretFileError> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_SIZE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(SecretFileError::TooLarge(MAX_SIZE));
    }
    let text = String::from_utf8(bytes).map_err(|_| SecretFileError::NotText)?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(SecretFileError::Empty);
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf, process};

    use super::*;

    /// A file of this test's own, removed with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn holding(name: &str, content: &[u8]) -> Self {
            let path = env::temp_dir().join(format!("caravan-secret-{}-{name}", process::id()));
            fs::write(&path, content).expect("writable");
            Self(path)
        }

        fn path(&self) -> String {
            self.0.display().to_string()
        }

        fn read(&self) -> Result<Option<String>, SettingsError> {
            choose("TOKEN", None, Some(self.path()))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_file(&self.0));
        }
    }

    #[test]
    fn a_value_or_a_file_without_its_line_end() {
        assert_eq!(choose("TOKEN", None, None).expect("unset"), None);
        let value = choose("TOKEN", Some("abc".to_owned()), None).expect("a value");
        assert_eq!(value.as_deref(), Some("abc"));
        for (content, secret) in [
            ("abc", "abc"),
            ("abc\n", "abc"),
            ("abc\r\n", "abc"),
            ("abc\n\n", "abc\n"),
            (" a b ", " a b "),
        ] {
            let file = Scratch::holding("line-end", content.as_bytes());
            let read = file.read().expect(content);
            assert_eq!(read.as_deref(), Some(secret), "{content:?}");
        }
    }

    #[test]
    fn both_are_named_and_none_is_taken() {
        let both = choose("TOKEN", Some("abc".to_owned()), Some("/a".to_owned()));
        let text = both.expect_err("which one?").to_string();
        assert!(text.contains("TOKEN and TOKEN_FILE") && text.contains("unset"));
        assert!(!text.contains("abc"));
    }

    #[test]
    fn an_unusable_file_is_named_with_the_remedy_and_not_quoted() {
        let mut large = b"hunter2".to_vec();
        large.resize(usize::try_from(MAX_SIZE).expect("small") + 1, b'x');
        for (name, content, why) in [
            ("empty", &b""[..], "is empty"),
            ("line", &b"\n"[..], "is empty"),
            ("binary", &b"hunter2\xff"[..], "UTF-8"),
            ("large", &large, "larger"),
        ] {
            let file = Scratch::holding(name, content);
            let text = file.read().expect_err(name).to_string();
            assert!(text.starts_with("TOKEN_FILE names "), "{text}");
            assert!(text.contains(&file.path()) && text.contains(why), "{text}");
            assert!(text.contains("put the secret into it"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        let none = choose("TOKEN", None, Some("/no/such/file".to_owned()));
        let text = none.expect_err("no file").to_string();
        assert!(
            text.contains("/no/such/file, which cannot be read: No such"),
            "{text}"
        );
    }
}
