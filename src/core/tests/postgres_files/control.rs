//! What pg_controldata prints.

use proptest::prelude::*;
use trunkline_core::postgres::control::{BadControl, ControlData, ControlState};
use trunkline_core::{Lsn, SystemId, Timeline};

const PRINTED: &str = include_str!("../fixtures/postgres/pg_controldata-15.txt");

#[test]
fn what_a_server_that_was_shut_down_left_is_read() {
    let read = ControlData::parse(PRINTED.as_bytes()).unwrap();
    let expected = ControlData {
        system_id: SystemId::parse("7710726775502640797").unwrap(),
        state: ControlState::ShutDown,
        checkpoint: Lsn(0x017_414F8),
        timeline: Timeline(1),
        minimum_recovery_end: Lsn(0),
        minimum_recovery_timeline: Timeline(0),
        checksums: true,
        wal_log_hints: false,
        max_connections: 100,
        max_worker_processes: 8,
        max_wal_senders: 10,
        max_prepared_transactions: 0,
        max_locks_per_transaction: 64,
    };
    assert_eq!(read, expected);
}

#[test]
fn every_state_is_read_and_another_word_is_none() {
    for words in [
        "starting up",
        "shut down",
        "shut down in recovery",
        "shutting down",
        "in crash recovery",
        "in archive recovery",
        "in production",
    ] {
        let printed = PRINTED.replace("shut down\n", &format!("{words}\n"));
        let read = ControlData::parse(printed.as_bytes()).unwrap();
        assert_eq!(read.state.as_str(), words);
    }
    let printed = PRINTED.replace("shut down\n", "unrecognized status code\n");
    let error = ControlData::parse(printed.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pg_controldata said `Database cluster state: unrecognized status code`, which makes no sense"
    );
}

#[test]
fn a_wrong_checksum_makes_every_word_worthless() {
    let printed = format!(
        "WARNING: Calculated CRC checksum does not match value stored in file.\n\
         Either the file is corrupt, or it has a different layout than this program\n\
         is expecting.  The results below are untrustworthy.\n\n{PRINTED}"
    );
    assert_eq!(
        ControlData::parse(printed.as_bytes()),
        Err(BadControl::Checksum)
    );
}

#[test]
fn each_line_that_is_missing_is_named() {
    let needed = [
        "Database system identifier",
        "Database cluster state",
        "Latest checkpoint location",
        "Latest checkpoint's TimeLineID",
        "Minimum recovery ending location",
        "Min recovery ending loc's timeline",
        "Data page checksum version",
        "wal_log_hints setting",
        "max_connections setting",
        "max_worker_processes setting",
        "max_wal_senders setting",
        "max_prepared_xacts setting",
        "max_locks_per_xact setting",
    ];
    for label in needed {
        let printed = PRINTED.replace(label, "something else");
        assert_eq!(
            ControlData::parse(printed.as_bytes()),
            Err(BadControl::Missing(label))
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(ControlData::parse(&bytes).is_err());
    }

    #[test]
    fn any_damage_to_one_line_is_an_error_or_another_value(at in 0..PRINTED.len(), byte in any::<u8>()) {
        let mut bytes = PRINTED.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = ControlData::parse(&bytes);
    }
}
