//! The invoice as PDF.
//!
//! `head`, `table` and `closing` lay out a [`DocumentView`] on a `flow` of pages; printpdf
//! writes the pages with the glyphs they use; `save` makes the bytes depend on nothing else.

use super::view::DocumentView;
use super::{RenderContext, RenderError};
use crate::domain::invoice::Invoice;

mod canvas;
mod closing;
mod code;
mod flow;
mod fonts;
mod head;
mod logo;
mod mask;
mod save;
mod table;

/// Renders an invoice.
pub fn document(invoice: &Invoice, context: &RenderContext) -> Result<Vec<u8>, RenderError> {
    let view = DocumentView::of(invoice, context);
    let fonts = fonts::Fonts::bundled()?;
    let logo = context
        .logo_png
        .as_deref()
        .map(|png| logo::Logo::of(png))
        .transpose()?;
    let mut flow = flow::Flow::new(&view, fonts);
    head::draw(&mut flow, logo.as_deref());
    table::draw(&mut flow);
    closing::draw(&mut flow);
    let pages = flow.finish();
    let about = save::About {
        title: &view.title,
        author: &view.issuer.name,
        language: view.language,
        dated: invoice.updated_at,
    };
    save::save(pages, fonts, &about)
}
