//! Channels: many producers, many consumers, each message to exactly one of them.
//!
//! The queue underneath is `concurrent_queue`, the one that `async-channel` is made of: the algorithm of
//! crossbeam-channel's unbounded flavour, with two properties that crossbeam-channel cannot offer from outside.
//! It can be *closed*, in one atomic step with respect to every send: a message is either in the queue by then and can
//! be received, or its sender keeps it; crossbeam-channel closes only when all of one side's handles are gone. And it
//! never waits: waiting is ours ([`line`](super::line)), so a blocked caller can be interrupted by a signal, and takes
//! its message only when it is back and able to use it. A consumer that never comes back from its wait, because its
//! interpreter ended meanwhile, has taken nothing.
//!
//! A capacity is a number of *places*, claimed before a message enters the queue and returned after it left, so that
//! a large capacity costs no memory.
//!
//! | event                      | senders                        | receivers                                |
//! | -------------------------- | ------------------------------ | ---------------------------------------- |
//! | `close()` on either side   | refused from now on            | get what is left, then are refused       |
//! | last [`Sender`] dropped    |                                | the same                                 |
//! | last [`Receiver`] dropped  | refused from now on            | what is left is dropped, there and then  |
//!
//! Messages are dropped by the thread that drops the last [`Receiver`], or by a caller that gets its own message
//! back, and never under a lock.
//!
//! Checked by loom in `tests/loom_channel.rs`.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::time::Instant;

use concurrent_queue::{ConcurrentQueue, PopError};
use crossbeam_utils::CachePadded;

use super::line::{self, Block, Ended, Gate, Line};
use crate::object::primitive::{Arc, AtomicUsize, Ordering, thread_local};

struct Channel<T> {
    queue: ConcurrentQueue<T>,
    capacity: Option<NonZeroUsize>,
    /// Places claimed: not less than the messages in the queue. Stays zero without a capacity.
    claimed: CachePadded<AtomicUsize>,
    /// Who waits for a message.
    receiving: CachePadded<Line>,
    /// Who waits for a place.
    sending: CachePadded<Line>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

/// The end that messages are put into.
pub struct Sender<T>(Arc<Channel<T>>);

/// The end that messages are taken from.
pub struct Receiver<T>(Arc<Channel<T>>);

/// Why nothing was sent. The message is the caller's again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// There is no place for it now.
    Full(T),
    /// The channel is closed, for good.
    Closed(T),
}

/// Why nothing was sent, after waiting. The message is the caller's again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError<T, I> {
    /// No place until the deadline.
    TimedOut(T),
    /// The channel is closed, for good.
    Closed(T),
    /// The wait was interrupted.
    Interrupted(T, I),
}

/// Why nothing was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// There is no message now.
    Empty,
    /// The channel is closed and holds nothing any more.
    Closed,
}

/// Why nothing was received, after waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError<I> {
    /// No message until the deadline.
    TimedOut,
    /// The channel is closed and holds nothing any more.
    Closed,
    /// The wait was interrupted.
    Interrupted(I),
}

/// Makes a channel, and one handle of each kind. With a capacity, that many messages fit in; without, any number.
pub fn channel<T: Send>(capacity: Option<NonZeroUsize>) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel {
        queue: ConcurrentQueue::unbounded(),
        capacity,
        claimed: CachePadded::new(AtomicUsize::new(0)),
        receiving: CachePadded::new(Line::default()),
        sending: CachePadded::new(Line::default()),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
    });
    (Sender(channel.clone()), Receiver(channel))
}

impl<T> Channel<T> {
    /// Claims a place. False if there is none.
    #[inline]
    fn claim(&self) -> bool {
        let Some(capacity) = self.capacity else { return true };
        // Relaxed: the number bounds the queue and orders nothing; the queue itself hands the messages over. Who must
        // not miss a place that was returned has gone through the line, which orders that.
        let mut claimed = self.claimed.load(Ordering::Relaxed);
        while claimed < capacity.get() {
            match self.claimed.compare_exchange_weak(claimed, claimed + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => claimed = now,
            }
        }
        false
    }

