//! QR codes, drawn as filled shapes so that they stay sharp at any size.

use qrcode::{Color, EcLevel, QrCode};

use super::canvas::{Area, Canvas, Ink};

/// A QR code.
pub(super) struct Code {
    modules: Vec<Color>,
    /// Modules on a side.
    side: usize,
}

impl Code {
    /// With error correction M, as EPC069-12 asks for. `None` when the text is too long.
    pub(super) fn of(text: &str) -> Option<Self> {
        let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::M).ok()?;
        Some(Self {
            side: code.width(),
            modules: code.into_colors(),
        })
    }

    /// Draws the code so that it fills `area`; the quiet zone around it is the caller's.
    pub(super) fn draw(&self, canvas: &mut Canvas, area: Area, ink: Ink) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a code has at most 177 modules on a side"
        )]
        let place = |at: usize| at as f32 * area.width / self.side as f32;
        let bars = self.bars().map(
            |Bar {
                 column,
                 columns,
                 row,
                 rows,
             }| Area {
                left: area.left + place(column),
                top: area.top + place(row),
                width: place(columns),
                height: place(rows),
            },
        );
        canvas.fill_all(bars, ink);
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
        let code = Code::of("https://invoices.example/i/0192").unwrap();
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
        assert!(Code::of(&"x".repeat(5_000)).is_none());
    }
}
