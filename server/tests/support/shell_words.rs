//! Commands as documents write them, split into words as bash would: quotes, comments, continued lines,
//! variables in front. Only what documents use; not here: running them.

/// The words of every command of a text, without the variables that are set for it; of a pipe the first.
pub fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut open = String::new();
    for line in text.lines().map(str::trim) {
        open.push_str(line);
        if open.ends_with('\\') {
            open.pop();
            continue;
        }
        let words = words(&std::mem::take(&mut open));
        let command: Vec<String> =
            words.into_iter().skip_while(|word| sets_variable(word)).collect();
        commands.extend((!command.is_empty()).then_some(command));
    }
    assert!(open.is_empty(), "{open} goes on nowhere");
    commands
}

/// The words of a line up to a comment or to another command.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | ';' | '&' | '>') => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    assert!(quote.is_none(), "a quote is open in {line}");
    words.extend(word);
    words
}

fn sets_variable(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

#[test]
fn lines_become_words() {
    let text = "# nothing\nA=b C_D=e a --json \\\n    'b  c' \"d\"'e' ''  # f\n\nls | jq '.x'\n";
    assert_eq!(commands(text), [vec!["a", "--json", "b  c", "de", ""], vec!["ls"]]);
}
