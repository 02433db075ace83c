//! Channels with real threads: what is sent arrives once, in order, and closing means what it says.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use immutable::share::channel::{
    Receiver, RecvError, SendError, Sender, TryRecvError, TrySendError, channel, select, try_select,
};
use immutable::share::line::{Block, Plain, Wait};
use proptest::prelude::*;

fn unbounded<T: Send>() -> (Sender<T>, Receiver<T>) {
    channel(None)
}

fn bounded<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    channel(Some(NonZeroUsize::new(capacity).unwrap()))
}

fn send<T: std::fmt::Debug>(sender: &Sender<T>, message: T) {
    sender.send(message, None, &mut Plain).unwrap();
}

fn recv<T>(receiver: &Receiver<T>) -> Result<T, RecvError<Infallible>> {
    receiver.recv(None, &mut Plain)
}

/// Everything that is received until the channel is closed and empty.
fn drain<T: std::fmt::Debug>(receiver: &Receiver<T>) -> Vec<T> {
    let mut received = Vec::new();
    loop {
        match recv(receiver) {
            Ok(message) => received.push(message),
            Err(RecvError::Closed) => return received,
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(20))
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

fn wait_for(counter: &AtomicUsize, value: usize) {
    while counter.load(Ordering::SeqCst) < value {
        thread::yield_now();
    }
}

// ---- One thread ------------------------------------------------------------

#[test]
fn messages_arrive_in_the_order_in_which_they_were_sent() {
    let (sender, receiver) = unbounded();
    for number in 0..1000 {
        send(&sender, number);
    }
    assert_eq!(sender.len(), 1000);
    assert_eq!(receiver.len(), 1000);
    for number in 0..1000 {
        assert_eq!(recv(&receiver), Ok(number));
    }
    assert!(receiver.is_empty());
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_bounded_channel_takes_as_many_messages_as_its_capacity() {
    for capacity in [1, 2, 31, 32, 100] {
        let (sender, receiver) = bounded(capacity);
        assert_eq!(sender.capacity(), NonZeroUsize::new(capacity));
        for round in 0..3 {
            for number in 0..capacity {
                assert_eq!(sender.try_send(number), Ok(()));
            }
            assert_eq!(sender.try_send(capacity), Err(TrySendError::Full(capacity)));
            assert_eq!(sender.len(), capacity);
            for number in 0..capacity {
                assert_eq!(receiver.try_recv(), Ok(number), "round {round}");
            }
        }
    }
}

#[test]
fn a_large_capacity_takes_no_memory() {
    let (sender, receiver) = bounded(usize::MAX);
    send(&sender, 1);
    assert_eq!(recv(&receiver), Ok(1));
}

#[test]
fn a_wait_ends_at_its_deadline_and_leaves_the_channel_as_it_was() {
    let (sender, receiver) = bounded(1);
    let began = Instant::now();
    assert_eq!(receiver.recv(soon(), &mut Plain), Err(RecvError::TimedOut));
    assert!(began.elapsed() >= Duration::from_millis(20));
    send(&sender, 1);
    let began = Instant::now();
    assert_eq!(sender.send(2, soon(), &mut Plain), Err(SendError::TimedOut(2)));
    assert!(began.elapsed() >= Duration::from_millis(20));
    assert_eq!(receiver.recv(soon(), &mut Plain), Ok(1));
    assert_eq!(sender.send(3, soon(), &mut Plain), Ok(()));
    assert_eq!(recv(&receiver), Ok(3));
}

#[test]
fn a_deadline_that_has_passed_means_do_not_wait() {
    struct Never;
    impl Block for Never {
        type Interrupt = Infallible;
        fn block(&mut self, _: &mut Wait<'_>, _: Option<Instant>) -> Result<(), Infallible> {
            panic!("waited");
        }
    }
    let (sender, receiver) = bounded(1);
    let now = Some(Instant::now());
    assert_eq!(receiver.recv(now, &mut Never), Err(RecvError::TimedOut));
    assert_eq!(sender.send(1, now, &mut Never), Ok(()));
    assert_eq!(sender.send(2, now, &mut Never), Err(SendError::TimedOut(2)));
    assert_eq!(receiver.recv(now, &mut Never), Ok(1));
}

#[test]
fn an_interruption_ends_a_wait_and_keeps_the_message() {
    struct Interrupted;
    impl Block for Interrupted {
        type Interrupt = &'static str;
        fn block(&mut self, _: &mut Wait<'_>, _: Option<Instant>) -> Result<(), &'static str> {
            Err("a signal")
        }
    }
    let (sender, receiver) = bounded(1);
    assert_eq!(receiver.recv(None, &mut Interrupted), Err(RecvError::Interrupted("a signal")));
    assert_eq!(select(&[&receiver], None, &mut Interrupted), Err(RecvError::Interrupted("a signal")));
    send(&sender, 1);
    assert_eq!(sender.send(2, None, &mut Interrupted), Err(SendError::Interrupted(2, "a signal")));
    assert_eq!(recv(&receiver), Ok(1));
}

// ---- Closing ---------------------------------------------------------------

#[test]
fn closing_either_end_refuses_messages_and_leaves_those_sent() {
    for by_receiver in [false, true] {
        let (sender, receiver) = bounded(3);
        send(&sender, 1);
        send(&sender, 2);
        assert!(!sender.is_closed());
        assert!(if by_receiver { receiver.close() } else { sender.close() }, "the first close");
        assert!(!sender.close(), "closed already");
        assert!(sender.is_closed() && receiver.is_closed());
        assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
        assert_eq!(sender.send(3, None, &mut Plain), Err(SendError::Closed(3)));
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(recv(&receiver), Ok(2));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(recv(&receiver), Err(RecvError::Closed));
    }
}

#[test]
fn a_full_channel_that_is_closed_says_closed() {
    let (sender, receiver) = bounded(1);
    send(&sender, 1);
    receiver.close();
    assert_eq!(sender.try_send(2), Err(TrySendError::Closed(2)));
    assert_eq!(sender.send(2, soon(), &mut Plain), Err(SendError::Closed(2)));
}

#[test]
fn the_last_sender_closes_the_channel() {
    let (sender, receiver) = unbounded();
    let other = sender.clone();
    send(&sender, 1);
    drop(sender);
    assert!(!receiver.is_closed());
    send(&other, 2);
    drop(other);
    assert_eq!(drain(&receiver), [1, 2]);
}

#[test]
fn the_last_receiver_drops_what_is_left_at_once() {
    let (sender, receiver) = unbounded();
    let other = receiver.clone();
    let messages: Vec<_> = (0..100).map(Arc::new).collect();
    for message in &messages {
        send(&sender, message.clone());
    }
    drop(receiver);
    assert_eq!(sender.len(), 100);
    drop(other);
    assert_eq!(sender.len(), 0);
    for message in &messages {
        assert_eq!(Arc::strong_count(message), 1);
    }
    assert!(matches!(sender.try_send(Arc::new(1)), Err(TrySendError::Closed(_))));
}

#[test]
fn a_message_that_holds_an_end_of_its_own_channel_is_dropped_with_it() {
    struct Letter {
        _reply: Sender<Letter>,
        _alive: Arc<()>,
    }
    let alive = Arc::new(());
    let (sender, receiver) = unbounded();
    for _ in 0..3 {
        assert!(sender.try_send(Letter { _reply: sender.clone(), _alive: alive.clone() }).is_ok());
    }
    drop(sender);
    assert_eq!(Arc::strong_count(&alive), 4);
    drop(receiver);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn closing_wakes_everybody_who_waits() {
    let (sender, receiver) = bounded(1);
    send(&sender, 0);
    let (empty_sender, empty_receiver) = bounded::<i32>(1);
    let waiting = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                assert_eq!(sender.send(1, None, &mut Counted(&waiting)), Err(SendError::Closed(1)));
            });
            scope.spawn(|| {
                assert_eq!(empty_receiver.recv(None, &mut Counted(&waiting)), Err(RecvError::Closed));
            });
        }
        wait_for(&waiting, 6);
        receiver.close();
        drop(empty_sender);
    });
}

