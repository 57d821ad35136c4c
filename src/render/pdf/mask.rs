//! Which of the eight masks suits a QR code best (ISO/IEC 18004, 7.8.3), by whole rows at a time:
//! the qrcode crate's module by module search takes longer than the rest of an invoice.

use qrcode::canvas::{Canvas, MaskPattern};
use qrcode::{Color, EcLevel, Version, bits, ec};

/// Rows are held in 128 bits: codes up to version 27.
const SIDE_MAX: usize = 128;

const MASKS: [MaskPattern; 8] = [
    MaskPattern::Checkerboard,
    MaskPattern::HorizontalLines,
    MaskPattern::VerticalLines,
    MaskPattern::DiagonalLines,
    MaskPattern::LargeCheckerboard,
    MaskPattern::Fields,
    MaskPattern::Diamonds,
    MaskPattern::Meadow,
];

/// The modules of the best code for `text`, row by row, and how many are on a side. `None` when
/// the text is too long.
pub(super) fn best_code(text: &[u8], level: EcLevel) -> Option<(Vec<Color>, usize)> {
    let bits = bits::encode_auto(text, level).ok()?;
    let version = bits.version();
    let side = usize::try_from(version.width()).ok()?;
    if !matches!(version, Version::Normal(_)) || side > SIDE_MAX {
        return None;
    }
    let (data, correction) = ec::construct_codewords(&bits.into_bytes(), version, level).ok()?;
    let mut canvas = Canvas::new(version, level);
    canvas.draw_all_functional_patterns();
    canvas.draw_data(&data, &correction);
    let masked = MASKS.into_iter().map(|mask| {
        let mut canvas = canvas.clone();
        canvas.apply_mask(mask);
        canvas.into_colors()
    });
    let best = masked.min_by_key(|modules| penalty(modules, side))?;
    Some((best, side))
}

/// The standard's four penalties.
fn penalty(modules: &[Color], side: usize) -> u32 {
    let mut rows = [0_u128; SIDE_MAX];
    let mut columns = [0_u128; SIDE_MAX];
    let mut dark = 0;
    for (at, _) in modules
        .iter()
        .enumerate()
        .filter(|(_, color)| **color == Color::Dark)
    {
        let (row, column) = (at / side, at % side);
        if let (Some(bits), Some(across)) = (rows.get_mut(row), columns.get_mut(column)) {
            *bits |= 1 << column;
            *across |= 1 << row;
        }
        dark += 1;
    }
    let all = u128::MAX >> (128 - side);
    let (rows, columns) = (&rows[..side], &columns[..side]);
    let lines: u32 = rows
        .iter()
        .chain(columns)
        .map(|&line| in_line(line, all))
        .sum();
    let blocks: u32 = rows
        .windows(2)
        .map(|pair| match pair {
            [above, below] => blocks(*above, *below, all),
            _ => 0,
        })
        .sum();
    let percent = dark * 100 / (side * side).max(1);
    let balance = u32::try_from(percent.abs_diff(50) / 5 * 10).unwrap_or(u32::MAX);
    lines + blocks + balance
}

/// Runs of five and more of one colour, and patterns that look like a finder's.
fn in_line(line: u128, all: u128) -> u32 {
    let runs = |bits: u128| {
        let five = bits & bits >> 1 & bits >> 2 & bits >> 3 & bits >> 4;
        // A run of n has n - 4 windows of five and costs n - 2.
        five.count_ones() + 2 * (five & !(five << 1)).count_ones()
    };
    let light = !line & all;
    let finder = line & light >> 1 & line >> 2 & line >> 3 & line >> 4 & light >> 5 & line >> 6;
    let four_light = light & light >> 1 & light >> 2 & light >> 3;
    // Four light modules before or after it; beyond the edge all is light, but not counted here,
    // as it is the same for every mask.
    let framed = finder & (four_light >> 7 | four_light << 4);
    runs(line) + runs(light) + 40 * framed.count_ones()
}

/// Blocks of two by two in one colour.
fn blocks(above: u128, below: u128, all: u128) -> u32 {
    let dark = above & below;
    let light = !above & !below & all;
    3 * ((dark & dark >> 1).count_ones() + (light & light >> 1).count_ones())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_penalties_are_those_of_the_standard() {
        let all = u128::MAX >> (128 - 16);
        // A light run of 16 costs 14.
        assert_eq!(in_line(0, all), 14);
        // Dark runs of five and six, between lights of one, four: 3 + 4.
        assert_eq!(in_line(0b01_1111_0111_1110, all >> 2), 7);
        // 1011101 after four light modules.
        assert_eq!(in_line(0b101_1101_0000, all >> 5), 40);
        assert_eq!(blocks(0b0110, 0b0110, 0b1111), 3);
        assert_eq!(blocks(0, 0, 0b111), 6);
    }

    #[test]
    fn the_modules_are_those_of_the_qrcode_crate_but_for_the_mask() {
        let text = b"https://invoices.example/i/0192f0c1a2b37c1e8d5f6a7b8c9d0e1f5ec4e7";
        let (ours, side) = best_code(text, EcLevel::M).unwrap();
        let theirs = qrcode::QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
        assert_eq!(side, theirs.width());
        assert!(penalty(&ours, side) <= penalty(&theirs.into_colors(), side));
    }
}
