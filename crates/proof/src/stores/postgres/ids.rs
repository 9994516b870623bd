//! A declared predicate on one id, rewritten for a list of ids.

/// The list of ids within a statement.
pub(super) const IDS: &str = "caravan_payments";

/// Rewrites a predicate on `$1` to one on the ids of the list. Quoted text is not changed.
pub(super) fn of_list(find: &str) -> String {
    let mut text = String::with_capacity(find.len() + 32);
    let mut quoted = None;
    let mut rest = find;
    while let Some(c) = rest.chars().next() {
        let parameter = rest.strip_prefix("$1").filter(|_| quoted.is_none());
        if let Some(after) =
            parameter.filter(|after| !after.starts_with(|c: char| c.is_ascii_digit()))
        {
            text.push_str(&format!("{IDS}.id"));
            rest = after;
            continue;
        }
        match (quoted, c) {
            (None, '\'' | '"') => quoted = Some(c),
            (Some(open), c) if open == c => quoted = None,
            (None | Some(_), _) => {}
        }
        text.push(c);
        rest = &rest[c.len_utf8()..];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_becomes_the_lists_id() {
        assert_eq!(of_list("id = $1::uuid"), "id = caravan_payments.id::uuid");
        assert_eq!(
            of_list("a = $1 OR (b = $1 AND c = '$1' AND \"$1\" = 'it''s $1') OR d = $11"),
            "a = caravan_payments.id OR (b = caravan_payments.id AND c = '$1' AND \"$1\" = \
             'it''s $1') OR d = $11"
        );
        assert_eq!(
            of_list("name = 'ä' || $1"),
            "name = 'ä' || caravan_payments.id"
        );
        assert_eq!(of_list(""), "");
    }
}
