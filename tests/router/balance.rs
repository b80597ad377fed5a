//! Which member of a pool the next session goes to, by `balance` and weights.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::client::{Client, lands_on};
use crate::routing::both_replicas_serve;
use crate::stand::{Plan, Stand, on};

fn reading(read: &'static str) -> Plan {
    Plan {
        read,
        ..Plan::default()
    }
}

/// Where `count` sessions land that come one after another, each gone before the next.
async fn landings(stand: &Stand, count: usize) -> Result<Vec<String>> {
    let mut landed = Vec::new();
    for _ in 0..count {
        landed.push(lands_on(stand.read()).await?);
    }
    Ok(landed)
}

#[tokio::test]
async fn roundrobin_takes_turns_whatever_the_load() -> Result<()> {
    on(reading("balance: roundrobin"), async |stand| {
        both_replicas_serve(stand).await?;
        let landed = landings(stand, 8).await?;
        let alternates = landed.windows(2).all(|pair| pair[0] != pair[1]);
        ensure!(alternates, "{landed:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn random_reaches_every_member() -> Result<()> {
    on(reading("balance: random"), async |stand| {
        both_replicas_serve(stand).await?;
        // All forty on one of two: once in a million millions.
        let landed: BTreeSet<_> = landings(stand, 40).await?.into_iter().collect();
        ensure!(landed.len() == 2, "{landed:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn source_sends_an_address_to_the_same_member_every_time() -> Result<()> {
    on(reading("balance: source"), async |stand| {
        // One replica may be known before the other: the choice stands once both are.
        let both = async || -> Result<()> {
            let stats = stand.router.listener("read").await?;
            let members = stats["members"].as_array().map_or(0, |members| {
                members.iter().filter(|member| member["in"] == true).count()
            });
            ensure!(members == 2, "{members} replicas serve: {stats}");
            Ok(())
        };
        trunkline_support::wait::until("both replicas serve", crate::stand::SOON, both).await?;
        let landed: BTreeSet<_> = landings(stand, 8).await?.into_iter().collect();
        ensure!(landed.len() == 1, "{landed:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_member_of_twice_the_weight_has_twice_the_sessions() -> Result<()> {
    on(reading("weights: {pg-2: 2}"), async |stand| {
        both_replicas_serve(stand).await?;
        let mut sessions = Vec::new();
        for _ in 0..9 {
            sessions.push(Client::login(stand.read()).await?);
        }
        let on_two = sessions.iter().filter(|(_, name)| name == "pg-2").count();
        ensure!(on_two == 6, "{on_two} of 9 sessions are on pg-2");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pool_of_any_has_the_primary_in_it() -> Result<()> {
    let plan = Plan {
        read: "balance: roundrobin",
        any: true,
        ..Plan::default()
    };
    on(plan, async |stand| {
        trunkline_support::wait::until("all three serve", crate::stand::SOON, async || {
            let landed: BTreeSet<_> = landings(stand, 6).await?.into_iter().collect();
            ensure!(landed.len() == 3, "{landed:?}");
            Ok(())
        })
        .await
    })
    .await
}
