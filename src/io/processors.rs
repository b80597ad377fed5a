//! The processors this process may run on, and keeping a thread on one of them.

use std::io;
use std::thread::available_parallelism;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How many threads can run at the same time: the processors of the affinity mask, or fewer where the control group
/// allows less time. At least one.
#[must_use]
pub fn count() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// The numbers of the processors in the affinity mask; none where the system does not say.
#[must_use]
pub fn allowed() -> Vec<usize> {
    let Ok(mask) = sched_getaffinity(None) else {
        return Vec::new();
    };
    let all = 0..CpuSet::MAX_CPU;
    all.filter(|number| mask.is_set(*number)).collect()
}

/// Keeps the calling thread on the processor of that number.
///
/// # Errors
/// As the system says: the processor was taken away meanwhile, for one.
pub fn keep_to(number: usize) -> io::Result<()> {
    if number >= CpuSet::MAX_CPU {
        let what = "a mask has no place for a processor of that number";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let mut one = CpuSet::new();
    one.set(number);
    Ok(sched_setaffinity(None, &one)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_kept_on_the_processor_it_was_given_and_others_are_not() {
        let before = allowed();
        let last = *before.last().unwrap();
        let thread = std::thread::spawn(move || {
            keep_to(last).unwrap();
            allowed()
        });
        assert_eq!(thread.join().unwrap(), [last]);
        assert_eq!(allowed(), before);
        assert!((1..=before.len()).contains(&count()));
    }

    #[test]
    fn a_processor_there_cannot_be_is_an_error() {
        assert!(keep_to(usize::MAX).is_err());
        assert!(keep_to(CpuSet::MAX_CPU - 1).is_err());
    }
}
