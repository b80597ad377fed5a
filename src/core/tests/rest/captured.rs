//! Every information endpoint, head and body, as Patroni answered it on each of three nodes.

use trunkline_core::rest::reply::Form;
use trunkline_core::rest::{Kind, Reply, Signature, cluster, metrics, status};
use trunkline_core::wire::rest::StatusDocument;

use crate::captures::{Captured, NOW, as_patroni, database, told, view};

const SYNCHRONOUS: &str = include_str!("../fixtures/etcd-synchronous.txt");

macro_rules! answers {
    ($what:literal) => {
        [
            include_str!(concat!("../fixtures/rest/pg-1-", $what, ".http")),
            include_str!(concat!("../fixtures/rest/pg-2-", $what, ".http")),
            include_str!(concat!("../fixtures/rest/pg-3-", $what, ".http")),
        ]
        .map(Captured::new)
    };
}

fn is_written(capture: &Captured, reply: &Reply) {
    let written = reply.written(Form::Whole, &Signature::default(), capture.date);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&written), text(capture.whole));
}

#[test]
fn the_status_document_is_patronis_on_every_node() {
    for capture in answers!("patroni") {
        let captured = StatusDocument::parse(capture.body.as_bytes()).unwrap();
        let leads = captured.xlog.location.is_some();
        let told = told(&captured, view(SYNCHRONOUS), leads);
        let document = status::document(&told, &database(&captured), NOW);
        assert_eq!(document.leader_until_ms, leads.then_some(20_000));
        is_written(&capture, &Reply::json(200, as_patroni(document).to_json()));
    }
}

#[test]
fn the_metrics_are_patronis_on_every_node() {
    for (metrics_capture, capture) in answers!("metrics").into_iter().zip(answers!("patroni")) {
        let captured = StatusDocument::parse(capture.body.as_bytes()).unwrap();
        let leads = captured.xlog.location.is_some();
        let told = told(&captured, view(SYNCHRONOUS), leads);
        let document = status::document(&told, &database(&captured), NOW);
        let text = metrics::text(&told, &document);
        is_written(&metrics_capture, &Reply::text(200, Kind::Plain, text));
    }
}

#[test]
fn the_cluster_is_told_as_patroni_tells_it() {
    let synchronous = view(SYNCHRONOUS);
    for capture in answers!("cluster") {
        let body = cluster::document(&synchronous, &"demo".into());
        is_written(&capture, &Reply::json(200, body));
    }
}

#[test]
fn the_cluster_in_quorum_mode_is_told_as_patroni_tells_it() {
    let capture = Captured::new(include_str!("../fixtures/rest/quorum-cluster.http"));
    let quorum = include_str!("../fixtures/etcd-quorum.txt");
    let body = cluster::document(&view(quorum), &"demo".into());
    is_written(&capture, &Reply::json(200, body));
}

#[test]
fn configuration_history_and_failsafe_are_what_stands_in_etcd() {
    let view = view(SYNCHRONOUS);
    for capture in answers!("config") {
        is_written(&capture, &Reply::json(200, view.config.to_spaced()));
    }
    for capture in answers!("history") {
        let history = view.history.clone().unwrap();
        is_written(&capture, &Reply::json(200, history.to_spaced()));
    }
    for capture in answers!("failsafe") {
        let failsafe = view.failsafe.clone().unwrap();
        is_written(&capture, &Reply::json(200, failsafe.to_spaced()));
    }
}
