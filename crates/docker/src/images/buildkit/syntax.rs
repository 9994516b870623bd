//! `# syntax=`: the frontend image of a Dockerfile, Docker's own or another.

/// Docker's own frontends for Dockerfiles, newer or older than the engine's built-in one.
const DOCKERS: [&str; 2] = ["docker/dockerfile", "docker/dockerfile-upstream"];

/// The image in a Dockerfile's `# syntax=`. Directives come before anything else.
pub(crate) fn frontend(dockerfile: &str) -> Option<&str> {
    line(dockerfile).map(|(_, frontend)| frontend)
}

/// The Dockerfile without its `# syntax=`, with unchanged line numbers, for the engine's built-in frontend.
pub(crate) fn without_frontend(dockerfile: &str) -> String {
    let Some((number, _)) = line(dockerfile) else {
        return dockerfile.to_owned();
    };
    let lines = dockerfile.split_inclusive('\n').enumerate();
    let lines = lines.map(|(n, line)| match n == number {
        true => line.replacen('#', "# not here:", 1),
        false => line.to_owned(),
    });
    lines.collect()
}

/// Whether that image is one of Docker's own frontends, which the built-in one can replace.
pub(crate) fn is_dockers(frontend: &str) -> bool {
    let name = frontend.strip_prefix("docker.io/").unwrap_or(frontend);
    let name = name.split(['@', ':']).next().unwrap_or(name);
    DOCKERS.contains(&name)
}

/// Whether a Dockerfile may use features that the classic builder does not have.
pub(crate) fn may_need_buildkit(dockerfile: &str) -> bool {
    const NEW: [&str; 6] = [
        "--mount=",
        "--chmod=",
        "--link",
        "--network=",
        "<<",
        "syntax",
    ];
    NEW.iter().any(|new| dockerfile.contains(new))
}

/// The directive's line number, from 0, and the image.
fn line(dockerfile: &str) -> Option<(usize, &str)> {
    let mut lines = dockerfile.lines().enumerate().peekable();
    lines.next_if(|(_, line)| line.starts_with("#!"));
    for (number, line) in lines {
        let (name, value) = line.trim().strip_prefix('#')?.split_once('=')?;
        let name = name.trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
            return None;
        }
        if name.eq_ignore_ascii_case("syntax") {
            return value.split_whitespace().next().map(|image| (number, image));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_counts_only_before_anything_else() {
        for (text, image) in [
            (
                "# syntax=docker/dockerfile:1\nFROM a\n",
                Some("docker/dockerfile:1"),
            ),
            ("#syntax = a/b\n", Some("a/b")),
            (
                "#!/bin/x\n# escape=`\n# Syntax=a/b --flag\nFROM a\n",
                Some("a/b"),
            ),
            ("# builds it\n# syntax=a/b\nFROM a\n", None),
            ("\n# syntax=a/b\n", None),
            ("FROM a\n# syntax=a/b\n", None),
            ("", None),
        ] {
            assert_eq!(frontend(text), image, "{text}");
        }
    }

    #[test]
    fn removing_the_directive_keeps_line_numbers() {
        let text = "# escape=`\n# syntax=docker/dockerfile:1\r\nFROM a\n";
        let without = without_frontend(text);
        assert_eq!(
            without,
            "# escape=`\n# not here: syntax=docker/dockerfile:1\r\nFROM a\n"
        );
        assert_eq!(frontend(&without), None);
        assert_eq!(without_frontend("FROM a"), "FROM a");
    }

    #[test]
    fn features_that_the_classic_builder_lacks_are_found() {
        assert!(may_need_buildkit(
            "FROM a\nRUN --mount=type=cache,target=/c make\n"
        ));
        assert!(may_need_buildkit("FROM a\nRUN <<EOF\nmake\nEOF\n"));
        assert!(!may_need_buildkit(
            "FROM a AS b\nCOPY --from=b --chown=1 . .\nRUN make > out\n"
        ));
    }

    #[test]
    fn dockers_own_frontends_are_recognised() {
        for image in [
            "docker/dockerfile",
            "docker/dockerfile:1.4",
            "docker.io/docker/dockerfile:1@sha256:1",
        ] {
            assert!(is_dockers(image), "{image}");
        }
        assert!(!is_dockers("docker/dockerfiles:1") && !is_dockers("me/docker/dockerfile"));
    }
}
