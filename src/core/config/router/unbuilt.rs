//! What a configuration asks for that this release cannot do yet: said before anything is started.

use super::{OnLeave, Router, To};

/// One sentence for each thing the router would have to ignore.
#[must_use]
pub fn unbuilt(router: &Router) -> Vec<String> {
    let mut missing = Vec::new();
    for cluster in &router.clusters {
        for listener in &cluster.listeners {
            if matches!(listener.to, To::Primary | To::StandbyLeader)
                && listener.on_leave == OnLeave::Drain
            {
                let name = &listener.name;
                missing.push(format!(
                    "listener {name}: on_leave: drain is not built for a leader; write kill"
                ));
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::router::{Bind, from_flags};

    #[test]
    fn writers_that_are_to_be_drained_are_refused_by_their_listeners_name() {
        let (mut router, _) = from_flags(&["a:2379".into()], "demo", None).unwrap();
        router.clusters[0].listeners[0].on_leave = OnLeave::Drain;
        let said = unbuilt(&router);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("listener write"), "{said:?}");
    }

    #[test]
    fn a_plain_configuration_lacks_nothing_and_neither_does_one_with_unix_sockets() {
        let (mut router, _) = from_flags(&["a:2379".into()], "demo", None).unwrap();
        assert_eq!(unbuilt(&router), Vec::<String>::new());
        router.clusters[0].listeners[0].bind = vec![Bind::Unix("/run/w".into())];
        router.stats.bind = vec![Bind::Unix("/run/s".into())];
        assert_eq!(unbuilt(&router), Vec::<String>::new());
    }
}