// ---- Order and fairness ----------------------------------------------------

#[test]
fn receivers_are_served_in_the_order_in_which_they_began_to_wait() {
    let (sender, receiver) = unbounded();
    let waiting = AtomicUsize::new(0);
    let served = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..5 {
            scope.spawn({
                let (receiver, waiting, served) = (&receiver, &waiting, &served);
                move || {
                    receiver.recv(None, &mut Counted(waiting)).unwrap();
                    served.lock().unwrap().push(number);
                }
            });
            wait_for(&waiting, number + 1);
        }
        for done in 1..=5 {
            send(&sender, ());
            while served.lock().unwrap().len() < done {
                thread::yield_now();
            }
        }
    });
    assert_eq!(served.into_inner().unwrap(), [0, 1, 2, 3, 4]);
}

#[test]
fn senders_are_served_in_the_order_in_which_they_began_to_wait() {
    let (sender, receiver) = bounded(1);
    send(&sender, usize::MAX);
    let waiting = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..5 {
            scope.spawn({
                let (sender, waiting) = (&sender, &waiting);
                move || sender.send(number, None, &mut Counted(waiting)).unwrap()
            });
            wait_for(&waiting, number + 1);
        }
        assert_eq!(recv(&receiver), Ok(usize::MAX));
        for number in 0..5 {
            assert_eq!(recv(&receiver), Ok(number));
        }
    });
}

