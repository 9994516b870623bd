//! The database's address and password.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use crate::{RunError, settings, settings::SettingsError};

/// The URL; the password is used if the URL contains none.
const URL: &str = "DATABASE_URL";
const PASSWORD: &str = "DATABASE_PASSWORD";

/// `DATABASE_URL`, with `DATABASE_PASSWORD` where that has none; either may be in a file (see
/// [`settings::secret`]).
///
/// # Errors
/// A setting is missing or wrong, the URL is not one, or there are two passwords.
pub fn address() -> Result<PgConnectOptions, RunError> {
    let url = settings::required_secret(URL)?;
    let password = settings::secret(PASSWORD)?;
    parse(&url, password.as_deref())
}

fn parse(url: &str, password: Option<&str>) -> Result<PgConnectOptions, RunError> {
    let options = PgConnectOptions::from_str(url).map_err(|_| RunError::DatabaseUrl)?;
    match password {
        None => Ok(options),
        Some(_) if has_password(url) => Err(RunError::Settings(SettingsError::Both {
            first: format!("a password in {}", settings::name_in_use(URL)),
            second: settings::name_in_use(PASSWORD),
        })),
        Some(password) => Ok(options.password(password)),
    }
}

/// `//USER:PASSWORD@HOST`, or a parameter; in a URL that could be read as one.
fn has_password(url: &str) -> bool {
    let (front, query) = url.split_once('?').unwrap_or((url, ""));
    let authority = front.split_once("//").map_or("", |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    let in_front = user.split_once(':').is_some_and(|(_, p)| !p.is_empty());
    in_front || query.split('&').any(|pair| pair.starts_with("password="))
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions;

    use super::*;

    #[test]
    fn the_password_comes_from_the_url_or_the_variable_but_not_from_both() {
        let bare = "postgres://me@db:5432/shop";
        let with = |options: &PgConnectOptions| {
            let url = options.to_url_lossy();
            url.password().map(str::to_owned)
        };
        let options = parse(bare, Some("s3cr3t")).expect("an address");
        assert_eq!(with(&options).as_deref(), Some("s3cr3t"));
        assert_eq!(options.get_host(), "db");
        for url in [
            "postgres://me:hunter2@db/shop",
            "postgres://db/shop?user=me&password=hunter2",
        ] {
            assert_eq!(
                with(&parse(url, None).expect(url)).as_deref(),
                Some("hunter2")
            );
            let text = parse(url, Some("s3cr3t")).expect_err(url).to_string();
            assert!(
                text.contains("DATABASE_URL and DATABASE_PASSWORD"),
                "{text}"
            );
            assert!(
                !text.contains("hunter2") && !text.contains("s3cr3t"),
                "{text}"
            );
        }
        for url in [
            "postgres://db:5432/a:b@c",
            "postgres://me:@db/shop?application_name=a:b@c",
        ] {
            assert!(!has_password(url), "{url}");
        }
    }

    #[test]
    fn a_wrong_address_is_not_shown() {
        let error = parse("postgres//secret", None).expect_err("not a URL");
        assert!(!error.to_string().contains("secret"));
    }
}
