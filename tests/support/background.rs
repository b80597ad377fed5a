//! Work beside a test: tests may spawn what they wait for, and the product's rules for tasks are not theirs.

use std::future::Future;

use tokio::task::JoinHandle;

/// Starts `work` beside the caller.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(work)
}