#[test]
fn a_caller_that_was_woken_for_nothing_keeps_its_place() {
    /// Lets somebody else take the message that it was woken for, the first time.
    struct Robbed<'a> {
        waiting: &'a AtomicUsize,
        robber: Option<&'a Receiver<i32>>,
    }
    impl Block for Robbed<'_> {
        type Interrupt = Infallible;
        fn block(&mut self, wait: &mut Wait<'_>, until: Option<Instant>) -> Result<(), Infallible> {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            wait.sleep(until);
            if let Some(robber) = self.robber.take() {
                assert_eq!(robber.try_recv(), Ok(1));
            }
            Ok(())
        }
    }
    let (sender, receiver) = unbounded();
    let waiting = AtomicUsize::new(0);
    let served = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..2 {
            let (receiver, waiting, served) = (&receiver, &waiting, &served);
            scope.spawn(move || {
                let robber = (number == 0).then_some(receiver);
                receiver.recv(None, &mut Robbed { waiting, robber }).unwrap();
                served.lock().unwrap().push(number);
            });
            wait_for(waiting, number + 1);
        }
        send(&sender, 1);
        wait_for(&waiting, 3);
        for done in 1..=2 {
            send(&sender, 2);
            while served.lock().unwrap().len() < done {
                thread::yield_now();
            }
        }
    });
    assert_eq!(served.into_inner().unwrap(), [0, 1]);
}

#[test]
fn a_receiver_that_never_comes_back_leaves_its_message_to_the_next() {
    /// Its interpreter ends while it sleeps: it lets go of its place, and nothing else happens in its thread.
    struct Dies<'a>(&'a AtomicUsize, &'a Barrier);
    impl Block for Dies<'_> {
        type Interrupt = ();
        fn block(&mut self, wait: &mut Wait<'_>, until: Option<Instant>) -> Result<(), ()> {
            self.0.fetch_add(1, Ordering::SeqCst);
            wait.sleep(until);
            wait.abandon();
            self.1.wait();
            Err(())
        }
    }
    let (sender, receiver) = unbounded();
    let waiting = AtomicUsize::new(0);
    let end = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| receiver.recv(None, &mut Dies(&waiting, &end)));
        wait_for(&waiting, 1);
        let patient = scope.spawn(|| receiver.recv(None, &mut Counted(&waiting)));
        wait_for(&waiting, 2);
        send(&sender, 7);
        assert_eq!(patient.join().unwrap(), Ok(7));
        end.wait();
    });
}

