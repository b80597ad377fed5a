//! What more than one Trunkline program does to the world. Nothing here decides.
//!
//! Third-party types stop at the file that wraps them: etcd-client in `etcd`, hyper's client in `http`, sd-notify in
//! `systemd`, the YAML crate in `yaml`.

pub mod clock;
pub mod descriptors;
pub mod etcd;
pub mod files;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod patroni_yml;
pub mod processors;
pub mod shutdown;
pub mod systemd;
pub mod tls;
pub mod yaml;
