//! An answer, and how it stands on the wire.
//!
//! The server Patroni's clients know is Python's: HTTP/1.0 whatever was asked in, bodies that end with the
//! connection, some answers without a single header, and error pages of its own (contract 2.1).

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::config::agent::ServerTokens;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The status line and nothing else.
    Bare(u16),
    /// A status with a body.
    Text {
        /// The status.
        code: u16,
        /// What the body is.
        kind: Kind,
        /// A header that stands before the body's kind.
        header: Option<(&'static str, String)>,
        /// The body.
        body: String,
    },
    /// An error page; the text instead of the status' own where there is one.
    Page(u16, Option<String>),
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON.
    Json,
    /// A sentence. Patroni calls it HTML.
    Html,
    /// Metrics.
    Plain,
}

/// What a server says of itself, and on top of every answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// `restapi.server_tokens`.
    pub tokens: ServerTokens,
    /// `restapi.http_extra_headers`.
    pub extra_headers: Vec<(String, String)>,
}

/// How a question was put, as far as the form of the answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With a version of HTTP: the answer has a head.
    Whole,
    /// HEAD: the answer has nothing else.
    HeadOnly,
    /// Without a version, HTTP/0.9: the answer has none.
    BodyOnly,
}

impl Reply {
    /// JSON under a status.
    #[must_use]
    pub fn json(code: u16, body: impl Into<String>) -> Self {
        Self::text(code, Kind::Json, body)
    }

    /// A sentence under a status.
    #[must_use]
    pub fn sentence(code: u16, body: impl Into<String>) -> Self {
        Self::text(code, Kind::Html, body)
    }

    /// A body under a status.
    #[must_use]
    pub fn text(code: u16, kind: Kind, body: impl Into<String>) -> Self {
        Self::Text {
            code,
            kind,
            header: None,
            body: body.into(),
        }
    }

    /// The error page of a status.
    #[must_use]
    pub const fn page(code: u16) -> Self {
        Self::Page(code, None)
    }

    /// The error page for a method nobody handles.
    #[must_use]
    pub fn unsupported(method: &str) -> Self {
        Self::Page(501, Some(format!("Unsupported method ('{method}')")))
    }

    /// The status.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Bare(code) | Self::Text { code, .. } | Self::Page(code, _) => *code,
        }
    }

    /// The bytes of the answer; `wall` goes into its date.
    #[must_use]
    pub fn written(&self, form: Form, by: &Signature, wall: Timestamp) -> Vec<u8> {
        let (head, body) = match self {
            Self::Bare(code) => (format!("{}\r\n", status_line(*code, None)), String::new()),
            Self::Text {
                code,
                kind,
                header,
                body,
            } => {
                let mut head = by.opening(*code, None, wall);
                if let Some((name, value)) = header {
                    line(&mut head, name, value);
                }
                line(&mut head, "Content-Type", kind.as_str());
                for (name, value) in &by.extra_headers {
                    line(&mut head, name, value);
                }
                head.push_str("\r\n");
                (head, body.clone())
            }
            Self::Page(code, message) => {
                let body = page(*code, message.as_deref());
                let mut head = by.opening(*code, message.as_deref(), wall);
                line(&mut head, "Connection", "close");
                line(&mut head, "Content-Type", "text/html;charset=utf-8");
                line(&mut head, "Content-Length", &body.len().to_string());
                head.push_str("\r\n");
                (head, body)
            }
        };
        match form {
            Form::Whole => (head + &body).into_bytes(),
            Form::HeadOnly => head.into_bytes(),
            Form::BodyOnly => body.into_bytes(),
        }
    }
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Html => "text/html",
            Self::Plain => "text/plain",
        }
    }
}

impl Signature {
    /// The status line and the two headers every answer with headers begins with.
    fn opening(&self, code: u16, message: Option<&str>, wall: Timestamp) -> String {
        let mut head = status_line(code, message);
        let server = match self.tokens {
            ServerTokens::Original => "BaseHTTP/0.6 Python/3.11.2",
            ServerTokens::Minimal => "Patroni/4.1.5",
            ServerTokens::ProductOnly => "Patroni",
        };
        line(&mut head, "Server", server);
        let date = wall.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        line(&mut head, "Date", &date);
        head
    }
}

fn status_line(code: u16, message: Option<&str>) -> String {
    let message = message.unwrap_or_else(|| words(code).0);
    let mut text = format!("HTTP/1.0 {code} ");
    push_clean(&mut text, message);
    text.push_str("\r\n");
    text
}

fn line(head: &mut String, name: &str, value: &str) {
    push_clean(head, name);
    head.push_str(": ");
    push_clean(head, value);
    head.push_str("\r\n");
}

/// Adds text that cannot end its line, wherever it comes from.
fn push_clean(head: &mut String, text: &str) {
    head.extend(text.chars().filter(|character| !character.is_control()));
}

fn page(code: u16, message: Option<&str>) -> String {
    let (own, explanation) = words(code);
    let mut html = String::from(
        "<!DOCTYPE HTML>\n<html lang=\"en\">\n    <head>\n        <meta charset=\"utf-8\">\n        \
         <title>Error response</title>\n    </head>\n    <body>\n        <h1>Error response</h1>\n",
    );
    let message = escaped(message.unwrap_or(own));
    // Writing to a string does not fail.
    let _ = write!(
        html,
        "        <p>Error code: {code}</p>\n        <p>Message: {message}.</p>\n        \
         <p>Error code explanation: {code} - {explanation}.</p>\n    </body>\n</html>\n"
    );
    html
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// What a status is called, and what Python explains it as.
const fn words(code: u16) -> (&'static str, &'static str) {
    match code {
        200 => ("OK", "Request fulfilled, document follows"),
        202 => (
            "Accepted",
            "Request accepted, processing continues off-line",
        ),
        400 => ("Bad Request", "Bad request syntax or unsupported method"),
        401 => ("Unauthorized", "No permission -- see authorization schemes"),
        403 => (
            "Forbidden",
            "Request forbidden -- authorization will not help",
        ),
        404 => ("Not Found", "Nothing matches the given URI"),
        408 => ("Request Timeout", "Request timed out; try again later"),
        409 => ("Conflict", "Request conflict"),
        411 => ("Length Required", "Client must specify Content-Length"),
        412 => ("Precondition Failed", "Precondition in headers is false"),
        413 => ("Request Entity Too Large", "Entity is too large"),
        414 => ("Request-URI Too Long", "URI is too long"),
        422 => ("Unprocessable Entity", ""),
        431 => (
            "Request Header Fields Too Large",
            "The server is unwilling to process the request because its header fields are too large",
        ),
        500 => ("Internal Server Error", "Server got itself in trouble"),
        501 => ("Not Implemented", "Server does not support this operation"),
        502 => ("Bad Gateway", "Invalid responses from another server/proxy"),
        503 => (
            "Service Unavailable",
            "The server cannot process the request due to a high load",
        ),
        505 => ("HTTP Version Not Supported", "Cannot fulfill request"),
        _ => ("", ""),
    }
}
