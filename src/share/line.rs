//! Waiting in line.
//!
//! A channel's queue never blocks: it is full, or empty, or closed. Who must wait until it is not takes a place in a
//! [`Line`] and sleeps. Whoever makes an end of the wait possible, by adding or taking one message, wakes the first in
//! line. Each such *wake* admits one caller, and is never lost: a caller that leaves without having used it, because
//! its time is over, a signal arrived or its interpreter ends, hands it to the next.
//!
//! Nobody may sleep while what it waits for is there. A waiting caller takes its place first and then tries once
//! more; the other side acts first and then looks whether anybody waits ([`Line::wake_one`]). Both go through the
//! number of the waiting, with one atomic read-modify-write each, so one of the two sees the other.
//!
//! Waking is in the order of arrival. A woken caller must still get hold of what it was woken for, before somebody
//! who never waited does; one that fails takes its old place again, ahead of all who came later. So no caller is
//! passed by more than the callers that happen to be running.
//!
//! Checked by loom in `tests/loom_channel.rs`.

use std::collections::VecDeque;
use std::process;
use std::time::Instant;

use crossbeam_utils::Backoff;

use crate::object::primitive::{Arc, AtomicUsize, Mutex, Ordering, Parker};

/// Callers that wait for one condition, in the order of their arrival.
pub struct Line {
    /// How many callers wait and were not woken; changed under the lock only.
    waiting: AtomicUsize,
    places: Mutex<Places>,
}

struct Places {
    next_ticket: u64,
    /// The callers not yet woken, by rising ticket.
    queue: VecDeque<(u64, Arc<Sleeper>)>,
}

impl Default for Line {
    fn default() -> Self {
        Line { waiting: AtomicUsize::new(0), places: Mutex::new(Places { next_ticket: 0, queue: VecDeque::new() }) }
    }
}

impl Line {
    /// Admits one caller: wakes the first in line, if anybody waits.
    ///
    /// To be called after what makes the condition true, by the same thread.
    #[inline]
    pub fn wake_one(&self) {
        if self.anybody_waits() {
            self.wake_first();
        }
    }

    /// Wakes everybody. As [`wake_one`](Line::wake_one), for a condition that stays true.
    pub fn wake_all(&self) {
        if self.anybody_waits() {
            let woken = {
                let mut places = self.places.lock();
                // Relaxed: as in `take_first`.
                self.waiting.fetch_sub(places.queue.len(), Ordering::Relaxed);
                std::mem::take(&mut places.queue)
            };
            for (_, sleeper) in woken {
                sleeper.wake();
            }
        }
    }

    #[inline]
    fn anybody_waits(&self) -> bool {
        // A read-modify-write, and not a load: it comes before or after the addition in `join`. If after, it sees the
        // caller. If before, then that addition reads from it. Release, paired with the Acquire there: so the caller
        // sees what made the condition true when it tries once more.
        // Acquire: pairs with the Release of `join`, for the symmetric reason.
        self.waiting.fetch_add(0, Ordering::AcqRel) > 0
    }

    #[cold]
    fn wake_first(&self) {
        while let Some(sleeper) = self.take_first() {
            if sleeper.process == process::id() {
                return sleeper.wake();
            }
            // A thread of the process that this one was forked from.
        }
    }

    fn take_first(&self) -> Option<Arc<Sleeper>> {
        let mut places = self.places.lock();
        let (_, sleeper) = places.queue.pop_front()?;
        // Relaxed: nothing is concluded from a smaller number; as a read-modify-write it keeps the chain that
        // `anybody_waits` relies on.
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(sleeper)
    }

    /// Takes the place of `ticket`, or a new one at the end. Returns the ticket.
    fn join(&self, ticket: Option<u64>, sleeper: &Arc<Sleeper>) -> u64 {
        let mut places = self.places.lock();
        let ticket = ticket.unwrap_or_else(|| {
            places.next_ticket += 1;
            places.next_ticket
        });
        let place = places.queue.partition_point(|(earlier, _)| *earlier < ticket);
        places.queue.insert(place, (ticket, sleeper.clone()));
        // AcqRel: see `anybody_waits`.
        self.waiting.fetch_add(1, Ordering::AcqRel);
        ticket
    }

    /// Leaves the line. Returns whether the caller was woken.
    fn leave(&self, ticket: u64) -> bool {
        let mut places = self.places.lock();
        match places.queue.binary_search_by_key(&ticket, |(ticket, _)| *ticket) {
            Ok(place) => {
                places.queue.remove(place);
                // Relaxed: as in `take_first`.
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                false
            }
            Err(_) => true,
        }
    }
}

/// A thread that waits.
struct Sleeper {
    woken: AtomicUsize,
    parker: Parker,
    /// After a fork there is a place in line for a thread that only the other process has.
    process: u32,
}

impl Sleeper {
    fn wake(&self) {
        // Release: pairs with the Acquire of `sleep`. It orders nothing that the callers need (see `join`), but gives
        // the sleep itself a meaning of its own.
        self.woken.store(1, Ordering::Release);
        self.parker.unpark();
    }

    fn is_woken(&self) -> bool {
        // Acquire: see `wake`.
        self.woken.load(Ordering::Acquire) != 0
    }

