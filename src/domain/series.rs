//! Number series: the pattern of an organization's invoice numbers.

use std::fmt::Write as _;

use jiff::civil::Date;

/// The longest pattern, in characters.
const MAX_CHARS: usize = 40;

/// The most digits that a counter is padded to.
const MAX_ZEROS: usize = 12;

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("the pattern is empty or longer than {MAX_CHARS} characters")]
    Length,
    #[error("the pattern needs one counter, such as {{0000}}, with 1 to {MAX_ZEROS} zeros")]
    NoCounter,
    #[error("the pattern has more than one counter")]
    TwoCounters,
    #[error("braces may hold YYYY, YY, MM or a run of zeros only")]
    UnknownField,
    #[error("outside of braces, only letters, digits and - _ / . may stand")]
    ForbiddenCharacter,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// `{YYYY}`
    Year,
    /// `{YY}`
    ShortYear,
    /// `{MM}`
    Month,
    /// `{0000}`: the counter, padded with zeros to this many digits.
    Counter(usize),
}

/// What stands around a number's counter on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AroundCounter {
    pub before: String,
    /// How many digits the counter is padded to with zeros, at least.
    pub digits: usize,
    pub after: String,
}

/// A pattern such as `{YYYY}-{0000}`, read and checked.
///
/// ```
/// use faktor::domain::series::SeriesPattern;
///
/// let pattern = SeriesPattern::parse("{YYYY}-{0000}").unwrap();
/// let date = jiff::civil::date(2026, 3, 1);
/// assert_eq!(pattern.key(date), "2026-{0}");
/// assert_eq!(pattern.format(date, 7), "2026-0007");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesPattern {
    pieces: Vec<Piece>,
}

impl SeriesPattern {
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        if pattern.is_empty() || pattern.chars().count() > MAX_CHARS {
            return Err(PatternError::Length);
        }
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let (piece, after) = if let Some(field) = rest.strip_prefix('{') {
                let (field, after) = field.split_once('}').ok_or(PatternError::UnknownField)?;
                (parse_field(field)?, after)
            } else {
                let (literal, after) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
                if !literal.bytes().all(is_literal) {
                    return Err(PatternError::ForbiddenCharacter);
                }
                (Piece::Literal(literal.to_owned()), after)
            };
            pieces.push(piece);
            rest = after;
        }
        match pieces
            .iter()
            .filter(|piece| matches!(piece, Piece::Counter(_)))
            .count()
        {
            0 => Err(PatternError::NoCounter),
            1 => Ok(Self { pieces }),
            _ => Err(PatternError::TwoCounters),
        }
    }

    /// What the counter belongs to: it begins at 1 for each new key. How far it is padded is left
    /// out, so that a longer counter goes on where the shorter one stood.
    pub fn key(&self, date: Date) -> String {
        self.write(date, |text, _| text.push_str("{0}"))
    }

    /// The number with this counter. A counter with more digits than zeros is written in full.
    pub fn format(&self, date: Date, counter: u64) -> String {
        self.write(date, |text, zeros| {
            let _ = write!(text, "{counter:0zeros$}");
        })
    }

    /// The number in parts, for those that know the counter only later: `before`, the counter padded
    /// to `digits`, and `after` are what [`Self::format`] writes.
    pub fn around_counter(&self, date: Date) -> AroundCounter {
        let counter = |piece: &Piece| match piece {
            Piece::Counter(zeros) => Some(*zeros),
            _ => None,
        };
        let at = self
            .pieces
            .iter()
            .position(|piece| counter(piece).is_some());
        let (before, from_counter) = self.pieces.split_at(at.unwrap_or(self.pieces.len()));
        let (digits, after) = match from_counter.split_first() {
            Some((piece, after)) => (counter(piece).unwrap_or_default(), after),
            None => (0, from_counter),
        };
        AroundCounter {
            before: written(before, date, |_, _| {}),
            digits,
            after: written(after, date, |_, _| {}),
        }
    }

    fn write(&self, date: Date, counter: impl Fn(&mut String, usize)) -> String {
        written(&self.pieces, date, counter)
    }
}

