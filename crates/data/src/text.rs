//! Lists in messages.

/// The first `most` of some items and, where there are more, how many there are: `a, b, ... (9 in
/// all)`.
pub fn first_few(items: impl ExactSizeIterator<Item = String>, most: usize) -> String {
    let count = items.len();
    let mut listed: Vec<String> = items.take(most).collect();
    if count > most {
        listed.push(format!("... ({count} in all)"));
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_counted() {
        let names = ["a", "b", "c"].map(String::from);
        assert_eq!(first_few(names.iter().cloned(), 3), "a, b, c");
        assert_eq!(first_few(names.into_iter(), 2), "a, b, ... (3 in all)");
        assert_eq!(first_few([].into_iter(), 2), "");
    }
}
