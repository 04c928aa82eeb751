//! "Did you mean": the nearest of the names that would have been right.

/// The candidate nearest to a name that is none of them; `None` when none is near. The first of equals.
///
/// Near is at most one slip for each three characters begun, where a slip is a character left out, added, changed, or swapped with the next.
/// A name that differs in case, or in `-`, `_` and spaces, alone is always near.
///
/// ```
/// use segmenta::diagnostic::nearest;
/// assert_eq!(nearest("contry", ["city", "country"]), Some("country"));
/// assert_eq!(nearest("zip", ["city", "country"]), None);
/// ```
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = fold(name);
    let allowed = wanted.chars().count().div_ceil(3).min(3);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let folded = fold(candidate);
        if folded.chars().count().abs_diff(wanted.chars().count()) > allowed {
            continue;
        }
        let distance = strsim::osa_distance(&wanted, &folded);
        // A short candidate of which every character differs is a different word, however few slips that takes.
        let near = distance <= allowed && distance < folded.chars().count().max(wanted.chars().count());
        if near && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn fold(name: &str) -> String {
    name.chars().filter(|character| !matches!(character, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_near_and_other_words_are_not() {
        assert_eq!(nearest("oprator", ["operator", "property"]), Some("operator"));
        assert_eq!(nearest("Country", ["city", "country"]), Some("country"));
        assert_eq!(nearest("valuetype", ["value", "value2", "value_type"]), Some("value_type"));
        assert_eq!(nearest("tpye", ["type", "value"]), Some("type"));
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest("revenue", ["avenue_name", "city"]), None);
        assert_eq!(nearest("abc", []), None);
    }

    #[test]
    fn the_first_of_equally_near_names_wins() {
        assert_eq!(nearest("plam", ["plan", "play"]), Some("plan"));
    }
}
