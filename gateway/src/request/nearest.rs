//! The known name that is most like an unknown one, for error messages.

/// Longest name that is compared, in characters; longer ones get no suggestion.
const NAME_CHARS_MAX: usize = 64;

/// A candidate that begins with the name, for who has typed half of it; otherwise the one with the smallest
/// edit distance. The first of equals.
pub(crate) fn nearest<'n>(
    name: &str,
    candidates: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    if name.chars().count() > NAME_CHARS_MAX {
        return None;
    }
    candidates
        .into_iter()
        .min_by_key(|candidate| (!candidate.starts_with(name), distance(name, candidate)))
}

/// Levenshtein's distance, with neighbours swapped counting as one step.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let mut best = (row[j] + usize::from(l != r)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                best = best.min(before[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_name() {
        let names = ["title", "author", "page_count", "shelf_id"];
        for (typed, wanted) in [
            ("titel", "title"),
            ("autor", "author"),
            ("pageCount", "page_count"),
            ("shelfId", "shelf_id"),
            ("shelf", "shelf_id"),
            ("page", "page_count"),
            ("t", "title"),
        ] {
            assert_eq!(nearest(typed, names), Some(wanted), "{typed}");
        }
        // One letter away, and another word.
        assert_eq!(nearest("page", ["sage", "page_token"]), Some("page_token"));
        assert_eq!(nearest("page", ["page_token_kind", "page_size"]), Some("page_size"));
        assert_eq!(nearest("", ["title", "id"]), Some("id"), "every name begins with nothing");
        assert_eq!(nearest(&"a".repeat(65), names), None);
        assert_eq!(nearest("a", []), None);
    }
}
