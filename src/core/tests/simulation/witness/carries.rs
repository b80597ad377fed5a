//! What keeps write sessions where they are, by a router's own record: the bounds that the specification names.

use std::time::Duration;

use trunkline_core::{MemberName, Moment};

use super::{THREE, TWO, Witness};

const SECOND: Duration = Duration::from_secs(1);

/// What keeps write sessions on a member whose lock may be another's by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    /// The cluster was paused when the lock was last proven: only a contradiction ends sessions.
    Pause,
    /// `when_unproven: keep`, with etcd and the member silent.
    Operator,
    /// It said less than three seconds ago that it leads.
    Word,
    /// Its key is gone for less than two seconds, and it runs.
    Retake,
}

impl Witness {
    /// What keeps sessions on `member`, if anything does; `keeps` where the operator wants them kept.
    pub(crate) fn carries(&self, member: &str, keeps: bool, now: Moment) -> Option<Carries> {
        let member = MemberName::from(member);
        let tenure = self
            .proven
            .as_ref()
            .filter(|(tenure, _)| tenure.holder == member);
        let word = tenure.and_then(|(_, word)| *word);
        let silent = self.word(&member, now).is_none_or(|word| !word.runs);
        let gone = self.gone.is_some_and(|gone| now < gone.after(TWO));
        if self.proof.as_ref().is_some_and(|proof| proof.paused) {
            Some(Carries::Pause)
        } else if keeps && silent && self.gone.is_none() && !self.can_be_asked(now) {
            Some(Carries::Operator)
        } else if word.is_some_and(|until| now < until) {
            Some(Carries::Word)
        } else if gone && self.primary(&member, now).is_some() {
            Some(Carries::Retake)
        } else {
            None
        }
    }

    /// Until when sessions live by an etcd that can be asked: without end, unless the lease that was read last may be
    /// over before etcd is found silent. Then no longer than for certain, or than the leader's `word` carries them.
    pub(super) fn lease_may_end(&self, word: Moment) -> Moment {
        let proof = self.proof.as_ref();
        let proof = proof.filter(|proof| self.holder() == Some(&proof.tenure));
        // D is a second earlier than what etcd says, which rounds down.
        let ends = proof.map(|proof| (proof.deadline.after(SECOND), proof.asked.after(THREE)));
        let ends = ends.filter(|(ends, live)| ends < live);
        ends.map_or(Moment::NEVER, |(ends, _)| ends.max(word))
    }
}
