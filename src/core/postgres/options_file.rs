//! `postmaster.opts`: how a server was started last; what a crash recovery in single-user mode repeats (contract H.7).

/// The program and its arguments, from the one line of the file: `/path/postgres "-D" "/data" "--port=5432"`; `None` if the
/// file is none that a postmaster wrote. The postmaster quotes nothing inside of its quotes, so that an argument with
/// `" "` in it cannot be told from two.
#[must_use]
pub fn parse(file: &[u8]) -> Option<(String, Vec<String>)> {
    let text = std::str::from_utf8(file).ok()?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let Some((program, arguments)) = text.split_once(" \"") else {
        return (!text.is_empty()).then(|| (text.to_owned(), Vec::new()));
    };
    let arguments = arguments.strip_suffix('"')?;
    let arguments = arguments.split("\" \"").map(str::to_owned).collect();
    (!program.is_empty()).then(|| (program.to_owned(), arguments))
}

/// The parameters among the arguments, `--name=value` and `-c name=value`, without `--config-file`: in their order.
#[must_use]
pub fn parameters(arguments: &[String]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let assignment = match argument.as_str() {
            "-c" => rest.next().map(String::as_str),
            "-D" => {
                rest.next();
                None
            }
            other => other
                .strip_prefix("--")
                .or_else(|| other.strip_prefix("-c")),
        };
        if let Some((name, value)) = assignment.and_then(|word| word.split_once('=')) {
            // PostgreSQL takes both spellings of a name on its command line.
            found.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    found.retain(|(name, _)| name != "config_file");
    found
}
