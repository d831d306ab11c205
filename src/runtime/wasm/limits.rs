//! Bounds on what a guest process may allocate: linear memory within the container's limit, tables and instances
//! within constants.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::ResourceLimiter;

use super::engine::{MAX_MEMORY_BYTES, MAX_TABLE_ELEMENTS};

/// Core instances one guest process may have.
const MAX_INSTANCES: usize = 1000;

/// Tables one guest process may have.
const MAX_TABLES: usize = 1000;

/// Linear memories one guest process may have.
const MAX_MEMORIES: usize = 100;

/// Table elements of one guest process, over all its tables.
const MAX_ELEMENTS_TOTAL: usize = 4 * MAX_TABLE_ELEMENTS;

/// Linear memory of a container's processes together.
#[derive(Debug)]
pub(super) struct MemoryAccount {
    state: Mutex<AccountState>,
}

#[derive(Debug)]
struct AccountState {
    limit: u64,
    used: u64,
}

/// The container uses more than it was to be limited to.
#[derive(Debug, thiserror::Error)]
#[error("memory limit of {limit} bytes is below the current usage of {used} bytes")]
pub(super) struct BelowUsage {
    limit: u64,
    used: u64,
}

/// A container's limit; without one, what a single linear memory can hold.
fn or_most(limit: Option<u64>) -> u64 {
    limit.unwrap_or_else(|| u64::try_from(MAX_MEMORY_BYTES).unwrap_or(u64::MAX))
}

impl MemoryAccount {
    /// An account with the container's limit in bytes.
    pub(super) fn new(limit: Option<u64>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(AccountState { limit: or_most(limit), used: 0 }) })
    }

    /// Replaces the limit, unless more is in use already.
    pub(super) fn set_limit(&self, limit: Option<u64>) -> Result<(), BelowUsage> {
        let limit = or_most(limit);
        let mut state = self.lock();
        if limit < state.used {
            return Err(BelowUsage { limit, used: state.used });
        }
        state.limit = limit;
        Ok(())
    }

    fn take(&self, bytes: u64) -> Result<(), OutOfMemory> {
        let mut state = self.lock();
        let limit = state.limit;
        let sum = state.used.checked_add(bytes).filter(|sum| *sum <= limit);
        state.used = sum.ok_or(OutOfMemory { limit })?;
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.lock().used -= bytes;
    }

    fn lock(&self) -> MutexGuard<'_, AccountState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that may be in use, and bytes that are.
    pub(super) fn limit_and_usage(&self) -> (u64, u64) {
        let state = self.lock();
        (state.limit, state.used)
    }

    /// Bytes in use.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.lock().used
    }
}

/// The error that ends a guest that asked for more memory than its container may have.
#[derive(Debug, thiserror::Error)]
#[error("out of memory: the container's limit is {limit} bytes")]
pub(super) struct OutOfMemory {
    limit: u64,
}

/// The limiter of one guest process.
#[derive(Debug)]
pub(super) struct ProcessLimits {
    account: Arc<MemoryAccount>,
    /// What this process has taken from the account.
    taken: u64,
    /// The last growth, to be undone should it fail after all.
    last_growth: u64,
    elements: usize,
    last_elements: usize,
}

impl ProcessLimits {
    /// The limits of a new process.
    pub(super) fn new(account: &Arc<MemoryAccount>) -> Self {
        Self { account: Arc::clone(account), taken: 0, last_growth: 0, elements: 0, last_elements: 0 }
    }
}

impl ResourceLimiter for ProcessLimits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.last_growth = 0;
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let growth = u64::try_from(desired.saturating_sub(current))?;
        self.account.take(growth)?;
        self.taken += growth;
        self.last_growth = growth;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!(error = format!("{error:#}"), "linear memory did not grow");
        self.account.give_back(self.last_growth);
        self.taken -= self.last_growth;
        self.last_growth = 0;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.last_elements = 0;
        let growth = desired.saturating_sub(current);
        let allowed = desired <= MAX_TABLE_ELEMENTS
            && maximum.is_none_or(|maximum| desired <= maximum)
            && self.elements.saturating_add(growth) <= MAX_ELEMENTS_TOTAL;
        if allowed {
            self.elements += growth;
            self.last_elements = growth;
        }
        Ok(allowed)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!(error = format!("{error:#}"), "table did not grow");
        self.elements -= self.last_elements;
        self.last_elements = 0;
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

impl Drop for ProcessLimits {
    fn drop(&mut self) {
        self.account.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 65536;

    #[test]
    fn memories_of_all_processes_count_towards_one_limit() {
        let account = MemoryAccount::new(Some(3 * PAGE as u64));
        let mut first = ProcessLimits::new(&account);
        let mut second = ProcessLimits::new(&account);
        assert!(first.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(second.memory_growing(0, PAGE, None).unwrap());
        let error = second.memory_growing(PAGE, 2 * PAGE, None).unwrap_err();
        assert!(error.is::<OutOfMemory>());
        drop(first);
        assert!(second.memory_growing(PAGE, 2 * PAGE, None).unwrap());
        drop(second);
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn a_new_limit_holds_at_once_and_never_below_what_is_in_use() {
        let account = MemoryAccount::new(Some(2 * PAGE as u64));
        let mut limits = ProcessLimits::new(&account);
        assert!(limits.memory_growing(0, 2 * PAGE, None).unwrap());
        account.set_limit(Some(3 * PAGE as u64)).unwrap();
        assert!(limits.memory_growing(2 * PAGE, 3 * PAGE, None).unwrap());
        let error = account.set_limit(Some(PAGE as u64)).unwrap_err();
        assert_eq!(error.to_string(), "memory limit of 65536 bytes is below the current usage of 196608 bytes");
        assert!(limits.memory_growing(3 * PAGE, 4 * PAGE, None).is_err(), "the refused limit changed nothing");
        account.set_limit(None).unwrap();
        assert!(limits.memory_growing(3 * PAGE, 4 * PAGE, None).unwrap());
    }

    #[test]
    fn growth_beyond_the_modules_own_maximum_is_refused_without_a_trap() {
        let account = MemoryAccount::new(Some(PAGE as u64));
        let mut limits = ProcessLimits::new(&account);
        assert!(!limits.memory_growing(0, 2 * PAGE, Some(PAGE)).unwrap());
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn a_failed_growth_is_given_back() {
        let account = MemoryAccount::new(None);
        let mut limits = ProcessLimits::new(&account);
        assert!(limits.memory_growing(0, PAGE, None).unwrap());
        limits.memory_grow_failed(wasmtime::format_err!("no memory")).unwrap();
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn tables_are_bounded() {
        let mut limits = ProcessLimits::new(&MemoryAccount::new(None));
        assert!(limits.table_growing(0, MAX_TABLE_ELEMENTS, None).unwrap());
        assert!(!limits.table_growing(0, MAX_TABLE_ELEMENTS + 1, None).unwrap());
    }
}
