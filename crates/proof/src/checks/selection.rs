//! `--only` and `--skip`: which checks run.

use std::collections::HashSet;

use super::{
    check::Check,
    finding::{Finding, Status},
    ids::CheckId,
};
use diagnostics::{Error, Kind, Result};

/// Which checks run: all, unless the options say otherwise.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The selected checks. Others run only if a selected one refers to them.
    selected: Option<HashSet<CheckId>>,
}

impl Selection {
    /// Of the checks of `plan`: those that a pattern of `only` matches (all, if it is empty), without
    /// those that a pattern of `skip` matches.
    ///
    /// A pattern is an id or the beginning of one up to a dot (`groups`, `groups.allocation-worker`);
    /// `*` stands for any text (`*.lag`).
    ///
    /// # Errors
    /// `Usage`: a pattern matches no check, or no check is left.
    pub fn new(plan: &[Check<'_>], only: &[String], skip: &[String]) -> Result<Self> {
        if only.is_empty() && skip.is_empty() {
            return Ok(Self::default());
        }
        let texts: Vec<_> = plan.iter().map(|check| check.id.to_string()).collect();
        for pattern in only.iter().chain(skip) {
            if !texts.iter().any(|id| matches(pattern, id)) {
                return Err(unknown(&texts, pattern));
            }
        }
        let matched = |patterns: &[String], id: &str| patterns.iter().any(|p| matches(p, id));
        let ids = plan.iter().map(|check| &check.id).zip(&texts);
        let selected: HashSet<_> = ids
            .filter(|(_, text)| (only.is_empty() || matched(only, text)) && !matched(skip, text))
            .map(|(id, _)| id.clone())
            .collect();
        if selected.is_empty() {
            return Err(Error::new(Kind::Usage, "no check is left to run"));
        }
        Ok(Self {
            selected: Some(selected),
        })
    }

    /// The checks to run: the selected ones and, transitively, those that they refer to.
    pub(super) fn of<'a>(&self, plan: Vec<Check<'a>>) -> Vec<Check<'a>> {
        let Some(selected) = &self.selected else {
            return plan;
        };
        let mut wanted = selected.clone();
        // A check refers only to checks that precede it.
        for check in plan.iter().rev() {
            if wanted.contains(&check.id) {
                let causes = check.explained_by.iter().chain(&check.possible_causes);
                wanted.extend(check.needs.iter().chain(causes).cloned());
            }
        }
        plan.into_iter()
            .filter(|check| wanted.contains(&check.id))
            .collect()
    }

    /// Whether a finding is shown. One that is not selected is shown only if it failed, because it may
    /// be the cause of one that is.
    pub(super) fn shows(&self, finding: &Finding) -> bool {
        match &self.selected {
            None => true,
            Some(selected) => selected.contains(&finding.id) || finding.status == Status::Fail,
        }
    }
}

fn unknown(ids: &[String], pattern: &str) -> Error {
    let distance = |id: &&str| strsim::damerau_levenshtein(pattern, id);
    // Ids and all their beginnings.
    let named = ids.iter().flat_map(|id| {
        let dots = id.match_indices('.').map(|(at, _)| &id[..at]);
        dots.chain([id.as_str()])
    });
    let error = Error::new(Kind::Usage, format!("no check is called {pattern}"));
    match named.min_by_key(distance) {
        Some(nearest) => error.hint(format!("{nearest}? All ids: caravan verify -o plain")),
        None => error,
    }
}

/// Whether a pattern matches an id.
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

    fn selected(only: &[&str], skip: &[&str]) -> Result<Vec<String>> {
        let pipeline = declaration::testing::shipped();
        let plan = plan(&pipeline);
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let selection = Selection::new(&plan, &owned(only), &owned(skip))?;
        let selected = selection.selected.unwrap_or_default();
        let ids = plan.iter().map(|check| &check.id);
        let ids = ids.filter(|id| selected.contains(id));
        Ok(ids.map(ToString::to_string).collect())
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
    fn only_and_skip_select_together() {
        let lags = selected(&["*.lag"], &["groups.cache-worker"]).expect("there are some");
        let expected = ["purchase-worker", "allocation-worker", "session-worker"];
        assert_eq!(lags, expected.map(|s| format!("groups.{s}.lag")));
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error_with_the_nearest_id() {
        let error = selected(&["groups.session-worker.lags"], &[]).expect_err("no such check");
        assert_eq!(error.kind, Kind::Usage);
        let hint = error.hint.unwrap_or_default();
        assert!(hint.starts_with("groups.session-worker.lag?"), "{hint}");
        let hint = selected(&["grups"], &[]).expect_err("no such layer").hint;
        assert!(hint.unwrap_or_default().starts_with("groups?"));
        assert!(selected(&["cache"], &["cache"]).is_err());
    }

    #[test]
    fn checks_that_a_selected_check_refers_to_run_too() {
        let pipeline = declaration::testing::shipped();
        let only = ["groups.session-worker.lag".to_owned()];
        let selection = Selection::new(&plan(&pipeline), &only, &[]).expect("is one");
        let made = selection.of(plan(&pipeline));
        let ids: Vec<_> = made.iter().map(|check| check.id.to_string()).collect();
        let is_made = |id: &str| ids.iter().any(|made| made == id);
        for id in [
            "kafka.reachable",
            "topics.trainer-allocated.exists",
            only[0].as_str(),
        ] {
            assert!(is_made(id), "{id} in {ids:?}");
        }
        assert!(!is_made("containers.cache-worker.restarts"), "{ids:?}");
    }
}
