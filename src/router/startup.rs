//! The first packets of a PostgreSQL conversation, as far as a router has to know them.
//!
//! PostgreSQL protocol 3, chapter "Message Formats": StartupMessage, SSLRequest, GSSENCRequest, CancelRequest,
//! ErrorResponse. Bytes that are none of these are not an error here: the router stays layer 4.

/// A start-up packet may be this long; PostgreSQL itself takes no more (MAX_STARTUP_PACKET_LENGTH).
pub const MAX_STARTUP: usize = 10_000;

const PROTOCOL_3: u32 = 3 << 16;
const CANCEL: u32 = (1234 << 16) | 5678;
const SSL: u32 = (1234 << 16) | 5679;
const GSSENC: u32 = (1234 << 16) | 5680;

/// What a client's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Too few to tell; they may still become a start-up packet.
    Incomplete,
    /// It asks for TLS, or for GSSAPI encryption, and waits for one byte.
    AsksEncryption,
    /// It asks to cancel a query; the packet is this long.
    Cancel(usize),
    /// A StartupMessage of this length.
    Startup(usize),
    /// Nothing PostgreSQL knows.
    NotPostgres,
}

/// Tells what `bytes`, the first a client sent, are.
#[must_use]
pub fn first(bytes: &[u8]) -> First {
    let Some(length) = number(bytes, 0) else {
        // A start-up packet is at most 10,000 bytes long: its first byte is zero.
        return if bytes.first().is_none_or(|byte| *byte == 0) {
            First::Incomplete
        } else {
            First::NotPostgres
        };
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !(8..=MAX_STARTUP).contains(&length) {
        return First::NotPostgres;
    }
    let Some(code) = number(bytes, 4) else {
        return First::Incomplete;
    };
    let complete = bytes.len() >= length;
    match code {
        SSL | GSSENC if length == 8 => First::AsksEncryption,
        // 16 bytes in protocol 3.0; a longer key in 3.2.
        CANCEL if length >= 16 && complete => First::Cancel(length),
        CANCEL if length >= 16 => First::Incomplete,
        _ if code >> 16 != 3 => First::NotPostgres,
        _ if complete => First::Startup(length),
        _ => First::Incomplete,
    }
}

/// What a server's first bytes after a StartupMessage are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstReply {
    /// Too few to tell.
    Incomplete,
    /// An ErrorResponse with SQLSTATE 57P03, cannot_connect_now.
    CannotConnectNow,
    /// Another ErrorResponse.
    Error,
    /// Any other message: authentication goes on.
    Other,
    /// Nothing PostgreSQL says.
    NotPostgres,
}

/// Tells what `bytes`, the first a server answered, are.
#[must_use]
pub fn first_reply(bytes: &[u8]) -> FirstReply {
    match bytes.first() {
        None => FirstReply::Incomplete,
        Some(b'E') => error_reply(bytes),
        // Authentication, or NegotiateProtocolVersion.
        Some(b'R' | b'v') => FirstReply::Other,
        Some(_) => FirstReply::NotPostgres,
    }
}

fn error_reply(bytes: &[u8]) -> FirstReply {
    let Some(length) = number(bytes, 1) else {
        return FirstReply::Incomplete;
    };
    let end = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let Some(body) = bytes.get(5..end) else {
        return FirstReply::Incomplete;
    };
    // Fields: a type byte and a text, each ended by a zero byte.
    let code = body
        .split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"C"));
    match code {
        Some(b"57P03") => FirstReply::CannotConnectNow,
        Some(_) | None => FirstReply::Error,
    }
}

/// A StartupMessage for protocol 3.0 with these parameters.
#[must_use]
pub fn message(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = PROTOCOL_3.to_be_bytes().to_vec();
    for (name, value) in parameters {
        for text in [name, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    with_length(None, &body)
}

/// An ErrorResponse: FATAL, with an SQLSTATE and a message.
#[must_use]
pub fn fatal(sqlstate: &str, message: &str, hint: Option<&str>) -> Vec<u8> {
    let mut body = Vec::new();
    let fields = [
        (b'S', "FATAL"),
        (b'V', "FATAL"),
        (b'C', sqlstate),
        (b'M', message),
    ];
    for (kind, text) in fields.into_iter().chain(hint.map(|hint| (b'H', hint))) {
        body.push(kind);
        // A zero byte would end the field early.
        body.extend(text.bytes().filter(|byte| *byte != 0));
        body.push(0);
    }
    body.push(0);
    with_length(Some(b'E'), &body)
}

fn with_length(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    kind.into_iter()
        .chain(length.to_be_bytes())
        .chain(body.iter().copied())
        .collect()
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(code: u32) -> Vec<u8> {
        with_length(None, &code.to_be_bytes())
    }

    #[test]
    fn every_first_packet_is_told_apart() {
        assert_eq!(first(&request(SSL)), First::AsksEncryption);
        assert_eq!(first(&request(GSSENC)), First::AsksEncryption);
        let startup = message(&[("user", "me")]);
        assert_eq!(first(&startup), First::Startup(startup.len()));
        let mut cancel = CANCEL.to_be_bytes().to_vec();
        cancel.extend([0; 8]);
        assert_eq!(first(&with_length(None, &cancel)), First::Cancel(16));
        cancel.extend([0; 28]);
        assert_eq!(first(&with_length(None, &cancel)), First::Cancel(44));
    }

    #[test]
    fn half_a_packet_is_incomplete_and_garbage_is_not_postgresql() {
        let startup = message(&[("user", "me")]);
        for cut in 0..startup.len() {
            assert_eq!(first(&startup[..cut]), First::Incomplete, "{cut} bytes");
        }
        for garbage in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x03\x01",
            &[0, 0, 0, 7, 0, 3, 0, 0],
            &[0, 0, 0, 8, 0, 9, 9, 9],
        ] {
            assert_eq!(first(garbage), First::NotPostgres, "{garbage:?}");
        }
    }

    #[test]
    fn cannot_connect_now_is_known_by_its_sqlstate() {
        let error = fatal("57P03", "the database system is starting up", None);
        assert_eq!(first_reply(&error), FirstReply::CannotConnectNow);
        for cut in 0..error.len() {
            assert_eq!(
                first_reply(&error[..cut]),
                FirstReply::Incomplete,
                "{cut} bytes"
            );
        }
        assert_eq!(first_reply(&fatal("28000", "no", None)), FirstReply::Error);
        assert_eq!(first_reply(b"R\0\0\0\x08\0\0\0\0"), FirstReply::Other);
        assert_eq!(first_reply(b"HTTP/1.0 400"), FirstReply::NotPostgres);
    }
}