    /// Returns a place, and lets somebody else have it.
    #[inline]
    fn give_back(&self) {
        if self.capacity.is_some() {
            // Relaxed: as in `claim`.
            self.claimed.fetch_sub(1, Ordering::Relaxed);
            self.sending.wake_one();
        }
    }

    #[inline]
    fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        if !self.claim() {
            // That it is closed says more than that it is full.
            return Err(if self.queue.is_closed() {
                TrySendError::Closed(message)
            } else {
                TrySendError::Full(message)
            });
        }
        match self.queue.push(message) {
            Ok(()) => {
                self.receiving.wake_one();
                Ok(())
            }
            Err(refused) => {
                self.give_back();
                Err(TrySendError::Closed(refused.into_inner()))
            }
        }
    }

    #[inline]
    fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.queue.pop() {
            Ok(message) => {
                self.give_back();
                Ok(message)
            }
            Err(PopError::Empty) => Err(TryRecvError::Empty),
            Err(PopError::Closed) => Err(TryRecvError::Closed),
        }
    }

    fn close(&self) -> bool {
        let first = self.queue.close();
        if first {
            self.receiving.wake_all();
            self.sending.wake_all();
        }
        first
    }
}

/// The condition that senders wait for.
impl<T> Gate for Sender<T> {
    fn line(&self) -> &Line {
        &self.0.sending
    }

    fn is_open(&self) -> bool {
        // Relaxed: as in `claim`.
        self.0.capacity.is_none_or(|capacity| self.0.claimed.load(Ordering::Relaxed) < capacity.get())
    }
}

/// The condition that receivers wait for.
impl<T> Gate for Receiver<T> {
    fn line(&self) -> &Line {
        &self.0.receiving
    }

    fn is_open(&self) -> bool {
        !self.0.queue.is_empty()
    }
}

impl<T> Sender<T> {
    /// Sends a message, unless that would have to wait.
    ///
    /// # Errors
    /// The channel is full or closed.
    #[inline]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(message)
    }

    /// Sends a message. Waits for a place if there is none, until the deadline if there is one.
    ///
    /// # Errors
    /// The channel is, or was meanwhile, closed; the deadline passed; or the wait was interrupted.
    #[inline]
    pub fn send<B: Block>(
        &self,
        message: T,
        deadline: Option<Instant>,
        block: &mut B,
    ) -> Result<(), SendError<T, B::Interrupt>> {
        match self.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(message)) => Err(SendError::Closed(message)),
            Err(TrySendError::Full(message)) => self.wait_to_send(message, deadline, block),
        }
    }

    #[cold]
    fn wait_to_send<B: Block>(
        &self,
        message: T,
        deadline: Option<Instant>,
        block: &mut B,
    ) -> Result<(), SendError<T, B::Interrupt>> {
        let mut kept = Some(message);
        let sent = line::wait([self as &dyn Gate], deadline, block, || {
            match self.try_send(kept.take()?) {
                Ok(()) => return Some((0, true)),
                Err(TrySendError::Full(message)) => kept = Some(message),
                Err(TrySendError::Closed(message)) => {
                    kept = Some(message);
                    return Some((0, false));
                }
            }
            None
        });
        match (sent, kept) {
            (Ok(false), Some(message)) => Err(SendError::Closed(message)),
            (Err(Ended::TimedOut), Some(message)) => Err(SendError::TimedOut(message)),
            (Err(Ended::Interrupted(by)), Some(message)) => Err(SendError::Interrupted(message, by)),
            // Sent: nothing was kept.
            _ => Ok(()),
        }
    }

    /// Closes the channel. Returns false if it was closed already.
    pub fn close(&self) -> bool {
        self.0.close()
    }

    /// Whether sending is refused for good.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.queue.is_closed()
    }

    /// How many messages fit in; `None` if any number does.
    #[must_use]
    pub fn capacity(&self) -> Option<NonZeroUsize> {
        self.0.capacity
    }

    /// How many messages are in the channel.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.queue.len()
    }

    /// Whether no message is in the channel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.queue.is_empty()
    }
}

