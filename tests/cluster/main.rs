//! The router before a real cluster, etcd, PostgreSQL and Patroni as people run them; and our agents in Patroni's place.
//!
//! One module a situation. They share one cluster (see `shared`) and take turns with it, since three
//! nodes and a fault are all that two cores can carry. Faults of machines and of the network have a cluster of
//! their own (see `wire`), each part of it on a host that can be cut off, frozen or killed. Bounds are generous, and say only that
//! something comes to an end; figures are `make figures`' business.

mod address_recycled;
mod agent_bad_input;
mod agent_bootstrap;
mod agent_callbacks;
mod agent_configuration;
mod agent_etcd_gone;
mod agent_full_disk;
mod agent_hostile_clients;
mod agent_hostssl;
mod agent_killed;
mod agent_mixed;
mod agent_node_killed;
mod agent_node_vanishes;
mod agent_patronictl;
mod agent_paused;
mod agent_postgresql_killed;
mod agent_raw_bytes;
mod agent_restored;
mod agent_starved;
mod agent_stopped;
mod agent_switchover;
mod agent_tls;
mod agent_wrong_parts;
mod agents;
mod cancel;
mod certificates;
mod etcd_frozen;
mod etcd_member_dies;
mod etcd_quorum;
mod etcd_rebuilt;
mod members_change;
mod node_frozen;
mod node_killed;
mod node_vanishes;
mod patroni_stopped;
mod paused;
mod placement;
mod primary_killed;
mod replication;
mod rest_silent;
mod restarted;
mod router_cut_off;
mod router_frozen;
mod router_starts;
mod several_routers;
mod shared;
mod standby_cluster;
mod switchover;
mod tls;
mod wire;
