//! A page to draw on: distances in points from the top left corner, states set only when they change.

use printpdf::{
    Actions, BorderArray, Color, FontId, LinePoint, LinkAnnotation, Op, PaintMode, PdfFontHandle,
    Point, Polygon, PolygonRing, Pt, Rect, Rgb, TextItem, TextMatrix, WindingOrder, XObjectId,
    XObjectTransform,
};

use super::fonts::{Fonts, Weight};

/// A colour, red, green and blue from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ink(pub(super) u8, pub(super) u8, pub(super) u8);

impl Ink {
    fn parts(self) -> [f32; 3] {
        [self.0, self.1, self.2].map(|value| (f32::from(value) / 255.0 * 1000.0).round() / 1000.0)
    }

    fn color(self) -> Color {
        let [r, g, b] = self.parts();
        Color::Rgb(Rgb {
            r,
            g,
            b,
            icc_profile: None,
        })
    }

    /// As an operator of a content stream.
    pub(super) fn fill_operator(self) -> String {
        let [r, g, b] = self.parts();
        format!("{r} {g} {b} rg\n")
    }
}

/// How text looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Style {
    pub(super) weight: Weight,
    pub(super) size: f32,
    pub(super) ink: Ink,
}

/// A rectangle: left, top, width, height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) width: f32,
    pub(super) height: f32,
}

/// One page under the pen.
pub(super) struct Canvas {
    fonts: &'static Fonts,
    height: f32,
    ops: Vec<Op>,
    in_text: bool,
    font: Option<(Weight, f32)>,
    fill: Option<Ink>,
}

/// Two decimals are a hundredth of a point: finer than any printer, and short to write.
fn pt(value: f32) -> Pt {
    Pt((value * 100.0).round() / 100.0)
}

fn corner(x: f32, y: f32, bezier: bool) -> LinePoint {
    LinePoint {
        p: Point { x: pt(x), y: pt(y) },
        bezier,
    }
}

impl Canvas {
    pub(super) fn new(fonts: &'static Fonts, height: f32) -> Self {
        Self {
            fonts,
            height,
            ops: Vec::with_capacity(256),
            in_text: false,
            font: None,
            fill: None,
        }
    }

    /// The page's drawing operations, ended properly.
    pub(super) fn into_ops(mut self) -> Vec<Op> {
        self.end_text();
        self.ops
    }

    pub(super) fn width(&self, text: &str, style: Style) -> f32 {
        self.fonts.face(style.weight).width(text, style.size)
    }

    fn end_text(&mut self) {
        if self.in_text {
            self.ops.push(Op::EndTextSection);
            self.in_text = false;
        }
    }

    fn set_fill(&mut self, ink: Ink) {
        if self.fill != Some(ink) {
            self.ops.push(Op::SetFillColor { col: ink.color() });
            self.fill = Some(ink);
        }
    }

    /// Draws `text` with its left end at `x` and its baseline at `baseline`.
    pub(super) fn text(&mut self, x: f32, baseline: f32, style: Style, text: &str) {
        let matrix = [1.0, 0.0, 0.0, 1.0, pt(x).0, pt(self.height - baseline).0];
        self.text_by(TextMatrix::Raw(matrix), style, text);
    }

    /// Draws `text` with its right end at `right`.
    pub(super) fn text_right(&mut self, right: f32, baseline: f32, style: Style, text: &str) {
        self.text(right - self.width(text, style), baseline, style, text);
    }

    /// Draws `text` around the page's middle, rising to the right by 45°.
    pub(super) fn text_diagonal(&mut self, middle_x: f32, style: Style, text: &str) {
        let slope = std::f32::consts::FRAC_1_SQRT_2;
        let along = self.width(text, style) / 2.0;
        // Half the height of capital letters, to the right of the baseline's direction.
        let across = style.size * 0.357;
        let x = middle_x - slope * along + slope * across;
        let y = self.height / 2.0 - slope * along - slope * across;
        let matrix = [slope, slope, -slope, slope, pt(x).0, pt(y).0];
        self.text_by(TextMatrix::Raw(matrix), style, text);
    }

