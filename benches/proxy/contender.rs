//! Who is measured: a direct connection, trunkline in each build, HAProxy in each variant; and each of them as it
//! runs before a target.

mod haproxy;
mod router;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use trunkline_support::parts::on_path;
use trunkline_support::process::Process;

use crate::options::{Arguments, Build};
use crate::stand::Stand;
use crate::usage::Cpu;
use haproxy::Variant;

/// Somebody who is measured.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    /// What the tables call it.
    pub(crate) label: String,
    /// What it is, with its version.
    pub(crate) about: String,
    pub(crate) kind: Kind,
}

/// What it is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Direct,
    Trunkline(Build),
    Haproxy(Variant),
}

impl Contender {
    /// All that the arguments ask for, the direct connection first.
    pub(crate) async fn all(arguments: &Arguments) -> Result<Vec<Self>> {
        let mut all = vec![Self {
            label: "direct".to_owned(),
            about: "no proxy".to_owned(),
            kind: Kind::Direct,
        }];
        for build in &arguments.trunkline {
            let mut build = build.clone();
            build.env.extend(arguments.env.iter().cloned());
            let version = router::version(&build.path).await?;
            let variables: Vec<String> = build
                .env
                .iter()
                .map(|it| format!(" {}={}", it.key, it.value))
                .collect();
            all.push(Self {
                label: build.label.clone(),
                about: format!("{version}, {}{}", build.path.display(), variables.concat()),
                kind: Kind::Trunkline(build),
            });
        }
        let binaries = arguments.haproxy.iter();
        let several = arguments.haproxy.len() > 1;
        for name in binaries.filter(|name| name.as_os_str() != "none") {
            let binary = find(name)?;
            let version = haproxy::version(&binary).await?;
            for variant in Variant::all(&binary) {
                let number = if several {
                    format!("haproxy {}", version.number)
                } else {
                    "haproxy".to_owned()
                };
                all.push(Self {
                    label: format!("{number} {}", variant.words()),
                    about: format!("{}, {}", version.line, binary.display()),
                    kind: Kind::Haproxy(variant),
                });
            }
        }
        Ok(all)
    }

    pub(crate) const fn is_direct(&self) -> bool {
        matches!(self.kind, Kind::Direct)
    }

    pub(crate) const fn is_haproxy(&self) -> bool {
        matches!(self.kind, Kind::Haproxy(_))
    }

    pub(crate) const fn is_trunkline(&self) -> bool {
        matches!(self.kind, Kind::Trunkline(_))
    }

    /// Whether another variant of the same program does just the same where nothing moves.
    pub(crate) const fn is_spare_when_idle(&self) -> bool {
        match &self.kind {
            Kind::Haproxy(variant) => variant.forces_splicing(),
            Kind::Direct | Kind::Trunkline(_) => false,
        }
    }

    /// Starts it before `target` and waits until it serves it.
    pub(crate) async fn front(&self, stand: &Stand, target: SocketAddr) -> Result<Front> {
        let started = async {
            Ok(match &self.kind {
                Kind::Direct => Front {
                    address: target,
                    proxy: None,
                },
                Kind::Trunkline(build) => {
                    let mut routed = router::Routed::start(build, stand, target).await?;
                    Front {
                        address: routed.write(),
                        proxy: Some((routed.pid(), Proxy::Trunkline(Box::new(routed)))),
                    }
                }
                Kind::Haproxy(variant) => {
                    let (address, process) = haproxy::start(variant, stand, target).await?;
                    Front {
                        address,
                        proxy: Some((process.pid(), Proxy::Haproxy(process))),
                    }
                }
            })
        };
        let started: Result<Front> = started.await;
        started.with_context(|| format!("starting {}", self.label))
    }
}

/// A contender that runs; ended on drop.
#[derive(Debug)]
pub(crate) struct Front {
    /// Where clients connect to.
    pub(crate) address: SocketAddr,
    proxy: Option<(u32, Proxy)>,
}

#[derive(Debug)]
enum Proxy {
    Trunkline(Box<router::Routed>),
    Haproxy(Process),
}

impl Front {
    /// Its process; none of a direct connection.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.proxy.as_ref().map(|(pid, _)| *pid)
    }

    /// The failure, with the end of its log.
    pub(crate) fn with_log(&self, failure: &anyhow::Error) -> anyhow::Error {
        match &self.proxy {
            None => anyhow::anyhow!("{failure:#}"),
            Some((_, Proxy::Trunkline(routed))) => routed.with_log(failure),
            Some((_, Proxy::Haproxy(process))) => process.with_log(failure),
        }
    }
}

/// The processor time of a front's process so far; none is spent by a direct connection.
pub(crate) fn cpu(pid: Option<u32>) -> Result<Cpu> {
    pid.map_or_else(|| Ok(Cpu::default()), Cpu::of)
}

fn find(name: &std::path::Path) -> Result<PathBuf> {
    if name.components().count() > 1 {
        ensure!(
            name.is_file(),
            "there is no HAProxy at {}: give --haproxy another one, or `none`",
            name.display()
        );
        return Ok(name.to_owned());
    }
    let name = name.to_str().context("the name of HAProxy is no text")?;
    on_path(name).context("`make bench` installs HAProxy; `--haproxy none` does without it")
}
