//! Whether bytes are a PNG image that a document can hold (PNG, third edition, sections 5 and 11).

/// The largest side of a logo, in pixels: what it takes in memory once unpacked stays bounded.
const MAX_SIDE: u32 = 4_096;
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Walks over the chunks: signature, header, checksums, image data, end.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let damaged = || "the image is damaged".to_owned();
    let mut rest = bytes
        .strip_prefix(SIGNATURE)
        .ok_or("the image is not a PNG")?;
    let mut first = true;
    let mut has_data = false;
    loop {
        let (kind, data, after) = next_chunk(rest).ok_or_else(damaged)?;
        if first {
            if kind != b"IHDR" {
                return Err(damaged());
            }
            check_header(data)?;
            first = false;
        }
        has_data |= kind == b"IDAT";
        if kind == b"IEND" {
            break;
        }
        rest = after;
    }
    if has_data { Ok(()) } else { Err(damaged()) }
}

/// The next chunk's type and data, and what follows; `None` when it is cut off or its checksum is
/// wrong.
fn next_chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let covered = rest.get(..length.checked_add(4)?)?;
    let (kind, data) = covered.split_first_chunk::<4>()?;
    let (checksum, after) = rest.get(length + 4..)?.split_first_chunk::<4>()?;
    (u32::from_be_bytes(*checksum) == crc32(covered)).then_some((kind, data, after))
}

fn check_header(header: &[u8]) -> Result<(), String> {
    let side = |at: usize| {
        let bytes = header
            .get(at..at + 4)
            .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        bytes
            .map(u32::from_be_bytes)
            .ok_or_else(|| "the image is damaged".to_owned())
    };
    for side in [side(0)?, side(4)?] {
        if !(1..=MAX_SIDE).contains(&side) {
            return Err(format!(
                "the image may have at most {MAX_SIDE} pixels a side"
            ));
        }
    }
    Ok(())
}

/// CRC-32 as in ISO 3309, the one PNG uses.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                (sum >> 1) ^ 0xEDB8_8320
            } else {
                sum >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
        let covered = [kind.as_slice(), data].concat();
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        [length.as_slice(), &covered, &crc32(&covered).to_be_bytes()].concat()
    }

    fn image(width: u32, height: u32) -> Vec<u8> {
        let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
        let header = [sides.as_slice(), &[8, 2, 0, 0, 0]].concat();
        [
            SIGNATURE,
            &chunk(*b"IHDR", &header),
            &chunk(*b"IDAT", b"x"),
            &chunk(*b"IEND", b""),
        ]
        .concat()
    }

    #[test]
    fn the_checksum_is_the_one_of_png() {
        // The end chunk of every PNG file ends with these four bytes.
        assert_eq!(crc32(b"IEND"), 0xAE42_6082);
    }

    #[test]
    fn an_image_is_taken_and_anything_else_refused() {
        assert_eq!(check(&image(16, 16)), Ok(()));
        assert!(check(&image(0, 16)).is_err());
        assert!(check(&image(16, 4_097)).is_err());
        assert!(check(b"GIF89a").is_err());
        assert!(check(&[]).is_err());
        let whole = image(16, 16);
        assert!(check(&whole[..whole.len() - 1]).is_err(), "cut off");
        let mut damaged = whole;
        damaged[20] ^= 1;
        assert!(check(&damaged).is_err(), "a flipped bit");
    }
}
