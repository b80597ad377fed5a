//! `trunklinectl`: says that it is not built yet.

use std::io::Write;
use std::process::ExitCode;

/// EX_UNAVAILABLE of sysexits.
const EX_UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    // Nobody is left to tell if the terminal is gone.
    let _ = writeln!(std::io::stderr(), "{}", trunkline_ctl::NOT_BUILT_YET);
    ExitCode::from(EX_UNAVAILABLE)
}
