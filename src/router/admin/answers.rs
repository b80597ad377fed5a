//! What is answered to a request: one function a path.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use super::ready::{self, Readiness};
use super::stats::Stats;
use super::{Admin, page};

type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const PATHS: &str = "\
/, /stats                   the page for people
/healthz                    200 while the router serves, 503 once it drains
/ready/LISTENER             200 while that listener routes
/ready/CLUSTER/LISTENER     the same, where a listener's name is not enough
/stats.json                 everything, for programs
/metrics                    the same in numbers, for Prometheus
";

/// The answer to `request`. HEAD is answered like GET; the server leaves the body out.
pub(super) fn to<B>(request: &Request<B>, admin: &Admin) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return not_allowed();
    }
    match request.uri().path() {
        "/" | "/stats" => page(admin),
        "/page.js" => answer(StatusCode::OK, SCRIPT, page::SCRIPT),
        "/healthz" => healthz(admin),
        "/stats.json" => stats(admin),
        "/metrics" => metrics(admin),
        path => match path.strip_prefix("/ready/") {
            Some(named) => ready(named, admin),
            None => answer(StatusCode::NOT_FOUND, TEXT, format!("There is:\n{PATHS}")),
        },
    }
}

fn healthz(admin: &Admin) -> Answer {
    if admin.tasks.draining().is_cancelled() {
        return answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n");
    }
    answer(StatusCode::OK, TEXT, "ok\n")
}

fn ready(named: &str, admin: &Admin) -> Answer {
    let (code, text) = match ready::of(named, admin) {
        Readiness::Ready(targets) => (StatusCode::OK, targets),
        Readiness::NotReady(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
        Readiness::NoSuchListener(there_are) => (StatusCode::NOT_FOUND, there_are),
    };
    answer(code, TEXT, text + "\n")
}

fn page(admin: &Admin) -> Answer {
    match page::draw(&Stats::of(admin)) {
        Ok(html) => answer(StatusCode::OK, HTML, html),
        Err(error) => failed(&error),
    }
}

fn stats(admin: &Admin) -> Answer {
    match serde_json::to_vec(&Stats::of(admin)) {
        Ok(json) => answer(StatusCode::OK, JSON, json),
        Err(error) => failed(&error),
    }
}

fn metrics(admin: &Admin) -> Answer {
    admin.gauges.show(&Stats::of(admin));
    answer(StatusCode::OK, PROMETHEUS, admin.recorder.render())
}

fn not_allowed() -> Answer {
    let text = "only GET and HEAD are answered here\n";
    let mut refusal = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, text);
    let allowed = HeaderValue::from_static("GET, HEAD");
    refusal.headers_mut().insert(ALLOW, allowed);
    refusal
}

/// What cannot happen, told rather than hidden.
fn failed(error: &dyn std::error::Error) -> Answer {
    tracing::error!("an answer of the stats port could not be written: {error}");
    let text = format!("the answer could not be written: {error}\n");
    answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
}

fn answer(code: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // All of it is true for this moment only.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let policy = HeaderValue::from_static(page::POLICY);
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
