//! Reading one request: its head, and its body if it is wanted.

use tokio::io::{AsyncRead, AsyncReadExt};
use trunkline_core::rest::Request;
use trunkline_core::rest::reply::{Form, Reply};

/// How long a request's line and headers may be, in bytes.
const HEAD: usize = 32 * 1024;
/// How many headers there may be.
const HEADERS: usize = 100;
/// How long a body may be, in bytes.
const BODY: usize = 1024 * 1024;

/// The head of a request.
#[derive(Debug)]
pub(super) struct Head {
    /// What is asked.
    pub(super) request: Request,
    /// In which form the answer is wanted.
    pub(super) form: Form,
    /// `Authorization`.
    pub(super) authorization: Option<Vec<u8>>,
    /// `Content-Length`, as it was written.
    length: Option<Vec<u8>>,
    /// What was read behind the head.
    begun: Vec<u8>,
}

/// Why there is no request.
#[derive(Debug)]
pub(super) enum Unread {
    /// The client left.
    Gone,
    /// It is none; what is to be answered.
    Bad(Reply),
}

/// Reads the head of a request.
///
/// # Errors
/// [`Unread`]
pub(super) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Result<Head, Unread> {
    let mut read = Vec::with_capacity(1024);
    loop {
        if let Some(head) = parsed(&mut read)? {
            return Ok(head);
        }
        if read.len() >= HEAD {
            let of_the_line = !read.contains(&b'\n');
            let code = if of_the_line { 414 } else { 431 };
            return Err(Unread::Bad(Reply::page(code)));
        }
        more(stream, &mut read, HEAD).await?;
    }
}

/// Reads the body the head announces.
///
/// # Errors
/// [`Unread`]
pub(super) async fn body(
    stream: &mut (impl AsyncRead + Unpin),
    head: &Head,
) -> Result<Vec<u8>, Unread> {
    let bad = |code| Unread::Bad(Reply::page(code));
    let length = head.length.as_deref().ok_or_else(|| bad(411))?;
    let length: usize = std::str::from_utf8(length)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| bad(400))?;
    if length > BODY {
        return Err(bad(413));
    }
    let mut body = head.begun.clone();
    while body.len() < length {
        more(stream, &mut body, length).await?;
    }
    body.truncate(length);
    Ok(body)
}

/// Reads on, no further than `limit` in all.
async fn more(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
    limit: usize,
) -> Result<(), Unread> {
    let room = limit.saturating_sub(read.len());
    let mut some = stream.take(room.try_into().unwrap_or(u64::MAX));
    match some.read_buf(read).await {
        Ok(0) | Err(_) => Err(Unread::Gone),
        Ok(_) => Ok(()),
    }
}

/// The head, once all of it is there.
fn parsed(read: &mut Vec<u8>) -> Result<Option<Head>, Unread> {
    if let Some(head) = ancient(read) {
        return head.map(Some);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let end = match request.parse(read) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Unread::Bad(Reply::page(431))),
        Err(httparse::Error::Version) if is_of_three_words(read) => {
            return Err(Unread::Bad(Reply::page(505)));
        }
        Err(_) => return Err(Unread::Bad(Reply::page(400))),
    };
    let value = |name: &str| {
        let mut named = request
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        named.next().map(|header| header.value.to_vec())
    };
    let method = request.method.unwrap_or_default();
    let mut head = Head {
        request: Request::new(method, request.path.unwrap_or_default()),
        form: if method == "HEAD" {
            Form::HeadOnly
        } else {
            Form::Whole
        },
        authorization: value("authorization"),
        length: value("content-length"),
        begun: Vec::new(),
    };
    head.begun = read.split_off(end);
    Ok(Some(head))
}

/// Whether the first line has a method, a path and a version, whichever.
fn is_of_three_words(read: &[u8]) -> bool {
    let line = read.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let words = line.split(u8::is_ascii_whitespace);
    words.filter(|word| !word.is_empty()).count() == 3
}

/// HTTP/0.9, which is a line of a method and a path: `None` if this is something later.
fn ancient(read: &[u8]) -> Option<Result<Head, Unread>> {
    let end = read.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&read[..end]).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    if method != "GET" {
        return Some(Err(Unread::Bad(Reply::page(400))));
    }
    Some(Ok(Head {
        request: Request::new(method, path),
        form: Form::BodyOnly,
        authorization: None,
        length: None,
        begun: Vec::new(),
    }))
}
