//! The `leader` key: the name of the member that holds the lock (Patroni 4.1, etcd values, leader).

use super::{Invalid, object};
use crate::MemberName;

const WHAT: &str = "leader value";

/// Reads the holder's name, which is no JSON but the name itself.
///
/// # Errors
///
/// If the value can be no member's name.
pub fn parse(value: &[u8]) -> Result<MemberName, Invalid> {
    object::member_name(WHAT, object::text(WHAT, value)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Why;

    #[test]
    fn the_value_is_the_name_itself() {
        assert_eq!(parse(b"pg-2"), Ok("pg-2".into()));
        assert_eq!(parse("größe 1".as_bytes()), Ok("größe 1".into()));
        assert_eq!(parse(b"null"), Ok("null".into()));
    }

    #[test]
    fn what_can_be_no_key_below_members_is_no_name() {
        for bad in ["", "a/b", "/"] {
            let why = Why::NotAName(bad.to_owned());
            assert_eq!(parse(bad.as_bytes()), Err(Invalid { what: WHAT, why }));
        }
        let why = Why::NotUtf8;
        assert_eq!(parse(b"pg-\xff"), Err(Invalid { what: WHAT, why }));
    }

    #[test]
    fn a_name_that_would_fill_the_log_is_none() {
        let limit = MemberName::LONGEST;
        assert!(parse(&vec![b'a'; limit]).is_ok());
        let bytes = 1 << 20;
        let why = Why::TooLong { bytes, limit };
        assert_eq!(parse(&vec![b'a'; bytes]), Err(Invalid { what: WHAT, why }));
    }
}
