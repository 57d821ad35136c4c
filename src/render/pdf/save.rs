//! From laid-out pages to bytes: the same pages always give the same ones.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use jiff::Timestamp;
use lopdf::{Dictionary, Document, Object, ObjectId, StringFormat, text_string};
use printpdf::{FontId, PdfDocument, PdfFont, PdfPage, PdfSaveOptions, Pt};
use sha2::{Digest, Sha256};

use super::flow::Pages;
use super::fonts::{Fonts, Weight};
use crate::render::RenderError;

/// What the document says of itself.
pub(super) struct About<'a> {
    pub(super) title: &'a str,
    pub(super) author: &'a str,
    /// BCP 47.
    pub(super) language: &'a str,
    /// When the invoice last changed: the document's own date.
    pub(super) dated: Timestamp,
}

/// Writes the file.
pub(super) fn save(
    pages: Pages,
    fonts: &'static Fonts,
    about: &About<'_>,
) -> Result<Vec<u8>, RenderError> {
    let mut pdf = PdfDocument::new(about.title);
    for weight in Weight::ALL {
        let id = FontId(weight.resource_name().to_owned());
        let font = PdfFont::new(fonts.face(weight).parsed.clone());
        pdf.resources.fonts.map.insert(id, font);
    }
    pdf.resources.xobjects.map.extend(pages.pictures);
    let (width, height) = (Pt(pages.width), Pt(pages.height));
    let pages = pages
        .operations
        .into_iter()
        .map(|ops| PdfPage::new(width.into(), height.into(), ops))
        .collect();
    pdf.with_pages(pages);
    let options = PdfSaveOptions {
        image_optimization: None,
        ..PdfSaveOptions::default()
    };
    let mut document = printpdf::serialize::to_lopdf_doc(&pdf, &options, &mut Vec::new());
    // Where printpdf draws a random name or writes what only print shops need, say what is true.
    let digest = digest_of_contents(&document);
    name_font_subsets(&mut document, &digest);
    describe(&mut document, about, &digest).ok_or_else(|| RenderError::Failed {
        reason: "the document has no catalog".to_owned(),
    })?;
    compress(&mut document)?;
    let mut bytes = Vec::with_capacity(32 * 1024);
    document
        .save_to(&mut bytes)
        .map_err(|error| RenderError::Failed {
            reason: error.to_string(),
        })?;
    Ok(bytes)
}

/// Compresses what is not yet: at a middle level, as the best one takes a third longer for a
/// hundredth less.
fn compress(document: &mut Document) -> Result<(), RenderError> {
    let failed = |error: std::io::Error| RenderError::Failed {
        reason: error.to_string(),
    };
    for object in document.objects.values_mut() {
        let Object::Stream(stream) = object else {
            continue;
        };
        if !stream.allows_compression || stream.dict.has(b"Filter") {
            continue;
        }
        let room = Vec::with_capacity(stream.content.len() / 2);
        let mut encoder = ZlibEncoder::new(room, Compression::new(6));
        encoder.write_all(&stream.content).map_err(failed)?;
        let compressed = encoder.finish().map_err(failed)?;
        if compressed.len() < stream.content.len() {
            stream
                .dict
                .set("Filter", Object::Name(b"FlateDecode".to_vec()));
            stream.set_content(compressed);
        }
    }
    Ok(())
}

fn digest_of_contents(document: &Document) -> [u8; 32] {
    let mut hash = Sha256::new();
    for object in document.objects.values() {
        if let Object::Stream(stream) = object {
            hash.update(&stream.content);
        }
    }
    hash.finalize().into()
}

/// A subset's name begins with six capital letters that differ from document to document
/// (ISO 32000-1, 9.6.4), so that documents can be joined without mixing up their fonts.
fn name_font_subsets(document: &mut Document, digest: &[u8; 32]) {
    for object in document.objects.values_mut() {
        rename_in(object, digest);
    }
}

fn rename_in(object: &mut Object, digest: &[u8; 32]) {
    match object {
        Object::Dictionary(dictionary) => {
            for (key, value) in dictionary.iter_mut() {
                match value {
                    Object::Name(name) if matches!(&key[..], b"BaseFont" | b"FontName") => {
                        if let Some(at) = name.iter().position(|byte| *byte == b'+') {
                            let letters = digest.iter().take(6).map(|byte| b'A' + byte % 26);
                            name.splice(..at, letters);
                        }
                    }
                    Object::Dictionary(_) | Object::Array(_) => rename_in(value, digest),
                    _ => {}
                }
            }
        }
        Object::Array(items) => items.iter_mut().for_each(|item| rename_in(item, digest)),
        _ => {}
    }
}

fn describe(document: &mut Document, about: &About<'_>, digest: &[u8; 32]) -> Option<()> {
    "1.7".clone_into(&mut document.version);
    let id = Object::String(
        digest.iter().take(16).copied().collect(),
        StringFormat::Hexadecimal,
    );
    document
        .trailer
        .set("ID", Object::Array(vec![id.clone(), id]));

    let date = about.dated.strftime("D:%Y%m%d%H%M%SZ").to_string();
    let date = Object::string_literal(date);
    let info: ObjectId = document.trailer.get(b"Info").ok()?.as_reference().ok()?;
    let info_entries = Dictionary::from_iter([
        ("Title", text_string(about.title)),
        ("Author", text_string(about.author)),
        ("Creator", text_string("Faktor")),
        ("Producer", text_string("Faktor")),
        ("CreationDate", date.clone()),
        ("ModDate", date),
    ]);
    document.set_object(info, info_entries);

    let catalog = document.catalog_mut().ok()?;
    catalog.set("Lang", Object::string_literal(about.language));
    catalog.set("PageLayout", Object::Name(b"SinglePage".to_vec()));
    let show_title = Dictionary::from_iter([("DisplayDocTitle", Object::Boolean(true))]);
    catalog.set("ViewerPreferences", show_title);
    Some(())
}