#[test]
fn a_busy_sender_does_not_keep_others_from_sending() {
    let (sender, receiver) = bounded(1);
    let counts = thread::scope(|scope| {
        for number in 0..4 {
            let sender = sender.clone();
            scope.spawn(move || while sender.send(number, None, &mut Plain).is_ok() {});
        }
        let mut counts = [0; 4];
        while counts.iter().any(|count| *count < 100) {
            counts[recv(&receiver).unwrap()] += 1;
        }
        receiver.close();
        counts
    });
    assert!(counts.iter().all(|count| *count >= 100), "{counts:?}");
}

// ---- Several receivers -----------------------------------------------------

#[test]
fn select_takes_from_whichever_has_a_message() {
    let (first, from_first) = unbounded();
    let (second, from_second) = unbounded();
    let both = [&from_first, &from_second];
    assert_eq!(try_select(&both), Err(TryRecvError::Empty));
    assert_eq!(select(&both, soon(), &mut Plain), Err(RecvError::TimedOut));
    send(&second, 2);
    assert_eq!(select(&both, None, &mut Plain), Ok((1, 2)));
    send(&first, 1);
    assert_eq!(select(&both, None, &mut Plain), Ok((0, 1)));
}

#[test]
fn select_passes_over_what_is_closed_until_all_are() {
    let (first, from_first) = unbounded();
    let (second, from_second) = unbounded();
    let both = [&from_first, &from_second];
    send(&first, 1);
    first.close();
    assert_eq!(select(&both, None, &mut Plain), Ok((0, 1)));
    assert_eq!(try_select(&both), Err(TryRecvError::Empty));
    send(&second, 2);
    assert_eq!(select(&both, None, &mut Plain), Ok((1, 2)));
    second.close();
    assert_eq!(select(&both, None, &mut Plain), Err(RecvError::Closed));
    assert_eq!(select::<i32, _>(&[], None, &mut Plain), Err(RecvError::Closed));
}

#[test]
fn select_is_woken_by_a_message_or_the_last_close() {
    let (first, from_first) = unbounded();
    let (second, from_second) = unbounded();
    let waiting = AtomicUsize::new(0);
    thread::scope(|scope| {
        let selecting = scope.spawn(|| {
            let both = [&from_first, &from_second];
            let message = select(&both, None, &mut Counted(&waiting));
            (message, select(&both, None, &mut Counted(&waiting)))
        });
        wait_for(&waiting, 1);
        send(&second, 5);
        wait_for(&waiting, 2);
        first.close();
        second.close();
        assert_eq!(selecting.join().unwrap(), (Ok((1, 5)), Err(RecvError::Closed)));
    });
}

#[test]
fn select_hears_every_receiver_though_one_is_never_empty() {
    let channels: Vec<_> = (0..3).map(|_| unbounded()).collect();
    let receivers: Vec<_> = channels.iter().map(|(_, receiver)| receiver).collect();
    for (sender, _) in &channels {
        for _ in 0..300 {
            send(sender, ());
        }
    }
    let mut counts = [0; 3];
    for _ in 0..300 {
        counts[try_select(&receivers).unwrap().0] += 1;
    }
    assert_eq!(counts, [100; 3]);
}

#[test]
fn a_wake_that_select_did_not_use_goes_to_the_next() {
    let (first, from_first) = unbounded();
    let (second, from_second) = unbounded();
    let waiting = AtomicUsize::new(0);
    thread::scope(|scope| {
        let selecting = scope
            .spawn(|| select(&[&from_first, &from_second], None, &mut Counted(&waiting)).map(|(number, _)| number));
        wait_for(&waiting, 1);
        let plain = [&from_first, &from_second].map(|receiver| {
            let waiting = &waiting;
            scope.spawn(move || receiver.recv(None, &mut Counted(waiting)))
        });
        wait_for(&waiting, 3);
        // Both wake the one that is first in both lines, and it takes one message only.
        send(&first, ());
        send(&second, ());
        let taken = selecting.join().unwrap().unwrap();
        let [from_first, from_second] = plain;
        let (left, taken) = if taken == 0 { (from_second, from_first) } else { (from_first, from_second) };
        assert_eq!(left.join().unwrap(), Ok(()));
        drop((first, second));
        assert_eq!(taken.join().unwrap(), Err(RecvError::Closed));
    });
}

