//! The atomics, locks and sleeps that every other module uses.
//!
//! Built with `--cfg loom` they are loom's, with `--cfg shuttle` shuttle's, so that these run the real protocol and not
//! a copy of it.

#[cfg(not(any(loom, shuttle)))]
pub use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
#[cfg(loom)]
pub use loom::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    thread_local,
};
#[cfg(all(shuttle, not(loom)))]
pub use shuttle::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    thread_local,
};
#[cfg(not(any(loom, shuttle)))]
pub use std::{sync::Arc, thread_local};

#[cfg(any(loom, shuttle))]
pub use model::{Mutex, Parker};
// Not the standard library's lock: that one is not compiled with this crate, so ThreadSanitizer does not see a thread
// that had to wait for it synchronise with the one that it waited for.
#[cfg(not(any(loom, shuttle)))]
pub use parking_lot::Mutex;
#[cfg(not(any(loom, shuttle)))]
pub use real::Parker;

#[cfg(not(any(loom, shuttle)))]
mod real {
    use std::thread::{self, Thread};
    use std::time::Duration;

    /// Where one thread sleeps.
    pub struct Parker(Thread);

    impl Parker {
        /// For the current thread, the only one that may park in it.
        #[must_use]
        pub fn new() -> Self {
            Parker(thread::current())
        }

        /// Sleeps until unparked, for no longer than the time given. May return early, for no reason.
        pub fn park(&self, at_most: Option<Duration>) {
            match at_most {
                None => thread::park(),
                Some(duration) => thread::park_timeout(duration),
            }
        }

        /// Ends the sleep, or the next one.
        pub fn unpark(&self) {
            self.0.unpark();
        }
    }
}

#[cfg(any(loom, shuttle))]
mod model {
    use std::time::Duration;

    #[cfg(loom)]
    use loom::{sync, thread};
    #[cfg(all(shuttle, not(loom)))]
    use shuttle::{sync, thread};

    /// A lock that cannot be poisoned.
    pub struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// A lock that is free.
        pub fn new(value: T) -> Self {
            Mutex(sync::Mutex::new(value))
        }

        /// Waits for the lock.
        pub fn lock(&self) -> sync::MutexGuard<'_, T> {
            self.0.lock().expect("a model thread panicked")
        }
    }

    /// Where one thread sleeps. Not loom's own `park`: its `unpark` also releases a thread that waits for a lock.
    pub struct Parker {
        unparked: sync::Mutex<bool>,
        changed: sync::Condvar,
    }

    impl Parker {
        /// For the current thread, the only one that may park in it.
        pub fn new() -> Self {
            Parker { unparked: sync::Mutex::new(false), changed: sync::Condvar::new() }
        }

        /// Sleeps until unparked. With a time given, returns at once: in the model time passes whenever it is looked at.
        pub fn park(&self, at_most: Option<Duration>) {
            if at_most.is_some() {
                return thread::yield_now();
            }
            let mut unparked = self.unparked.lock().expect("a model thread panicked");
            while !*unparked {
                unparked = self.changed.wait(unparked).expect("a model thread panicked");
            }
            *unparked = false;
        }

        /// Ends the sleep, or the next one.
        pub fn unpark(&self) {
            *self.unparked.lock().expect("a model thread panicked") = true;
            self.changed.notify_one();
        }
    }
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}
