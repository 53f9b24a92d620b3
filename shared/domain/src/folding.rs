//! Texts as a person compares them: case, accents and blanks around or doubled don't count.

use std::iter::once;

/// Lower case, without the accents of Portuguese and its neighbours, each run of white space as one blank, none at the ends.
pub fn folded(text: &str) -> String {
    letters(text).skip(1).collect()
}

/// Whether two texts are the same once they are [`folded`]; stops at the first letter that differs.
pub fn is_same(one: &str, other: &str) -> bool {
    letters(one).eq(letters(other))
}

/// The folded letters, with a blank before each word.
fn letters(text: &str) -> impl Iterator<Item = char> + '_ {
    text.split_whitespace().flat_map(|word| {
        once(' ').chain(word.chars().flat_map(char::to_lowercase).filter(|c| !is_combining(*c)).map(without_accent))
    })
}

/// An accent that stands after its letter, as in text of macOS.
const fn is_combining(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}')
}

const fn without_accent(letter: char) -> char {
    match letter {
        'á' | 'à' | 'â' | 'ã' | 'ä' => 'a',
        'é' | 'ê' | 'è' | 'ë' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ó' | 'ô' | 'õ' | 'ò' | 'ö' => 'o',
        'ú' | 'ü' | 'ù' | 'û' => 'u',
        'ç' => 'c',
        'ñ' => 'n',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_and_blanks_do_not_count() {
        assert_eq!(folded("  São  JOÃO\td'Oeste\n"), "sao joao d'oeste");
        assert_eq!((folded(""), folded(" \n")), (String::new(), String::new()));
        assert!(is_same(" CHAPECÓ ", "chapeco") && is_same("", "  "));
        assert!(!is_same("São João", "SãoJoão") && !is_same("Itu", "Itumbiara") && !is_same("", "a"));
    }
}
