//! "Did you mean …?"

/// The candidate that `word` was most likely meant to be, as the end of a message; empty if none is near.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |candidate| format!("; did you mean `{candidate}`?"))
}

/// The candidate with the fewest edits, as long as less than half of it is edited. Case does not count.
fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(edits, candidate)| edits * 2 < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

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
