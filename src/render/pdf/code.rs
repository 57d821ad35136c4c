//! QR codes, drawn as filled shapes so that they stay sharp at any size.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use printpdf::{DictItem, ExternalStream, ExternalXObject, XObject};
use qrcode::{Color, EcLevel};

use super::canvas::Ink;
use super::mask;

/// A QR code.
pub(super) struct Code {
    modules: Vec<Color>,
    /// Modules on a side.
    side: usize,
}

impl Code {
    /// `None` when the text is too long for a code that is still easy to scan.
    pub(super) fn of(text: &str, level: EcLevel) -> Option<Self> {
        let (modules, side) = mask::best_code(text.as_bytes(), level)?;
        Some(Self { modules, side })
    }

    /// The code as a picture of its own, one unit a module: short to write, sharp at any size.
    pub(super) fn object(&self, ink: Ink) -> XObject {
        let mut content = ink.fill_operator();
        for Bar {
            column,
            columns,
            row,
            rows,
        } in self.bars()
        {
            // PDF counts upwards.
            let bottom = self.side - row - rows;
            let _ = writeln!(content, "{column} {bottom} {columns} {rows} re");
        }
        content.push('f');
        let side = DictItem::Int(i64::try_from(self.side).unwrap_or(0));
        let name = |name: &str| DictItem::Name(name.as_bytes().to_vec());
        let corner = || DictItem::Int(0);
        let dict = BTreeMap::from([
            ("Type".to_owned(), name("XObject")),
            ("Subtype".to_owned(), name("Form")),
            (
                "BBox".to_owned(),
                DictItem::Array(vec![corner(), corner(), side.clone(), side]),
            ),
            (
                "Resources".to_owned(),
                DictItem::Dict {
                    map: BTreeMap::new(),
                },
            ),
        ]);
        let stream = ExternalStream {
            dict,
            content: content.into_bytes(),
            compress: true,
        };
        XObject::External(ExternalXObject {
            stream,
            width: None,
            height: None,
            dpi: None,
        })
    }

    /// Modules on a side.
    pub(super) const fn side(&self) -> usize {
        self.side
    }

    fn is_dark(&self, column: usize, row: usize) -> bool {
        self.modules.get(row * self.side + column) == Some(&Color::Dark)
    }

    /// The dark modules as few rectangles: runs in a row, grown downwards where the rows below
    /// have the same run, so that no hairline shows between rows.
    fn bars(&self) -> impl Iterator<Item = Bar> {
        let mut bars: Vec<Bar> = Vec::with_capacity(self.modules.len() / 4);
        // Where in `bars` the runs that end in the previous row begin.
        let mut open: Vec<usize> = Vec::new();
        for row in 0..self.side {
            let mut still_open = Vec::with_capacity(open.len());
            let mut column = 0;
            while column < self.side {
                if !self.is_dark(column, row) {
                    column += 1;
                    continue;
                }
                let columns = (column..self.side)
                    .take_while(|&at| self.is_dark(at, row))
                    .count();
                let above = open.iter().copied().find(|&at| {
                    bars.get(at)
                        .is_some_and(|bar| (bar.column, bar.columns) == (column, columns))
                });
                if let Some(bar) = above.and_then(|at| bars.get_mut(at)) {
                    bar.rows += 1;
                } else {
                    bars.push(Bar {
                        column,
                        columns,
                        row,
                        rows: 1,
                    });
                }
                still_open.push(above.unwrap_or(bars.len() - 1));
                column += columns;
            }
            open = still_open;
        }
        bars.into_iter()
    }
}

/// A rectangle of dark modules.
struct Bar {
    column: usize,
    columns: usize,
    row: usize,
    rows: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bars_cover_each_dark_module_once_and_no_light_one() {
        let code = Code::of("https://invoices.example/i/0192", EcLevel::M).unwrap();
        let mut covered = vec![0; code.side * code.side];
        for bar in code.bars() {
            for row in bar.row..bar.row + bar.rows {
                for column in bar.column..bar.column + bar.columns {
                    covered[row * code.side + column] += 1;
                }
            }
        }
        for (at, times) in covered.into_iter().enumerate() {
            assert_eq!(times, u32::from(code.modules[at] == Color::Dark));
        }
    }

    #[test]
    fn a_text_too_long_for_a_code_gives_none() {
        assert!(Code::of(&"x".repeat(5_000), EcLevel::M).is_none());
    }
}
