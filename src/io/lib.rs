//! Effects shared by the programs.