// ---- Many threads ----------------------------------------------------------

/// Every message arrives exactly once, and those of one producer in order for each consumer.
fn exchange(capacity: Option<usize>, producers: usize, consumers: usize, each: usize) {
    let (sender, receiver) = channel(capacity.and_then(NonZeroUsize::new));
    let received: Vec<Vec<(usize, usize)>> = thread::scope(|scope| {
        for producer in 0..producers {
            let sender = sender.clone();
            scope.spawn(move || {
                for number in 0..each {
                    send(&sender, (producer, number));
                }
            });
        }
        drop(sender);
        let consuming: Vec<_> = (0..consumers).map(|_| scope.spawn(|| drain(&receiver))).collect();
        consuming.into_iter().map(|consumer| consumer.join().unwrap()).collect()
    });
    let mut seen = vec![vec![false; each]; producers];
    for messages in received {
        let mut last = vec![None; producers];
        for (producer, number) in messages {
            assert!(!std::mem::replace(&mut seen[producer][number], true), "({producer}, {number}) arrived twice");
            assert!(last[producer] < Some(number), "({producer}, {number}) overtook another");
            last[producer] = Some(number);
        }
    }
    assert!(seen.iter().flatten().all(|seen| *seen), "a message was lost");
}

#[test]
fn no_message_is_lost_or_duplicated() {
    for capacity in [None, Some(1), Some(2), Some(100)] {
        exchange(capacity, 4, 4, 25_000);
        exchange(capacity, 1, 4, 25_000);
        exchange(capacity, 4, 1, 25_000);
    }
}

#[test]
fn nothing_is_lost_when_waits_time_out_all_the_time() {
    let (sender, receiver) = bounded(2);
    const EACH: usize = 20_000;
    let total: usize = thread::scope(|scope| {
        for _ in 0..3 {
            let sender = sender.clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    let mut message = number;
                    loop {
                        match sender.send(message, Some(Instant::now() + Duration::from_micros(20)), &mut Plain) {
                            Ok(()) => break,
                            Err(SendError::TimedOut(again)) => message = again,
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                }
            });
        }
        drop(sender);
        let consuming: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    loop {
                        match receiver.recv(Some(Instant::now() + Duration::from_micros(20)), &mut Plain) {
                            Ok(_) => count += 1,
                            Err(RecvError::TimedOut) => {}
                            Err(_) => return count,
                        }
                    }
                })
            })
            .collect();
        consuming.into_iter().map(|consumer| consumer.join().unwrap()).sum()
    });
    assert_eq!(total, 3 * EACH);
}

#[test]
fn what_races_with_a_close_is_received_or_given_back() {
    for round in 0..300 {
        let (sender, receiver) = channel(NonZeroUsize::new(round % 4));
        let start = Barrier::new(4);
        let (sent, received) = thread::scope(|scope| {
            let sending: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        (0..100).take_while(|number| sender.send(*number, None, &mut Plain).is_ok()).count()
                    })
                })
                .collect();
            let receiving = scope.spawn(|| {
                start.wait();
                drain(&receiver).len()
            });
            start.wait();
            for _ in 0..round {
                std::hint::spin_loop();
            }
            receiver.close();
            let sent: usize = sending.into_iter().map(|sender| sender.join().unwrap()).sum();
            (sent, receiving.join().unwrap())
        });
        assert_eq!(sent, received);
        assert!(receiver.is_empty());
    }
}

#[test]
fn what_races_with_the_last_receiver_is_dropped_once() {
    struct Tracked<'a>(&'a AtomicUsize);
    impl Drop for Tracked<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    for round in 0..300 {
        let dropped = AtomicUsize::new(0);
        let (sender, receiver) = channel(NonZeroUsize::new(round % 3));
        let start = Barrier::new(3);
        let made: usize = thread::scope(|scope| {
            let sending: Vec<_> = (0..2)
                .map(|_| {
                    let sender = sender.clone();
                    scope.spawn({
                        let (start, dropped) = (&start, &dropped);
                        move || {
                            start.wait();
                            let refused = (1..=100).find(|_| sender.send(Tracked(dropped), None, &mut Plain).is_err());
                            refused.unwrap_or(100)
                        }
                    })
                })
                .collect();
            start.wait();
            for _ in 0..round % 50 {
                drop(receiver.try_recv());
            }
            drop(receiver);
            sending.into_iter().map(|sender| sender.join().unwrap()).sum()
        });
        // Before the channel itself goes: nothing was left in it.
        assert_eq!(dropped.load(Ordering::SeqCst), made);
    }
}

