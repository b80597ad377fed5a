//! The first start of what the operator's own method has made (contract H.3): usually a restored backup that has to
//! recover to where it is to before it is the first primary of a new cluster.

use std::collections::BTreeMap;

use super::recovery;
use crate::config::agent::CustomBootstrap;

/// Which file has PostgreSQL recover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// None: it starts as a primary.
    None,
    /// `recovery.signal`: to the target, and then it is a primary.
    Recovery,
    /// `standby.signal`: until it is promoted.
    Standby,
    /// Whatever the method left.
    Kept,
}

/// How it is started for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Which file has it recover.
    pub signal: Signal,
    /// The parameters of its recovery.
    pub recovery: BTreeMap<String, String>,
    /// Whether what `postgresql.auto.conf` says of recovery counts.
    pub keeps_auto: bool,
    /// Whether it takes no connections until it has recovered (`hot_standby` off): a primary whose log it replays may have
    /// had more of something than is configured here, and a hot standby refuses to go on with less.
    pub closed: bool,
}

impl Restored {
    /// After this method.
    #[must_use]
    pub fn by(method: &CustomBootstrap) -> Self {
        let written = &method.recovery;
        let is = |name: &str, value: &str| {
            written
                .get(name)
                .is_some_and(|written| written.eq_ignore_ascii_case(value))
        };
        let standby = ["on", "true", "yes", "1"]
            .iter()
            .any(|on| is("standby_mode", on));
        let signal = match (written.is_empty(), method.keep_recovery) {
            (false, _) if standby => Signal::Standby,
            (false, _) => Signal::Recovery,
            (true, true) => Signal::Kept,
            (true, false) => Signal::None,
        };
        Self {
            signal,
            recovery: recovery::restored(written, method.keep_recovery),
            keeps_auto: method.keep_recovery,
            closed: method.keep_recovery || is("recovery_target_action", "promote"),
        }
    }

    /// Whether it may recover before it is a primary.
    #[must_use]
    pub fn recovers(&self) -> bool {
        self.signal != Signal::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(recovery: &[(&str, &str)], keep_recovery: bool) -> CustomBootstrap {
        let recovery = recovery.iter();
        CustomBootstrap {
            name: "backup".to_owned(),
            command: "restore".to_owned(),
            no_params: false,
            arguments: Vec::new(),
            recovery: recovery
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            keep_recovery,
        }
    }

    #[test]
    fn what_is_written_beside_a_target_is_no_other_target() {
        let target = [
            ("recovery_target_name", "here"),
            ("recovery_target_action", "promote"),
        ];
        let restored = Restored::by(&method(&target, false));
        assert_eq!(restored.signal, Signal::Recovery);
        assert_eq!(restored.recovery.len(), 2, "{restored:?}");
        assert!(restored.closed && restored.recovers() && !restored.keeps_auto);
    }

    #[test]
    fn without_a_target_those_of_the_backup_count_no_more() {
        let restored = Restored::by(&method(&[("restore_command", "false")], false));
        assert_eq!(restored.recovery["recovery_target_time"], "");
        assert_eq!(restored.signal, Signal::Recovery);
        assert!(
            !restored.closed,
            "somebody may want to look before it goes on"
        );
    }

    #[test]
    fn a_method_that_says_nothing_of_recovery_makes_a_primary() {
        let restored = Restored::by(&method(&[], false));
        assert_eq!(restored.signal, Signal::None);
        assert!(!restored.recovers() && !restored.closed);
    }

    #[test]
    fn what_the_method_left_is_kept_where_that_is_said() {
        let restored = Restored::by(&method(&[], true));
        assert_eq!(restored.signal, Signal::Kept);
        assert!(restored.recovery.is_empty() && restored.keeps_auto && restored.closed);
    }

    #[test]
    fn a_standby_is_one_by_its_signal_file_alone() {
        let restored = Restored::by(&method(&[("standby_mode", "on")], false));
        assert_eq!(restored.signal, Signal::Standby);
        assert!(!restored.recovery.contains_key("standby_mode"));
    }
}
