//! "Did you mean …?"

/// The candidate that `word` was most likely meant to be, as the end of a message; empty if none is near.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |candidate| format!("; did you mean `{candidate}`?"))
}

/// The candidate with the fewest edits, as long as less than half of it is edited. Case does not count.
fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(edits, candidate)| edits * 2 < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// The Levenshtein distance.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (1..=to.len()).collect();
    let mut last = to.len();
    for (above_left, letter) in from.chars().enumerate() {
        let (mut diagonal, mut left) = (above_left, above_left + 1);
        for (cell, other) in row.iter_mut().zip(&to) {
            let substituted = diagonal + usize::from(letter != *other);
            diagonal = *cell;
            left = substituted.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        last = left;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, edits) in [("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("b3", "b3", 0)] {
            assert_eq!(distance(from, to), edits, "{from} to {to}");
        }
    }

    #[test]
    fn only_a_near_word_is_suggested() {
        let candidates = ["OTEL_PROPAGATORS", "OTEL_TRACES_SAMPLER"];
        for (word, suggestion, why) in [
            ("OTEL_PROPAGATOR", Some("OTEL_PROPAGATORS"), "one letter is missing"),
            ("otel_traces_sampler", Some("OTEL_TRACES_SAMPLER"), "case does not count"),
            ("OTEL_PROPAGATOSR", Some("OTEL_PROPAGATORS"), "two letters changed places"),
            ("FAULT", None, "it resembles nothing"),
        ] {
            assert_eq!(nearest(word, candidates), suggestion, "{why}");
        }
    }
}
