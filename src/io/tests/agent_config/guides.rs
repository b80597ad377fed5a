//! patroni.yml as people find it in guides: what is out of date or misunderstood gets the sentence that helps.

use std::fs;
use std::path::Path;

use crate::said;

/// Every file beside what is said of it.
const SAID: [(&str, &[&str]); 0] = [];
