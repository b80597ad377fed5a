//! `postmaster.pid`: what a running postmaster writes of itself into the data directory.

/// What stands in it, as far as it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockFile {
    /// The process. Of a `postgres --single` the file has the number with a minus sign.
    pub pid: u32,
    /// Whether it is a `postgres --single` and no postmaster.
    pub single_user: bool,
    /// The data directory, where one is named.
    pub data_directory: Option<String>,
    /// When it was started, in seconds of the Unix epoch; of a very young file not yet there.
    pub started: Option<u64>,
    /// The directory of the first unix socket, where there is one.
    pub socket_directory: Option<String>,
    /// Where it is in its life; not yet there in a very young file.
    pub status: Option<PostmasterStatus>,
}

/// Where a postmaster is in its life (the eighth line).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostmasterStatus {
    /// `starting`: it recovers, and takes no connections.
    Starting,
    /// `stopping`.
    Stopping,
    /// `ready`: it takes connections.
    Ready,
    /// `standby`: it recovers and will take no connections, since hot_standby is off.
    Standby,
}

impl LockFile {
    /// Reads the file; `None` where its first line is no process number (it is being written, or is damaged).
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines().map(str::trim);
        let number: i64 = lines.next()?.parse().ok()?;
        let pid = u32::try_from(number.unsigned_abs())
            .ok()
            .filter(|pid| *pid > 0 && i32::try_from(*pid).is_ok())?;
        let data_directory = lines
            .next()
            .filter(|line| !line.is_empty())
            .map(str::to_owned);
        let started = lines.next().and_then(|line| line.parse().ok());
        let _port = lines.next();
        let socket_directory = lines
            .next()
            .filter(|line| line.starts_with('/'))
            .map(str::to_owned);
        let (_address, _shared_memory) = (lines.next(), lines.next());
        let status = lines.next().and_then(PostmasterStatus::parse);
        Some(Self {
            pid,
            single_user: number < 0,
            data_directory,
            started,
            socket_directory,
            status,
        })
    }
}

impl PostmasterStatus {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "starting" => Some(Self::Starting),
            "stopping" => Some(Self::Stopping),
            "ready" => Some(Self::Ready),
            "standby" => Some(Self::Standby),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_postmaster_that_is_ready_is_read_whole() {
        let text =
            b"4711\n/data\n1732200000\n5432\n/run/postgresql\n127.0.0.1\n  12345   7\nready   \n";
        let file = LockFile::parse(text).unwrap();
        assert_eq!(
            file,
            LockFile {
                pid: 4711,
                single_user: false,
                data_directory: Some("/data".to_owned()),
                started: Some(1_732_200_000),
                socket_directory: Some("/run/postgresql".to_owned()),
                status: Some(PostmasterStatus::Ready),
            }
        );
    }

    #[test]
    fn a_file_that_is_being_written_says_what_it_has() {
        let file = LockFile::parse(b"4711\n/data\n1732200000\n5432\n").unwrap();
        assert_eq!((file.pid, file.status), (4711, None));
        let no_socket = LockFile::parse(b"4711\n/data\n1\n5432\n\n*\n  1 2\nstopping\n").unwrap();
        assert_eq!(no_socket.socket_directory, None);
        assert_eq!(no_socket.status, Some(PostmasterStatus::Stopping));
    }

    #[test]
    fn a_single_user_backend_is_no_postmaster() {
        let file = LockFile::parse(b"-4711\n/data\n").unwrap();
        assert_eq!((file.pid, file.single_user), (4711, true));
    }

    #[test]
    fn what_names_no_process_is_no_lock_file() {
        for bad in [
            "",
            "\n",
            "0\n",
            "abc\n",
            "4294967295\n",
            "99999999999999999999\n",
        ] {
            assert_eq!(LockFile::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = LockFile::parse(&bytes);
        }
    }
}
