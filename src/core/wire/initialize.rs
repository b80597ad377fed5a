//! The `initialize` key: whether the cluster was bootstrapped, and as which database (Patroni 4.1, etcd values,
//! initialize).

use super::{Invalid, Why, object};
use crate::SystemId;

const WHAT: &str = "initialize value";

/// Reads the database system identifier; `None` while somebody is bootstrapping.
///
/// # Errors
///
/// If the value is neither empty nor an identifier.
pub fn parse(value: &[u8]) -> Result<Option<SystemId>, Invalid> {
    let text = object::text(WHAT, value)?;
    if text.is_empty() {
        return Ok(None);
    }
    SystemId::parse(text).map(Some).ok_or_else(|| {
        Why::WrongKind {
            expected: "a system identifier",
            found: "other text",
        }
        .of(WHAT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_means_that_somebody_is_bootstrapping() {
        assert_eq!(parse(b""), Ok(None));
    }

    #[test]
    fn an_identifier_is_read_and_anything_else_is_not() {
        let id = parse(b"7710532611349547367").unwrap().unwrap();
        assert_eq!(id.as_str(), "7710532611349547367");
        for bad in [
            b"null".as_slice(),
            b"{}",
            b"123",
            b"77105326113495473 7",
            b"\xff",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
