//! The page for people, drawn from the same document that programs read.
//!
//! The template stands in `templates/page.html`. Names, tags and causes come from etcd and from whoever answers at
//! a member's address: askama escapes them all, and the headers let no script run but the page's own.

use std::fmt::Display;

use askama::Template;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::stats::{ClusterStats, ListenerStats, MemberStats, PlaceStats, Stats, Tone};

/// The page's own script: with it the page stays live without being loaded anew.
pub(super) const SCRIPT: &str = include_str!("page.js");

/// What a browser may do with the page: draw it, run its script, ask this port again.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; \
                                 connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page as HTML.
pub(super) fn draw(stats: &Stats) -> Result<String, askama::Error> {
    let leaders = stats.clusters.iter().map(|cluster| {
        let leader = cluster.leader.as_deref().unwrap_or("no leader");
        format!("{}: {leader}", cluster.name)
    });
    let title = leaders.collect::<Vec<_>>().join(", ");
    Page { title, stats }.render()
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'s> {
    title: String,
    stats: &'s Stats,
}

/// A row of a listener's table.
struct Row<'s> {
    place: &'s PlaceStats,
    member: &'s MemberStats,
}

impl Row<'_> {
    fn runs(&self) -> bool {
        self.member.state.as_deref() == Some("running")
    }
}

/// The members of a listener, beside what is known of each.
fn rows<'s>(cluster: &'s ClusterStats, listener: &'s ListenerStats) -> Vec<Row<'s>> {
    let row = |place: &'s PlaceStats| {
        let mut members = cluster.members.iter();
        let member = members.find(|member| member.name == place.member)?;
        Some(Row { place, member })
    };
    listener.members.iter().filter_map(row).collect()
}

/// The class of a listener's card: one that routes serves, any other keeps somebody waiting.
fn tone_of(listener: &ListenerStats) -> &'static str {
    match listener.state {
        "routing" => Tone::Serves.as_str(),
        _ => Tone::Waiting.as_str(),
    }
}

/// The path that says whether a listener is ready, good for any name.
fn path_of(cluster: &ClusterStats, listener: &ListenerStats) -> String {
    let encoded = |name| utf8_percent_encode(name, NON_ALPHANUMERIC);
    format!("{}/{}", encoded(&cluster.name), encoded(&listener.name))
}

/// A tag's value: text as it is, anything else as JSON has it.
fn tag_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Sentences begin in small letters where they follow a colon in the log; here they stand alone. A name stays as it
/// is written.
fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    let words = ["the ", "a ", "no ", "new ", "this ", "nobody "];
    match letters.next() {
        Some(first) if words.iter().any(|word| sentence.starts_with(word)) => {
            first.to_uppercase().chain(letters).collect()
        }
        Some(_) | None => sentence.to_owned(),
    }
}

fn or_dash(value: &Option<impl Display>) -> String {
    value
        .as_ref()
        .map_or_else(|| "–".to_owned(), ToString::to_string)
}

fn size_or_dash(bytes: &Option<u64>) -> String {
    bytes.as_ref().map_or_else(|| "–".to_owned(), size)
}

/// A size in PostgreSQL's units, which count by 1024.
pub(super) fn size(bytes: &u64) -> String {
    let mut size = *bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    if unit == "B" || size >= 10.0 {
        format!("{size:.0} {unit}")
    } else {
        format!("{size:.1} {unit}")
    }
}

/// A time of the document, as people write it.
fn clock(rfc3339: &str) -> String {
    rfc3339.replace('T', " ").replace('Z', " UTC")
}

fn is_over(seconds: &f64) -> bool {
    *seconds <= 0.0
}

fn ago(seconds: &f64) -> String {
    format!("{} ago", span(seconds))
}

/// A time span in the two largest units that matter.
pub(super) fn span(seconds: &f64) -> String {
    if *seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let whole = std::time::Duration::try_from_secs_f64(*seconds).map_or(0, |span| span.as_secs());
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{whole} s"),
        (0, 0, _) => format!("{minutes} min {} s", whole % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
