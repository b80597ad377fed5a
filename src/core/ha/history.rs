//! The `history` key: the timelines that ended, with who led from there (contract 5.6, history update).

use super::action::Write;
use super::reason::Key as Of;
use super::snapshot::Snapshot;
use super::standing::Server;
use super::upkeep::{Due, unless_tried};
use crate::Timeline;
use crate::cluster::ClusterView;
use crate::wire::history::{History, HistoryLine};

/// The write that is due, if one is.
pub(super) fn due(s: &Snapshot, view: &ClusterView) -> Due {
    let Server::Primary(database) = s.server() else {
        return None;
    };
    let timeline = database.timeline?;
    let known = view.history.as_ref();
    if timeline == Timeline(1) {
        let emptied = known.is_some_and(|history| !history.0.is_empty());
        return emptied
            .then(|| unless_tried(s, Write::History("[]".to_owned()), Of::History))
            .flatten();
    }
    let last = known.and_then(|history| history.0.last());
    let told = last.is_some_and(|line| {
        line.parent.0.saturating_add(1) == timeline.0 && line.at.is_some() && line.leader.is_some()
    });
    let file = s
        .history_file
        .as_ref()
        .filter(|file| file.timeline == timeline)?;
    if told {
        return None;
    }
    let mut lines: Vec<HistoryLine> = file.lines.clone();
    let (newest, older) = lines.split_last_mut()?;
    newest.leader = Some(s.me.name.clone());
    for line in older {
        let same = |old: &&HistoryLine| old.parent == line.parent && old.switch == line.switch;
        if let Some(old) = known.and_then(|history| history.0.iter().find(same)) {
            line.clone_from(old);
        }
    }
    let most = s.me.max_timelines_history;
    if most > 0 && lines.len() > most {
        lines.drain(..lines.len() - most);
    }
    let history = History(lines);
    (known != Some(&history))
        .then(|| unless_tried(s, Write::History(history.to_json()), Of::History))
        .flatten()
}
