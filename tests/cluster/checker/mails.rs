//! Each mail went out under one Message-ID, was noted before it went and once when it had gone.

use std::collections::{BTreeMap, BTreeSet};

use faktor::domain::invoice::effect::EffectKind;
use faktor::domain::invoice::entry::Entry;

use super::{Story, Violations};

pub(super) fn check(stories: &[Story<'_>], mails: &[String], violations: &mut Violations) {
    // A mail's id begins with the one of its effect.
    let mut went_out: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for mail in mails {
        let effect = mail.split('@').next().unwrap_or(mail);
        went_out.entry(effect).or_default().push(mail);
    }
    for story in stories {
        check_one(story, &mut went_out, violations);
    }
    for mails in went_out.values() {
        violations.note(
            "no mail goes out that nobody asked for",
            format_args!("{mails:?}"),
        );
    }
}

fn check_one(
    story: &Story<'_>,
    went_out: &mut BTreeMap<&str, Vec<&str>>,
    violations: &mut Violations,
) {
    let is_mail = |kind: &EffectKind| matches!(kind, EffectKind::Mail { .. });
    let ordered = story.effects(|effect| is_mail(&effect.kind).then_some(()));
    let (mut claimed, mut sent) = (BTreeSet::new(), BTreeMap::new());
    for recorded in &story.found.history {
        match &recorded.entry {
            Entry::EffectClaimed { effect } => {
                claimed.insert(effect);
            }
            Entry::MailSent { effect, .. } => *sent.entry(effect).or_insert(0) += 1,
            _ => {}
        }
    }
    for effect in ordered.keys() {
        let found = went_out
            .remove(effect.to_string().as_str())
            .unwrap_or_default();
        let noted = sent.get(effect).copied().unwrap_or(0);
        // The spool replaces a repeat: more than one file is one too many.
        if noted > 1 || found.len() > 1 {
            violations.note(
                "a mail is sent once",
                format_args!("{effect}: noted {noted} times, as {found:?}"),
            );
        }
        if noted == 1 && found.is_empty() {
            violations.note("a mail that was sent is there", effect);
        }
        if !found.is_empty() && !claimed.contains(effect) {
            violations.note("a mail is noted before it goes", effect);
        }
    }
}
