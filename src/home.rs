//! The home directory. Service managers start commands without `HOME`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
};

use rustix::process::getuid;

/// The largest part of `/etc/passwd` that is read.
const MAX_SIZE: u64 = 4 << 20;

/// Sets `HOME`, if it is unset or empty, as `login(1)` does: to the user's directory in `/etc/passwd`.
pub(crate) fn complete(env: &mut BTreeMap<String, String>) {
    if env.get("HOME").is_some_and(|home| !home.is_empty()) {
        return;
    }
    let mut passwd = String::new();
    let read = File::open("/etc/passwd").and_then(|f| f.take(MAX_SIZE).read_to_string(&mut passwd));
    let home = read.ok().and_then(|_| of(&passwd, getuid().as_raw()));
    if let Some(home) = home.filter(|home| fs::metadata(home).is_ok_and(|m| m.is_dir())) {
        env.insert("HOME".to_owned(), home);
    }
}

/// The sixth field of the user's line.
fn of(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let mut users = passwd.lines().map(fields);
    let user = users.find(|fields| fields.get(2) == Some(&uid))?;
    user.into_iter().nth(5).filter(|home| home.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_home_is_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nops:x:1000:1000::/home/ops:\nodd:x:7:7\n";
        assert_eq!(of(passwd, 0).as_deref(), Some("/root"));
        assert_eq!(of(passwd, 1000).as_deref(), Some("/home/ops"));
        assert_eq!(of(passwd, 7), None);
        assert_eq!(of(passwd, 8), None);
    }
}
