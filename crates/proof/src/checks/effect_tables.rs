//! Which tables show whether a service did its work, according to the declaration.

use declaration::{Pipeline, Service, Table};

/// The tables in which a service's work leaves rows.
pub(super) struct EffectTables<'a> {
    /// Those that the service writes, or that the services that it calls write.
    pub(super) own: Vec<&'a Table>,
    /// Those that a message reaches earlier. A message without a row in any of them is ignored: it was
    /// a test's, or has been archived.
    pub(super) earlier: Vec<&'a Table>,
}

impl<'a> EffectTables<'a> {
    /// None: the declaration does not say where the rows of a message are.
    pub(super) fn of(pipeline: &'a Pipeline, service: &Service) -> Option<Self> {
        let called = service
            .calls
            .iter()
            .filter_map(|name| pipeline.service(name));
        let writers: Vec<_> = called.chain([service]).collect();
        let is_own = |table: &&Table| writers.iter().any(|s| s.writes.contains(&table.name));
        let followed = || pipeline.tables.iter().filter(|t| t.is_followed());
        let own: Vec<_> = followed().filter(is_own).collect();
        let earlier: Vec<_> = followed().take_while(|table| !is_own(table)).collect();
        (!own.is_empty() && !earlier.is_empty()).then_some(Self { own, earlier })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.earlier
            .iter()
            .chain(&self.own)
            .map(|t| t.name.as_str())
    }

    /// The names of the tables that must have a row.
    pub(super) fn own_names(&self) -> Vec<&'a str> {
        self.own.iter().map(|t| t.name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use declaration::testing::shipped;

    #[test]
    fn tables_of_a_worker_are_its_own_and_those_of_services_it_calls() {
        let pipeline = shipped();
        let of = |service: &str| {
            let service = pipeline.service(service).expect("declared");
            let tables = EffectTables::of(&pipeline, service)?;
            let names = |tables: &[&Table]| -> Vec<String> {
                tables.iter().map(|table| table.name.clone()).collect()
            };
            Some((names(&tables.own), names(&tables.earlier).len()))
        };
        let own = |name: &str| vec![name.to_owned()];
        let purchases = Some((own("student_course_purchases"), 2));
        assert_eq!(of("purchase-worker"), purchases);
        let allocations = Some((own("trainer_allocations"), 3));
        assert_eq!(of("allocation-worker"), allocations, "its service's");
        assert_eq!(of("session-worker"), Some((own("tutoring_sessions"), 4)));
        assert_eq!(of("cache-worker"), None, "it writes to none");
        assert_eq!(of("payment-service"), None, "nothing comes before it");
    }
}