impl<T> Receiver<T> {
    /// Receives a message, if there is one.
    ///
    /// # Errors
    /// The channel is empty, or closed and empty.
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.try_recv()
    }

    /// Receives a message. Waits for one, until the deadline if there is one.
    ///
    /// # Errors
    /// The channel is, or was meanwhile, closed, and is empty; the deadline passed; or the wait was interrupted.
    #[inline]
    pub fn recv<B: Block>(&self, deadline: Option<Instant>, block: &mut B) -> Result<T, RecvError<B::Interrupt>> {
        match self.try_recv() {
            Ok(message) => Ok(message),
            Err(TryRecvError::Closed) => Err(RecvError::Closed),
            Err(TryRecvError::Empty) => wait_to_recv(&[self], deadline, block).map(|(_, message)| message),
        }
    }

    /// Closes the channel. Returns false if it was closed already.
    pub fn close(&self) -> bool {
        self.0.close()
    }

    /// Whether sending is refused for good. Messages may be left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.queue.is_closed()
    }

    /// How many messages fit in; `None` if any number does.
    #[must_use]
    pub fn capacity(&self) -> Option<NonZeroUsize> {
        self.0.capacity
    }

    /// How many messages are in the channel.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.queue.len()
    }

    /// Whether no message is in the channel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.queue.is_empty()
    }
}

/// Receives a message from whichever receiver has one, and waits if none has. Returns the number of the receiver.
///
/// Receivers that are closed and empty are passed over. Each call begins its search at another receiver, so that a busy
/// one does not keep the others from being heard.
///
/// # Errors
/// All are closed and empty (or there is none); the deadline passed; or the wait was interrupted.
pub fn select<T, B: Block>(
    receivers: &[&Receiver<T>],
    deadline: Option<Instant>,
    block: &mut B,
) -> Result<(usize, T), RecvError<B::Interrupt>> {
    match try_select(receivers) {
        Ok(received) => Ok(received),
        Err(TryRecvError::Closed) => Err(RecvError::Closed),
        Err(TryRecvError::Empty) => wait_to_recv(receivers, deadline, block),
    }
}

/// As [`select`], without waiting.
///
/// # Errors
/// No receiver has a message, or all are closed and empty (or there is none).
#[allow(clippy::missing_const_for_thread_local, reason = "loom's macro knows no const")]
pub fn try_select<T>(receivers: &[&Receiver<T>]) -> Result<(usize, T), TryRecvError> {
    thread_local! {
        static TURN: Cell<usize> = Cell::new(0);
    }
    let turn = TURN.with(|turn| turn.replace(turn.get().wrapping_add(1)));
    let mut outcome = TryRecvError::Closed;
    for i in 0..receivers.len() {
        let number = (turn % receivers.len() + i) % receivers.len();
        match receivers[number].try_recv() {
            Ok(message) => return Ok((number, message)),
            Err(TryRecvError::Empty) => outcome = TryRecvError::Empty,
            Err(TryRecvError::Closed) => {}
        }
    }
    Err(outcome)
}

#[cold]
fn wait_to_recv<T, B: Block>(
    receivers: &[&Receiver<T>],
    deadline: Option<Instant>,
    block: &mut B,
) -> Result<(usize, T), RecvError<B::Interrupt>> {
    let gates = receivers.iter().map(|receiver| *receiver as &dyn Gate);
    let received = line::wait(gates, deadline, block, || match try_select(receivers) {
        Ok((number, message)) => Some((number, Some((number, message)))),
        // No gate was passed, and nobody needs a wake: whoever waits here was woken by the closing.
        Err(TryRecvError::Closed) => Some((0, None)),
        Err(TryRecvError::Empty) => None,
    });
    match received {
        Ok(Some(received)) => Ok(received),
        Ok(None) => Err(RecvError::Closed),
        Err(Ended::TimedOut) => Err(RecvError::TimedOut),
        Err(Ended::Interrupted(by)) => Err(RecvError::Interrupted(by)),
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        // Relaxed: made from a handle that is held.
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Sender(self.0.clone())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        // Relaxed: made from a handle that is held.
        self.0.receivers.fetch_add(1, Ordering::Relaxed);
        Receiver(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // AcqRel: what was sent through the other handles comes before the close.
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.close();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // AcqRel: what the other handles received comes before the rest is dropped.
        if self.0.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.close();
            // A send that was under way either finished before the close or is refused, so this leaves nothing.
            while let Ok(message) = self.0.try_recv() {
                drop(message);
            }
        }
    }
}