    /// Sleeps until woken, or until the instant given. Returns whether it was woken.
    fn sleep(&self, until: Option<Instant>) -> bool {
        // The other side is often about to act: a sleep, and the call that ends it, cost more than these few turns.
        let backoff = Backoff::new();
        while !cfg!(loom) && !backoff.is_completed() {
            if self.is_woken() {
                return true;
            }
            backoff.snooze();
        }
        // `park` also returns for no reason, and for the wake of an earlier sleep.
        while !self.is_woken() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return self.is_woken();
            }
            self.parker.park(left);
        }
        true
    }
}

/// Something to wait for.
pub trait Gate {
    /// The line of those who wait for it.
    fn line(&self) -> &Line;
    /// Whether one more caller could be admitted now. May be out of date when it returns.
    fn is_open(&self) -> bool;
}

/// One caller, in line at one or several gates.
pub struct Wait<'a> {
    sleeper: Arc<Sleeper>,
    places: Vec<Place<'a>>,
}

struct Place<'a> {
    gate: &'a dyn Gate,
    /// Known from the first time in line on.
    ticket: Option<u64>,
    in_line: bool,
    /// Woken here, and neither past the gate since nor has anybody else been woken instead.
    woken: bool,
}

impl<'a> Wait<'a> {
    fn new(gates: impl IntoIterator<Item = &'a dyn Gate>) -> Self {
        let places = gates.into_iter().map(|gate| Place { gate, ticket: None, in_line: false, woken: false });
        Wait {
            sleeper: Arc::new(Sleeper { woken: AtomicUsize::new(0), parker: Parker::new(), process: process::id() }),
            places: places.collect(),
        }
    }

    /// Takes a place at each gate: at the end the first time, its old place later.
    ///
    /// The caller then tries once more to pass, before it sleeps.
    fn join(&mut self) {
        // Relaxed: a late wake of an earlier sleep only costs one more try.
        self.sleeper.woken.store(0, Ordering::Relaxed);
        for place in &mut self.places {
            place.ticket = Some(place.gate.line().join(place.ticket, &self.sleeper));
            place.in_line = true;
        }
    }

    /// Sleeps until woken, or until the instant given. Returns whether it was woken.
    ///
    /// Holds no lock, and may be called again.
    pub fn sleep(&self, until: Option<Instant>) -> bool {
        self.sleeper.sleep(until)
    }

    /// Leaves every line. The wakes received there are still this caller's.
    ///
    /// Before the try that may use them: a wake that comes after it would be counted as used, and be lost.
    fn step_out(&mut self) {
        for place in &mut self.places {
            if std::mem::take(&mut place.in_line) {
                place.woken = place.ticket.is_some_and(|ticket| place.gate.line().leave(ticket));
            }
        }
    }

    /// Hands on the wakes that were not used. `passed` is the number of the gate that the caller has passed.
    fn settle(&mut self, passed: Option<usize>) {
        for (number, place) in self.places.iter_mut().enumerate() {
            if std::mem::take(&mut place.woken) && passed != Some(number) && place.gate.is_open() {
                place.gate.line().wake_one();
            }
        }
    }

    /// Leaves every line, and hands on the wakes received there.
    pub fn abandon(&mut self) {
        self.step_out();
        self.settle(None);
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// How a caller sleeps: what it lets go of meanwhile, and what may interrupt it.
pub trait Block {
    /// What an interruption leaves behind.
    type Interrupt;

    /// Calls [`Wait::sleep`], with `until` or an earlier instant, and returns when it was woken or `until` has passed.
    ///
    /// If the caller may not come back to use what it was woken for, [`Wait::abandon`] must be called first. It may return
    /// all the same, and then returns at once.
    ///
    /// # Errors
    /// The interruption that ends the wait.
    fn block(&mut self, wait: &mut Wait<'_>, until: Option<Instant>) -> Result<(), Self::Interrupt>;
}

/// Blocks the thread, and nothing interrupts it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Block for Plain {
    type Interrupt = std::convert::Infallible;

    fn block(&mut self, wait: &mut Wait<'_>, until: Option<Instant>) -> Result<(), Self::Interrupt> {
        wait.sleep(until);
        Ok(())
    }
}

/// Why a wait ended in nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended<I> {
    /// The deadline passed.
    TimedOut,
    /// Something else came first.
    Interrupted(I),
}

/// Waits at the gates until `attempt` has a result. `attempt` has just failed; it tells the number of the gate passed.
///
/// # Errors
/// Why there is no result: see [`Ended`].
pub fn wait<'a, R, B: Block>(
    gates: impl IntoIterator<Item = &'a dyn Gate>,
    deadline: Option<Instant>,
    block: &mut B,
    mut attempt: impl FnMut() -> Option<(usize, R)>,
) -> Result<R, Ended<B::Interrupt>> {
    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        return Err(Ended::TimedOut);
    }
    let mut wait = Wait::new(gates);
    loop {
        wait.join();
        // What is passed here was open before the caller was in line: a wake that it received is for somebody else.
        if let Some((_, result)) = attempt() {
            return Ok(result);
        }
        block.block(&mut wait, deadline).map_err(Ended::Interrupted)?;
        wait.step_out();
        if let Some((passed, result)) = attempt() {
            wait.settle(Some(passed));
            return Ok(result);
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Ended::TimedOut);
        }
    }
}
