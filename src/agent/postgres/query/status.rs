//! The one question of a heartbeat, and reading its answer (contract, appendix B): a JSON document, so that one round
//! trip brings everything and no type has to be looked up.

use serde::Deserialize;
use trunkline_core::postgres::{Database, Limits, Slot, WalReceiver, WalSender};
use trunkline_core::{Lsn, Timeline};

/// Understood by PostgreSQL 13 to 18. Whether it is in recovery is asked once: the rest hangs on it.
pub(in crate::postgres) const QUERY: &str = r"
SELECT pg_catalog.json_build_object(
  'version', current_setting('server_version_num')::int,
  'started', to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00:00',
  'in_recovery', r.recovers,
  'timeline', CASE WHEN NOT r.recovers
    THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
    WHEN w.latest_end_lsn IS NOT NULL THEN w.received_tli END,
  'checkpoint_timeline', (SELECT timeline_id FROM pg_control_checkpoint()),
  'flushed', CASE WHEN NOT r.recovers THEN pg_current_wal_flush_lsn() - '0/0' END,
  'received', CASE WHEN r.recovers THEN greatest(pg_last_wal_receive_lsn(), w.written_lsn) - '0/0' END,
  'replayed', CASE WHEN r.recovers THEN pg_last_wal_replay_lsn() - '0/0' END,
  'replayed_at', CASE WHEN r.recovers THEN
    to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00:00' END,
  'replay_paused', CASE WHEN r.recovers THEN pg_is_wal_replay_paused() ELSE false END,
  'limits', json_build_object(
    'max_connections', current_setting('max_connections')::int,
    'max_worker_processes', current_setting('max_worker_processes')::int,
    'max_wal_senders', current_setting('max_wal_senders')::int,
    'max_prepared_transactions', current_setting('max_prepared_transactions')::int,
    'max_locks_per_transaction', current_setting('max_locks_per_transaction')::int),
  'receiver', CASE WHEN w.pid IS NOT NULL THEN json_build_object(
    'status', w.status, 'slot', w.slot_name, 'host', w.sender_host, 'port', w.sender_port,
    'latest_end', w.latest_end_lsn - '0/0', 'timeline', w.received_tli) END,
  'restores', coalesce(current_setting('restore_command', true), '') <> '',
  'standbys', (SELECT coalesce(json_agg(json_build_object(
      'user', s.usename, 'application', s.application_name, 'address', host(s.client_addr), 'state', s.state,
      'sync_state', s.sync_state, 'sync_priority', s.sync_priority, 'flushed', s.flush_lsn - '0/0')
      ORDER BY s.application_name, s.pid), '[]')
    FROM pg_stat_replication s),
  'slots', (SELECT coalesce(json_agg(json_build_object(
      'name', t.slot_name, 'logical', t.slot_type = 'logical', 'plugin', t.plugin, 'database', t.database,
      'active', t.active, 'xmin', t.xmin IS NOT NULL, 'restart', t.restart_lsn - '0/0',
      'confirmed', t.confirmed_flush_lsn - '0/0', 'lost', coalesce(t.wal_status = 'lost', false))
      ORDER BY t.slot_name), '[]')
    FROM pg_replication_slots t
    WHERE NOT t.temporary AND NOT coalesce((to_jsonb(t) ->> 'failover')::boolean, false))
)
FROM (SELECT pg_is_in_recovery() AS recovers) r
LEFT JOIN pg_stat_get_wal_receiver() w ON true";

/// Reads the answer.
pub(in crate::postgres) fn read(answer: &str) -> Result<Database, serde_json::Error> {
    let answer: Answer = serde_json::from_str(answer)?;
    // Zero is PostgreSQL's word for none.
    let lsn = |bytes: Option<u64>| bytes.filter(|bytes| *bytes > 0).map(Lsn);
    Ok(Database {
        version: answer.version,
        started: answer.started,
        in_recovery: answer.in_recovery,
        timeline: answer.timeline.map(Timeline),
        checkpoint_timeline: answer.checkpoint_timeline.map(Timeline),
        flushed: lsn(answer.flushed),
        received: lsn(answer.received),
        replayed: lsn(answer.replayed),
        replayed_at: answer.replayed_at,
        replay_paused: answer.replay_paused,
        limits: Some(Limits {
            max_connections: answer.limits.max_connections,
            max_worker_processes: answer.limits.max_worker_processes,
            max_wal_senders: answer.limits.max_wal_senders,
            max_prepared_transactions: answer.limits.max_prepared_transactions,
            max_locks_per_transaction: answer.limits.max_locks_per_transaction,
        }),
        receiver: answer.receiver.map(|receiver| WalReceiver {
            status: receiver.status.unwrap_or_default(),
            slot: receiver.slot,
            host: receiver.host,
            port: receiver.port.and_then(|port| u16::try_from(port).ok()),
            latest_end: lsn(receiver.latest_end),
            timeline: receiver.timeline.map(Timeline),
        }),
        restores_from_archive: answer.restores,
        standbys: answer.standbys.into_iter().map(Standby::read).collect(),
        slots: answer.slots.into_iter().map(SlotRow::read).collect(),
    })
}

#[derive(Deserialize)]
struct Answer {
    version: u32,
    started: String,
    in_recovery: bool,
    timeline: Option<u32>,
    checkpoint_timeline: Option<u32>,
    flushed: Option<u64>,
    received: Option<u64>,
    replayed: Option<u64>,
    replayed_at: Option<String>,
    replay_paused: bool,
    limits: Limited,
    receiver: Option<Receiver>,
    restores: bool,
    standbys: Vec<Standby>,
    slots: Vec<SlotRow>,
}

#[derive(Deserialize)]
struct Limited {
    max_connections: u32,
    max_worker_processes: u32,
    max_wal_senders: u32,
    max_prepared_transactions: u32,
    max_locks_per_transaction: u32,
}

#[derive(Deserialize)]
struct Receiver {
    status: Option<String>,
    slot: Option<String>,
    host: Option<String>,
    port: Option<i32>,
    latest_end: Option<u64>,
    timeline: Option<u32>,
}

#[derive(Deserialize)]
struct Standby {
    user: Option<String>,
    application: Option<String>,
    address: Option<String>,
    state: Option<String>,
    sync_state: Option<String>,
    sync_priority: Option<u32>,
    flushed: Option<u64>,
}

impl Standby {
    fn read(self) -> WalSender {
        WalSender {
            user: self.user,
            application: self.application.unwrap_or_default(),
            address: self.address,
            state: self.state.unwrap_or_default(),
            sync_state: self.sync_state.unwrap_or_default(),
            sync_priority: self.sync_priority.unwrap_or_default(),
            flushed: self.flushed.map(Lsn),
        }
    }
}

#[derive(Deserialize)]
struct SlotRow {
    name: String,
    logical: bool,
    plugin: Option<String>,
    database: Option<String>,
    active: bool,
    xmin: bool,
    restart: Option<u64>,
    confirmed: Option<u64>,
    lost: bool,
}

impl SlotRow {
    fn read(self) -> Slot {
        Slot {
            name: self.name,
            logical: self.logical,
            plugin: self.plugin,
            database: self.database,
            active: self.active,
            xmin: self.xmin,
            restart: self.restart.map(Lsn),
            confirmed: self.confirmed.map(Lsn),
            lost: self.lost,
        }
    }
}
