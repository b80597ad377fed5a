//! Configuration: as written in the file, and as meant.
//!
//! A file becomes a tree of [`node`]s (in `trunkline_io::yaml`, the only place that knows YAML). What is
//! written in the tree is read key by key ([`read`], [`value`]) into what is meant ([`router`]), and whatever
//! is wrong on the way is collected ([`problem`]): one look at the messages is to be enough to mend a file.

pub mod agent;
pub mod layers;
pub mod node;
pub mod problem;
pub mod read;
pub mod router;
pub mod value;

pub use node::{Key, Node, Value};
pub use problem::{Problem, Problems, Severity};
