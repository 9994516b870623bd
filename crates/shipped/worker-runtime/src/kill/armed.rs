//! Reads `CARAVAN_KILL_AT` and `CARAVAN_KILL_WITH`, and kills or freezes the process.

use std::{
    io::Write,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use super::Point;
use crate::settings::{self, SettingsError};

const AT: &str = "CARAVAN_KILL_AT";
const WITH: &str = "CARAVAN_KILL_WITH";

static ARMED: OnceLock<Armed> = OnceLock::new();

#[derive(Debug)]
struct Armed {
    point: Point,
    signal: Signal,
    /// How often the point is still to be reached, this time included.
    left: AtomicU32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Kill,
    Stop,
}

impl Point {
    /// In the order in which an event passes them.
    pub const ALL: [Self; 13] = [
        Self::AfterPoll,
        Self::AfterAdminCall,
        Self::AfterBegin,
        Self::AfterInbox,
        Self::AfterEffect,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::BeforeProduce,
        Self::AfterSomeAcks,
        Self::AfterProduce,
        Self::BeforeOffsetCommit,
        Self::AfterOffsetCommit,
        Self::OnRevoke,
    ];

    /// As `CARAVAN_KILL_AT` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AfterPoll => "after-poll",
            Self::AfterAdminCall => "after-admin-call",
            Self::AfterBegin => "after-begin",
            Self::AfterInbox => "after-inbox",
            Self::AfterEffect => "after-effect",
            Self::BeforeCommit => "before-commit",
            Self::AfterCommit => "after-commit",
            Self::BeforeProduce => "before-produce",
            Self::AfterSomeAcks => "after-some-acks",
            Self::AfterProduce => "after-produce",
            Self::BeforeOffsetCommit => "before-offset-commit",
            Self::AfterOffsetCommit => "after-offset-commit",
            Self::OnRevoke => "on-revoke",
        }
    }
}

/// Reads `CARAVAN_KILL_AT=POINT[:N]` (the N-th time that the point is reached, the first unless
/// said otherwise) and `CARAVAN_KILL_WITH=kill|stop`. Once per process, before any point is
/// reached. Nothing is armed where the first is not set.
///
/// # Errors
/// One of them is wrong, or the second is set without the first.
pub fn arm() -> Result<(), SettingsError> {
    let at = settings::optional(AT);
    let with = settings::optional(WITH);
    if let Some(armed) = parse(at.as_deref(), with.as_deref())? {
        // Only a second call finds it set, and asks for the same.
        ARMED.set(armed).ok();
    }
    Ok(())
}

pub(super) fn reached(point: Point) {
    let Some(armed) = ARMED.get().filter(|armed| armed.point == point) else {
        return;
    };
    // Wraps long after every test is over.
    if armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        armed.signal.raise(point);
    }
}

impl Signal {
    fn raise(self, point: Point) {
        let (name, number) = match self {
            Self::Kill => ("SIGKILL", libc::SIGKILL),
            Self::Stop => ("SIGSTOP", libc::SIGSTOP),
        };
        // The test's proof that it was here; not through the log, which is behind a buffer.
        let line = format!("reached {}: {name}\n", point.name());
        std::io::stderr().write_all(line.as_bytes()).ok();
        // SAFETY: `raise` takes no pointers. It signals the calling thread, so that nothing after
        // this line runs before the signal takes effect.
        #[expect(unsafe_code, reason = "the standard library cannot send a signal")]
        unsafe {
            libc::raise(number);
        }
    }
}

fn parse(at: Option<&str>, with: Option<&str>) -> Result<Option<Armed>, SettingsError> {
    let invalid = |name: &str, expected, reason: String| SettingsError::Invalid {
        name: name.to_owned(),
        expected,
        reason,
    };
    let Some(at) = at else {
        return match with {
            None => Ok(None),
            Some(_) => Err(SettingsError::Missing {
                name: AT.to_owned(),
            }),
        };
    };
    let (name, times) = at.split_once(':').unwrap_or((at, "1"));
    let point = Point::ALL.into_iter().find(|point| point.name() == name);
    let point = point.ok_or_else(|| {
        let known = Point::ALL.map(Point::name).join(", ");
        let reason = format!("no point is called {name:?}; there are {known}");
        invalid(AT, "POINT or POINT:N, such as after-commit:2", reason)
    })?;
    let left = times.parse::<u32>().ok().filter(|times| *times > 0);
    let left = left.ok_or_else(|| {
        let reason = format!("{times:?} is not a number from 1");
        invalid(AT, "POINT or POINT:N, such as after-commit:2", reason)
    })?;
    let signal = match with {
        None | Some("kill") => Signal::Kill,
        Some("stop") => Signal::Stop,
        Some(other) => return Err(invalid(WITH, "kill or stop", format!("{other:?}"))),
    };
    Ok(Some(Armed {
        point,
        signal,
        left: AtomicU32::new(left),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(at: Option<&str>, with: Option<&str>) -> String {
        parse(at, with).expect_err("refused").to_string()
    }

    #[test]
    fn a_point_its_turn_and_the_signal() {
        assert!(parse(None, None).expect("nothing requested").is_none());
        let armed = parse(Some("after-commit"), None).expect("known");
        let armed = armed.expect("armed");
        assert_eq!(
            (armed.point, armed.signal),
            (Point::AfterCommit, Signal::Kill)
        );
        assert_eq!(armed.left.into_inner(), 1);
        let armed = parse(Some("on-revoke:3"), Some("stop")).expect("known");
        let armed = armed.expect("armed");
        assert_eq!((armed.point, armed.signal), (Point::OnRevoke, Signal::Stop));
        assert_eq!(armed.left.into_inner(), 3);
    }

    #[test]
    fn every_point_can_be_named() {
        for point in Point::ALL {
            let armed = parse(Some(point.name()), None).expect("known");
            assert_eq!(armed.expect("armed").point, point);
        }
    }

    #[test]
    fn an_error_lists_the_known_values() {
        let text = refusal(Some("after-lunch"), None);
        assert!(
            text.starts_with(AT) && text.contains("after-lunch"),
            "{text}"
        );
        assert!(text.contains("before-offset-commit"), "{text}");
        for wrong in [
            "after-poll:0",
            "after-poll:",
            "after-poll:-1",
            "after-poll:2x",
        ] {
            assert!(refusal(Some(wrong), None).contains("from 1"), "{wrong}");
        }
        let text = refusal(Some("after-poll"), Some("term"));
        assert!(
            text.starts_with(WITH) && text.contains("kill or stop"),
            "{text}"
        );
        assert!(refusal(None, Some("stop")).starts_with(AT));
    }
}
