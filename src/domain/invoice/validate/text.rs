//! Texts: not blank where required, not too long, no control characters.

use super::super::super::problem::Problems;

/// What a text may be; lengths in characters.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text {
    /// One line.
    Line(usize),
    /// May have line breaks.
    Block(usize),
}

pub(super) fn required(problems: &mut Problems, field: &str, text: &str, kind: Text) {
    if is_blank(text) {
        problems.add(field, "required", "can't be empty");
    } else {
        limited(problems, field, text, kind);
    }
}

/// A text that may be missing, but is not empty when it is there.
pub(super) fn optional(problems: &mut Problems, field: &str, text: Option<&str>, kind: Text) {
    if let Some(text) = text {
        limited(problems, field, text, kind);
    }
}

pub(super) fn limited(problems: &mut Problems, field: &str, text: &str, kind: Text) {
    if let Some((code, detail)) = problem(text, kind) {
        problems.add(field, code, detail);
    }
}

pub(super) fn problem(text: &str, kind: Text) -> Option<(&'static str, String)> {
    let (Text::Line(max_chars) | Text::Block(max_chars)) = kind;
    // A character has one byte at least, so most texts need no counting.
    if text.len() > max_chars && text.chars().count() > max_chars {
        return Some(("too_long", format!("at most {max_chars} characters")));
    }
    // Nearly every text: printable ASCII, found so without looking at characters.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    let breaks = matches!(kind, Text::Block(_));
    if text
        .chars()
        .any(|c| is_unprintable(c) && !(breaks && c == '\n'))
    {
        let allowed = if breaks {
            "no control characters but line breaks"
        } else {
            "one line without control characters"
        };
        return Some(("control_character", allowed.to_owned()));
    }
    None
}

/// Control characters, the separators that act like line breaks, and marks that turn the direction
/// of the text around them, which could make a document show something else than it says.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}
