//! The issuer's logo: decoded, made no larger than print needs, and kept for the next document.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use printpdf::{
    DictItem, ExternalStream, ExternalXObject, RawImage, RawImageData, RawImageFormat, XObject,
};
use sha2::{Digest, Sha256};

use super::canvas::Area;
use super::flow::Flow;
use crate::render::RenderError;

/// The largest picture that is decoded, in pixels.
const PIXELS_MAX: u64 = 8_000_000;
/// The longest side kept: 300 dots per inch at the largest size it is printed in.
const SIDE_KEPT: usize = 700;
/// The largest size it is printed in, in points.
const WIDTH_MAX: f32 = 168.0;
const HEIGHT_MAX: f32 = 44.0;
/// How many logos are remembered; the oldest goes first.
const REMEMBERED: usize = 8;

/// A logo ready to be drawn.
pub(super) struct Logo {
    object: ExternalXObject,
    width: usize,
    height: usize,
}

type Remembered = VecDeque<([u8; 32], Arc<Logo>)>;

/// Logos by the SHA-256 of their file: decoding one costs more than the rest of a document. Only
/// speeds up; the result is the same without.
static LOGOS: Mutex<Remembered> = Mutex::new(VecDeque::new());

impl Logo {
    /// Reads a PNG file.
    pub(super) fn of(png: &[u8]) -> Result<Arc<Self>, RenderError> {
        let key: [u8; 32] = Sha256::digest(png).into();
        let known = |logos: &Remembered| {
            logos
                .iter()
                .find(|(known, _)| *known == key)
                .map(|(_, logo)| Arc::clone(logo))
        };
        if let Some(logo) = known(&LOGOS.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(logo);
        }
        let logo = Arc::new(Self::decode(png)?);
        let mut logos = LOGOS.lock().unwrap_or_else(PoisonError::into_inner);
        if known(&logos).is_none() {
            logos.truncate(REMEMBERED - 1);
            logos.push_front((key, Arc::clone(&logo)));
        }
        Ok(logo)
    }

    fn decode(png: &[u8]) -> Result<Self, RenderError> {
        let bad = |reason: &str| RenderError::BadLogo {
            reason: reason.to_owned(),
        };
        let (width, height) = size_of(png).ok_or_else(|| bad("it is not a PNG file"))?;
        if u64::from(width) * u64::from(height) > PIXELS_MAX {
            return Err(bad("it has more than 8 million pixels"));
        }
        let image = RawImage::decode_from_bytes(png, &mut Vec::new())
            .map_err(|reason| RenderError::BadLogo { reason })?;
        let pixels = Pixels::of(image).ok_or_else(|| bad("its colours can't be read"))?;
        if pixels.width == 0 || pixels.height == 0 {
            return Err(bad("it is empty"));
        }
        let pixels = pixels.reduced();
        Ok(Self {
            width: pixels.width,
            height: pixels.height,
            object: pixels.object()?,
        })
    }

    /// Draws the logo with its upper right corner at (`right`, `top`), no wider than `room`; gives
    /// back its height.
    pub(super) fn draw(&self, flow: &mut Flow<'_>, right: f32, top: f32, room: f32) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "at most 8 million")]
        let (width, height) = (self.width as f32, self.height as f32);
        let scale = (WIDTH_MAX.min(room) / width).min(HEIGHT_MAX / height);
        let (width, height) = (width * scale, height * scale);
        let area = Area {
            left: right - width,
            top,
            width,
            height,
        };
        flow.picture(XObject::External(self.object.clone()), area, (1.0, 1.0));
        height
    }
}

/// Width and height by the file's first chunk, before anything is decoded.
fn size_of(png: &[u8]) -> Option<(u32, u32)> {
    const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
    if !png.starts_with(SIGNATURE) || png.get(12..16)? != b"IHDR" {
        return None;
    }
    let number = |at: usize| Some(u32::from_be_bytes(png.get(at..at + 4)?.try_into().ok()?));
    Some((number(16)?, number(20)?))
}

/// 8-bit samples, colour and opacity apart.
struct Pixels {
    width: usize,
    height: usize,
    /// 1 (grey) or 3 (red, green, blue) samples a pixel.
    channels: usize,
    color: Vec<u8>,
    opacity: Option<Vec<u8>>,
}

