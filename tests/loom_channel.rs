//! Channels under loom: every interleaving of two and three threads, on the real code.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --test loom_channel`.
//!
//! A sleeper that nobody wakes is a deadlock, which loom reports: so each of these tests also checks that no wake is
//! lost.
#![cfg(loom)]

use std::num::NonZeroUsize;
use std::time::Instant;

use immutable::share::channel::{Receiver, RecvError, SendError, Sender, TryRecvError, channel, select};
use immutable::share::line::{Block, Plain, Wait};
use loom::sync::Arc;
use loom::thread;

/// A message that tells loom when it was made and dropped: a leak fails the test, as does a race.
type Message = Arc<usize>;

fn message(number: usize) -> Message {
    Arc::new(number)
}

fn bounded(capacity: usize) -> (Sender<Message>, Receiver<Message>) {
    channel(NonZeroUsize::new(capacity))
}

fn send(sender: &Sender<Message>, number: usize) -> bool {
    match sender.send(message(number), None, &mut Plain) {
        Ok(()) => true,
        Err(SendError::Closed(_)) => false,
        Err(other) => panic!("{other:?}"),
    }
}

fn recv(receiver: &Receiver<Message>) -> Option<usize> {
    match receiver.recv(None, &mut Plain) {
        Ok(message) => Some(*message),
        Err(RecvError::Closed) => None,
        Err(other) => panic!("{other:?}"),
    }
}

/// Explores with at most that many preemptions: what is left out needs more switches at unlucky moments than any
/// defect of this kind takes.
fn explore(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(body);
}

#[test]
fn a_receiver_that_goes_to_sleep_is_woken_by_a_send() {
    explore(3, || {
        let (sender, receiver) = bounded(1);
        let consumer = thread::spawn(move || recv(&receiver));
        assert!(send(&sender, 7));
        assert_eq!(consumer.join().unwrap(), Some(7));
    });
}

#[test]
fn a_sender_that_goes_to_sleep_is_woken_by_a_receive() {
    explore(3, || {
        let (sender, receiver) = bounded(1);
        assert!(send(&sender, 1));
        let producer = thread::spawn(move || assert!(send(&sender, 2)));
        assert_eq!(recv(&receiver), Some(1));
        assert_eq!(recv(&receiver), Some(2));
        producer.join().unwrap();
        assert_eq!(recv(&receiver), None);
    });
}

