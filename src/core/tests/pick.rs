//! Choosing one target of several.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use trunkline_core::MemberName;
use trunkline_core::config::router::{Balance, Bind, Listener, To};
use trunkline_core::route::Target;
use trunkline_core::route::pick::{Draw, Picked, pick};

fn listener(balance: Balance) -> Listener {
    let mut listener = Listener::new("read", vec![Bind::any(5001)], To::Replicas);
    listener.balance = balance;
    listener
}

fn weighing(balance: Balance, weights: &[(&str, u32)]) -> Listener {
    let mut listener = listener(balance);
    listener.weights = weights
        .iter()
        .map(|(name, weight)| ((*name).into(), *weight))
        .collect();
    listener
}

fn targets(names: &[&str]) -> Vec<Target> {
    let target = |name: &&str| Target {
        member: MemberName::from(*name),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 5432)).into(),
    };
    names.iter().map(target).collect()
}

const THREE: [&str; 3] = ["pg-1", "pg-2", "pg-3"];
const NOBODY_TRIED: Draw<'static> = Draw {
    loads: &[],
    turn: 0,
    chance: 0,
    client: None,
    tried: &[],
};

/// How often each target is chosen in `rounds` turns.
fn counts(listener: &Listener, names: &[&str], rounds: u64) -> Vec<u32> {
    let mut counts = vec![0; names.len()];
    for turn in 0..rounds {
        let draw = Draw {
            turn,
            chance: turn,
            ..NOBODY_TRIED
        };
        match pick(listener, &targets(names), draw) {
            Picked::Target(place) => counts[place] += 1,
            Picked::Full | Picked::Nobody => panic!("nobody is chosen"),
        }
    }
    counts
}

fn client(number: u8) -> Option<IpAddr> {
    Some(IpAddr::from([192, 0, 2, number]))
}

/// Which member a client finds.
fn found(listener: &Listener, names: &[&str], number: u8) -> String {
    let draw = Draw {
        client: client(number),
        turn: 7,
        chance: 7,
        ..NOBODY_TRIED
    };
    match pick(listener, &targets(names), draw) {
        Picked::Target(place) => names[place].to_owned(),
        Picked::Full | Picked::Nobody => panic!("nobody is chosen"),
    }
}

#[test]
fn the_target_with_the_fewest_sessions_is_chosen() {
    let draw = Draw {
        loads: &[5, 2, 9],
        ..NOBODY_TRIED
    };
    assert_eq!(
        pick(&listener(Balance::LeastConn), &targets(&THREE), draw),
        Picked::Target(1)
    );
}

#[test]
fn a_target_of_double_weight_takes_double_the_sessions() {
    let listener = weighing(Balance::LeastConn, &[("pg-2", 2)]);
    let mut loads = [0, 0, 0];
    for turn in 0..400 {
        let draw = Draw {
            loads: &loads,
            turn,
            ..NOBODY_TRIED
        };
        if let Picked::Target(place) = pick(&listener, &targets(&THREE), draw) {
            loads[place] += 1;
        }
    }
    assert_eq!(loads, [100, 200, 100]);
}

#[test]
fn equally_loaded_targets_take_turns() {
    assert_eq!(
        counts(&listener(Balance::LeastConn), &THREE, 30),
        [10, 10, 10]
    );
}

#[test]
fn round_robin_goes_by_turn_and_weight() {
    assert_eq!(
        counts(&listener(Balance::RoundRobin), &THREE, 30),
        [10, 10, 10]
    );
    let heavy = weighing(Balance::RoundRobin, &[("pg-3", 3)]);
    assert_eq!(counts(&heavy, &THREE, 30), [6, 6, 18]);
}

#[test]
fn random_goes_by_chance_and_weight() {
    let heavy = weighing(Balance::Random, &[("pg-1", 2)]);
    assert_eq!(counts(&heavy, &THREE, 40), [20, 10, 10]);
    let by_turn = Draw {
        turn: 3,
        chance: 0,
        ..NOBODY_TRIED
    };
    assert_eq!(pick(&heavy, &targets(&THREE), by_turn), Picked::Target(0));
}

#[test]
fn a_client_keeps_its_member_when_another_leaves_and_comes_back() {
    let listener = listener(Balance::Source);
    let mut moved = 0;
    for number in 0..=255 {
        let before = found(&listener, &THREE, number);
        let after = found(&listener, &["pg-1", "pg-3"], number);
        if before == "pg-2" {
            moved += 1;
        } else {
            assert_eq!(before, after, "client {number}");
        }
    }
    assert!(
        (50..=120).contains(&moved),
        "pg-2 had {moved} of 256 clients"
    );
}

#[test]
fn the_order_of_the_targets_does_not_move_a_client() {
    let listener = listener(Balance::Source);
    for number in 0..=255 {
        let there = found(&listener, &THREE, number);
        assert_eq!(there, found(&listener, &["pg-3", "pg-1", "pg-2"], number));
    }
}

#[test]
fn a_heavier_member_is_found_by_more_clients() {
    let heavy = weighing(Balance::Source, &[("pg-1", 8)]);
    let finds = (0..=255)
        .filter(|number| found(&heavy, &THREE, *number) == "pg-1")
        .count();
    assert!(finds > 170, "{finds} of 256 clients, where 205 are due");
}

#[test]
fn a_full_target_is_passed_over_and_when_all_are_full_that_is_said() {
    for balance in [
        Balance::LeastConn,
        Balance::RoundRobin,
        Balance::Random,
        Balance::Source,
    ] {
        let mut listener = listener(balance);
        listener.server_maxconn = Some(3);
        let draw = Draw {
            loads: &[3, 2, 4],
            client: client(1),
            ..NOBODY_TRIED
        };
        assert_eq!(
            pick(&listener, &targets(&THREE), draw),
            Picked::Target(1),
            "{balance:?}"
        );
        let full = Draw {
            loads: &[3, 3, 3],
            ..draw
        };
        assert_eq!(
            pick(&listener, &targets(&THREE), full),
            Picked::Full,
            "{balance:?}"
        );
    }
}

#[test]
fn a_target_that_was_tried_is_not_chosen_again() {
    for balance in [
        Balance::LeastConn,
        Balance::RoundRobin,
        Balance::Random,
        Balance::Source,
    ] {
        let listener = listener(balance);
        for turn in 0..6 {
            let draw = Draw {
                tried: &[0, 2],
                turn,
                chance: turn,
                ..NOBODY_TRIED
            };
            assert_eq!(
                pick(&listener, &targets(&THREE), draw),
                Picked::Target(1),
                "{balance:?}"
            );
        }
        let draw = Draw {
            tried: &[0, 1, 2],
            ..NOBODY_TRIED
        };
        assert_eq!(
            pick(&listener, &targets(&THREE), draw),
            Picked::Nobody,
            "{balance:?}"
        );
    }
}

#[test]
fn a_member_of_weight_zero_gets_nobody() {
    let listener = weighing(Balance::RoundRobin, &[("pg-1", 0), ("pg-2", 0)]);
    assert_eq!(counts(&listener, &THREE, 9), [0, 0, 9]);
    assert_eq!(
        pick(&listener, &targets(&["pg-1"]), NOBODY_TRIED),
        Picked::Nobody
    );
    assert_eq!(pick(&listener, &[], NOBODY_TRIED), Picked::Nobody);
}
