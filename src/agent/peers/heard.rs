//! What was heard of the other members, for the log: a handover asks up to fifty times a second, and an operator wants to
//! read each answer that says something new, once. What an answer means for a decision is core's.

use std::collections::BTreeMap;
use std::time::Duration;

use trunkline_core::ha::PeerWord;
use trunkline_core::wire::member::{Role, State};
use trunkline_core::wire::rest::StatusDocument;

use trunkline_core::{MemberName, Moment, Timeline};

/// Who asks again after such a pause begins a new round of questions: what was said in an earlier one says nothing of now.
/// No two questions of one election or handover are as far apart, and two cycles that are due by `loop_wait` usually are.
const PAUSE: Duration = Duration::from_secs(5);

/// What was told in this round of questions.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// When somebody was asked last.
    asked: Moment,
    told: BTreeMap<MemberName, Gist>,
}

/// What makes an answer another one than before. Where a member is in the log is not in it, only whether it says so: that
/// moves with every write.
#[derive(Debug, PartialEq, Eq)]
enum Gist {
    Says {
        state: State,
        role: Role,
        timeline: Option<Timeline>,
        fed: Option<String>,
        located: bool,
        replay_paused: bool,
        unlocked: bool,
        paused: bool,
        only_follows: Option<String>,
        nofailover: bool,
    },
    Silent(String),
}

impl Heard {
    /// Questions are asked at this moment.
    pub(super) fn asks(&mut self, now: Moment) {
        if now.since(self.asked) >= PAUSE {
            self.told.clear();
        }
        self.asked = now;
    }

    /// Whether this answer says what the last one of this member in this round did not.
    #[must_use]
    pub(super) fn is_news(&mut self, name: &MemberName, word: &PeerWord) -> bool {
        let gist = Gist::of(word);
        if self.told.get(name) == Some(&gist) {
            return false;
        }
        self.told.insert(name.clone(), gist);
        true
    }
}

impl Gist {
    fn of(word: &PeerWord) -> Self {
        match word {
            PeerWord::Silent(cause) => Self::Silent(cause.clone()),
            PeerWord::Says(document) => Self::says(document),
        }
    }

    fn says(document: &StatusDocument) -> Self {
        let log = &document.xlog;
        Self::Says {
            state: document.state.clone(),
            role: document.role.clone(),
            timeline: document.timeline,
            fed: document.replication_state.clone(),
            located: log.location.is_some()
                || log.received_location.is_some()
                || log.replayed_location.is_some(),
            replay_paused: log.paused,
            unlocked: document.cluster_unlocked,
            paused: document.pause,
            only_follows: document.only_follows.clone(),
            nofailover: document.tags.nofailover(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Moment = Moment::from_boot(Duration::from_secs(100));

    fn name() -> MemberName {
        MemberName::from("pg-2")
    }

    fn says(role: &str, received: u64) -> PeerWord {
        let body = format!(
            "{{\"state\": \"running\", \"role\": \"{role}\", \"xlog\": {{\"received_location\": {received}}}}}"
        );
        PeerWord::Says(Box::new(StatusDocument::parse(body.as_bytes()).unwrap()))
    }

    fn silent(cause: &str) -> PeerWord {
        PeerWord::Silent(cause.to_owned())
    }

    #[test]
    fn an_answer_is_news_once_a_round_and_where_it_says_something_new() {
        let mut heard = Heard::default();
        heard.asks(ASKED);
        for (word, news) in [
            (says("replica", 1), true),
            (says("replica", 2), false),
            (says("primary", 2), true),
            (silent("refused"), true),
            (silent("refused"), false),
            (silent("no answer"), true),
            (says("primary", 2), true),
        ] {
            assert_eq!(heard.is_news(&name(), &word), news, "{word:?}");
        }
        assert!(heard.is_news(&MemberName::from("pg-3"), &says("primary", 2)));
    }

    #[test]
    fn a_round_goes_on_while_it_is_asked_and_another_begins_after_a_pause() {
        let (mut heard, mut now) = (Heard::default(), ASKED);
        let word = says("replica", 1);
        heard.asks(now);
        assert!(heard.is_news(&name(), &word));
        for _twice_the_pause_and_more in 0..3 {
            now = now.after(PAUSE - Duration::from_millis(1));
            heard.asks(now);
            assert!(!heard.is_news(&name(), &word));
        }
        heard.asks(now.after(PAUSE));
        assert!(heard.is_news(&name(), &word));
    }
}