#[test]
fn two_receivers_share_two_messages() {
    explore(2, || {
        let (sender, receiver) = bounded(2);
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let receiver = receiver.clone();
                thread::spawn(move || recv(&receiver).unwrap())
            })
            .collect();
        drop(receiver);
        assert!(send(&sender, 1));
        assert!(send(&sender, 2));
        let mut got: Vec<_> = consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

#[test]
fn two_senders_share_one_place() {
    explore(2, || {
        let (sender, receiver) = bounded(1);
        let producers: Vec<_> = (1..3)
            .map(|number| {
                let sender = sender.clone();
                thread::spawn(move || assert!(send(&sender, number)))
            })
            .collect();
        drop(sender);
        let mut got = [recv(&receiver).unwrap(), recv(&receiver).unwrap()];
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        for producer in producers {
            producer.join().unwrap();
        }
        assert_eq!(recv(&receiver), None);
    });
}

#[test]
fn closing_wakes_a_receiver() {
    explore(3, || {
        let (sender, receiver) = bounded(1);
        let consumer = thread::spawn(move || recv(&receiver));
        assert!(sender.close());
        assert_eq!(consumer.join().unwrap(), None);
    });
}

#[test]
fn closing_wakes_a_sender_and_gives_it_its_message_back() {
    explore(3, || {
        let (sender, receiver) = bounded(1);
        assert!(send(&sender, 1));
        let producer = thread::spawn(move || match sender.send(message(2), None, &mut Plain) {
            Err(SendError::Closed(message)) => assert_eq!(*message, 2),
            other => panic!("{other:?}"),
        });
        receiver.close();
        producer.join().unwrap();
        assert_eq!(recv(&receiver), Some(1));
        assert_eq!(recv(&receiver), None);
    });
}

#[test]
fn a_message_that_races_with_the_close_is_received_or_refused() {
    explore(3, || {
        let (sender, receiver) = bounded(2);
        let closer = receiver.clone();
        let closing = thread::spawn(move || closer.close());
        let sent = usize::from(send(&sender, 1)) + usize::from(send(&sender, 2));
        closing.join().unwrap();
        let mut received = 0;
        while recv(&receiver).is_some() {
            received += 1;
        }
        assert_eq!(sent, received);
    });
}

#[test]
fn a_message_that_races_with_the_last_receiver_is_dropped_once() {
    explore(3, || {
        let (sender, receiver) = bounded(2);
        let leaving = thread::spawn(move || drop(receiver));
        // loom reports a message that is never dropped.
        send(&sender, 1);
        leaving.join().unwrap();
        assert_eq!(sender.len(), 0);
        assert!(!send(&sender, 2));
    });
}

#[test]
fn select_is_woken_by_either_channel() {
    explore(2, || {
        let (first, from_first) = bounded(1);
        let (second, from_second) = bounded(1);
        let selecting = thread::spawn(move || {
            let receivers = [&from_first, &from_second];
            let mut got: Vec<_> =
                (0..2).map(|_| select(&receivers, None, &mut Plain).map(|(i, m)| (i, *m)).unwrap()).collect();
            got.sort_unstable();
            got
        });
        let other = thread::spawn(move || assert!(send(&second, 2)));
        assert!(send(&first, 1));
        assert_eq!(selecting.join().unwrap(), [(0, 1), (1, 2)]);
        other.join().unwrap();
    });
}

/// A caller whose wait ends before it could use a wake, as when a signal arrives.
struct GivesUp;

impl Block for GivesUp {
    type Interrupt = ();

    fn block(&mut self, wait: &mut Wait<'_>, _: Option<Instant>) -> Result<(), ()> {
        // The deadline is now: the thread yields, and leaves woken or not.
        wait.sleep(Some(Instant::now()));
        Err(())
    }
}

#[test]
fn a_receiver_that_gives_up_hands_its_wake_on() {
    explore(2, || {
        let (sender, receiver) = bounded(2);
        let impatient = {
            let receiver = receiver.clone();
            thread::spawn(move || receiver.recv(None, &mut GivesUp).ok().map(|message| *message))
        };
        let patient = thread::spawn(move || recv(&receiver));
        assert!(send(&sender, 1));
        if impatient.join().unwrap() == Some(1) {
            assert!(send(&sender, 2));
            assert_eq!(patient.join().unwrap(), Some(2));
        } else {
            assert_eq!(patient.join().unwrap(), Some(1));
        }
    });
}

/// A caller that never comes back from its wait, as when its interpreter ends: what follows its wait does not happen.
struct Dies;

impl Block for Dies {
    type Interrupt = ();

    fn block(&mut self, wait: &mut Wait<'_>, _: Option<Instant>) -> Result<(), ()> {
        wait.sleep(None);
        wait.abandon();
        Err(())
    }
}

#[test]
fn a_receiver_that_never_comes_back_takes_nothing_with_it() {
    explore(2, || {
        let (sender, receiver) = bounded(1);
        let dying = {
            let receiver = receiver.clone();
            thread::spawn(move || receiver.recv(None, &mut Dies).ok().map(|message| *message))
        };
        let patient = {
            let receiver = receiver.clone();
            thread::spawn(move || recv(&receiver))
        };
        // One message each, unless the first is left to the one that stays.
        assert!(send(&sender, 1));
        assert!(send(&sender, 2));
        let first = patient.join().unwrap();
        match dying.join().unwrap() {
            Some(taken) => assert_eq!(first, Some(3 - taken)),
            None => assert_eq!(first, Some(1)),
        }
        drop(receiver);
    });
}

#[test]
fn what_arrives_while_a_receiver_runs_out_of_time_is_not_lost() {
    explore(3, || {
        let (sender, receiver) = bounded(1);
        let consumer = thread::spawn(move || {
            // loom has no clock: any sleep may end early.
            match receiver.recv(Some(Instant::now() + std::time::Duration::from_secs(3600)), &mut EndsEarly) {
                Ok(message) => Some(*message),
                Err(_) => {
                    let left = receiver.try_recv();
                    match left {
                        Ok(message) => Some(*message),
                        Err(TryRecvError::Empty) => recv(&receiver),
                        Err(TryRecvError::Closed) => None,
                    }
                }
            }
        });
        assert!(send(&sender, 1));
        assert_eq!(consumer.join().unwrap(), Some(1));
    });
}

/// Sleeps, perhaps too short.
struct EndsEarly;

impl Block for EndsEarly {
    type Interrupt = ();

    fn block(&mut self, wait: &mut Wait<'_>, _: Option<Instant>) -> Result<(), ()> {
        if wait.sleep(Some(Instant::now())) { Ok(()) } else { Err(()) }
    }
}
