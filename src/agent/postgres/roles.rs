//! The roles a new cluster needs (contract H.1), made so that no password reaches PostgreSQL's log.

use trunkline_core::Moment;
use trunkline_core::config::agent::{Agent, Credentials};
use trunkline_core::postgres::Silence;

use super::query::{Session, Target};
use super::sql::{identifier, literal};

/// What would write a statement to the log, and how it is kept from it.
const QUIET: [(&str, &str); 5] = [
    ("log_statement", "none"),
    ("log_min_duration_statement", "-1"),
    ("log_min_error_statement", "log"),
    ("pg_stat_statements.track_utility", "off"),
    ("pgaudit.log", "none"),
];

/// What pg_rewind reads the source with.
const REWIND_READS: [&str; 4] = [
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
];

/// Gives the superuser its password, where the configuration has both.
///
/// # Errors
/// When PostgreSQL does not do it.
pub async fn superuser(target: &Target, agent: &Agent, deadline: Moment) -> Result<(), Silence> {
    let mut statements = Vec::new();
    if let (Some(name), Some(_)) = (&agent.superuser.username, &agent.superuser.password) {
        let mut session = open(target, deadline).await?;
        statements.push(role(&mut session, name, &agent.superuser, "SUPERUSER", deadline).await?);
        return quietly(&mut session, &statements, deadline).await;
    }
    Ok(())
}

/// Makes the users for replication and for pg_rewind.
///
/// # Errors
/// When PostgreSQL does not do it.
pub async fn others(target: &Target, agent: &Agent, deadline: Moment) -> Result<(), Silence> {
    let mut session = open(target, deadline).await?;
    let mut statements = Vec::new();
    if let Some(name) = &agent.replication.username {
        let user = &agent.replication;
        statements.push(role(&mut session, name, user, "REPLICATION", deadline).await?);
    }
    let rewind = agent
        .rewind
        .as_ref()
        .filter(|user| **user != agent.superuser);
    if let Some((user, name)) = rewind.and_then(|user| Some((user, user.username.as_ref()?))) {
        statements.push(role(&mut session, name, user, "", deadline).await?);
        for reads in REWIND_READS {
            statements.push(format!(
                "GRANT EXECUTE ON FUNCTION pg_catalog.{reads} TO {};",
                identifier(name)
            ));
        }
    }
    quietly(&mut session, &statements, deadline).await
}

async fn open(target: &Target, deadline: Moment) -> Result<Session, Silence> {
    let options = "-c statement_timeout=0 -c search_path=pg_catalog";
    Session::open(target, "Patroni heartbeat", options, deadline).await
}

/// The statement that makes a role, or changes the one there is.
async fn role(
    session: &mut Session,
    name: &str,
    user: &Credentials,
    rights: &str,
    deadline: Moment,
) -> Result<String, Silence> {
    let known = format!(
        "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {}",
        literal(name)
    );
    let verb = if session.rows(&known, deadline).await?.is_empty() {
        "CREATE"
    } else {
        "ALTER"
    };
    let password = match &user.password {
        Some(password) => format!(" PASSWORD {}", literal(password.reveal())),
        None => String::new(),
    };
    Ok(format!(
        "{verb} ROLE {} WITH {rights} LOGIN{password};",
        identifier(name)
    ))
}

/// Runs statements, all or none of them, without their text reaching the log, and without waiting for a standby.
async fn quietly(
    session: &mut Session,
    statements: &[String],
    deadline: Moment,
) -> Result<(), Silence> {
    for (name, value) in QUIET {
        session
            .run(&format!("SET {name} TO '{value}'"), deadline)
            .await?;
    }
    let statements = statements.join("\n");
    let whole = format!("BEGIN; SET LOCAL synchronous_commit TO 'local'; {statements} COMMIT;");
    session.run(&whole, deadline).await
}
