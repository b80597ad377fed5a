//! Each ban of `clippy.toml` fires: without that, a misspelt or outdated entry would forbid nothing and say nothing.
//!
//! Every proof uses what is banned and *expects* the lint, so `clippy -D warnings` fails where it stays silent. The
//! proofs are only compiled; what is run is the comparison of the two lists.

/// Proves that methods are banned: each is named, with its type, in a function that nobody calls.
macro_rules! banned_methods {
    ($($path:path as $type:ty,)*) => {
        const METHODS: &[(&str, fn())] = &[$((stringify!($path), {
            #[expect(clippy::disallowed_methods, reason = "the proof that it is banned")]
            fn proof() {
                let _: $type = $path;
            }
            proof
        }),)*];
    };
}

/// The same for types.
macro_rules! banned_types {
    ($($path:path as $type:ty,)*) => {
        const TYPES: &[(&str, fn())] = &[$((stringify!($path), {
            #[expect(clippy::disallowed_types, reason = "the proof that it is banned")]
            fn proof() {
                let _: Option<$type> = None;
            }
            proof
        }),)*];
    };
}

type Path = &'static str;

banned_methods! {
    std::time::Instant::now as fn() -> _,
    std::time::Instant::elapsed as fn(&'static _) -> _,
    std::time::SystemTime::now as fn() -> _,
    std::time::SystemTime::elapsed as fn(&'static _) -> _,
    jiff::Timestamp::now as fn() -> _,
    jiff::Zoned::now as fn() -> _,
    std::env::var as fn(Path) -> _,
    std::env::var_os as fn(Path) -> _,
    std::env::vars as fn() -> _,
    std::env::vars_os as fn() -> _,
    std::env::set_var as unsafe fn(Path, Path),
    std::env::remove_var as unsafe fn(Path),
    std::env::args as fn() -> _,
    std::env::args_os as fn() -> _,
    std::env::current_dir as fn() -> _,
    std::env::current_exe as fn() -> _,
    std::env::home_dir as fn() -> _,
    std::env::temp_dir as fn() -> _,
    std::fs::read as fn(Path) -> _,
    std::fs::read_dir as fn(Path) -> _,
    std::fs::read_link as fn(Path) -> _,
    std::fs::read_to_string as fn(Path) -> _,
    std::fs::write as fn(Path, Path) -> _,
    std::fs::copy as fn(Path, Path) -> _,
    std::fs::rename as fn(Path, Path) -> _,
    std::fs::exists as fn(Path) -> _,
    std::fs::metadata as fn(Path) -> _,
    std::fs::canonicalize as fn(Path) -> _,
    std::fs::create_dir as fn(Path) -> _,
    std::fs::create_dir_all as fn(Path) -> _,
    std::fs::remove_dir as fn(Path) -> _,
    std::fs::remove_dir_all as fn(Path) -> _,
    std::fs::remove_file as fn(Path) -> _,
    std::fs::File::open as fn(Path) -> _,
    std::fs::File::create as fn(Path) -> _,
    std::fs::OpenOptions::open as fn(&'static _, Path) -> _,
    std::path::Path::exists as fn(&'static _) -> _,
    std::io::stdin as fn() -> _,
    std::thread::spawn as fn(fn()) -> _,
    std::thread::Builder::spawn as fn(_, fn()) -> _,
    std::thread::scope as fn(fn(&std::thread::Scope<'_, '_>)) -> _,
    std::thread::sleep as fn(_),
    std::process::exit as fn(_) -> _,
    std::process::abort as fn() -> _,
    std::process::id as fn() -> _,
    std::process::Command::new as fn(Path) -> _,
    std::net::TcpStream::connect as fn(Path) -> _,
    std::net::TcpStream::connect_timeout as fn(&'static _, _) -> _,
    std::net::TcpListener::bind as fn(Path) -> _,
    std::net::UdpSocket::bind as fn(Path) -> _,
    std::net::ToSocketAddrs::to_socket_addrs as fn(&'static Path) -> _,
    std::os::unix::net::UnixStream::connect as fn(Path) -> _,
    std::os::unix::net::UnixListener::bind as fn(Path) -> _,
}

banned_types! {
    std::collections::HashMap as std::collections::HashMap<u8, u8>,
    std::collections::HashSet as std::collections::HashSet<u8>,
    std::hash::RandomState as std::hash::RandomState,
}

/// The `path` of every entry, whichever list it stands in.
fn banned() -> impl Iterator<Item = &'static str> {
    include_str!("../clippy.toml")
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once("path = \""))
        .filter_map(|(_, entry)| entry.split_once('"'))
        .map(|(path, _)| path)
}

#[test]
fn every_ban_has_its_proof_and_every_proof_its_ban() {
    let written: Vec<&str> = banned().collect();
    let proven: Vec<&str> = METHODS.iter().chain(TYPES).map(|(path, _)| *path).collect();
    assert_eq!(
        written, proven,
        "clippy.toml and the proofs, in their order"
    );
}
