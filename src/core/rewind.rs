//! Whether what a former primary, or a standby of one, wrote has gone another way than what its new leader did, so that
//! pg_rewind is needed before it can follow (contract 5.9).

use crate::postgres::{ControlData, ControlState, HistoryFile};
use crate::{Lsn, Timeline};

/// How far the log here goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Here {
    /// On which timeline.
    pub timeline: Timeline,
    /// Of a standby, how far it replayed, or must replay; of a former primary, where its last checkpoint's record
    /// begins.
    pub position: Lsn,
    /// Whether it was a standby.
    pub standby: bool,
}

/// What follows from comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// pg_rewind is needed; why.
    Needed(&'static str),
    /// It is not; why.
    NotNeeded(&'static str),
    /// It is needed unless the record of the shutdown's checkpoint here ends exactly there, where the leader's
    /// timeline begins: then everything that was written here is in it.
    UnlessShutDownAt(Lsn),
}

impl Here {
    /// What the control file of a stopped server says; `None` where it was not shut down in order, so that it may
    /// have more than it says.
    #[must_use]
    pub fn of(control: &ControlData) -> Option<Self> {
        let primary = Self {
            timeline: control.timeline,
            position: control.checkpoint,
            standby: false,
        };
        match control.state {
            ControlState::ShutDown => Some(primary),
            ControlState::ShutDownInRecovery | ControlState::InArchiveRecovery => {
                let end = control.minimum_recovery_end;
                let timeline = control.minimum_recovery_timeline;
                // Zero: it was a primary when it ended, and has replayed nothing since.
                if end == Lsn(0) || timeline == Timeline(0) {
                    return Some(primary);
                }
                Some(Self {
                    timeline,
                    position: end,
                    standby: true,
                })
            }
            ControlState::StartingUp
            | ControlState::ShuttingDown
            | ControlState::InCrashRecovery
            | ControlState::InProduction => None,
        }
    }

    /// Compares it with the timeline of a leader and the history of that; `None`: there is no history, which a
    /// leader's first timeline has not.
    pub fn compared(&self, leader: Timeline, history: Option<&HistoryFile>) -> Verdict {
        if self.timeline > leader {
            return Verdict::Needed("the timeline here is newer than the leader's");
        }
        if self.timeline == leader {
            return Verdict::NotNeeded("the timeline is the leader's");
        }
        let lines = history.map_or(&[][..], |history| &history.lines);
        let Some(left) = lines.iter().find(|line| line.parent == self.timeline) else {
            return Verdict::Needed("the leader's timeline does not come from the one here");
        };
        if self.standby {
            return if self.position > left.switch {
                Verdict::Needed("more was replayed here than the leader's timeline began with")
            } else {
                Verdict::NotNeeded("the leader's timeline began later than what is here")
            };
        }
        if self.position >= left.switch {
            return Verdict::Needed("more was written here than the leader's timeline began with");
        }
        Verdict::UnlessShutDownAt(left.switch)
    }
}

/// Where the record of a shutdown's checkpoint ends, from what `pg_waldump -s <its beginning> -n 2` prints: the record
/// itself, and the complaint that nothing comes after it. `None` if it is anything else.
#[must_use]
pub fn shutdown_end(begins: Lsn, printed: &str, complaints: &str) -> Option<Lsn> {
    let mut lines = printed.lines().filter(|line| !line.trim().is_empty());
    let (record, None) = (lines.next()?, lines.next()) else {
        return None;
    };
    let lsn = after(record, "lsn: ").and_then(Lsn::parse)?;
    if lsn != begins || !record.contains("CHECKPOINT_SHUTDOWN") {
        return None;
    }
    let mut complaints = complaints.lines().filter(|line| !line.trim().is_empty());
    let (complaint, None) = (complaints.next()?, complaints.next()) else {
        return None;
    };
    after(complaint, "invalid record length at ").and_then(Lsn::parse)
}

/// The word that follows `mark`.
fn after<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(mark)?;
    rest.split([',', ':', ' ']).next()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HISTORY: &[u8] = b"1\t0/3000000\tno recovery target specified\n\n2\t0/5000000\tx\n";

    fn compared(timeline: u32, position: u64, standby: bool) -> Verdict {
        let here = Here {
            timeline: Timeline(timeline),
            position: Lsn(position),
            standby,
        };
        let history = HistoryFile::parse(Timeline(3), HISTORY, "");
        here.compared(Timeline(3), Some(&history))
    }

    fn is_needed(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Needed(_))
    }

    #[test]
    fn a_standby_is_fine_up_to_where_the_leader_left_its_timeline() {
        assert!(!is_needed(compared(1, 0x300_0000, true)));
        assert!(is_needed(compared(1, 0x300_0001, true)));
        assert!(is_needed(compared(2, 0x500_0001, true)));
        assert!(!is_needed(compared(3, u64::MAX, true)));
    }

    #[test]
    fn a_former_primary_is_fine_only_if_its_shutdown_was_the_last_that_the_leader_has() {
        assert!(is_needed(compared(2, 0x500_0000, false)));
        let before = compared(2, 0x4ff_ff88, false);
        assert_eq!(before, Verdict::UnlessShutDownAt(Lsn(0x500_0000)));
        assert!(!is_needed(compared(3, 0x600_0000, false)));
    }

    #[test]
    fn what_the_leader_does_not_come_from_is_rewound() {
        assert!(is_needed(compared(4, 1, true)));
        let here = Here {
            timeline: Timeline(1),
            position: Lsn(1),
            standby: true,
        };
        assert!(is_needed(here.compared(Timeline(2), None)));
    }

    #[test]
    fn the_end_of_a_shutdown_is_where_nothing_follows() {
        let record = "rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/09000028, prev \
                      0/08000060, desc: CHECKPOINT_SHUTDOWN redo 0/9000028; tli 1; shutdown\n";
        let nothing = "pg_waldump: error: error in WAL record at 0/9000028: invalid record length at 0/90000A0: wanted \
                       24, got 0\n";
        let end =
            |printed: &str, complaints: &str| shutdown_end(Lsn(0x900_0028), printed, complaints);
        assert_eq!(end(record, nothing), Some(Lsn(0x900_00a0)));
        let newer = nothing.replace("wanted 24", "expected at least 24");
        assert_eq!(end(record, &newer), Some(Lsn(0x900_00a0)));
        assert_eq!(end(&record.repeat(2), ""), None);
        assert_eq!(end(record, ""), None);
        assert_eq!(end("", nothing), None);
        assert_eq!(
            end(&record.replace("CHECKPOINT_SHUTDOWN", "SWITCH"), nothing),
            None
        );
        assert_eq!(shutdown_end(Lsn(0x900_0000), record, nothing), None);
    }

    proptest! {
        #[test]
        fn nothing_that_is_printed_makes_it_panic(printed: String, complaints: String) {
            let _ = shutdown_end(Lsn(1), &printed, &complaints);
        }
    }
}
