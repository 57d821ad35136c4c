//! The bundled typeface: parsed once, when the first document is made.

use std::sync::LazyLock;

use printpdf::ParsedFont;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::render::RenderError;

/// What stands for a character that the typeface does not have.
const FALLBACK: char = char::REPLACEMENT_CHARACTER;

/// The two weights documents are set in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    Regular,
    SemiBold,
}

impl Weight {
    pub(super) const ALL: [Self; 2] = [Self::Regular, Self::SemiBold];

    /// The font's name among a page's resources.
    pub(super) const fn resource_name(self) -> &'static str {
        match self {
            Self::Regular => "R",
            Self::SemiBold => "S",
        }
    }
}

/// Both weights with their advance widths.
pub(super) struct Fonts {
    regular: Face,
    semibold: Face,
}

/// One weight.
pub(super) struct Face {
    pub(super) parsed: ParsedFont,
    /// Advance widths in thousandths of the size by character; negative: no glyph.
    advances: Vec<i16>,
    /// The width of [`FALLBACK`], which lies beyond that table.
    fallback_advance: i16,
}

/// Loaded when first used, so that a node that makes no documents does not pay for it.
static FONTS: LazyLock<Result<Fonts, RenderError>> = LazyLock::new(|| {
    Ok(Fonts {
        regular: Face::read(include_bytes!("../../../assets/fonts/NotoSans-Regular.ttf"))?,
        semibold: Face::read(include_bytes!(
            "../../../assets/fonts/NotoSans-SemiBold.ttf"
        ))?,
    })
});

impl Fonts {
    /// The bundled typeface.
    pub(super) fn bundled() -> Result<&'static Self, RenderError> {
        FONTS.as_ref().map_err(Clone::clone)
    }

    pub(super) const fn face(&self, weight: Weight) -> &Face {
        match weight {
            Weight::Regular => &self.regular,
            Weight::SemiBold => &self.semibold,
        }
    }
}

impl Face {
    fn read(bytes: &[u8]) -> Result<Self, RenderError> {
        /// One beyond the last character of the subset that `scripts/fonts` makes, but for U+FFFD.
        const END: u32 = 0x2600;
        let mut warnings = Vec::new();
        let parsed =
            ParsedFont::from_bytes(bytes, 0, &mut warnings).ok_or_else(|| RenderError::Failed {
                reason: "the bundled font can't be read".to_owned(),
            })?;
        let advance = |code| match parsed.lookup_glyph_index(code) {
            Some(glyph) if glyph != 0 => {
                i16::try_from(parsed.get_horizontal_advance(glyph)).unwrap_or(0)
            }
            _ => -1,
        };
        let advances = (0..END).map(advance).collect();
        let fallback_advance = advance(u32::from(FALLBACK)).max(0);
        Ok(Self {
            parsed,
            advances,
            fallback_advance,
        })
    }

    fn advance(&self, character: char) -> Option<i16> {
        let at = usize::try_from(u32::from(character)).ok()?;
        self.advances
            .get(at)
            .copied()
            .filter(|advance| *advance >= 0)
    }

    /// The width of `text` in points when set in `size` points.
    pub(super) fn width(&self, text: &str, size: f32) -> f32 {
        let thousandths: i32 = text
            .chars()
            .map(|c| i32::from(self.advance_of_shown(c)))
            .sum();
        // Far below 2^24: a text is at most a few thousand characters.
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^24")]
        let thousandths = thousandths as f32;
        thousandths * size / 1000.0
    }

    fn advance_of_shown(&self, character: char) -> i16 {
        self.shown(character).map_or(0, |shown| {
            self.advance(shown).unwrap_or(self.fallback_advance)
        })
    }

    /// What is drawn for a character: itself, a look-alike, the fallback, or nothing for what has
    /// no picture.
    fn shown(&self, character: char) -> Option<char> {
        if self.advance(character).is_some() && !character.is_control() {
            return Some(character);
        }
        match character {
            '\t' | '\u{2000}' | '\u{2001}' | '\u{3000}' => Some(' '),
            '\u{2212}' => Some('-'),
            // Joiners, marks of direction and the like.
            '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe0e}'..='\u{fe0f}'
            | '\u{feff}' => None,
            control if control.is_control() => None,
            _ => Some(FALLBACK),
        }
    }

