//! API keys as the database had them a moment ago, so that not every call reads it. Whoever changes a key in
//! this process has it forgotten; other processes notice when the moment is over. Not here: what a key
//! allows and whether it is still good (`auth`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::failure::Failure;
use crate::domain::time::Micros;
use crate::env::Env;
use crate::store::Db;
use crate::store::keys::{self, ApiKey};

/// How long a key is remembered. Together with how often streams ask again (`ASK_SECONDS`) it is less than
/// the five seconds in which a key revoked in another process has to stop working.
const REMEMBERED_SECONDS: u64 = 3;
/// Keys remembered at a time.
const REMEMBERED_KEYS_MAX: usize = 10_000;

/// The keys used lately.
pub struct KnownKeys {
    db: Db,
    env: Env,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, Remembered>,
    /// How often something was forgotten: what was being read meanwhile is not remembered.
    forgotten: u64,
}

struct Remembered {
    key: Arc<ApiKey>,
    until: Micros,
}

impl KnownKeys {
    /// None yet.
    pub fn new(db: Db, env: Env) -> Self {
        Self { db, env, known: Mutex::default() }
    }

    /// A key that was looked up a moment ago.
    pub fn remembered(&self, public_id: &str) -> Option<Arc<ApiKey>> {
        let now = self.env.system_now();
        let known = self.lock();
        known.keys.get(public_id).filter(|known| known.until > now).map(|known| known.key.clone())
    }

    /// A key as the database has it now; remembered for a moment.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn looked_up(&self, public_id: &str) -> Result<Option<Arc<ApiKey>>, Failure> {
        let now = self.env.system_now();
        let forgotten = self.lock().forgotten;
        let Some(key) = keys::get(&self.db, public_id).await? else { return Ok(None) };
        let key = Arc::new(key);
        let mut known = self.lock();
        if known.forgotten == forgotten {
            if known.keys.len() >= REMEMBERED_KEYS_MAX {
                known.keys.clear();
            }
            let until = now.plus(Duration::from_secs(REMEMBERED_SECONDS));
            known.keys.insert(public_id.to_owned(), Remembered { key: key.clone(), until });
        }
        Ok(Some(key))
    }

    /// Forgets a key, so that its next use reads the database.
    pub fn forget(&self, public_id: &str) {
        let mut known = self.lock();
        known.keys.remove(public_id);
        known.forgotten += 1;
    }

    /// Forgets every key.
    pub fn forget_all(&self) {
        let mut known = self.lock();
        known.keys.clear();
        known.forgotten += 1;
    }

    /// Remembers a key that is in no database.
    #[cfg(test)]
    pub fn remember(&self, key: ApiKey) {
        let until = self.env.system_now().plus(Duration::from_secs(3_600));
        let public_id = key.public_id.clone();
        self.lock().keys.insert(public_id, Remembered { key: Arc::new(key), until });
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
