//! Every value Patroni keeps in etcd and every answer of its REST API that Trunkline reads, both directions.