#[test]
fn selecting_threads_and_receiving_threads_share_all_messages() {
    const EACH: usize = 20_000;
    let channels: Vec<_> = (0..3).map(|capacity| channel::<usize>(NonZeroUsize::new(capacity))).collect();
    let receivers: Vec<Receiver<usize>> = channels.iter().map(|(_, receiver)| receiver.clone()).collect();
    let total: usize = thread::scope(|scope| {
        for (sender, _) in channels {
            scope.spawn(move || {
                for number in 0..EACH {
                    send(&sender, number);
                }
            });
        }
        let selecting: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let all: Vec<_> = receivers.iter().collect();
                    let mut count = 0;
                    while select(&all, None, &mut Plain).is_ok() {
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let receiving: Vec<_> = receivers.iter().map(|receiver| scope.spawn(|| drain(receiver).len())).collect();
        selecting.into_iter().chain(receiving).map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(total, 3 * EACH);
}

// ---- Against a model -------------------------------------------------------

#[derive(Clone, Debug)]
enum Step {
    Send,
    Receive,
    CloseBySender,
    CloseByReceiver,
    CloneSender,
    DropSender,
    CloneReceiver,
    DropReceiver,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Send),
        8 => Just(Step::Receive),
        1 => Just(Step::CloseBySender),
        1 => Just(Step::CloseByReceiver),
        2 => Just(Step::CloneSender),
        2 => Just(Step::DropSender),
        2 => Just(Step::CloneReceiver),
        2 => Just(Step::DropReceiver),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn a_channel_is_a_queue_that_can_be_closed(capacity in 0_usize..5, steps in steps()) {
        let (sender, receiver) = channel(NonZeroUsize::new(capacity));
        let (mut senders, mut receivers) = (vec![sender], vec![receiver]);
        let mut model = std::collections::VecDeque::new();
        let mut closed = false;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Send => if let Some(sender) = senders.last() {
                    let full = capacity > 0 && model.len() == capacity;
                    let expected = if closed {
                        Err(TrySendError::Closed(number))
                    } else if full {
                        Err(TrySendError::Full(number))
                    } else {
                        model.push_back(number);
                        Ok(())
                    };
                    prop_assert_eq!(sender.try_send(number), expected);
                },
                Step::Receive => if let Some(receiver) = receivers.last() {
                    let empty = if closed { TryRecvError::Closed } else { TryRecvError::Empty };
                    prop_assert_eq!(receiver.try_recv(), model.pop_front().ok_or(empty));
                },
                Step::CloseBySender => if let Some(sender) = senders.last() {
                    prop_assert_eq!(sender.close(), !closed);
                    closed = true;
                },
                Step::CloseByReceiver => if let Some(receiver) = receivers.last() {
                    prop_assert_eq!(receiver.close(), !closed);
                    closed = true;
                },
                Step::CloneSender => senders.extend(senders.last().cloned()),
                Step::DropSender => closed |= senders.pop().is_some() && senders.is_empty(),
                Step::CloneReceiver => receivers.extend(receivers.last().cloned()),
                Step::DropReceiver => if receivers.pop().is_some() && receivers.is_empty() {
                    closed = true;
                    model.clear();
                },
            }
            for sender in &senders {
                prop_assert_eq!(sender.len(), model.len());
                prop_assert_eq!(sender.is_closed(), closed);
            }
            for receiver in &receivers {
                prop_assert_eq!(receiver.len(), model.len());
                prop_assert_eq!(receiver.is_closed(), closed);
            }
        }
    }
}
