//! Anything that can happen to a small cluster, one step at a time, in any order.

use std::time::Duration;

use proptest::prelude::*;
use trunkline_core::config::router::{Bind, Listener, To};
use trunkline_core::probe::{Accepts, NoAnswer};

use crate::world::World;
use crate::world::node::Document;

/// The members.
pub(crate) const MEMBERS: [&str; 3] = ["pg-1", "pg-2", "pg-3"];

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Time passes.
    Wait(u64),
    /// Time passes; each second all is asked and looked at.
    Run(u64),
    /// A member takes the lock.
    Lock(usize),
    /// The leader key goes.
    Gone,
    /// The leader key names nobody.
    Garbage,
    /// Its lease is renewed no more and ends so many seconds from now.
    LeaseEnds(u64),
    /// It is renewed again.
    LeaseRenewed,
    /// etcd falls silent or answers again.
    Etcd(bool),
    /// The lock is read.
    Prove,
    /// A member is asked.
    Ask(usize),
    /// From now on a member answers so.
    Says(usize, u16, &'static str, &'static str),
    /// Another cluster answers at its address.
    Foreign(usize),
    /// It does not answer.
    Silent(usize),
    /// Its PostgreSQL accepts or does not.
    Postgres(usize, bool),
    /// The cluster is paused or goes on.
    Pause(bool),
    /// A switchover away from a member is asked for, or cleared.
    Switchover(Option<usize>),
    /// A member's key vanishes or returns.
    Key(usize, bool),
}

/// Any of these; what makes and unmakes a leader more often than what clouds the view.
pub(crate) fn any_step() -> impl Strategy<Value = Step> {
    let member = 0..MEMBERS.len();
    let says = (
        member.clone(),
        prop_oneof![3 => Just(200_u16), 2 => Just(503_u16)],
        prop_oneof![6 => Just("primary"), 2 => Just("replica"), 1 => Just("standby_leader")],
        prop_oneof![6 => Just("running"), 1 => Just("stopping"), 1 => Just("starting")],
    );
    prop_oneof![
        6 => (10..3_500_u64).prop_map(Step::Wait),
        4 => (1..5_u64).prop_map(Step::Run),
        4 => member.clone().prop_map(Step::Lock),
        2 => Just(Step::Gone),
        1 => Just(Step::Garbage),
        1 => (1..8_u64).prop_map(Step::LeaseEnds),
        1 => Just(Step::LeaseRenewed),
        3 => any::<bool>().prop_map(Step::Etcd),
        4 => Just(Step::Prove),
        4 => member.clone().prop_map(Step::Ask),
        8 => says.prop_map(|(m, code, role, state)| Step::Says(m, code, role, state)),
        1 => member.clone().prop_map(Step::Foreign),
        2 => member.clone().prop_map(Step::Silent),
        1 => (member.clone(), any::<bool>()).prop_map(|(m, yes)| Step::Postgres(m, yes)),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => proptest::option::of(member.clone()).prop_map(Step::Switchover),
        1 => (member, any::<bool>()).prop_map(|(m, there)| Step::Key(m, there)),
    ]
}

/// Three members, a router with a write listener, nobody leads.
pub(crate) fn cluster() -> World {
    let mut world = World::new();
    world
        .cluster
        .listeners
        .push(Listener::new("write", vec![Bind::any(5000)], To::Primary));
    world.etcd.put("initialize", crate::world::SYSTEM_ID);
    world.etcd.put("config", r#"{"ttl":30}"#);
    for name in MEMBERS {
        world.add_member(name);
    }
    world
}

/// The same, led by the first, and proven.
pub(crate) fn led_cluster() -> World {
    let mut world = cluster();
    world.lock(MEMBERS[0]);
    says(&mut world, MEMBERS[0], 200, "primary", "running");
    world.run(Duration::from_secs(3));
    world
}

/// From now on `name` answers so; it is asked at once.
pub(crate) fn says(world: &mut World, name: &str, code: u16, role: &str, state: &str) {
    world.node(name).rest = Ok(Document::new(name, code, role, state));
    world.ask(name);
}

/// Does one step.
pub(crate) fn happen(step: &Step, world: &mut World) {
    match *step {
        Step::Wait(milliseconds) => world.wait(Duration::from_millis(milliseconds)),
        Step::Run(seconds) => world.run(Duration::from_secs(seconds)),
        Step::Lock(member) => world.lock(MEMBERS[member]),
        Step::Gone => world.etcd.delete("leader"),
        Step::Garbage => world.etcd.put("leader", "nobody"),
        Step::LeaseEnds(seconds) => {
            world.etcd.lease_ends = Some(world.now.after(Duration::from_secs(seconds)));
        }
        Step::LeaseRenewed => world.etcd.lease_ends = None,
        Step::Etcd(answers) => world.etcd.answers = answers,
        Step::Prove => world.prove(),
        Step::Ask(member) => world.ask(MEMBERS[member]),
        Step::Says(member, code, role, state) => says(world, MEMBERS[member], code, role, state),
        Step::Foreign(member) => {
            let mut document = Document::new(MEMBERS[member], 200, "primary", "running");
            "elsewhere".clone_into(&mut document.scope);
            world.node(MEMBERS[member]).rest = Ok(document);
            world.ask(MEMBERS[member]);
        }
        Step::Silent(member) => world.node(MEMBERS[member]).rest = Err(NoAnswer::TimedOut),
        Step::Postgres(member, accepts) => {
            let answer = if accepts {
                Accepts::Yes
            } else {
                Accepts::NotNow
            };
            world.node(MEMBERS[member]).accepts = Ok(answer);
        }
        Step::Pause(paused) => {
            world
                .etcd
                .put("config", &format!(r#"{{"ttl":30,"pause":{paused}}}"#));
        }
        Step::Switchover(None) => world.etcd.put("failover", "{}"),
        Step::Switchover(Some(member)) => {
            let leader = MEMBERS[member];
            world
                .etcd
                .put("failover", &format!(r#"{{"leader":"{leader}"}}"#));
        }
        Step::Key(member, true) => world.publish(MEMBERS[member]),
        Step::Key(member, false) => world.etcd.delete(&format!("members/{}", MEMBERS[member])),
    }
}
