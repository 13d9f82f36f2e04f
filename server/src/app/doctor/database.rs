//! The database: the settings that durability depends on, migrations, the triggers that keep the
//! books, whose it is, and its clock.

use std::path::Path;
use std::time::Duration;

use super::{Check, Readable, State};
use crate::config::Config;
use crate::domain::time::Micros;
use crate::env::Env;
use crate::store::inspection::{self, PostgresSettings, SqliteSettings};
use crate::store::{Db, StoreError, deployment};

const DATABASE: &str = "database";
const CLOCK: &str = "clock";
/// The oldest PostgreSQL that is tested against, as it writes its version.
const POSTGRES_VERSION_MIN: u32 = 130_000;
/// SQLite's FULL.
const SYNCHRONOUS_FULL: i64 = 2;
/// Clocks that differ by more than this are worth a look.
const CLOCK_OFF_WARN: Duration = Duration::from_secs(2);
/// Clocks that differ by more than this make expiry and leases wrong.
const CLOCK_OFF_FAIL: Duration = Duration::from_secs(30);

/// Looks at the database; `wallet_id` is the wallet that should go with it.
pub async fn examine(
    config: &Config,
    wallet_id: Option<&str>,
    env: &Env,
) -> (Vec<Check>, Option<Readable>) {
    let url = config.database_url();
    if let Some(path) = sqlite_path(&url)
        && !Path::new(path).exists()
    {
        let cure = "it is made at the first start";
        return (vec![Check::warn(DATABASE, format!("{path} does not exist"), cure)], None);
    }
    let db = match Db::open_read_only(&url).await {
        Ok(db) => db,
        Err(error) => return (vec![Check::fail(DATABASE, error.to_string(), cure(&url))], None),
    };
    let mut checks = Vec::new();
    let settings = if db.is_sqlite() {
        inspection::sqlite_settings(&db).await.map(|settings| sqlite(&settings))
    } else {
        inspection::postgres_settings(&db).await.map(|settings| postgres(&settings, config))
    };
    checks.push(settings.unwrap_or_else(|error| unreadable(DATABASE, &error)));
    let (migrations, is_current) = migrations(&db).await;
    checks.push(migrations);
    if is_current {
        checks.push(triggers(&db).await);
        checks.extend(ownership(&db, config, wallet_id).await);
    }
    checks.push(clock(&db, env).await);
    (checks, Some(Readable { db, is_current }))
}

fn sqlite_path(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("sqlite://")?;
    Some(rest.split('?').next().unwrap_or(rest))
}

fn cure(url: &str) -> &'static str {
    if url.starts_with("sqlite:") {
        "look at the file and its permissions, and for another program that has it open"
    } else {
        "look at database.url, and whether PostgreSQL runs and lets this machine in"
    }
}

fn unreadable(name: &str, error: &StoreError) -> Check {
    Check::fail(name, error.to_string(), "see what the database's own log says")
}

fn sqlite(settings: &SqliteSettings) -> Check {
    let SqliteSettings { journal_mode, synchronous, recursive_triggers, foreign_keys } = settings;
    let text = format!(
        "SQLite; journal {journal_mode}, synchronous {synchronous}, recursive triggers \
         {recursive_triggers}, foreign keys {foreign_keys}"
    );
    if !journal_mode.eq_ignore_ascii_case("wal") {
        let cure = "the journal must be WAL: the server sets it at its start; if it does not stay, \
                    the file lies on a network file system, which SQLite cannot work on safely";
        return Check::fail(DATABASE, text, cure);
    }
    if *synchronous < SYNCHRONOUS_FULL || !recursive_triggers || !foreign_keys {
        return Check::fail(DATABASE, text, "another SQLite was linked: build the program anew");
    }
    Check::ok(DATABASE, text)
}

