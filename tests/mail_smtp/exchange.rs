//! What the server says of a mail, and what becomes of it.

use std::time::Duration;

use faktor::outbound::mail::{Mail, SmtpMail, Spool};

use crate::server::{Offer, Server};
use crate::{by, mail_to, permanent, smtp, temporary, unavailable};

#[tokio::test]
async fn the_server_gets_the_bytes_that_the_spool_would_have() {
    let server = Server::start(Offer::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::new(directory.path());
    let mail = mail_to("ap@ada.example");
    Mail::Spool(spool.clone()).send(&mail).await.unwrap();
    by(&smtp(&server.plain_url(), 1)).send(&mail).await.unwrap();
    let spooled = std::fs::read(spool.path_of(&mail.message_id)).unwrap();
    let taken = server.seen().mails.pop().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&taken),
        String::from_utf8_lossy(&spooled)
    );
}

#[tokio::test]
async fn no_text_ends_its_mail_early() {
    let server = Server::start(Offer::default()).await;
    let mut mail = mail_to("ap@ada.example");
    mail.text = "a\r.\rb\n.\nc\r\n.\r\nd\r\r\n.\n\r.\n".to_owned();
    mail.html.clone_from(&mail.text);
    by(&smtp(&server.plain_url(), 1)).send(&mail).await.unwrap();
    let taken = server.seen().mails.pop().unwrap();
    assert!(taken.ends_with(b"--\r\n"), "it goes to the last boundary");
    for (at, byte) in taken.iter().enumerate() {
        let whole = match byte {
            b'\r' => taken.get(at + 1) == Some(&b'\n'),
            b'\n' => at > 0 && taken[at - 1] == b'\r',
            _ => true,
        };
        assert!(whole, "half a line break at {at}");
    }
}

#[tokio::test]
async fn everyone_in_to_and_cc_is_named_once_to_the_server() {
    let server = Server::start(Offer::default()).await;
    let mut mail = mail_to("a@ada.example");
    mail.to.push("b@ada.example".to_owned());
    mail.cc = vec!["a@ada.example".to_owned(), "c@müller.example".to_owned()];
    by(&smtp(&server.plain_url(), 1)).send(&mail).await.unwrap();
    assert_eq!(server.count("MAIL FROM:<invoices@faktor.local>"), 1);
    for address in ["a@ada.example", "b@ada.example", "c@xn--mller-kva.example"] {
        assert_eq!(
            server.count(&format!("RCPT TO:<{address}>")),
            1,
            "{address}"
        );
    }
    assert_eq!(server.count("RCPT"), 3);
}

#[tokio::test]
async fn one_refused_recipient_refuses_the_mail_as_a_whole_and_all_are_named() {
    let server = Server::start(Offer::default()).await;
    let sender = smtp(&server.plain_url(), 1);
    let mut mail = mail_to("ap@ada.example");
    mail.to.push("reject-1@ada.example".to_owned());
    mail.cc = ["defer@ada.example", "reject-2@ada.example"]
        .map(str::to_owned)
        .into();
    let words = permanent(by(&sender).send(&mail).await);
    for part in [
        "reject-1@ada.example (550 5.1.1 no such user)",
        "reject-2@ada.example",
    ] {
        assert!(words.contains(part), "{words}");
    }
    assert!(!words.contains("defer@"), "{words}");
    assert_eq!((server.count("DATA"), server.seen().mails.len()), (0, 0));
    // The refusal is the mail's own: the next one goes over the same connection.
    by(&sender).send(&mail_to("ap@ada.example")).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen.connections, seen.mails.len()), (1, 1));
}

#[tokio::test]
async fn a_4xx_is_for_now_and_a_5xx_for_good_each_with_the_servers_words() {
    let server = Server::start(Offer::default()).await;
    let sender = by(&smtp(&server.plain_url(), 1));
    let words = temporary(sender.send(&mail_to("defer@ada.example")).await);
    assert!(words.contains("451 4.7.1 later"), "{words}");
    let words = permanent(sender.send(&mail_to("reject@ada.example")).await);
    assert!(words.contains("550 5.1.1 no such user"), "{words}");
    let words = temporary(sender.send(&mail_to("busy@ada.example")).await);
    assert!(words.contains("421 4.7.0 too much"), "{words}");
}

#[tokio::test]
async fn what_the_server_says_of_the_sender_is_told_from_what_it_says_of_the_node() {
    let refusing = |to_mail| Offer {
        to_mail: Some(to_mail),
        ..Offer::default()
    };
    let mail = mail_to("ap@ada.example");
    let server = Server::start(refusing("550 5.7.1 not you")).await;
    let words = permanent(by(&smtp(&server.plain_url(), 1)).send(&mail).await);
    assert!(words.contains("sender: 550 5.7.1 not you"), "{words}");
    let server = Server::start(refusing("451 4.3.2 not now")).await;
    temporary(by(&smtp(&server.plain_url(), 1)).send(&mail).await);
    for answer in ["421 4.3.2 closing", "530 5.7.0 authentication required"] {
        let server = Server::start(refusing(answer)).await;
        let words = unavailable(by(&smtp(&server.plain_url(), 1)).send(&mail).await);
        assert!(words.contains(answer), "{words}");
    }
}

#[tokio::test]
async fn a_mail_without_an_answer_is_of_unknown_outcome_and_says_so() {
    let server = Server::start(Offer::default()).await;
    let timeout = Duration::from_millis(300);
    let sender = by(&SmtpMail::new(&server.plain_url(), timeout, 1).unwrap());
    let words = temporary(sender.send(&mail_to("mute@ada.example")).await);
    for part in ["not known", "no answer within 300 ms", "same Message-ID"] {
        assert!(words.contains(part), "{words}");
    }
    let words = temporary(sender.send(&mail_to("cut-once@ada.example")).await);
    assert!(words.contains("not known"), "{words}");
    let words = temporary(sender.send(&mail_to("hold@ada.example")).await);
    assert!(words.contains("was not handed over"), "{words}");
}
