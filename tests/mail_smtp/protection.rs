//! TLS, and what is never sent without it.

use faktor::outbound::mail::{SmtpMail, SmtpStartError};

use crate::server::{CA, Offer, Server};
use crate::{by, mail_to, smtp, unavailable};

fn starttls() -> Offer {
    Offer {
        starttls: true,
        auth: "PLAIN LOGIN",
        ..Offer::default()
    }
}

async fn rejected(server: &SmtpMail) -> String {
    match server.check().await {
        Err(SmtpStartError::Rejected(problem)) => problem,
        other => panic!("not rejected: {other:?}"),
    }
}

async fn unreachable(server: &SmtpMail) -> String {
    match server.check().await {
        Err(SmtpStartError::Unreachable(problem)) => problem,
        other => panic!("not unreachable: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_without_starttls_gets_nothing() {
    let server = Server::start(Offer {
        auth: "PLAIN LOGIN",
        ..Offer::default()
    })
    .await;
    for url in [
        format!("smtp://u:right@{}?ca={CA}", server.named()),
        format!("smtp://u:right@{}?ca={CA}&tls=required", server.named()),
    ] {
        let sender = smtp(&url, 1);
        let problem = rejected(&sender).await;
        assert!(problem.contains("no STARTTLS"), "{problem}");
        unavailable(by(&sender).send(&mail_to("ap@ada.example")).await);
    }
    assert_eq!((server.count("AUTH"), server.count("MAIL")), (0, 0));
}

#[tokio::test]
async fn login_and_mail_go_through_tls_alone() {
    for (scheme, offer) in [
        ("smtp", starttls()),
        (
            "smtps",
            Offer {
                tls_first: true,
                starttls: false,
                ..starttls()
            },
        ),
        (
            "smtp",
            Offer {
                auth: "LOGIN",
                ..starttls()
            },
        ),
    ] {
        let server = Server::start(offer).await;
        let sender = smtp(&format!("{scheme}://u:right@{}?ca={CA}", server.named()), 1);
        sender.check().await.unwrap();
        by(&sender).send(&mail_to("ap@ada.example")).await.unwrap();
        let seen = server.seen();
        assert_eq!(seen.mails.len(), 1);
        for (encrypted, command) in &seen.commands {
            let may_be_plain = command.starts_with("EHLO") || command == "STARTTLS";
            assert!(*encrypted || may_be_plain, "in the clear: {command}");
        }
        drop(seen);
        assert_eq!((server.count("AUTH"), server.count("MAIL")), (1, 1));
    }
}

#[tokio::test]
async fn a_certificate_of_another_name_or_of_an_unknown_issuer_is_refused() {
    for (scheme, offer) in [
        ("smtp", starttls()),
        (
            "smtps",
            Offer {
                tls_first: true,
                ..starttls()
            },
        ),
    ] {
        let server = Server::start(offer).await;
        let sender = smtp(&format!("{scheme}://u:right@{}?ca={CA}", server.address), 1);
        let problem = unreachable(&sender).await;
        assert!(problem.contains("not valid for name"), "{problem}");
        let sender = smtp(&format!("{scheme}://u:right@{}", server.named()), 1);
        let problem = unreachable(&sender).await;
        assert!(problem.contains("UnknownIssuer"), "{problem}");
        unavailable(by(&sender).send(&mail_to("ap@ada.example")).await);
        assert_eq!((server.count("AUTH"), server.count("MAIL")), (0, 0));
    }
}

#[tokio::test]
async fn opportunistic_uses_tls_where_it_is() {
    for offers_it in [true, false] {
        let server = Server::start(Offer {
            starttls: offers_it,
            ..starttls()
        })
        .await;
        let url = format!(
            "smtp://u:right@{}?ca={CA}&tls=opportunistic",
            server.named()
        );
        by(&smtp(&url, 1))
            .send(&mail_to("ap@ada.example"))
            .await
            .unwrap();
        let seen = server.seen();
        let mail = seen.commands.iter().find(|(_, it)| it.starts_with("MAIL"));
        assert_eq!(mail.map(|(encrypted, _)| *encrypted), Some(offers_it));
    }
}

/// CVE-2011-0411 and its kin: what a man in the middle writes before TLS begins must not be read as
/// the server's answers within.
#[tokio::test]
async fn answers_slipped_in_before_tls_never_make_a_mail_look_taken() {
    for url in ["smtp://", "smtp://u:right@"] {
        let server = Server::start(Offer {
            slipped_in: "250-fake.test\r\n250 AUTH PLAIN LOGIN\r\n",
            ..starttls()
        })
        .await;
        let sender = by(&smtp(&format!("{url}{}?ca={CA}", server.named()), 1));
        sender
            .send(&mail_to("reject@ada.example"))
            .await
            .unwrap_err();
        sender.send(&mail_to("ap@ada.example")).await.unwrap_err();
        assert_eq!(server.seen().mails.len(), 0);
    }
}

#[tokio::test]
async fn a_refused_login_shows_no_password_and_is_not_insisted_on() {
    let server = Server::start(starttls()).await;
    let sender = smtp(&format!("smtp://u:hidden%21@{}?ca={CA}", server.named()), 4);
    let problem = rejected(&sender).await;
    assert!(problem.contains("535 5.7.8 *** is wrong"), "{problem}");
    for _ in 0..3 {
        let problem = unavailable(by(&sender).send(&mail_to("ap@ada.example")).await);
        assert!(!problem.contains("hidden"), "{problem}");
        unavailable(by(&sender).ping().await);
    }
    assert_eq!(server.count("AUTH"), 1);
    assert!(!format!("{sender:?}").contains("hidden"));
}

#[tokio::test]
async fn certificates_that_can_not_be_read_are_named_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "nothing here").unwrap();
    for path in ["/nonexistent/ca.pem", empty.to_str().unwrap()] {
        let url = format!("smtp://u:hidden@h?ca={path}");
        let problem = SmtpMail::new(&url, std::time::Duration::from_secs(1), 1).unwrap_err();
        let problem = problem.to_string();
        assert!(
            problem.contains(path) && !problem.contains("hidden"),
            "{problem}"
        );
    }
}