fn written(pieces: &[Piece], date: Date, counter: impl Fn(&mut String, usize)) -> String {
    let mut text = String::new();
    for piece in pieces {
        let _ = match piece {
            Piece::Literal(literal) => text.write_str(literal),
            Piece::Year => write!(text, "{:04}", date.year()),
            Piece::ShortYear => write!(text, "{:02}", date.year().rem_euclid(100)),
            Piece::Month => write!(text, "{:02}", date.month()),
            Piece::Counter(zeros) => {
                counter(&mut text, *zeros);
                Ok(())
            }
        };
    }
    text
}

fn parse_field(field: &str) -> Result<Piece, PatternError> {
    match field {
        "YYYY" => Ok(Piece::Year),
        "YY" => Ok(Piece::ShortYear),
        "MM" => Ok(Piece::Month),
        "" => Err(PatternError::UnknownField),
        zeros if zeros.bytes().all(|byte| byte == b'0') => {
            if zeros.len() > MAX_ZEROS {
                return Err(PatternError::NoCounter);
            }
            Ok(Piece::Counter(zeros.len()))
        }
        _ => Err(PatternError::UnknownField),
    }
}

const fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/' | b'.')
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn pattern(text: &str) -> SeriesPattern {
        SeriesPattern::parse(text).unwrap()
    }

    #[test]
    fn a_number_is_padded_to_its_zeros_and_grows_beyond_them() {
        let series = pattern("RE/{YY}{MM}-{000}");
        let day = date(2026, 3, 9);
        assert_eq!(series.format(day, 1), "RE/2603-001");
        assert_eq!(series.format(day, 999), "RE/2603-999");
        assert_eq!(series.format(day, 1_000), "RE/2603-1000");
        assert_eq!(series.format(day, u64::MAX), "RE/2603-18446744073709551615");
    }

    #[test]
    fn the_parts_around_the_counter_make_the_number() {
        let day = date(2026, 3, 9);
        for text in [
            "{0}",
            "{YYYY}-{0000}",
            "RE/{YY}{MM}-{000}",
            "{00}.{MM}/{YYYY}A",
        ] {
            let series = pattern(text);
            let around = series.around_counter(day);
            for counter in [1, 99, 100, 12_345] {
                let digits = around.digits;
                let number = format!("{}{counter:0digits$}{}", around.before, around.after);
                assert_eq!(number, series.format(day, counter), "{text}");
            }
        }
    }

    #[test]
    fn the_counter_starts_again_when_the_dates_part_changes() {
        let yearly = pattern("{YYYY}-{0000}");
        assert_eq!(yearly.key(date(2026, 1, 1)), yearly.key(date(2026, 12, 31)));
        assert_ne!(yearly.key(date(2026, 12, 31)), yearly.key(date(2027, 1, 1)));
        let monthly = pattern("{YYYY}{MM}/{0000}");
        assert_ne!(monthly.key(date(2026, 1, 1)), monthly.key(date(2026, 2, 1)));
        let endless = pattern("INV{000000}");
        assert_eq!(endless.key(date(2026, 1, 1)), endless.key(date(2030, 1, 1)));
    }

    #[test]
    fn longer_padding_goes_on_with_the_same_counter() {
        let day = date(2026, 1, 1);
        assert_eq!(
            pattern("{YYYY}-{000}").key(day),
            pattern("{YYYY}-{00000}").key(day)
        );
    }

    #[test]
    fn a_pattern_has_exactly_one_counter_and_known_fields() {
        let error = |text: &str| SeriesPattern::parse(text).unwrap_err();
        assert_eq!(error(""), PatternError::Length);
        assert_eq!(
            error(&format!("{}{{0}}", "A".repeat(38))),
            PatternError::Length
        );
        assert!(SeriesPattern::parse(&format!("{}{{0}}", "A".repeat(37))).is_ok());
        assert_eq!(error("{YYYY}"), PatternError::NoCounter);
        assert_eq!(error("{0}{0}"), PatternError::TwoCounters);
        assert_eq!(error("{0000000000000}"), PatternError::NoCounter);
        assert_eq!(error("{DD}{0}"), PatternError::UnknownField);
        assert_eq!(error("{}{0}"), PatternError::UnknownField);
        assert_eq!(error("{0"), PatternError::UnknownField);
        for text in ["0}{0}", "A B{0}", "ä{0}", "A\n{0}", "A\"{0}"] {
            assert_eq!(error(text), PatternError::ForbiddenCharacter, "{text}");
        }
    }
}
