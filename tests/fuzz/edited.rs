/// A text of the corpus after some edits, which gets further than any text does. The fuzz tests of every crate include this
/// file; `tests/fuzz/run` says how many inputs they draw.
fn edited(corpus: &'static [&'static str]) -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let inserted = prop_oneof![
        Just(String::new()),
        any::<char>().prop_map(String::from),
        "[-=;:,|&{}\"'`%\\\\ \t\r\n0-9a-fA-Z\u{0}\u{e9}]{1,8}",
        proptest::sample::select(corpus).prop_map(str::to_owned),
    ];
    let edit = (any::<proptest::sample::Index>(), 0..12_usize, inserted);
    let drawn = (proptest::sample::select(corpus), proptest::collection::vec(edit, 0..6));
    drawn.prop_map(|(seed, edits)| {
        let mut characters: Vec<char> = seed.chars().collect();
        for (at, removed, inserted) in edits {
            let start = at.index(characters.len() + 1);
            let end = (start + removed).min(characters.len());
            characters.splice(start..end, inserted.chars());
        }
        characters.into_iter().collect()
    })
}
