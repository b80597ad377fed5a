//! What a run met, counted: a simulation that no longer meets something tests less than it says.

use std::collections::BTreeMap;

use trunkline_core::route::{Row, Table};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    met: BTreeMap<&'static str, u64>,
    rows: BTreeMap<Row, u64>,
    /// The row before: staying in one is not meeting it again.
    row: Option<Row>,
}

impl Tally {
    pub(crate) fn hit(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    pub(crate) fn decided(&mut self, table: &Table) {
        let row = table.primary.row;
        if self.row.replace(row) != Some(row) {
            *self.rows.entry(row).or_default() += 1;
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, times) in &other.met {
            *self.met.entry(what).or_default() += times;
        }
        for (row, times) in &other.rows {
            *self.rows.entry(*row).or_default() += times;
        }
    }

    /// What was met less often than it should be.
    pub(crate) fn missing(&self, met: &[(&str, u64)], rows: &[(Row, u64)]) -> Vec<String> {
        let times = |what: &str| self.met.get(what).copied().unwrap_or(0);
        let short = |what: String, had: u64, least: u64| {
            (had < least).then(|| format!("{what}: {had} times, not {least}"))
        };
        let met = met
            .iter()
            .filter_map(|(what, least)| short((*what).to_owned(), times(what), *least));
        let rows = rows.iter().filter_map(|(row, least)| {
            let had = self.rows.get(row).copied().unwrap_or(0);
            short(format!("row {row:?}"), had, *least)
        });
        met.chain(rows).collect()
    }

    /// Everything with how often it was met.
    pub(crate) fn report(&self) -> String {
        let rows = self
            .rows
            .iter()
            .map(|(row, times)| format!("{times:>9} row {row:?}"));
        let met = self
            .met
            .iter()
            .map(|(what, times)| format!("{times:>9} {what}"));
        rows.chain(met).collect::<Vec<_>>().join("\n")
    }
}