    fn text_by(&mut self, matrix: TextMatrix, style: Style, text: &str) {
        let text = self.fonts.face(style.weight).drawable(text);
        if text.is_empty() {
            return;
        }
        self.set_fill(style.ink);
        if !self.in_text {
            self.ops.push(Op::StartTextSection);
            self.in_text = true;
        }
        if self.font != Some((style.weight, style.size)) {
            let id = FontId(style.weight.resource_name().to_owned());
            let font = PdfFontHandle::External(id);
            self.ops.push(Op::SetFont {
                font,
                size: Pt(style.size),
            });
            self.font = Some((style.weight, style.size));
        }
        self.ops.push(Op::SetTextMatrix { matrix });
        self.ops.push(Op::ShowText {
            items: vec![TextItem::Text(text)],
        });
    }

    /// Fills a rectangle.
    pub(super) fn fill(&mut self, area: Area, ink: Ink) {
        self.end_text();
        self.set_fill(ink);
        let rectangle = Rect {
            mode: Some(PaintMode::Fill),
            ..self.rect(area)
        };
        self.ops.push(Op::DrawRectangle { rectangle });
    }

    fn rect(&self, area: Area) -> Rect {
        Rect {
            x: pt(area.left),
            y: pt(self.height - area.top - area.height),
            width: pt(area.width),
            height: pt(area.height),
            mode: None,
            winding_order: None,
        }
    }

    /// A hairline from `left` to `right`.
    pub(super) fn rule(&mut self, left: f32, right: f32, y: f32, ink: Ink) {
        const HAIRLINE: f32 = 0.6;
        self.fill(
            Area {
                left,
                top: y,
                width: right - left,
                height: HAIRLINE,
            },
            ink,
        );
    }

    /// Fills a rectangle with round ends.
    pub(super) fn pill(&mut self, area: Area, ink: Ink) {
        /// How far a Bézier curve's handles lie out to draw a quarter of a circle.
        const QUARTER: f32 = 0.5523;
        self.end_text();
        self.set_fill(ink);
        let radius = area.height / 2.0;
        let handle = radius * QUARTER;
        let (left, right) = (area.left + radius, area.left + area.width - radius);
        let top = self.height - area.top;
        let (middle, bottom) = (top - radius, top - area.height);
        let (far_left, far_right) = (area.left, area.left + area.width);
        let points = vec![
            corner(left, top, false),
            corner(right, top, false),
            corner(right + handle, top, true),
            corner(far_right, middle + handle, true),
            corner(far_right, middle, false),
            corner(far_right, middle - handle, true),
            corner(right + handle, bottom, true),
            corner(right, bottom, false),
            corner(left, bottom, false),
            corner(left - handle, bottom, true),
            corner(far_left, middle - handle, true),
            corner(far_left, middle, false),
            corner(far_left, middle + handle, true),
            corner(left - handle, top, true),
            corner(left, top, false),
        ];
        self.polygon(vec![PolygonRing { points }]);
    }

    fn polygon(&mut self, rings: Vec<PolygonRing>) {
        let polygon = Polygon {
            rings,
            mode: PaintMode::Fill,
            winding_order: WindingOrder::NonZero,
        };
        self.ops.push(Op::DrawPolygon { polygon });
    }

    /// Makes `area` lead to `url`.
    pub(super) fn link(&mut self, area: Area, url: &str) {
        let no_border = BorderArray::Solid([0.0, 0.0, 0.0]);
        let action = Actions::uri(url.to_owned());
        let link = LinkAnnotation::new(self.rect(area), action, Some(no_border), None, None);
        self.ops.push(Op::LinkAnnotation { link });
    }

    /// Draws a picture of the resources, whose own size is `units`, so that it fills `area`.
    pub(super) fn picture(&mut self, id: &XObjectId, area: Area, units: (f32, f32)) {
        self.end_text();
        let transform = XObjectTransform {
            translate_x: Some(pt(area.left)),
            translate_y: Some(pt(self.height - area.top - area.height)),
            scale_x: Some(area.width / units.0),
            scale_y: Some(area.height / units.1),
            no_auto_scale: true,
            ..XObjectTransform::default()
        };
        self.ops.push(Op::UseXobject {
            id: id.clone(),
            transform,
        });
    }
}
