//! `--only` and `--skip`: which checks are made.

use std::collections::HashSet;

use super::{
    check::Check,
    finding::{Finding, Status},
};
use diagnostics::{Error, Kind, Result};

/// Which checks a person asked for: all, unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Ids of checks that were asked for. Others are made where these need them.
    chosen: Option<HashSet<String>>,
}

impl Selection {
    /// Of the checks of `plan`: those that one of `only` names (all, if it is empty), but for those
    /// that one of `skip` does.
    ///
    /// A pattern is an id or the beginning of one up to a dot (`groups`, `groups.allocation-worker`);
    /// `*` stands for anything (`*.lag`).
    ///
    /// # Errors
    /// `Usage`: a pattern that names no check, or nothing is left.
    pub fn new(plan: &[Check<'_>], only: &[String], skip: &[String]) -> Result<Self> {
        if only.is_empty() && skip.is_empty() {
            return Ok(Self::default());
        }
        for pattern in only.iter().chain(skip) {
            if !plan.iter().any(|check| matches(pattern, &check.id)) {
                return Err(unknown(plan, pattern));
            }
        }
        let named = |patterns: &[String], id: &str| patterns.iter().any(|p| matches(p, id));
        let ids = plan.iter().map(|check| check.id.clone());
        let chosen: HashSet<_> = ids
            .filter(|id| (only.is_empty() || named(only, id)) && !named(skip, id))
            .collect();
        if chosen.is_empty() {
            return Err(Error::new(Kind::Usage, "no check is left to make"));
        }
        Ok(Self {
            chosen: Some(chosen),
        })
    }

    /// The checks to make: the chosen ones and, all the way down, those that they need or follow.
    pub(super) fn of<'a>(&self, plan: Vec<Check<'a>>) -> Vec<Check<'a>> {
        let Some(chosen) = &self.chosen else {
            return plan;
        };
        let mut wanted = chosen.clone();
        // What a check depends on comes before it.
        for check in plan.iter().rev() {
            if wanted.contains(&check.id) {
                let explain = check.follows.iter().chain(&check.suspects);
                wanted.extend(check.needs.iter().chain(explain).cloned());
            }
        }
        plan.into_iter()
            .filter(|check| wanted.contains(&check.id))
            .collect()
    }

    /// Whether a finding is told of: one that was not asked for only where it failed, since what was
    /// asked for may go back to it.
    pub(super) fn shows(&self, finding: &Finding) -> bool {
        match &self.chosen {
            None => true,
            Some(chosen) => chosen.contains(&finding.id) || finding.status == Status::Fail,
        }
    }
}

fn unknown(plan: &[Check<'_>], pattern: &str) -> Error {
    let distance = |id: &&str| strsim::damerau_levenshtein(pattern, id);
    // Ids and all their beginnings.
    let named = plan.iter().flat_map(|check| {
        let dots = check.id.match_indices('.').map(|(at, _)| &check.id[..at]);
        dots.chain([check.id.as_str()])
    });
    let error = Error::new(Kind::Usage, format!("no check is called {pattern}"));
    match named.min_by_key(distance) {
        Some(nearest) => error.hint(format!("{nearest}? All ids: caravan verify -o plain")),
        None => error,
    }
}

/// Whether a pattern names an id.
fn matches(pattern: &str, id: &str) -> bool {
    let beginning = |p: &str| id.strip_prefix(p).is_some_and(|rest| rest.starts_with('.'));
    if !pattern.contains('*') {
        return pattern == id || beginning(pattern);
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = id.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return false;
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::plan;

    fn chosen(only: &[&str], skip: &[&str]) -> Result<Vec<String>> {
        let pipeline = declaration::testing::shipped();
        let plan = plan(&pipeline);
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let selection = Selection::new(&plan, &owned(only), &owned(skip))?;
        let chosen = selection.chosen.unwrap_or_default();
        let ids = plan.iter().map(|check| check.id.clone());
        Ok(ids.filter(|id| chosen.contains(id)).collect())
    }

    #[test]
    fn a_pattern_is_an_id_its_beginning_or_a_glob() {
        assert!(matches("groups", "groups.a.lag"));
        assert!(matches("groups.a", "groups.a.lag"));
        assert!(!matches("groups.a", "groups.ab.lag"));
        assert!(matches("*.lag", "groups.a.lag"));
        assert!(matches("groups.*.lag", "groups.a.lag"));
        assert!(!matches("groups.*.lag", "groups.a.lags"));
        assert!(!matches("*.a", "groups.a.lag"));
    }

    #[test]
    fn only_and_skip_choose_together() {
        let lags = chosen(&["*.lag"], &["groups.cache-worker"]).expect("there are some");
        let expected = ["purchase-worker", "allocation-worker", "session-worker"];
        assert_eq!(lags, expected.map(|s| format!("groups.{s}.lag")));
    }

    #[test]
    fn a_pattern_that_names_nothing_is_an_error_with_the_nearest_id() {
        let error = chosen(&["groups.session-worker.lags"], &[]).expect_err("no such check");
        assert_eq!(error.kind, Kind::Usage);
        let hint = error.hint.unwrap_or_default();
        assert!(hint.starts_with("groups.session-worker.lag?"), "{hint}");
        let hint = chosen(&["grups"], &[]).expect_err("no such layer").hint;
        assert!(hint.unwrap_or_default().starts_with("groups?"));
        assert!(chosen(&["cache"], &["cache"]).is_err());
    }

    #[test]
    fn what_a_chosen_check_needs_is_made_too() {
        let pipeline = declaration::testing::shipped();
        let only = ["groups.session-worker.lag".to_owned()];
        let selection = Selection::new(&plan(&pipeline), &only, &[]).expect("is one");
        let made = selection.of(plan(&pipeline));
        let ids: Vec<_> = made.iter().map(|check| check.id.as_str()).collect();
        for id in [
            "kafka.reachable",
            "topics.trainer-allocated.exists",
            only[0].as_str(),
        ] {
            assert!(ids.contains(&id), "{id} in {ids:?}");
        }
        assert!(
            !ids.contains(&"containers.cache-worker.restarts"),
            "{ids:?}"
        );
    }
}
