//! The only place that reads clocks.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use trunkline_core::Moment;

/// Now, on the clock that counts suspend (CLOCK_BOOTTIME).
#[must_use]
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Moment::from_boot(Duration::new(seconds, nanos))
}

/// Now, for people.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that reads clocks"
)]
pub fn wall() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// A time as people here write it: ISO 8601 with microseconds (left out where there are none) and the local offset.
#[must_use]
pub fn local(time: SystemTime) -> String {
    let Ok(time) = jiff::Timestamp::try_from(time) else {
        return String::new();
    };
    let local = time.to_zoned(jiff::tz::TimeZone::system());
    let format = if local.subsec_nanosecond() / 1000 == 0 {
        "%Y-%m-%dT%H:%M:%S%:z"
    } else {
        "%Y-%m-%dT%H:%M:%S.%6f%:z"
    };
    local.strftime(format).to_string()
}

/// A timer on CLOCK_BOOTTIME: after a suspend it rings at once, where tokio's own would sleep on.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// A timer that is not set.
    ///
    /// # Errors
    /// When the process is out of descriptors, or outside a tokio runtime.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        #[expect(
            unsafe_code,
            reason = "tokio has no safe way to register a descriptor of one's own"
        )]
        // SAFETY: the descriptor is open and owned; the `AsyncFd` takes it whole, never gives it out mutably, and
        // an `OwnedFd` names the same descriptor for as long as it lives.
        let timer = unsafe { AsyncFd::register(timer) }?;
        Ok(Self { timer })
    }

    /// Returns at `moment`, at once if that has passed. Cancel safe.
    ///
    /// # Errors
    /// When the system refuses the timer.
    pub async fn at(&self, moment: Moment) -> io::Result<()> {
        if moment == Moment::NEVER {
            std::future::pending::<()>().await;
        }
        let since_boot = moment.since_boot().max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: i64::try_from(since_boot.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(since_boot.subsec_nanos()),
        };
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: value,
        };
        // Setting the timer also takes back a ring nobody has read.
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::ABSTIME, &once)?;
        loop {
            let mut ready = self.timer.readable().await?;
            if now() >= moment {
                return Ok(());
            }
            ready.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_rings_at_its_moment_again_and_again() {
        let alarm = Alarm::new().unwrap();
        for _ in 0..3 {
            let due = now().after(Duration::from_millis(5));
            tokio::time::timeout(Duration::from_secs(5), alarm.at(due))
                .await
                .unwrap()
                .unwrap();
            assert!(now() >= due);
        }
    }

    #[tokio::test]
    async fn an_alarm_for_a_moment_that_has_passed_rings_at_once() {
        let alarm = Alarm::new().unwrap();
        let rings = alarm.at(Moment::BOOT);
        tokio::time::timeout(Duration::from_secs(5), rings)
            .await
            .unwrap()
            .unwrap();
    }
}
