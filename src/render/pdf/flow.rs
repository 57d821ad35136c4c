//! Pages that follow one another as the content needs them.

use printpdf::{Op, XObject, XObjectId};

use super::canvas::{Area, Canvas, Ink, Style};
use super::fonts::{Fonts, Weight};
use crate::domain::party::PageSize;
use crate::render::locale::fill;
use crate::render::view::{DocumentView, Mark};

pub(super) const INK: Ink = Ink(0x1a, 0x1f, 0x36);
pub(super) const GREY: Ink = Ink(0x5c, 0x65, 0x7a);
pub(super) const LINE: Ink = Ink(0xdf, 0xe3, 0xea);
pub(super) const ACCENT: Ink = Ink(0x3b, 0x4c, 0xca);
/// Light enough to be read over, dark enough to survive a copier.
const WATERMARK: Ink = Ink(0xee, 0xef, 0xf3);

/// The size of running text, and the distance from one of its lines to the next.
pub(super) const SIZE: f32 = 9.0;
pub(super) const LEADING: f32 = 13.0;

pub(super) const BODY: Style = Style {
    weight: Weight::Regular,
    size: SIZE,
    ink: INK,
};
pub(super) const QUIET: Style = Style {
    weight: Weight::Regular,
    size: SIZE,
    ink: GREY,
};
pub(super) const STRONG: Style = Style {
    weight: Weight::SemiBold,
    size: SIZE,
    ink: INK,
};
pub(super) const SMALL: Style = Style {
    weight: Weight::Regular,
    size: 8.0,
    ink: GREY,
};
pub(super) const LABEL: Style = Style {
    weight: Weight::SemiBold,
    size: 8.0,
    ink: GREY,
};

/// From the top of a line of text to its baseline, for a size.
pub(super) fn baseline(size: f32) -> f32 {
    // Noto Sans's capital letters are 0.714 of its size high; the rest is air above them.
    size * 1.05
}

/// A document laid out.
pub(super) struct Pages {
    pub(super) operations: Vec<Vec<Op>>,
    pub(super) pictures: Vec<(XObjectId, XObject)>,
    pub(super) width: f32,
    pub(super) height: f32,
}

/// The document as far as it is laid out.
pub(super) struct Flow<'a> {
    pub(super) view: &'a DocumentView,
    pub(super) fonts: &'static Fonts,
    pages: Vec<Canvas>,
    current: Canvas,
    pictures: Vec<(XObjectId, XObject)>,
    width: f32,
    height: f32,
    /// How far down the present page is filled.
    pub(super) y: f32,
}

impl<'a> Flow<'a> {
    const MARGIN: f32 = 48.0;
    const TOP: f32 = 48.0;
    /// What the foot of a page takes.
    const FOOT: f32 = 58.0;

    pub(super) fn new(view: &'a DocumentView, fonts: &'static Fonts) -> Self {
        let (width, height) = match view.page_size {
            PageSize::A4 => (595.28, 841.89),
            PageSize::Letter => (612.0, 792.0),
        };
        let current = first_strokes(view, fonts, width, height);
        Self {
            view,
            fonts,
            pages: Vec::new(),
            pictures: Vec::new(),
            current,
            width,
            height,
            y: Self::TOP,
        }
    }

    /// Where text begins.
    pub(super) const LEFT: f32 = Self::MARGIN;

    pub(super) fn right(&self) -> f32 {
        self.width - Self::MARGIN
    }

    pub(super) fn content_width(&self) -> f32 {
        self.width - 2.0 * Self::MARGIN
    }

    /// What fits on an empty page.
    pub(super) fn page_room(&self) -> f32 {
        self.height - Self::TOP - Self::FOOT
    }

    /// What is left of the present page.
    pub(super) fn room(&self) -> f32 {
        self.height - Self::FOOT - self.y
    }

    pub(super) fn canvas(&mut self) -> &mut Canvas {
        &mut self.current
    }

    /// Draws a picture, whose own size is `units`, so that it fills `area`.
    pub(super) fn picture(&mut self, picture: XObject, area: Area, units: (f32, f32)) {
        let id = XObjectId(format!("P{}", self.pictures.len() + 1));
        self.current.picture(&id, area, units);
        self.pictures.push((id, picture));
    }