    /// `text` as it can be drawn. Letters and their accents are joined (Unicode NFC), because
    /// nothing here places an accent over a letter.
    pub(super) fn drawable(&self, text: &str) -> String {
        if is_nfc_quick(text.chars()) == IsNormalized::Yes {
            text.chars()
                .filter_map(|character| self.shown(character))
                .collect()
        } else {
            text.nfc()
                .filter_map(|character| self.shown(character))
                .collect()
        }
    }

    /// Breaks `text` into lines no wider than `width` points: at line feeds and spaces, inside a
    /// word only when it does not fit on a line of its own.
    pub(super) fn wrap(&self, text: &str, size: f32, width: f32) -> Vec<String> {
        let mut lines = Vec::new();
        for paragraph in text.lines() {
            self.wrap_paragraph(&self.drawable(paragraph), size, width, &mut lines);
        }
        lines
    }

    fn wrap_paragraph(&self, text: &str, size: f32, width: f32, lines: &mut Vec<String>) {
        if self.width(text, size) <= width {
            lines.push(text.trim_end().to_owned());
            return;
        }
        let space = self.width(" ", size);
        let (mut line, mut line_width) = (String::new(), 0.0);
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let word_width = self.width(word, size);
            let gap = if line.is_empty() { 0.0 } else { space };
            if line_width + gap + word_width <= width {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
                line_width += gap + word_width;
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            (line, line_width) = self.break_word(word, size, width, lines);
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }

    /// Puts the full lines of a word too wide for one line into `lines`; gives back the rest.
    fn break_word(
        &self,
        word: &str,
        size: f32,
        width: f32,
        lines: &mut Vec<String>,
    ) -> (String, f32) {
        let (mut line, mut line_width) = (String::new(), 0.0);
        for character in word.chars() {
            let advance = f32::from(self.advance_of_shown(character)) * size / 1000.0;
            if line_width + advance > width && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
                line_width = 0.0;
            }
            line.push(character);
            line_width += advance;
        }
        (line, line_width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face() -> &'static Face {
        Fonts::bundled().unwrap().face(Weight::Regular)
    }

    #[test]
    fn digits_are_tabular_in_both_weights() {
        for weight in Weight::ALL {
            let face = Fonts::bundled().unwrap().face(weight);
            let one = face.width("1", 10.0);
            assert!(
                "0123456789"
                    .chars()
                    .all(|d| (face.width(&d.to_string(), 10.0) - one).abs() < 1e-6)
            );
        }
    }

    #[test]
    fn all_scripts_and_currency_signs_have_glyphs() {
        let text = "ÄßĄłŞțœ Αθήνα Москва Київ ểờữẪ €₫£¥₹₽₺₴₪₩₱₸₾₡₦ №–—‘’“”„…·«»\u{a0}\u{202f}";
        for weight in Weight::ALL {
            let face = Fonts::bundled().unwrap().face(weight);
            assert_eq!(face.drawable(text), text);
        }
    }

    #[test]
    fn what_has_no_glyph_shows_a_sign_and_what_has_no_picture_shows_nothing() {
        assert_eq!(face().drawable("漢a🧾\u{200d}b\u{7}"), "\u{fffd}a\u{fffd}b");
        assert!(face().width("漢", 10.0) > 0.0);
    }

    #[test]
    fn accents_written_apart_are_joined_to_their_letters() {
        assert_eq!(face().drawable("Hoa\u{301} do\u{31b}n"), "Hoá dơn");
    }

    #[test]
    fn long_text_is_broken_at_spaces_and_inside_words_only_when_it_must() {
        let lines = face().wrap("one two three", 10.0, face().width("one two", 10.0));
        assert_eq!(lines, ["one two", "three"]);
        let lines = face().wrap("abcdefgh", 10.0, face().width("abcd", 10.0));
        assert_eq!(lines.concat(), "abcdefgh");
        assert!(lines.len() >= 2);
        assert_eq!(face().wrap("a\n\nb", 10.0, 100.0), ["a", "", "b"]);
        assert_eq!(
            face().wrap("1\u{a0}000\u{a0}€", 10.0, 20.0).concat(),
            "1\u{a0}000\u{a0}€"
        );
    }
}
