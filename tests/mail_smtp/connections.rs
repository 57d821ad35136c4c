//! Connections are few, kept, and never out of step.

use std::time::Duration;

use faktor::outbound::mail::SmtpMail;
use tokio::task::JoinSet;

use crate::server::{Offer, Server};
use crate::{by, mail_to, permanent, smtp, temporary, unavailable};

#[tokio::test]
async fn many_mails_go_over_few_connections() {
    let server = Server::start(Offer::default()).await;
    let sender = smtp(&server.plain_url(), 3);
    let mut sending = JoinSet::new();
    for number in 0..200 {
        let sender = by(&sender);
        let mail = mail_to(&format!("ap-{number}@ada.example"));
        sending.spawn(async move { sender.send(&mail).await.unwrap() });
    }
    sending.join_all().await;
    let seen = server.seen();
    assert_eq!(seen.mails.len(), 200);
    assert!(seen.most_open <= 3, "{} were open at once", seen.most_open);
    assert!(seen.connections <= 4, "{} were made", seen.connections);
}

#[tokio::test]
async fn a_connection_is_replaced_after_a_hundred_mails() {
    let server = Server::start(Offer::default()).await;
    let sender = by(&smtp(&server.plain_url(), 1));
    for _ in 0..101 {
        sender.send(&mail_to("ap@ada.example")).await.unwrap();
    }
    assert_eq!(server.seen().connections, 2);
    server.until(|seen| seen.open == 1).await;
    assert_eq!(server.count("QUIT"), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_is_replaced() {
    let server = Server::start(Offer::default()).await;
    let sender = by(&smtp(&server.plain_url(), 1));
    sender.send(&mail_to("ap@ada.example")).await.unwrap();
    server.hang_up();
    server.until(|seen| seen.open == 0).await;
    sender.send(&mail_to("ap@ada.example")).await.unwrap();
    assert_eq!(server.seen().mails.len(), 2);
}

/// Seen with a pool that takes such a connection back: the late answers to the cancelled mail are
/// read as answers to the next one, which then looks sent.
#[tokio::test]
async fn a_cancelled_mail_never_makes_a_later_one_look_sent() {
    let server = Server::start(Offer::default()).await;
    let sender = by(&smtp(&server.plain_url(), 1));
    for round in 1..=3 {
        let cancelled = {
            let (sender, mail) = (sender.clone(), mail_to("hold@ada.example"));
            tokio::spawn(async move { sender.send(&mail).await })
        };
        server
            .until(|seen| {
                let begun = seen.commands.iter().filter(|(_, it)| it == "DATA");
                begun.count() == round
            })
            .await;
        cancelled.abort();
        assert!(cancelled.await.unwrap_err().is_cancelled());
    }
    server.release();
    permanent(sender.send(&mail_to("reject@ada.example")).await);
    sender.send(&mail_to("ap@ada.example")).await.unwrap();
    permanent(sender.send(&mail_to("reject@ada.example")).await);
    assert_eq!(server.seen().mails.len(), 1);
}

#[tokio::test]
async fn a_mail_that_was_given_up_never_makes_a_later_one_look_sent() {
    let server = Server::start(Offer::default()).await;
    let sender = by(&SmtpMail::new(&server.plain_url(), Duration::from_millis(300), 1).unwrap());
    temporary(sender.send(&mail_to("hold@ada.example")).await);
    server.release();
    permanent(sender.send(&mail_to("reject@ada.example")).await);
    assert_eq!(server.seen().mails.len(), 0);
}

#[tokio::test]
async fn a_slow_mail_holds_up_its_own_connection_alone() {
    let server = Server::start(Offer::default()).await;
    let sender = by(&smtp(&server.plain_url(), 2));
    let slow = {
        let (sender, mail) = (sender.clone(), mail_to("hold@ada.example"));
        tokio::spawn(async move { sender.send(&mail).await })
    };
    server
        .until(|seen| seen.commands.iter().any(|(_, it)| it == "DATA"))
        .await;
    for _ in 0..10 {
        sender.send(&mail_to("ap@ada.example")).await.unwrap();
    }
    assert!(!slow.is_finished());
    server.release();
    slow.await.unwrap().unwrap();
    assert_eq!(server.seen().connections, 2);
}

#[tokio::test]
async fn readiness_asked_by_many_makes_one_connection_and_the_first_mail_takes_it() {
    let server = Server::start(Offer::default()).await;
    let sender = smtp(&server.plain_url(), 4);
    let mut asking = JoinSet::new();
    for _ in 0..50 {
        let sender = by(&sender);
        asking.spawn(async move { sender.ping().await.unwrap() });
    }
    asking.join_all().await;
    by(&sender).send(&mail_to("ap@ada.example")).await.unwrap();
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn a_server_that_is_gone_takes_no_mail_and_is_told_of_by_readiness() {
    let server = Server::start(Offer::default()).await;
    let sender = by(&smtp(&server.plain_url(), 1));
    drop(server);
    let mail = mail_to("ap@ada.example");
    let problem = unavailable(sender.send(&mail).await);
    assert!(
        problem.contains("can't connect: Connection refused"),
        "{problem}"
    );
    assert_eq!(unavailable(sender.ping().await), problem);
}
