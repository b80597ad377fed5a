//! patroni.yml as people find it in guides: what is out of date or misunderstood gets the sentence that helps.

use std::fs;
use std::path::{Path, PathBuf};

use trunkline_io::patroni_yml;

/// Every file beside what is said of it, line by line.
const SAID: &[(&str, &[&str])] = &[
    (
        "a-list.yml",
        &[
            ": invalid config file: a list stands where keys should; write keys with values, one a line (name: pg-1)",
        ],
    ),
    (
        "bare-words.yml",
        &[
            ":16: postgresql.authentication.superuser.password: is no text to YAML; put the password in quotation marks",
        ],
    ),
    (
        "basebackup-command.yml",
        &[
            ":20: postgresql.basebackup.command: pg_basebackup has no option \"command\": under basebackup: stand its own \
         long options; give a command of your own a section of another name, and name that in create_replica_methods:",
        ],
    ),
    (
        "bootstrap-users.yml",
        &[
            ":26: bootstrap.users: is no longer done, by Patroni either: no users are created from the configuration; \
         create them in a script under post_init: (it gets a connection string)",
        ],
    ),
    (
        "comment.yml",
        &[": Config is empty.; write at least name:, scope:, etcd3:, restapi: and postgresql:"],
    ),
    (
        "consul.yml",
        &[
            ":7: consul: is where Patroni would keep this cluster, and the agent speaks only to etcd; write etcd3: with \
         hosts: in its place",
        ],
    ),
    (
        "empty.yml",
        &[": Config is empty.; write at least name:, scope:, etcd3:, restapi: and postgresql:"],
    ),
    (
        "etcd-without-3.yml",
        &[
            ":7: etcd: means etcd's v2 API, which Patroni too keeps apart from v3: whoever looks into the other one finds \
         no cluster; the agent speaks only v3; write etcd3: in its place, with the same keys, once the cluster itself \
         was moved to it",
        ],
    ),
    (
        "flat-authentication.yml",
        &[
            ":14: postgresql.authentication.username: is nobody's: the agent logs in as more than one user; write it \
         under authentication.superuser, and again under authentication.replication",
            ":14: postgresql.authentication.superuser: is missing; write username: and password: of it",
            ":14: postgresql.authentication.replication: is missing; write username: and password: of it",
            ":15: postgresql.authentication.password: is nobody's: the agent logs in as more than one user; write it \
         under authentication.superuser, and again under authentication.replication",
        ],
    ),
    (
        "half-known.yml",
        &[
            ":17: warning: postgresql.use_slots: has no effect here: it is the whole cluster's; write it into \
         bootstrap.dcs, or with patronictl edit-config",
            ":19: warning: postgresql.synchronous_mode: is no key of this section and has no effect; it is the whole \
         cluster's: write it into bootstrap.dcs, or with patronictl edit-config",
            ":22: warning: log.traceback_level: has no effect: there are no tracebacks; leave it out",
            ":23: warning: log.dir: is not built: the log goes to standard error, where the service manager keeps it; \
         leave it out",
            ":24: warning: log.file_num: has no effect: the log goes to standard error; leave it out",
            ":26: warning: watchdog.mode: is not built yet: no watchdog device is opened; write mode: off to be told \
         nothing",
            ":29: warning: thread_pool_size: has no effect: the agent has no pool of threads; leave it out",
        ],
    ),
    ("logins-of-long-ago.yml", &[]),
    (
        "out-of-place.yml",
        &[
            ":17: warning: dcs: is no key of this section and has no effect; write it under bootstrap:",
            ":19: warning: loop_wait: has no effect here: it is the whole cluster's; write it into bootstrap.dcs for a new \
         cluster, or with patronictl edit-config",
            ":20: warning: synchronous_mode: has no effect here: it is the whole cluster's; write it into bootstrap.dcs \
         for a new cluster, or with patronictl edit-config",
            ":21: warning: use_pg_rewind: is no key of this section and has no effect; write it under postgresql:",
            ":22: warning: parameters: is no key of this section and has no effect; write it under postgresql:",
        ],
    ),
    (
        "pre-demote.yml",
        &[
            ":17: warning: postgresql.pre_demote: is no key of this section and has no effect; write before_stop: for a \
         command that runs before PostgreSQL is stopped, or callbacks: with on_role_change: for one that runs after a \
         demotion",
            ":18: warning: postgresql.post_promote: is no key of this section and has no effect; write callbacks: with \
         on_role_change: for a command that runs after a promotion",
        ],
    ),
    ("sample.yml", &[]),
    (
        "star.yml",
        &[
            ":10: this is no YAML: while parsing node, found unknown anchor (column 11); a value that begins with * or & \
         needs quotation marks (\"*:5000\")",
        ],
    ),
    (
        "tabs.yml",
        &[
            ":18: this is no YAML: tabs disallowed within this context (block indentation) (column 2); indent with spaces",
        ],
    ),
    (
        "two-documents.yml",
        &[":17: a second document begins here; leave out the line ---"],
    ),
];

#[test]
fn every_file_of_the_guides_gets_the_sentence_that_helps() {
    let folder = folder();
    let mut wrong = Vec::new();
    for (file, lines) in SAID {
        let path = folder.join(file);
        let said = match patroni_yml::load(Some(&path), &Default::default()) {
            Ok((_, problems)) | Err(problems) => problems.to_string(),
        };
        let begin = path.display().to_string();
        let said: Vec<&str> = said
            .lines()
            .map(|line| line.trim_start_matches(&begin))
            .collect();
        if said != *lines {
            wrong.push(format!("{file}: {said:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_of_the_guides_is_left_out() {
    let mut files: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let told: Vec<&str> = SAID.iter().map(|(file, _)| *file).collect();
    assert_eq!(files, told);
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agent_config/patroni-yml")
}
