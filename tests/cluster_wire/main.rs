//! What nodes say to each other keeps its format: golden files of each version, and a node of version 1,
//! frozen as it was, that talks to the present one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests stop the test when something is wrong"
)]

#[path = "../cluster/cluster.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod cluster;
#[path = "../domain_fixture/mod.rs"]
#[expect(dead_code, reason = "shared with the tests of the domain")]
mod domain_fixture;
mod half_upgraded;
#[path = "../cluster/link.rs"]
mod link;
#[path = "../cluster/node.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod node;
mod old_node;
mod samples;
#[path = "../cluster_features/site.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod site;
mod version_1;

use std::collections::BTreeSet;
use std::path::PathBuf;

use faktor::cluster::wire::{self, Ask, News, Question, Reply};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where the messages lie that a version brought, one file for each: its bytes in hexadecimal.
fn folder(version: u16) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/wire/version_{version}"))
}

fn hold<T>(version: u16, samples: &[(&'static str, T)])
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    for (name, message) in samples {
        let written = wire::write(message).unwrap();
        let path = folder(version).join(format!("{name}.hex"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(folder(version)).unwrap();
            std::fs::write(&path, hex::encode(&written) + "\n").unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let kept = hex::decode(kept.trim()).unwrap();
        let read: T = wire::read(&kept).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(&read, message, "{name} is read as something else");
        // Field by field, whatever their order: what is new must be left out unless it is used. With
        // bytes among them, byte by byte.
        match (wire::read::<Value>(&kept), wire::read::<Value>(&written)) {
            (Ok(kept), Ok(written)) => {
                assert_eq!(kept, written, "{name} is written in another way");
            }
            _ => assert_eq!(kept, written, "{name} is written in another way"),
        }
    }
}

#[test]
fn every_question_keeps_its_format() {
    hold(1, &samples::asks());
    hold(2, &samples::asks_of_version_2());
    hold(2, &samples::changes());
}

#[test]
fn every_answer_keeps_its_format() {
    hold(1, &samples::replies());
    hold(2, &samples::replies_of_version_2());
}

#[test]
fn all_news_keep_their_format() {
    hold(1, &samples::news());
    hold(3, &samples::news_of_version_3());
}

#[test]
fn every_golden_file_belongs_to_a_sample() {
    fn names<T>(samples: Vec<(&'static str, T)>) -> impl Iterator<Item = String> {
        samples.into_iter().map(|(name, _)| format!("{name}.hex"))
    }
    let first = names(samples::asks())
        .chain(names(samples::replies()))
        .chain(names(samples::news()));
    let second = names(samples::asks_of_version_2())
        .chain(names(samples::changes()))
        .chain(names(samples::replies_of_version_2()));
    let third = names(samples::news_of_version_3());
    for (version, known) in [
        (1, first.collect::<BTreeSet<_>>()),
        (2, second.collect()),
        (3, third.collect()),
    ] {
        let files = std::fs::read_dir(folder(version)).unwrap();
        let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        assert_eq!(known, files.collect());
    }
}

#[test]
fn a_node_of_version_1_asks_and_understands_the_answer() {
    let request = version_1::Request {
        command: json!({"command": "void", "reason": "entered twice"}),
        by: json!({"kind": "system"}),
        key: Some(json!({"key": "order-7", "fingerprint": 7, "keep": true})),
        expected_version: Some(3),
        request_id: "r1".to_owned(),
    };
    let ask = version_1::Ask {
        from: samples::boot(1).0,
        patience_ms: 2_500,
        hops: 1,
        relay: false,
        what: version_1::Question::Execute {
            id: samples::invoice_id().to_string(),
            organization: Some(samples::organization_id().to_string()),
            request: Box::new(request),
        },
    };
    let heard: Ask = wire::read(&wire::write(&ask).unwrap()).unwrap();
    let Question::Execute {
        id,
        organization,
        request,
        represented: false,
    } = heard.what
    else {
        panic!("{heard:?}");
    };
    assert_eq!(id, samples::invoice_id());
    assert_eq!(organization, Some(samples::organization_id()));
    assert_eq!(
        (request.expected_version, heard.patience_ms),
        (Some(3), 2_500)
    );
    assert_eq!(request.key.unwrap().key, "order-7");

    let reply = Reply::Done {
        invoice: samples::invoice(),
        replayed: true,
    };
    let version_1::Reply::Done { invoice, replayed } =
        wire::read(&wire::write(&reply).unwrap()).unwrap()
    else {
        panic!("another answer");
    };
    assert!(replayed);
    assert_eq!(invoice["id"], samples::invoice_id().to_string());
    assert_eq!(invoice["version"], samples::invoice().version);
}

#[test]
fn a_node_of_version_1_is_asked_and_its_answers_are_understood() {
    for (name, ask) in samples::asks()
        .into_iter()
        .chain(samples::asks_of_version_2())
    {
        let heard: version_1::Ask = wire::read(&wire::write(&ask).unwrap()).unwrap();
        assert_eq!(heard.from, ask.from.0, "{name}");
    }
    for (name, ask) in samples::changes() {
        let heard = wire::read::<version_1::Ask>(&wire::write(&ask).unwrap());
        assert!(heard.is_err(), "{name}");
    }
    let snapshot = serde_json::to_value(samples::invoice()).unwrap();
    let answer = version_1::Reply::Found { invoice: snapshot };
    let Reply::Found { invoice } = wire::read(&wire::write(&answer).unwrap()).unwrap() else {
        panic!("another answer");
    };
    assert_eq!(invoice, samples::invoice());
    let answer = version_1::Reply::NotOwner {
        hint: Some(version_1::Hint {
            owner: samples::boot(2).0,
            epoch: 9,
        }),
    };
    let Reply::NotOwner { hint: Some(hint) } = wire::read(&wire::write(&answer).unwrap()).unwrap()
    else {
        panic!("another answer");
    };
    assert_eq!((hint.owner, hint.epoch), (samples::boot(2), 9));
}

#[test]
fn fields_of_a_newer_version_are_passed_over_and_its_new_kinds_are_no_messages() {
    #[derive(Serialize, Deserialize)]
    struct NewerAsk {
        from: uuid::Uuid,
        patience_ms: u64,
        traceparent: String,
        what: Value,
    }
    let mut newer = NewerAsk {
        from: samples::boot(1).0,
        patience_ms: 100,
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        what: json!({"Read": {"id": samples::invoice_id(), "as_of": "2026-01-01"}}),
    };
    let read: Ask = wire::read(&wire::write(&newer).unwrap()).unwrap();
    assert_eq!((read.hops, read.patience_ms), (0, 100));
    newer.what = json!({"Forecast": {"id": samples::invoice_id()}});
    assert!(wire::read::<Ask>(&wire::write(&newer).unwrap()).is_err());
    let news = json!({"Weather": {"sunny": true}});
    assert!(wire::read::<News>(&wire::write(&news).unwrap()).is_err());
    assert!(wire::read::<News>(&[]).is_err());
    assert!(wire::read::<Ask>(&[0xc1; 64]).is_err());
}
