//! What a configuration asks for that this release cannot do yet: said before anything is started.

use super::{Bind, OnLeave, Router, To};

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
            let unix = listener
                .bind
                .iter()
                .filter(|bind| matches!(bind, Bind::Unix(_)));
            missing.extend(unix.map(|bind| on_unix(&listener.name, bind)));
        }
    }
    let unix = router
        .stats
        .bind
        .iter()
        .filter(|bind| matches!(bind, Bind::Unix(_)));
    missing.extend(unix.map(|bind| on_unix("stats", bind)));
    missing
}

fn on_unix(name: &str, bind: &Bind) -> String {
    format!(
        "listener {name}: {bind}: listening on unix sockets is not built yet; write a TCP address"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::router::from_flags;

    #[test]
    fn unix_sockets_are_refused_by_name() {
        let (mut router, _) = from_flags(&["a:2379".into()], "demo", None).unwrap();
        router.clusters[0].listeners[0].bind = vec![Bind::Unix("/run/w".into())];
        let said = unbuilt(&router);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("/run/w"), "{said:?}");
    }

    #[test]
    fn a_plain_configuration_lacks_nothing() {
        let (router, _) = from_flags(&["a:2379".into()], "demo", None).unwrap();
        assert_eq!(unbuilt(&router), Vec::<String>::new());
    }
}
