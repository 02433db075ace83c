//! How frozen objects live and die: by reference counting alone, cycles included.
//!
//! [`count`] is the counting protocol, [`record`] what the members of a non-trivial component share.

pub mod count;
#[cfg(feature = "cpython")]
pub mod headless;
#[cfg(feature = "cpython")]
pub mod pinned;
pub mod record;
#[cfg(feature = "cpython")]
pub mod references;
#[cfg(feature = "cpython")]
pub mod release;
#[cfg(feature = "cpython")]
pub mod site;
#[cfg(feature = "cpython")]
pub mod weak;
