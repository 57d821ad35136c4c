//! Mail in the spool, read back with another parser than the one that wrote it.

use bytes::Bytes;
use faktor::outbound::mail::{Attachment, Mail, MailError, MemoryMail, OutgoingMail, Spool};
use mailparse::{MailHeaderMap, ParsedMail};

const MESSAGE_ID: &str = "inv_00000000000000000000000000000007-mail-3@faktor.local";

fn mail() -> OutgoingMail {
    OutgoingMail {
        message_id: MESSAGE_ID.to_owned(),
        from_name: "Müller & Söhne, \"Ada\" GmbH".to_owned(),
        from: "invoices@faktor.local".to_owned(),
        reply_to: Some("office@mueller.example".to_owned()),
        to: vec!["ap@ada.example".to_owned(), "boss@ada.example".to_owned()],
        cc: vec!["copy@ada.example".to_owned()],
        subject: "Rechnung 2026-0001 über 118,88 € — Hóa đơn".to_owned(),
        text: "Guten Tag,\n\nanbei die Rechnung über 118,88 €.\n.\nFrom here on…\n".to_owned(),
        html: "<p>Anbei die Rechnung über 118,88 €.</p>".to_owned(),
        attachments: vec![Attachment {
            file_name: "Rechnung Größe.pdf".to_owned(),
            media_type: "application/pdf".to_owned(),
            bytes: Bytes::from((0..=255_u8).cycle().take(5_000).collect::<Vec<_>>()),
        }],
        date: "2026-11-21T10:00:00Z".parse().unwrap(),
    }
}

fn spool(directory: &tempfile::TempDir) -> (Mail, Spool) {
    let spool = Spool::new(directory.path());
    (Mail::Spool(spool.clone()), spool)
}

fn header(mail: &ParsedMail<'_>, name: &str) -> String {
    let values = mail.headers.get_all_values(name);
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values[0].clone()
}

#[tokio::test]
async fn a_spooled_mail_reads_back_as_it_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, spool) = spool(&directory);
    sender.send(&mail()).await.unwrap();
    let bytes = std::fs::read(spool.path_of(MESSAGE_ID)).unwrap();
    let parsed = mailparse::parse_mail(&bytes).unwrap();
    assert_eq!(header(&parsed, "Message-ID"), format!("<{MESSAGE_ID}>"));
    assert_eq!(header(&parsed, "Subject"), mail().subject);
    assert_eq!(header(&parsed, "Date"), "Sat, 21 Nov 2026 10:00:00 +0000");
    assert_eq!(header(&parsed, "To"), "ap@ada.example, boss@ada.example");
    assert_eq!(header(&parsed, "Cc"), "copy@ada.example");
    assert_eq!(header(&parsed, "Reply-To"), "office@mueller.example");
    let from = parsed.headers.get_first_header("From").unwrap();
    let from = mailparse::addrparse_header(from)
        .unwrap()
        .extract_single_info()
        .unwrap();
    assert_eq!(from.addr, "invoices@faktor.local");
    assert_eq!(from.display_name, Some(mail().from_name));
    assert_eq!(parsed.ctype.mimetype, "multipart/mixed");
    let [texts, attachment] = &parsed.subparts[..] else {
        panic!("not two parts")
    };
    assert_eq!(texts.ctype.mimetype, "multipart/alternative");
    let [text, html] = &texts.subparts[..] else {
        panic!("not two texts")
    };
    assert_eq!(text.ctype.mimetype, "text/plain");
    assert_eq!(text.get_body().unwrap().replace("\r\n", "\n"), mail().text);
    assert_eq!(html.ctype.mimetype, "text/html");
    assert_eq!(html.get_body().unwrap().trim_end(), mail().html);
    assert_eq!(attachment.ctype.mimetype, "application/pdf");
    assert_eq!(
        attachment.get_body_raw().unwrap(),
        mail().attachments[0].bytes
    );
    let disposition = attachment.get_content_disposition();
    assert_eq!(disposition.params["filename"], "Rechnung Größe.pdf");
    assert!(bytes.is_ascii() && bytes.split(|b| *b == b'\n').all(|line| line.len() < 999));
}

#[tokio::test]
async fn a_repeated_mail_is_one_file_with_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, spool) = spool(&directory);
    sender.send(&mail()).await.unwrap();
    let first = std::fs::read(spool.path_of(MESSAGE_ID)).unwrap();
    let mut again = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let sender = Mail::Spool(spool.clone());
        again.spawn(async move { sender.send(&mail()).await.unwrap() });
    }
    again.join_all().await;
    assert_eq!(std::fs::read(spool.path_of(MESSAGE_ID)).unwrap(), first);
    assert_eq!(std::fs::read_dir(spool.directory()).unwrap().count(), 1);
}

