//! `faktor render`: a document from an invoice in JSON, without a server.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use jiff::tz::TimeZone;

use super::args::{Format, PageSize, Render};
use super::{Failure, invoice_file};
use crate::clock::Clock;
use crate::domain::invoice::{DocumentFormat, Invoice};
use crate::domain::party;
use crate::http::invoices::representation::{self, Links};
use crate::render::{self, RenderContext};

/// More than any invoice within its limits needs, in bytes.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Reads the invoice, renders it, writes the document.
pub(super) fn run(render: &Render) -> Result<(), Failure> {
    let today = Clock::System.now().to_zoned(TimeZone::UTC).date();
    let json = read(&render.file)
        .map_err(|error| format!("can't read {}: {error}", render.file.display()))?;
    let mut invoice = invoice_file::read(&json, today)
        .map_err(|error| format!("{} is not an invoice:\n{error}", render.file.display()))?;
    if let Some(locale) = &render.locale {
        let known = party::Locale::ALL.map(party::Locale::code).join(", ");
        invoice.content_mut().locale = party::Locale::parse(locale)
            .ok_or_else(|| format!("{locale} is not a language of documents; there are {known}"))?;
    }
    if let Some(size) = render.page_size {
        invoice.content_mut().page_size = match size {
            PageSize::A4 => party::PageSize::A4,
            PageSize::Letter => party::PageSize::Letter,
        };
    }
    let format = render
        .format
        .unwrap_or_else(|| by_extension(&render.output));
    let bytes = document(&invoice, format)?;
    write(&render.output, &bytes)
        .map_err(|error| format!("can't write {}: {error}", render.output.display()))?;
    Ok(())
}

fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let source: Box<dyn io::Read> = if is_standard(path) {
        Box::new(io::stdin())
    } else {
        Box::new(fs::File::open(path)?)
    };
    let mut bytes = Vec::new();
    source.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_MAX_BYTES) {
        Ok(bytes)
    } else {
        Err(io::Error::other("it is larger than 4 MiB"))
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_standard(path) {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    } else {
        fs::write(path, bytes)
    }
}

fn by_extension(path: &Path) -> Format {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("xlsx") => Format::Xlsx,
        Some("csv") => Format::Csv,
        Some("json") => Format::Json,
        _ => Format::Pdf,
    }
}

fn document(invoice: &Invoice, format: Format) -> Result<Vec<u8>, Failure> {
    let format = match format {
        Format::Pdf => DocumentFormat::Pdf,
        Format::Xlsx => DocumentFormat::Xlsx,
        Format::Csv => DocumentFormat::Csv,
        Format::Json => {
            let bytes = representation::bytes(invoice, Links { public_url: "" });
            let bytes = bytes.map_err(|error| error.detail().to_owned())?;
            return Ok(bytes.to_vec());
        }
    };
    Ok(render::document(
        invoice,
        format,
        &RenderContext::default(),
    )?)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn command(file: &Path, output: PathBuf) -> Render {
        Render {
            file: file.to_owned(),
            output,
            format: None,
            page_size: None,
            locale: None,
        }
    }

    #[test]
    fn a_document_is_made_in_the_format_its_name_asks_for() {
        let directory = tempfile::tempdir().unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/invoice.json");
        for (name, start) in [
            ("a.pdf", &b"%PDF-1.7"[..]),
            ("a.XLSX", b"PK"),
            ("a.csv", b"#,"),
            ("a.json", b"{"),
        ] {
            let output = directory.path().join(name);
            run(&command(&example, output.clone())).unwrap();
            let bytes = fs::read(&output).unwrap();
            assert!(bytes.starts_with(start), "{name}");
        }
    }

    #[test]
    fn options_change_language_and_paper() {
        let directory = tempfile::tempdir().unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/invoice.json");
        let output = directory.path().join("a.csv");
        let mut render = command(&example, output.clone());
        render.locale = Some("de-AT".to_owned());
        run(&render).unwrap();
        assert!(
            fs::read_to_string(&output)
                .unwrap()
                .contains("Beschreibung")
        );
        render.locale = Some("klingon".to_owned());
        let error = run(&render).unwrap_err().to_string();
        assert!(
            error.contains("klingon is not a language of documents; there are en, de"),
            "{error}"
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_field() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bad.json");
        fs::write(&file, r#"{"bill_to": {"name": "Ada"}, "lines": []}"#).unwrap();
        let error = run(&command(&file, directory.path().join("a.pdf")))
            .unwrap_err()
            .to_string();
        assert!(error.contains("lines: "), "{error}");
        let missing = directory.path().join("missing.json");
        let error = run(&command(&missing, directory.path().join("a.pdf"))).unwrap_err();
        assert!(error.to_string().starts_with("can't read "), "{error}");
    }
}