impl Pixels {
    fn of(image: RawImage) -> Option<Self> {
        let samples = match image.pixels {
            RawImageData::U8(samples) => samples,
            // The high byte.
            RawImageData::U16(samples) => samples
                .into_iter()
                .map(|sample| sample.to_be_bytes()[0])
                .collect(),
            RawImageData::F32(_) => return None,
        };
        let (channels, has_opacity) = match image.data_format {
            RawImageFormat::R8 | RawImageFormat::R16 => (1, false),
            RawImageFormat::RG8 | RawImageFormat::RG16 => (1, true),
            RawImageFormat::RGB8 | RawImageFormat::RGB16 => (3, false),
            RawImageFormat::RGBA8 | RawImageFormat::RGBA16 => (3, true),
            _ => return None,
        };
        let (width, height) = (image.width, image.height);
        if !has_opacity {
            return Some(Self {
                width,
                height,
                channels,
                color: samples,
                opacity: None,
            });
        }
        let mut color = Vec::with_capacity(samples.len());
        let mut opacity = Vec::with_capacity(width * height);
        for pixel in samples.chunks_exact(channels + 1) {
            let (own, last) = pixel.split_at(channels);
            color.extend_from_slice(own);
            opacity.extend_from_slice(last);
        }
        Some(Self {
            width,
            height,
            channels,
            color,
            opacity: Some(opacity),
        })
    }

    /// Averages squares of pixels until the longer side is no longer than needed.
    fn reduced(self) -> Self {
        let factor = self.width.max(self.height).div_ceil(SIDE_KEPT);
        if factor <= 1 {
            return self;
        }
        let (width, height) = (self.width.div_ceil(factor), self.height.div_ceil(factor));
        let shrink = |samples: &[u8], channels: usize| {
            let mut small = Vec::with_capacity(width * height * channels);
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                for channel in 0..channels {
                    let rows = y * factor..((y + 1) * factor).min(self.height);
                    let (mut sum, mut count) = (0_u32, 0_u32);
                    for row in rows {
                        for column in x * factor..((x + 1) * factor).min(self.width) {
                            let at = (row * self.width + column) * channels + channel;
                            sum += u32::from(samples.get(at).copied().unwrap_or(0));
                            count += 1;
                        }
                    }
                    small.push(u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX));
                }
            }
            small
        };
        let color = shrink(&self.color, self.channels);
        let opacity = self.opacity.as_deref().map(|opacity| shrink(opacity, 1));
        Self {
            width,
            height,
            channels: self.channels,
            color,
            opacity,
        }
    }

    fn object(self) -> Result<ExternalXObject, RenderError> {
        let space = if self.channels == 1 {
            "DeviceGray"
        } else {
            "DeviceRGB"
        };
        let mut stream = self.stream(space, &self.color)?;
        if let Some(opacity) = &self.opacity {
            let mask = DictItem::Stream {
                stream: self.stream("DeviceGray", opacity)?,
            };
            stream.dict.insert("SMask".to_owned(), mask);
        }
        Ok(ExternalXObject {
            stream,
            width: None,
            height: None,
            dpi: None,
        })
    }

    /// A picture of this size, compressed here and now so that it is done once.
    fn stream(&self, space: &str, samples: &[u8]) -> Result<ExternalStream, RenderError> {
        let name = |name: &str| DictItem::Name(name.as_bytes().to_vec());
        let number = |number: usize| DictItem::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let mut compressed = lopdf::Stream::new(lopdf::Dictionary::new(), samples.to_vec());
        compressed
            .compress()
            .map_err(|error| RenderError::BadLogo {
                reason: error.to_string(),
            })?;
        let mut dict = BTreeMap::from([
            ("Type".to_owned(), name("XObject")),
            ("Subtype".to_owned(), name("Image")),
            ("Width".to_owned(), number(self.width)),
            ("Height".to_owned(), number(self.height)),
            ("BitsPerComponent".to_owned(), DictItem::Int(8)),
            ("ColorSpace".to_owned(), name(space)),
        ]);
        if compressed.dict.has(b"Filter") {
            dict.insert("Filter".to_owned(), name("FlateDecode"));
        }
        Ok(ExternalStream {
            dict,
            content: compressed.content,
            compress: false,
        })
    }
}
