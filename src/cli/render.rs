//! `faktor render`: a document from an invoice in JSON, without a server.

use super::Failure;
use super::args::Render;

/// Reads the invoice, renders it, writes the document.
pub(super) fn run(render: &Render) -> Result<(), Failure> {
    let _ = render;
    Err("not merged yet".into())
}
