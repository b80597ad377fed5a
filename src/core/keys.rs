//! Where Patroni keeps what in etcd.
