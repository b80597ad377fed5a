//! Copy or splice: what a direction's last reads say about the next.
//!
//! Copying costs by the byte, splicing by the call. HAProxy asks whether reads fill its buffer; they do not where
//! the reader keeps up with the writer, and then it never splices. What counts here is whether reads are large
//! enough for splicing to pay.

/// A read that is at least so large costs less spliced than copied. (Measured over loopback both cost the same at 10
/// KiB; of 16 KiB a splice costs 0.85 of a copy, of 32 KiB 0.8, of 128 KiB 0.3.) Where bytes come in small packets a
/// splice costs somewhat more than that.
const LARGE: usize = 16 * 1024;
/// How many such reads in a row say that more will come.
const STREAM: i8 = 3;
/// How far a stream may be ahead of that: so many small reads end it.
const ASSURED: i8 = STREAM + 3;
/// What a stream that found no pipe begins with: it asks again after some megabytes.
const DENIED: i8 = -100;
/// A direction whose sockets cannot be spliced.
const NEVER: i8 = i8::MIN;

/// The pace of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace(i8);

impl Pace {
    /// Whether the next read is to be spliced.
    pub(super) const fn is_stream(self) -> bool {
        self.0 >= STREAM
    }

    /// Notes how much one read gave.
    pub(super) const fn note(&mut self, bytes: usize) {
        self.0 = match (self.0, bytes >= LARGE) {
            (NEVER, _) => NEVER,
            (STREAM.., true) => ASSURED,
            (pace, true) => pace + 1,
            (pace, false) if pace > STREAM => pace - 1,
            (0.., false) => 0,
            (pace, false) => pace,
        };
    }

    /// Notes that there was no pipe.
    pub(super) const fn found_no_pipe(&mut self) {
        self.0 = DENIED;
    }

    /// Notes that the kernel does not splice these sockets.
    pub(super) const fn cannot_splice(&mut self) {
        self.0 = NEVER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(reads: impl IntoIterator<Item = usize>) -> Pace {
        let mut pace = Pace::default();
        reads.into_iter().for_each(|bytes| pace.note(bytes));
        pace
    }

    #[test]
    fn large_reads_in_a_row_make_a_stream_and_small_ones_between_them_do_not() {
        assert!(!after([LARGE; 2]).is_stream());
        assert!(after([LARGE; 3]).is_stream());
        assert!(!after([LARGE, LARGE, 5].into_iter().cycle().take(99)).is_stream());
        assert!(!after([64; 99]).is_stream());
    }

    #[test]
    fn a_stream_survives_a_few_small_reads_and_ends_with_several_in_a_row() {
        let stream = [LARGE; 9].into_iter();
        assert!(after(stream.clone().chain([1; 3])).is_stream());
        assert!(!after(stream.clone().chain([1; 4])).is_stream());
        assert!(after(stream.clone().chain([1, LARGE, 1, 1, LARGE, 1, 1, 1])).is_stream());
        // Once it is over it has to begin anew.
        assert!(!after(stream.chain([1, 1, 1, 1, LARGE, LARGE])).is_stream());
    }

    #[test]
    fn who_found_no_pipe_asks_again_after_a_while_and_who_cannot_splice_never() {
        let mut pace = after([LARGE; 3]);
        pace.found_no_pipe();
        (0..102).for_each(|_| pace.note(LARGE));
        assert!(!pace.is_stream());
        pace.note(LARGE);
        assert!(pace.is_stream());
        pace.cannot_splice();
        (0..1000).for_each(|_| pace.note(LARGE));
        assert!(!pace.is_stream());
    }
}
