//! The text of PostgreSQL's files against what Patroni 4.1.5 and PostgreSQL themselves wrote.

mod captured;
mod changes;
mod control;
mod node;
mod parameters;