fn postgres(settings: &PostgresSettings, config: &Config) -> Check {
    let PostgresSettings { version, fsync, full_page_writes, synchronous_commit, .. } = settings;
    let number: u32 = version.parse().unwrap_or(0);
    let text = format!(
        "PostgreSQL {}.{}; fsync {fsync}, full_page_writes {full_page_writes}, synchronous_commit \
         {synchronous_commit}",
        number / 10_000,
        number % 10_000
    );
    if settings.standby {
        return Check::fail(DATABASE, text, "this is a standby: set database.url to the primary");
    }
    if fsync != "on" || full_page_writes != "on" {
        let cure = "set fsync and full_page_writes to on: a power cut would lose money";
        return Check::fail(DATABASE, text, cure);
    }
    if synchronous_commit == "off" {
        let cure = "set synchronous_commit to on: a crash would lose what was promised";
        return Check::fail(DATABASE, text, cure);
    }
    if number < POSTGRES_VERSION_MIN {
        return Check::fail(DATABASE, text, "PostgreSQL 13 or later is needed");
    }
    let room: u32 = settings.connections_max.parse().unwrap_or(u32::MAX);
    if config.database.connections_max >= room {
        let cure = format!("database.connections_max must stay below max_connections ({room})");
        return Check::warn(DATABASE, text, cure);
    }
    Check::ok(DATABASE, text)
}

async fn migrations(db: &Db) -> (Check, bool) {
    let name = "migrations";
    match inspection::migrations(db).await {
        Ok(found) if !found.unknown.is_empty() => {
            let text = format!("the database has {}", found.unknown.join(", "));
            (Check::fail(name, text, "this program is older than the database: update it"), false)
        }
        Ok(found) if !found.pending.is_empty() => {
            let text = format!("not run yet: {}", found.pending.join(", "));
            let cure = "run `cryptopayment migrate`; role `all` does it at its start";
            (Check::warn(name, text, cure), false)
        }
        Ok(_) => (Check::ok(name, "all were run"), true),
        Err(error) => (unreadable(name, &error), false),
    }
}

async fn triggers(db: &Db) -> Check {
    let name = "append-only logs";
    match inspection::missing_triggers(db).await {
        Ok(missing) if missing.is_empty() => {
            Check::ok(name, "guarded by triggers: postings, transfers, events, operator log")
        }
        Ok(missing) => {
            let text = format!("triggers are missing or disabled: {}", missing.join(", "));
            let cure =
                "somebody removed them: run `cryptopayment admin audit`, compare with a backup";
            Check::fail(name, text, cure)
        }
        Err(error) => unreadable(name, &error),
    }
}

/// Whether the database belongs to this environment and wallet.
async fn ownership(db: &Db, config: &Config, wallet_id: Option<&str>) -> Option<Check> {
    let name = "ownership";
    let stamp = match inspection::deployment(db).await {
        Ok(stamp) => stamp?,
        Err(error) => return Some(unreadable(name, &error)),
    };
    let environment = config.environment.as_str();
    if stamp.environment != environment {
        let text = format!("the database belongs to {}, this is {environment}", stamp.environment);
        return Some(Check::fail(name, text, "name the other database, or the other environment"));
    }
    Some(match wallet_id {
        Some(id) if id != stamp.wallet_id => {
            let text = "the database belongs to another wallet than the keystore here";
            Check::fail(name, text, "restore the directory `wallet` that goes with the database")
        }
        Some(_) => Check::ok(name, format!("database, wallet and {environment} belong together")),
        None => Check::ok(name, format!("the database belongs to {environment}")),
    })
}

/// This machine's clock beside the database's.
async fn clock(db: &Db, env: &Env) -> Check {
    let before = env.system_now();
    let theirs = match inspection::clock(db).await {
        Ok(at) => at,
        Err(error) => return unreadable(CLOCK, &error),
    };
    let after = env.system_now();
    // The database read its clock somewhere between the two.
    let middle = Micros(before.0.midpoint(after.0));
    let off = theirs.since(middle).max(middle.since(theirs));
    // What is due is judged by business time from here on.
    env.set_business_offset(deployment::business_offset(db).await.unwrap_or(0));
    let ahead = env.business_offset() / 1_000_000;
    let sandbox =
        if ahead > 0 { format!("; business time is {ahead} s ahead") } else { String::new() };
    let text = format!("this machine and the database differ by {} ms{sandbox}", off.as_millis());
    let state = match off {
        off if off > CLOCK_OFF_FAIL => State::Fail,
        off if off > CLOCK_OFF_WARN => State::Warn,
        _ => return Check::ok(CLOCK, text),
    };
    let cure = "set both machines' clocks by NTP (chrony, systemd-timesyncd)";
    Check { state, ..Check::warn(CLOCK, text, cure) }
}
