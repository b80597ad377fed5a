//! What PostgreSQL itself says of a configuration before it is put in place: `postgres -C` reads the whole of it and names
//! every parameter that it would refuse to start with.

use std::collections::BTreeMap;

use super::parameters::Parameters;

/// Which of the parameters PostgreSQL refuses, and its words about each. `printed`: its standard error, with
/// `lc_messages=C` and an empty `log_line_prefix`.
#[must_use]
pub fn refused(printed: &str, parameters: &Parameters) -> BTreeMap<String, String> {
    printed
        .lines()
        .filter_map(|line| {
            let words = line.strip_prefix("LOG:")?.trim();
            let (_, after) = words.split_once("parameter \"")?;
            let (name, _) = after.split_once('"')?;
            let name = name.to_ascii_lowercase();
            parameters
                .contains_key(&name)
                .then(|| (name, words.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_that_is_refused_is_named_and_no_hint_is_taken_for_one() {
        // What 15.18 printed.
        let printed = "LOG:  invalid value for parameter \"wal_level\": \"xx\"\n\
                       HINT:  Available values for parameter \"work_mem\".\n\
                       LOG:  9999999 is outside the valid range for parameter \"max_wal_senders\" (0 .. 262143)\n\
                       LOG:  parameter \"fsync\" requires a Boolean value\n\
                       LOG:  invalid value for parameter \"DateStyle\": \"foo\"\n\
                       LOG:  unrecognized configuration parameter \"nosuch\" in file \"/d/postgresql.conf\" line 819\n\
                       LOG:  unrecognized configuration parameter \"base\" in file \"/d/postgresql.base.conf\" line 1\n\
                       FATAL:  configuration file \"/d/postgresql.conf\" contains errors\n";
        let names = [
            "datestyle",
            "fsync",
            "max_wal_senders",
            "nosuch",
            "wal_level",
        ];
        let parameters = names
            .iter()
            .chain(&["work_mem"])
            .map(|name| ((*name).to_owned(), String::new()))
            .collect();
        let refused = refused(printed, &parameters);
        assert_eq!(refused.keys().collect::<Vec<_>>(), names);
        assert_eq!(
            refused["fsync"],
            "parameter \"fsync\" requires a Boolean value"
        );
    }
}