    pub(super) fn break_page(&mut self) {
        let next = first_strokes(self.view, self.fonts, self.width, self.height);
        self.pages.push(std::mem::replace(&mut self.current, next));
        self.y = Self::TOP;
    }

    /// Begins a new page unless `height` fits on the present one.
    pub(super) fn need(&mut self, height: f32) {
        if self.room() < height && self.y > Self::TOP {
            self.break_page();
        }
    }

    pub(super) fn wrap(&self, text: &str, style: Style, width: f32) -> Vec<String> {
        self.fonts.face(style.weight).wrap(text, style.size, width)
    }

    pub(super) fn text_width(&self, text: &str, style: Style) -> f32 {
        self.fonts.face(style.weight).width(text, style.size)
    }

    /// Draws one line of text at `y` (the line's top).
    pub(super) fn put(&mut self, x: f32, y: f32, style: Style, text: &str) {
        self.current.text(x, y + baseline(style.size), style, text);
    }

    /// Draws one line of text with its right end at `right`.
    pub(super) fn put_right(&mut self, right: f32, y: f32, style: Style, text: &str) {
        self.current
            .text_right(right, y + baseline(style.size), style, text);
    }

    /// Draws a label in a coloured pill; gives back its width.
    pub(super) fn pill(&mut self, x: f32, y: f32, label: &str, (back, ink): (Ink, Ink)) -> f32 {
        const HEIGHT: f32 = 15.0;
        const PADDING: f32 = 7.0;
        let style = Style {
            weight: Weight::SemiBold,
            size: 8.0,
            ink,
        };
        let width = self.text_width(label, style) + 2.0 * PADDING;
        self.current.pill(
            Area {
                left: x,
                top: y,
                width,
                height: HEIGHT,
            },
            back,
        );
        self.current.text(x + PADDING, y + 10.4, style, label);
        width
    }

    /// Every page's operations, with the foot that only now can say how many there are.
    pub(super) fn finish(mut self) -> Pages {
        self.pages.push(self.current);
        let count = self.pages.len().to_string();
        let (view, left, right) = (self.view, Self::MARGIN, self.width - Self::MARGIN);
        let top = self.height - Self::FOOT + 16.0;
        let mut all = Vec::with_capacity(self.pages.len());
        for (at, mut page) in self.pages.into_iter().enumerate() {
            page.rule(left, right, top, LINE);
            let number = (at + 1).to_string();
            let of = fill(view.words.page_of, &[("page", &number), ("pages", &count)]);
            let room = right - left - page.width(&of, SMALL) - 24.0;
            let about = format!("{} · {}", view.issuer_small_print.join(" · "), view.title);
            let face = self.fonts.face(SMALL.weight);
            let lines = face.wrap(about.trim_start_matches(" · "), SMALL.size, room);
            page.text(
                left,
                top + 15.0,
                SMALL,
                lines.first().map_or("", String::as_str),
            );
            page.text_right(right, top + 15.0, SMALL, &of);
            if !view.warnings.is_empty() {
                let style = Style {
                    weight: Weight::SemiBold,
                    size: 8.0,
                    ink: warning_ink(view),
                };
                page.text(left, top + 27.0, style, &view.warnings.join("  "));
            }
            all.push(page.into_ops());
        }
        Pages {
            operations: all,
            pictures: self.pictures,
            width: self.width,
            height: self.height,
        }
    }
}

const fn warning_ink(view: &DocumentView) -> Ink {
    match view.mark {
        Mark::Draft => Ink(0x8f, 0x5b, 0x00),
        Mark::Void => Ink(0xa4, 0x1c, 0x1c),
        _ => Ink(0x5b, 0x3b, 0xc4),
    }
}

/// A new page: drafts and void invoices carry their mark under everything else.
fn first_strokes(view: &DocumentView, fonts: &'static Fonts, width: f32, height: f32) -> Canvas {
    let mut canvas = Canvas::new(fonts, height);
    if !matches!(view.mark, Mark::Draft | Mark::Void) {
        return canvas;
    }
    let label = view.mark_label.to_uppercase();
    let at = |size| Style {
        weight: Weight::SemiBold,
        size,
        ink: WATERMARK,
    };
    // As large as the page's diagonal allows, but no larger than a short word needs.
    let size = (620.0 / canvas.width(&label, at(1.0))).min(130.0);
    canvas.text_diagonal(width / 2.0, at(size), &label);
    canvas
}
