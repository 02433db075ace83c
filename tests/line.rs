//! Waiting in line: a wake admits one caller, whoever that is in the end.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use immutable::share::line::{Block, Ended, Gate, Line, Plain, Wait, wait};

/// A gate that so many callers may pass.
#[derive(Default)]
struct Turnstile {
    line: Line,
    admitted: AtomicUsize,
}

impl Turnstile {
    fn admit_one(&self) {
        self.admitted.fetch_add(1, Ordering::SeqCst);
        self.line.wake_one();
    }

    fn pass(&self) -> Option<(usize, ())> {
        let passed = self.admitted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |admitted| admitted.checked_sub(1));
        passed.is_ok().then_some((0, ()))
    }
}

impl Gate for Turnstile {
    fn line(&self) -> &Line {
        &self.line
    }

    fn is_open(&self) -> bool {
        self.admitted.load(Ordering::SeqCst) > 0
    }
}

/// Comes back at once, neither woken nor interrupted.
struct Restless;

impl Block for Restless {
    type Interrupt = Infallible;

    fn block(&mut self, _: &mut Wait<'_>, _: Option<Instant>) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Blocks, and counts the callers that are in line by then.
struct Counted<'a>(&'a AtomicUsize);

impl Block for Counted<'_> {
    type Interrupt = Infallible;

    fn block(&mut self, wait: &mut Wait<'_>, until: Option<Instant>) -> Result<(), Infallible> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Plain.block(wait, until)
    }
}

fn gate(turnstile: &Turnstile) -> [&dyn Gate; 1] {
    [turnstile]
}

#[test]
fn a_wake_for_a_caller_that_is_passing_already_goes_to_the_next() {
    let turnstile = Turnstile::default();
    let waiting = AtomicUsize::new(0);
    thread::scope(|scope| {
        let mut attempts = 0;
        let passed = wait(gate(&turnstile), None, &mut Restless, || {
            attempts += 1;
            if attempts == 1 {
                return None;
            }
            // Passes, and is still here when another caller goes to sleep and is admitted.
            scope.spawn(|| wait(gate(&turnstile), None, &mut Counted(&waiting), || turnstile.pass()).unwrap());
            while waiting.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            turnstile.admit_one();
            Some((0, ()))
        });
        assert_eq!(passed, Ok(()));
    });
    assert!(!turnstile.is_open());
}

#[test]
fn a_wake_for_a_caller_that_found_the_gate_open_goes_to_the_next() {
    let turnstile = Turnstile::default();
    let waiting = AtomicUsize::new(0);
    thread::scope(|scope| {
        // In line, but about to pass without having slept.
        let passed = wait(gate(&turnstile), None, &mut Plain, || {
            scope.spawn(|| wait(gate(&turnstile), None, &mut Counted(&waiting), || turnstile.pass()).unwrap());
            while waiting.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            turnstile.admit_one();
            Some((0, ()))
        });
        assert_eq!(passed, Ok(()));
    });
    assert!(!turnstile.is_open());
}

#[test]
fn a_wake_for_a_caller_that_is_interrupted_goes_to_the_next() {
    struct Interrupted<'a>(&'a AtomicUsize);
    impl Block for Interrupted<'_> {
        type Interrupt = ();
        fn block(&mut self, wait: &mut Wait<'_>, until: Option<Instant>) -> Result<(), ()> {
            self.0.fetch_add(1, Ordering::SeqCst);
            assert!(wait.sleep(until));
            Err(())
        }
    }
    let turnstile = Turnstile::default();
    let waiting = AtomicUsize::new(0);
    thread::scope(|scope| {
        let interrupted = scope.spawn(|| wait(gate(&turnstile), None, &mut Interrupted(&waiting), || turnstile.pass()));
        while waiting.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        scope.spawn(|| wait(gate(&turnstile), None, &mut Counted(&waiting), || turnstile.pass()).unwrap());
        while waiting.load(Ordering::SeqCst) == 1 {
            thread::yield_now();
        }
        turnstile.admit_one();
        assert_eq!(interrupted.join().unwrap(), Err(Ended::Interrupted(())));
    });
    assert!(!turnstile.is_open());
}
