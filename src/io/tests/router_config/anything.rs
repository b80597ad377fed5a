//! Whatever is written, the answer is a whole router or a refusal.

use proptest::prelude::*;
use trunkline_core::config::router::{Router, describe};

use crate::sources::patroni;
use crate::{MINIMAL, read};

/// Whoever gets a router gets one with somewhere to listen and somewhere to ask.
fn whole(router: &Router) -> bool {
    !router.clusters.is_empty()
        && router.clusters.iter().all(|cluster| {
            !cluster.etcd.endpoints.is_empty()
                && !cluster.scope.as_str().is_empty()
                && !cluster.listeners.is_empty()
                && cluster
                    .listeners
                    .iter()
                    .all(|listener| !listener.bind.is_empty())
        })
}

proptest! {
    #[test]
    fn whatever_is_written_is_understood_as_a_whole_or_refused(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[ -~\n]{0,6}"), 1..4)
    ) {
        let mut text: Vec<char> = include_str!("../../../../config/router.yml").chars().collect();
        for (at, length, instead) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, instead.chars());
        }
        let text: String = text.into_iter().collect();
        if let Ok((router, _)) = read(&text) {
            prop_assert!(whole(&router), "{}", describe(&router));
        }
        let _ = patroni(&text, &[]);
    }

    #[test]
    fn no_value_of_any_key_makes_the_reader_panic(
        key in prop::sample::select(vec![
            "bind", "to", "hold", "max_lag", "tags", "weights", "backup", "keepalive", "maxconn", "retries", "source",
        ]),
        value in prop::sample::select(vec![
            "", "~", "on", "-1", "1e999", "1.0e+300", ".nan", ".inf", "9999999999999TB", "[]", "{}", "[[]]",
            "{a: {}}", "99999999999999999999s", "0x7fffffffffffffff", "'é'", "1é", "[a, {b: c}]",
        ]),
    ) {
        let text = MINIMAL.replace("write: {}", &format!("read: {{{key}: {value}}}"));
        if let Ok((router, _)) = read(&text) {
            prop_assert!(whole(&router));
        }
    }
}