#[tokio::test]
async fn no_field_can_inject_a_header() {
    type Edit = fn(&mut OutgoingMail, String);
    let directory = tempfile::tempdir().unwrap();
    let (sender, spool) = spool(&directory);
    let edits: [(&str, Edit); 9] = [
        ("message_id", |mail, value| mail.message_id = value),
        ("from_name", |mail, value| mail.from_name = value),
        ("from", |mail, value| mail.from = value),
        ("reply_to", |mail, value| mail.reply_to = Some(value)),
        ("to", |mail, value| mail.to.push(value)),
        ("cc", |mail, value| mail.cc.push(value)),
        ("subject", |mail, value| mail.subject = value),
        ("file_name", |mail, value| {
            mail.attachments[0].file_name = value;
        }),
        ("media_type", |mail, value| {
            mail.attachments[0].media_type = value;
        }),
    ];
    let injections = [
        "\r\nBcc: evil@x.example",
        "\nBcc: evil@x.example",
        "\r",
        "\0",
        "\u{7f}",
        "\u{85}",
    ];
    for (field, edit) in edits {
        for injection in injections {
            let mut mail = mail();
            let harmless = match field {
                "message_id" | "from" | "reply_to" | "to" | "cc" => "a@x.example",
                "media_type" => "application/pdf",
                _ => "harmless",
            };
            edit(&mut mail, format!("{harmless}{injection}"));
            let sent = sender.send(&mail).await;
            assert!(
                matches!(&sent, Err(MailError::Permanent { detail }) if detail.contains(field)),
                "{field} {injection:?}: {sent:?}"
            );
        }
    }
    assert!(!spool.directory().exists(), "something was written");
}

#[tokio::test]
async fn a_mail_that_no_one_could_get_is_refused_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, _) = spool(&directory);
    let edits: [fn(&mut OutgoingMail); 9] = [
        |mail| mail.to.clear(),
        |mail| mail.to = vec!["no address".to_owned()],
        |mail| mail.to = vec!["a@x.example, b@x.example".to_owned()],
        |mail| mail.to = vec!["Ada <a@x.example>".to_owned()],
        |mail| mail.to = vec!["jürgen@x.example".to_owned()],
        |mail| mail.to = vec!["a@x.example".to_owned(); 101],
        |mail| mail.message_id = "no-at-sign".to_owned(),
        |mail| mail.message_id = "a@b>".to_owned(),
        |mail| mail.attachments[0].media_type = "pdf".to_owned(),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut mail = mail();
        edit(&mut mail);
        let sent = sender.send(&mail).await;
        assert!(
            matches!(sent, Err(MailError::Permanent { .. })),
            "{number}: {sent:?}"
        );
    }
}

#[tokio::test]
async fn an_international_domain_goes_out_in_ascii() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, spool) = spool(&directory);
    let mail = OutgoingMail {
        to: vec!["ap@müller.example".to_owned()],
        ..mail()
    };
    sender.send(&mail).await.unwrap();
    let bytes = std::fs::read(spool.path_of(MESSAGE_ID)).unwrap();
    let parsed = mailparse::parse_mail(&bytes).unwrap();
    assert_eq!(header(&parsed, "To"), "ap@xn--mller-kva.example");
}

#[tokio::test]
async fn a_text_that_looks_like_mime_stays_text() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, spool) = spool(&directory);
    sender.send(&mail()).await.unwrap();
    let bytes = std::fs::read(spool.path_of(MESSAGE_ID)).unwrap();
    let boundary = mailparse::parse_mail(&bytes).unwrap().ctype.params["boundary"].clone();
    // The boundary of an earlier mail with this id, put into the next one's text.
    let text = format!("--{boundary}\r\nContent-Type: text/html\r\n\r\nevil\r\n--{boundary}--\r\n");
    sender
        .send(&OutgoingMail {
            text: text.clone(),
            ..mail()
        })
        .await
        .unwrap();
    let bytes = std::fs::read(spool.path_of(MESSAGE_ID)).unwrap();
    let parsed = mailparse::parse_mail(&bytes).unwrap();
    assert_eq!(parsed.subparts.len(), 2);
    assert_eq!(parsed.subparts[0].subparts[0].get_body().unwrap(), text);
}

#[tokio::test]
async fn a_spool_that_cannot_be_written_may_be_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, _) = spool(&directory);
    sender.ping().await.unwrap();
    std::fs::remove_dir(directory.path().join("mail")).unwrap();
    std::fs::write(directory.path().join("mail"), b"in the way").unwrap();
    for failed in [sender.ping().await, sender.send(&mail()).await] {
        assert!(
            matches!(&failed, Err(MailError::Temporary { detail }) if detail.contains("spool")),
            "{failed:?}"
        );
    }
}

#[tokio::test]
async fn mail_in_memory_fails_as_often_as_it_is_told_and_checks_what_the_spool_checks() {
    let memory = MemoryMail::default();
    let failure = MailError::Temporary {
        detail: "greylisted".to_owned(),
    };
    memory.fail_next(2, &failure);
    let sender = Mail::Memory(memory);
    let refused = OutgoingMail {
        subject: "a\r\nb".to_owned(),
        ..mail()
    };
    assert_eq!(sender.send(&mail()).await, Err(failure.clone()));
    assert_eq!(sender.send(&mail()).await, Err(failure));
    assert!(matches!(
        sender.send(&refused).await,
        Err(MailError::Permanent { .. })
    ));
    sender.send(&mail()).await.unwrap();
    let Mail::Memory(memory) = &sender else {
        unreachable!()
    };
    assert_eq!(memory.sent().len(), 1);
    assert_eq!(memory.sent()[0].message_id, MESSAGE_ID);
}
