//! What whoever follows etcd and writes to it, too, knows from its own writes.

use super::{Change, EndpointId, Follow, Slot, Trouble};
use crate::Moment;

impl Follow {
    /// A change this program made itself: it is believed at once, not only when the watch tells of it. Nothing
    /// follows from it for how old the view is.
    pub fn wrote(&mut self, change: Change) {
        // Before the first listing a single key would pass for all there is.
        if self.listed.is_some() {
            self.learn(change);
            let value = self.parsed();
            self.view = self.view.clone().replaced(value);
        }
    }

    /// A write was refused: what it was made from is out of date. Everything is listed again at once.
    pub const fn refused(&mut self, now: Moment) {
        self.list = Slot::Due(now);
    }

    /// Somebody else's question to `endpoint` failed: it is left as if one asked from here had.
    pub fn distrust(&mut self, endpoint: EndpointId, trouble: Trouble, now: Moment) {
        if endpoint == self.endpoints.current() {
            self.failed(endpoint, trouble, now);
        }
    }
}
