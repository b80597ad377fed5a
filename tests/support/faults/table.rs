//! How the records of a run are shown: one line a fault, the texts below it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Fault, Record};

/// Wider is cut off.
const WIDTH: usize = 120;

/// The records of a run.
#[derive(Debug)]
pub struct Table(BTreeMap<String, Record>);

impl Table {
    /// Reads what was kept in `folder`; nothing was, if there is no such folder.
    pub fn load(folder: &Path) -> Result<Self> {
        let mut records = BTreeMap::new();
        if !folder.exists() {
            return Ok(Self(records));
        }
        let listing =
            std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        for file in listing {
            let path = file?.path();
            let text =
                std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            let record: Record = serde_json::from_slice(&text)
                .with_context(|| format!("{} is no record", path.display()))?;
            records.insert(record.fault.clone(), record);
        }
        Ok(Self(records))
    }

    /// The faults without a record.
    #[must_use]
    pub fn missing(&self) -> Vec<Fault> {
        let without = |fault: &&Fault| !self.0.contains_key(fault.words());
        Fault::ALL.iter().filter(without).copied().collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |cells: [&str; 10]| {
            let [
                fault,
                writes,
                logins,
                held,
                longest,
                outage,
                cut,
                wrong,
                two,
                lost,
            ] = cells;
            format!(
                "{fault:<42} {writes:>7} {logins:>7} {held:>6} {longest:>9} {outage:>9} {cut:>8} {wrong:>8} {two:>9} \
                 {lost:>5}"
            )
        };
        writeln!(
            f,
            "{}",
            line([
                "",
                "writes",
                "logins",
                "logins",
                "longest",
                "no write",
                "sessions",
                "on wrong",
                "two time-",
                "rows"
            ])
        )?;
        writeln!(
            f,
            "{}",
            line([
                "fault", "refused", "refused", "held", "login", "for", "cut", "node", "lines",
                "lost"
            ])
        )?;
        for fault in Fault::ALL {
            match self.0.get(fault.words()) {
                None => writeln!(
                    f,
                    "{:<42} NO RECORD: no test of it came to its end",
                    fault.words()
                )?,
                Some(record) => {
                    let sum =
                        |texts: &BTreeMap<String, u64>| texts.values().sum::<u64>().to_string();
                    let cells = [
                        record.fault.as_str(),
                        &sum(&record.writes_refused),
                        &sum(&record.logins_refused),
                        &record.logins_held.to_string(),
                        &format!("{:.0} ms", record.longest_login_ms),
                        &format!("{:.0} ms", record.outage_ms),
                        &record.sessions_cut().to_string(),
                        &record.wrong_sessions.len().to_string(),
                        &record.two_timelines.len().to_string(),
                        &record.lost.to_string(),
                    ];
                    writeln!(f, "{}", line(cells))?;
                    texts(record, f)?;
                }
            }
        }
        Ok(())
    }
}

/// Why sessions ended by the router's log, and every refusal by the clients.
fn texts(record: &Record, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for note in &record.notes {
        writeln!(f, "{:>6}   {note}", "")?;
    }
    for (what, texts) in [
        ("session ended", &record.why),
        ("its client read", &record.cut),
        ("login refused", &record.logins_refused),
        ("write refused", &record.writes_refused),
    ] {
        for (text, times) in texts {
            // libpq begins by naming the server; what it heard there comes after that.
            let text = text
                .split_once(" failed: ")
                .map_or(text.as_str(), |(_, heard)| heard);
            let told: String = format!("{times:>6} x {what}: {text}")
                .chars()
                .map(|c| if c.is_ascii_graphic() { c } else { ' ' })
                .take(WIDTH)
                .collect();
            writeln!(f, "{told}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_kept_record_is_shown_and_every_other_fault_is_missed() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record {
            fault: Fault::Switchover.words().to_owned(),
            writes_refused: BTreeMap::new(),
            logins_refused: BTreeMap::from([("FATAL: \u{fc}ber".to_owned(), 3)]),
            logins_held: 4,
            longest_login_ms: 1234.5,
            cut: BTreeMap::from([("EOF".to_owned(), 12)]),
            why: BTreeMap::from([("x".repeat(300), 12)]),
            wrong_sessions: Vec::new(),
            two_timelines: Vec::new(),
            nodes: BTreeSet::new(),
            lost: 0,
            rows: 100,
            outage_ms: 1300.0,
            notes: Vec::new(),
        };
        record.keep(folder.path()).unwrap();
        let table = Table::load(folder.path()).unwrap();
        assert_eq!(table.missing().len(), Fault::ALL.len() - 1);
        let shown = table.to_string();
        let missed = shown
            .lines()
            .filter(|line| line.contains("NO RECORD"))
            .count();
        assert_eq!(missed, Fault::ALL.len() - 1, "{shown}");
        assert!(
            shown.contains("     3 x login refused: FATAL:  ber"),
            "{shown}"
        );
        assert!(shown.is_ascii(), "{shown}");
        let longest = shown.lines().map(str::len).max();
        assert_eq!(longest, Some(WIDTH), "{shown}");
    }

    #[test]
    fn without_a_folder_every_fault_is_missed() {
        let folder = tempfile::tempdir().unwrap();
        let table = Table::load(&folder.path().join("nothing")).unwrap();
        assert_eq!(table.missing(), Fault::ALL);
    }
}
