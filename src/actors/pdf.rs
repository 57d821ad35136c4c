//! The Pdf pool: renders documents off the reactor's threads, one for each core.

use std::sync::Arc;

use super::pool::Work;
use crate::domain::invoice::{DocumentFormat, Invoice};
use crate::render::{self, RenderContext, RenderError};

/// A document to be made.
#[derive(Debug)]
pub struct PdfTask {
    pub invoice: Arc<Invoice>,
    pub format: DocumentFormat,
    /// The issuer's logo as PNG.
    pub logo_png: Option<Arc<Vec<u8>>>,
}

/// Renders with what is the same for every document of this installation.
#[derive(Debug)]
pub struct PdfWork {
    pub context: RenderContext,
}

impl Work for PdfWork {
    type Task = PdfTask;
    type Output = Result<Vec<u8>, RenderError>;
    const NAME: &'static str = "pdf";

    async fn run(&self, task: PdfTask) -> Self::Output {
        let context = RenderContext {
            logo_png: task.logo_png,
            ..self.context.clone()
        };
        let rendering = tokio::task::spawn_blocking(move || {
            render::document(&task.invoice, task.format, &context)
        });
        match rendering.await {
            Ok(result) => result,
            // The renderer's panic is this worker's: its supervisor replaces it.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(RenderError::Failed {
                reason: error.to_string(),
            }),
        }
    }
}
