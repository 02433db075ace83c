//! Channels on long random schedules of many threads, under shuttle, on the real code.
//!
//! Where loom tries every schedule of two or three threads, this tries some of five to eight, in which wakes pass through
//! many hands. The queue underneath is not shuttle's: each of its operations is one step here.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test --release --test shuttle_channel`. `CHANNEL_SCHEDULES` sets the number
//! of schedules of each test. A failure prints the schedule, and `shuttle::replay` repeats it.
#![cfg(shuttle)]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as Noted, Ordering::Relaxed};
use std::time::Instant;

use immutable::share::channel::{Receiver, RecvError, SendError, Sender, channel, select};
use immutable::share::line::{Block, Plain, Wait};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;
use shuttle::{Config, Runner};

fn schedules() -> usize {
    std::env::var("CHANNEL_SCHEDULES").map_or(2000, |number| number.parse().expect("a number of schedules"))
}

/// A thread that sleeps and is never woken is a deadlock, which shuttle reports.
fn explore(body: fn()) {
    Runner::new(RandomScheduler::new(schedules()), Config::default()).run(body);
    Runner::new(PctScheduler::new(4, schedules()), Config::default()).run(body);
}

/// Sleeps, and is now and then interrupted, woken or not.
struct Impatient;

impl Block for Impatient {
    type Interrupt = ();

    fn block(&mut self, wait: &mut Wait<'_>, _: Option<Instant>) -> Result<(), ()> {
        if thread_rng().gen_range(0..3) == 0 {
            // The deadline is now: another thread runs, and may wake this one.
            wait.sleep(Some(Instant::now()));
            return Err(());
        }
        wait.sleep(None);
        if thread_rng().gen_range(0..3) == 0 { Err(()) } else { Ok(()) }
    }
}

fn send_all(sender: &Sender<usize>, numbers: usize) {
    for number in 0..numbers {
        loop {
            match sender.send(number, None, &mut Impatient) {
                Ok(()) => break,
                Err(SendError::Interrupted(..)) => thread::yield_now(),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

fn drain(receiver: &Receiver<usize>) -> usize {
    let mut count = 0;
    loop {
        match receiver.recv(None, &mut Impatient) {
            Ok(_) => count += 1,
            Err(RecvError::Interrupted(())) => thread::yield_now(),
            Err(_) => return count,
        }
    }
}

fn exchange(capacity: usize, producers: usize, consumers: usize) {
    const EACH: usize = 3;
    let (sender, receiver) = channel(NonZeroUsize::new(capacity));
    let producing: Vec<_> = (0..producers)
        .map(|_| {
            let sender = sender.clone();
            thread::spawn(move || send_all(&sender, EACH))
        })
        .collect();
    drop(sender);
    let consuming: Vec<_> = (0..consumers)
        .map(|_| {
            let receiver = receiver.clone();
            thread::spawn(move || drain(&receiver))
        })
        .collect();
    for producer in producing {
        producer.join().unwrap();
    }
    let received: usize = consuming.into_iter().map(|consumer| consumer.join().unwrap()).sum();
    assert_eq!(received, producers * EACH);
}

#[test]
fn interrupted_callers_lose_no_message_and_no_wake() {
    explore(|| exchange(1, 3, 3));
    explore(|| exchange(2, 2, 4));
    explore(|| exchange(0, 2, 4));
}

#[test]
fn patient_receivers_among_those_who_leave_are_served() {
    explore(|| {
        let (sender, receiver) = channel::<usize>(None);
        let taken = Arc::new(Noted::new(0));
        let patient: Vec<_> = (0..2)
            .map(|_| {
                let receiver = receiver.clone();
                thread::spawn(move || receiver.recv(None, &mut Plain).unwrap())
            })
            .collect();
        let leaving: Vec<_> = (0..3)
            .map(|_| {
                let (receiver, taken) = (receiver.clone(), taken.clone());
                thread::spawn(move || {
                    if receiver.recv(None, &mut Impatient).is_ok() {
                        taken.fetch_add(1, Relaxed);
                    }
                })
            })
            .collect();
        // One for each, should nobody leave.
        for number in 0..5 {
            sender.try_send(number).unwrap();
        }
        for thread in leaving {
            thread.join().unwrap();
        }
        for thread in patient {
            thread.join().unwrap();
        }
        assert_eq!(receiver.len() + taken.load(Relaxed), 3);
    });
}

#[test]
fn selecting_and_plain_receivers_share_all_messages() {
    explore(|| {
        let channels: Vec<_> = (0..3).map(|capacity| channel::<usize>(NonZeroUsize::new(capacity))).collect();
        let receivers: Vec<_> = channels.iter().map(|(_, receiver)| receiver.clone()).collect();
        let producing: Vec<_> =
            channels.into_iter().map(|(sender, _)| thread::spawn(move || send_all(&sender, 2))).collect();
        let selecting: Vec<_> = (0..2)
            .map(|_| {
                let receivers = receivers.clone();
                thread::spawn(move || {
                    let all: Vec<_> = receivers.iter().collect();
                    let mut count = 0;
                    while select(&all, None, &mut Plain).is_ok() {
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let plain: Vec<_> = receivers.into_iter().map(|receiver| thread::spawn(move || drain(&receiver))).collect();
        for producer in producing {
            producer.join().unwrap();
        }
        let received: usize = selecting.into_iter().chain(plain).map(|thread| thread.join().unwrap()).sum();
        assert_eq!(received, 6);
    });
}

#[test]
fn what_races_with_a_close_is_received_or_given_back() {
    explore(|| {
        let (sender, receiver) = channel(NonZeroUsize::new(1));
        let sending: Vec<_> = (0..3)
            .map(|number| {
                let sender = sender.clone();
                thread::spawn(move || usize::from(sender.send(number, None, &mut Plain).is_ok()))
            })
            .collect();
        let receiving: Vec<_> = (0..2)
            .map(|_| {
                let receiver = receiver.clone();
                thread::spawn(move || drain(&receiver))
            })
            .collect();
        receiver.close();
        let sent: usize = sending.into_iter().map(|thread| thread.join().unwrap()).sum();
        let received: usize = receiving.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(sent, received);
    });
}
