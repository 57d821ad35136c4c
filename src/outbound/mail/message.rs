//! A mail as the bytes of RFC 5322 and MIME.

use std::time::SystemTime;

use lettre::address::Address;
use lettre::message::header::ContentType;
use lettre::message::{Attachment as AttachmentPart, Mailbox, Message, MultiPart, SinglePart};
use sha2::{Digest, Sha256};

use super::{MailError, OutgoingMail};

/// The most recipients of one mail, `to` and `cc` together.
const MAX_RECIPIENTS: usize = 100;
/// The longest subject or name, in bytes.
const MAX_HEADER_BYTES: usize = 998;

/// The mail's bytes: `multipart/mixed` of `multipart/alternative` (text, HTML) and the attachments.
/// The same mail gives the same bytes. Everything that could break out of a header is refused.
pub(super) fn build(mail: &OutgoingMail) -> Result<Vec<u8>, MailError> {
    Ok(compose(mail)?.formatted())
}

/// The mail with its envelope: from `from`, to all of `to` and `cc`.
pub(super) fn compose(mail: &OutgoingMail) -> Result<Message, MailError> {
    let mut message = Message::builder()
        .message_id(Some(format!("<{}>", checked_message_id(&mail.message_id)?)))
        .date(date(mail)?)
        .from(mailbox(
            "from",
            &mail.from,
            checked("from_name", &mail.from_name)?,
        )?)
        .subject(checked("subject", &mail.subject)?);
    if let Some(reply_to) = &mail.reply_to {
        message = message.reply_to(mailbox("reply_to", reply_to, "")?);
    }
    let recipients = mail.to.len() + mail.cc.len();
    if mail.to.is_empty() || recipients > MAX_RECIPIENTS {
        return Err(permanent(format!(
            "a mail needs a recipient and may have {MAX_RECIPIENTS}; this one has {recipients}"
        )));
    }
    for to in &mail.to {
        message = message.to(mailbox("to", to, "")?);
    }
    for cc in &mail.cc {
        message = message.cc(mailbox("cc", cc, "")?);
    }
    message
        .multipart(body(mail)?)
        .map_err(|error| permanent(format!("the mail can't be built: {error}")))
}

fn body(mail: &OutgoingMail) -> Result<MultiPart, MailError> {
    let boundary = boundary(mail);
    let texts = MultiPart::alternative()
        .boundary(format!("{boundary}a"))
        .singlepart(SinglePart::plain(with_whole_line_breaks(&mail.text)))
        .singlepart(SinglePart::html(with_whole_line_breaks(&mail.html)));
    let mut parts = MultiPart::mixed()
        .boundary(format!("{boundary}m"))
        .multipart(texts);
    for attachment in &mail.attachments {
        let media_type = checked("media_type", &attachment.media_type)?;
        let content_type = ContentType::parse(media_type)
            .map_err(|_| permanent(format!("{media_type} is not a media type")))?;
        let file_name = checked("file_name", &attachment.file_name)?.to_owned();
        let part = AttachmentPart::new(file_name).body(attachment.bytes.to_vec(), content_type);
        parts = parts.singlepart(part);
    }
    Ok(parts)
}

/// Line feeds alone, which are made CR LF when the mail is written. A CR by itself would stay, and some
/// mail servers take it for the end of a line, so that CR, dot, CR would end the mail (RFC 5321, 2.3.8).
fn with_whole_line_breaks(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// The same for the same mail, and, being a checksum of it, nothing that its text could contain.
fn boundary(mail: &OutgoingMail) -> String {
    let mut checksum = Sha256::new();
    let texts = [&mail.message_id, &mail.text, &mail.html].map(String::as_bytes);
    for part in texts
        .into_iter()
        .chain(mail.attachments.iter().map(|file| &file.bytes[..]))
    {
        checksum.update(part.len().to_be_bytes());
        checksum.update(part);
    }
    hex::encode(&checksum.finalize()[..16])
}

fn date(mail: &OutgoingMail) -> Result<SystemTime, MailError> {
    if mail.date.as_second() < 0 {
        return Err(permanent(format!("a mail can't be of {}", mail.date)));
    }
    Ok(mail.date.into())
}

/// A header's value without anything that could end it.
fn checked<'a>(name: &str, value: &'a str) -> Result<&'a str, MailError> {
    if value.chars().any(char::is_control) {
        return Err(permanent(format!(
            "{name} contains a line break or another control character"
        )));
    }
    if value.len() > MAX_HEADER_BYTES {
        return Err(permanent(format!(
            "{name} is longer than {MAX_HEADER_BYTES} bytes"
        )));
    }
    Ok(value)
}

/// `left@right` of the characters that RFC 5322 allows outside quotes.
fn checked_message_id(id: &str) -> Result<&str, MailError> {
    let is_atext = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let is_part = |part: &str| !part.is_empty() && part.chars().all(is_atext);
    match checked("message_id", id)?.split_once('@') {
        Some((left, right)) if is_part(left) && is_part(right) => Ok(id),
        _ => Err(permanent(
            "message_id is not of the form left@right".to_owned(),
        )),
    }
}

fn mailbox(field: &str, address: &str, name: &str) -> Result<Mailbox, MailError> {
    let invalid = || permanent(format!("{field} is not an e-mail address"));
    let parsed: Address = checked(field, address)?.parse().map_err(|_| invalid())?;
    let parsed = if parsed.domain().is_ascii() {
        parsed
    } else {
        // Headers are ASCII: an international domain goes out in its xn-- form.
        let url = reqwest::Url::parse(&format!("http://{}/", parsed.domain()));
        let host = url.ok().and_then(|url| url.host_str().map(str::to_owned));
        Address::new(parsed.user(), host.ok_or_else(invalid)?).map_err(|_| invalid())?
    };
    if !parsed.user().is_ascii() {
        let problem = "the part before the @ may have ASCII characters only";
        return Err(permanent(format!(
            "{field} can't be reached by mail: {problem}"
        )));
    }
    Ok(Mailbox::new(
        Some(name.to_owned()).filter(|name| !name.is_empty()),
        parsed,
    ))
}

fn permanent(detail: String) -> MailError {
    MailError::Permanent { detail }
}
