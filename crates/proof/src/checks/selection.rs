//! `--only` and `--skip`: which checks run.

use std::collections::{BTreeSet, HashSet};

use super::{
    check::Check,
    finding::{Finding, Status},
    ids::CheckId,
};
use diagnostics::{Error, Kind, Result};

/// The layer whose subjects are the services.
const CONTAINERS: &str = "containers";

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
    /// A pattern is an id, the beginning of one up to a dot (`groups`, `groups.allocation-worker`), a
    /// subject (`allocation-worker`), what checks are about (`lag`), or a part of a subject that no other
    /// subject has (`allocation`, `groups.allocation`); `*` stands for any text (`*.lag`).
    ///
    /// # Errors
    /// `Usage`: a pattern matches no check, or no check is left.
    pub fn new(plan: &[Check<'_>], only: &[String], skip: &[String]) -> Result<Self> {
        if only.is_empty() && skip.is_empty() {
            return Ok(Self::default());
        }
        let ids: Vec<_> = plan.iter().map(|check| &check.id).collect();
        let mut selected: HashSet<CheckId> = match only {
            [] => ids.iter().copied().cloned().collect(),
            only => all_matched(&ids, only)?,
        };
        for id in all_matched(&ids, skip)? {
            selected.remove(&id);
        }
        if selected.is_empty() {
            return Err(Error::new(Kind::Usage, "no check is left to run"));
        }
        Ok(Self {
            selected: Some(selected),
        })
    }

    /// Whether the check is one of those that were selected.
    pub fn selects(&self, id: &CheckId) -> bool {
        let selected = self.selected.as_ref();
        selected.is_none_or(|selected| selected.contains(id))
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

/// The ids that the patterns match.
fn all_matched(ids: &[&CheckId], patterns: &[String]) -> Result<HashSet<CheckId>> {
    let mut all = HashSet::new();
    for pattern in patterns {
        all.extend(matched(ids, pattern)?.into_iter().cloned());
    }
    Ok(all)
}

/// The ids that a pattern matches: at least one.
fn matched<'a>(ids: &[&'a CheckId], pattern: &str) -> Result<Vec<&'a CheckId>> {
    let names = |id: &CheckId| {
        let whole = id.subject().into_iter().chain([id.aspect()]);
        matches(pattern, &id.to_string()) || whole.into_iter().any(|name| name == pattern)
    };
    let found: Vec<_> = ids.iter().copied().filter(|id| names(id)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    // A part of a subject, of any layer or of the one before the dot.
    let (layer, part) = match pattern.split_once('.') {
        Some((layer, part)) => (Some(layer), part.to_lowercase()),
        None => (None, pattern.to_lowercase()),
    };
    let contains = |id: &&CheckId| {
        let subject = id.subject().unwrap_or_default().to_lowercase();
        layer.is_none_or(|layer| layer == id.layer()) && subject.contains(&part)
    };
    let found: Vec<_> = ids.iter().copied().filter(contains).collect();
    let subjects: BTreeSet<_> = found.iter().filter_map(|id| id.subject()).collect();
    // A service rather than a table or a rule.
    let is_service = |name: &&str| {
        let named = |id: &&CheckId| id.layer() == CONTAINERS && id.subject() == Some(*name);
        ids.iter().any(named)
    };
    let services: Vec<_> = subjects.iter().copied().filter(is_service).collect();
    let all: Vec<_> = subjects.into_iter().collect();
    match (&all[..], &services[..]) {
        _ if part.is_empty() => Err(unknown(ids, pattern)),
        ([], _) => Err(unknown(ids, pattern)),
        ([one], _) | (_, [one]) => {
            let of_one = found.into_iter().filter(|id| id.subject() == Some(*one));
            Ok(of_one.collect())
        }
        (several, []) | (_, several) => {
            let what = format!("`{pattern}` is more than one subject of checks");
            let could = format!("it could be {}", several.join(", "));
            Err(Error::new(Kind::Usage, what).because(could))
        }
    }
}

fn unknown(ids: &[&CheckId], pattern: &str) -> Error {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    let distance = |id: &&str| strsim::damerau_levenshtein(pattern, id);
    // Ids and all their beginnings.
    let named = ids.iter().flat_map(|id| {
        let dots = id.match_indices('.').map(|(at, _)| &id[..at]);
        dots.chain([id.as_str()])
    });
    let error = Error::new(Kind::Usage, format!("no check is called {pattern}"));
    match named.min_by_key(distance) {
        Some(nearest) => error.because(format!("the nearest is {nearest}")),
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
    fn a_pattern_may_be_a_service_a_part_of_one_or_what_checks_are_about() {
        let of = |pattern| selected(&[pattern], &[]).expect("there are some");
        let lags = of("lag");
        assert!(
            lags.len() == 4 && lags.iter().all(|id| id.ends_with(".lag")),
            "{lags:?}"
        );
        let whole = of("session-worker");
        assert!(
            whole.iter().all(|id| id.contains(".session-worker.")),
            "{whole:?}"
        );
        assert!(
            whole.contains(&"groups.session-worker.lag".to_owned()),
            "{whole:?}"
        );
        assert!(
            whole.contains(&"logs.session-worker.started".to_owned()),
            "{whole:?}"
        );
        assert_eq!(of("Session-W"), whole);
        // A rule has this part, too.
        assert_eq!(of("session"), whole);
        assert_eq!(of("groups.session"), of("groups.session-worker"));
        // A layer, and a service with the same name.
        let kafka = of("kafka");
        assert!(kafka.contains(&"kafka.reachable".to_owned()), "{kafka:?}");
        assert!(
            kafka.contains(&"containers.kafka.running".to_owned()),
            "{kafka:?}"
        );
    }

    #[test]
    fn a_part_of_several_subjects_is_an_error_that_names_them() {
        let error = selected(&["groups.worker"], &[]).expect_err("several");
        assert_eq!(error.kind, Kind::Usage);
        let evidence = error.evidence.concat();
        assert!(
            evidence.contains("cache-worker, purchase-worker"),
            "{evidence}"
        );
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error_with_the_nearest_id() {
        let error = selected(&["groups.session-worker.lags"], &[]).expect_err("no such check");
        assert_eq!(error.kind, Kind::Usage);
        assert_eq!(error.evidence, ["the nearest is groups.session-worker.lag"]);
        let error = selected(&["grups"], &[]).expect_err("no such layer");
        assert_eq!(error.evidence, ["the nearest is groups"]);
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
