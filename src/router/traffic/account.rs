//! The bytes of all sessions that a listener had with a member: of those that run, and of those that have ended.
//!
//! A session is entered when it begins and leaves when it ends; in between nobody but its own task touches what it
//! counts in. Whoever asks adds up. What is read never goes back and no byte is in it twice: a session's bytes move
//! from those that run to those that have ended in one step, under the lock that readers take.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;
use trunkline_core::MemberName;

use super::{Bytes, Traffic};

/// How many members a listener tells apart. Names come from etcd, and what was counted is kept.
const MEMBERS: usize = 1_000;
/// Into how many parts an account is divided: a session that begins waits for a reader of one part at most.
const PARTS: usize = 16;
/// How many places for sessions a part keeps when it is empty.
const KEPT: usize = 64;

/// A listener's accounts, by member.
#[derive(Debug, Default)]
pub struct Accounts(Mutex<BTreeMap<MemberName, Arc<Account>>>);

impl Accounts {
    /// The account of `member`. Members beyond the first thousand share one, under an empty name.
    #[must_use]
    pub fn of(&self, member: &MemberName) -> Arc<Account> {
        let mut accounts = lock(&self.0);
        let is_one_too_many = accounts.len() >= MEMBERS && !accounts.contains_key(member);
        let name = if is_one_too_many {
            MemberName::from("")
        } else {
            member.clone()
        };
        Arc::clone(accounts.entry(name).or_default())
    }

    /// What was moved so far, by member.
    #[must_use]
    pub fn read(&self) -> BTreeMap<MemberName, Bytes> {
        // Adding up takes a while: sessions that look for their account do not wait for it.
        let accounts = lock(&self.0).clone();
        let read = |(member, account): (MemberName, Arc<Account>)| (member, account.read());
        accounts.into_iter().map(read).collect()
    }
}

/// What a listener's clients exchanged with one member.
#[derive(Debug, Default)]
pub struct Account {
    parts: [Mutex<Part>; PARTS],
    /// Which part the next session goes to.
    turn: AtomicUsize,
}

#[derive(Debug, Default)]
struct Part {
    running: Slab<Arc<Traffic>>,
    ended: Bytes,
}

impl Account {
    /// Enters a session that counts in `traffic`. Nothing may be counted there once the entry is gone.
    pub fn enter(self: &Arc<Self>, traffic: &Arc<Traffic>) -> Entry {
        let number = self.turn.fetch_add(1, Ordering::Relaxed) % PARTS;
        let entered = |part: &Mutex<Part>| lock(part).running.insert(Arc::clone(traffic));
        let key = self.parts.get(number).map_or(0, entered);
        Entry {
            account: Arc::clone(self),
            place: key * PARTS + number,
        }
    }

    /// What was moved so far, by sessions that run and by those that have ended.
    #[must_use]
    pub fn read(&self) -> Bytes {
        self.parts.iter().map(|part| lock(part).read()).sum()
    }
}

impl Part {
    fn read(&self) -> Bytes {
        let running = self.running.iter().map(|(_, traffic)| traffic.bytes());
        running.chain([self.ended]).sum()
    }

    fn leave(&mut self, key: usize) {
        if let Some(traffic) = self.running.try_remove(key) {
            self.ended += traffic.bytes();
        }
        if self.running.is_empty() && self.running.capacity() > KEPT {
            self.running = Slab::new();
        }
    }
}

/// A session's place in an account, for as long as it runs.
#[derive(Debug)]
#[must_use]
pub struct Entry {
    account: Arc<Account>,
    /// The part and the key there in one number: there are as many of these as sessions.
    place: usize,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(part) = self.account.parts.get(self.place % PARTS) {
            lock(part).leave(self.place / PARTS);
        }
    }
}

/// Numbers that a panic left are numbers still.
fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
