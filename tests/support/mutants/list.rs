//! The mutants: what each breaks, in a sentence, and where.
//!
//! One file a subject. A mutant's text has to be in its file exactly once; keep it as short as that allows.

mod agents;
mod etcd;
mod members;
mod moving;
mod pumping;
mod readers;
mod table;
mod writes;

/// A decision that is broken on purpose.
#[derive(Debug)]
pub(crate) struct Mutant {
    /// What the broken router does.
    pub(crate) says: &'static str,
    /// The file, from the root of the workspace.
    pub(crate) file: &'static str,
    /// Text to find, exactly once each, and what to put in its place.
    pub(crate) edits: &'static [(&'static str, &'static str)],
    /// Who is to catch it.
    pub(crate) tests: Tests,
}

/// The tests a mutant is tried with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tests {
    /// All of core's; these programs (`unit` for the unit tests) before the others.
    Core(&'static [&'static str]),
    /// A test program of the router's library.
    Library(&'static str),
    /// Tests of the router's binary, by a part of their names.
    Router(&'static [&'static str]),
    /// Unit tests of the agent, by a part of their names.
    Agent(&'static str),
}

impl Tests {
    pub(crate) const fn are_core(self) -> bool {
        matches!(self, Self::Core(_))
    }
}

/// All of them, in the order of a decision: what is heard, what it proves, what follows, what is done.
pub(crate) fn all() -> impl Iterator<Item = &'static Mutant> {
    [
        etcd::MUTANTS,
        members::MUTANTS,
        writes::MUTANTS,
        readers::MUTANTS,
        table::MUTANTS,
        moving::MUTANTS,
        pumping::MUTANTS,
        agents::MUTANTS,
    ]
    .into_iter()
    .flatten()
}
