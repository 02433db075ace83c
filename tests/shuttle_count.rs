//! The counting protocol on long random schedules of four to eight threads, under shuttle, on the real code.
//!
//! Where loom tries every schedule of a few operations, this tries some of very many operations. Shuttle runs one thread
//! at a time and switches at every access to an atomic, so unlike loom it knows nothing of memory orderings.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test --release --test shuttle_count`. `COUNT_SCHEDULES` sets the number of
//! schedules of each test; a long run has `COUNT_SCHEDULES=10000000` and takes about an hour of one processor. A failure
//! prints the seed of the test: the same command with `SHUTTLE_RANDOM_SEED` set to it, and the name of the test, repeats it.
#![cfg(shuttle)]

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
// What the tests themselves note is no part of the protocol, and no place to switch threads at.
use std::sync::atomic::{AtomicBool as NotedBool, AtomicUsize as NotedCount, Ordering::Relaxed};

use immutable::lifetime::count::{
    Alone, FROZEN, MAX_COUNT, Mode, Shared, add, decrement, decrement_member, encode, increment, increment_member,
    is_immortal, try_increment, try_increment_member,
};
use immutable::object::primitive::{AtomicU32, AtomicUsize};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::AtomicBool;
use shuttle::thread::{self, JoinHandle};
use shuttle::{Config, Runner};

/// Steps of each thread. With one in three giving a reference up, most components die on the way.
const STEPS: usize = 30;

/// A component of as many members as it has words; trivial if that is one.
struct Component {
    words: Vec<AtomicU32>,
    live: AtomicUsize,
    /// References on their way from one thread to another, by the member they refer to.
    passed: Mutex<Vec<usize>>,
    /// How many references somebody holds: taken, and not yet about to be given up.
    outstanding: NotedCount,
    freed: NotedBool,
}

impl Component {
    /// Returns a component with one reference to each of the members named.
    fn new(members: usize, held: &[usize]) -> Arc<Self> {
        let counts: Vec<usize> =
            (0..members).map(|member| held.iter().filter(|other| **other == member).count()).collect();
        Arc::new(Component {
            words: counts.iter().map(|count| AtomicU32::new(encode(*count))).collect(),
            live: AtomicUsize::new(counts.iter().filter(|count| **count > 0).count()),
            passed: Mutex::new(Vec::new()),
            outstanding: NotedCount::new(held.len()),
            freed: NotedBool::new(false),
        })
    }

    fn is_trivial(&self) -> bool {
        self.words.len() == 1
    }

    fn note_taken(&self, references: usize) {
        assert!(!self.freed.load(Relaxed), "a reference was taken to what is freed");
        self.outstanding.fetch_add(references, Relaxed);
    }

    /// The caller holds a reference.
    fn take<M: Mode>(&self, member: usize) {
        if self.is_trivial() {
            increment::<M>(&self.words[member]);
        } else {
            increment_member::<M>(&self.words[member], &self.live);
        }
        self.note_taken(1);
    }

    /// Takes one more and `more` references.
    fn take_many<M: Mode>(&self, member: usize, more: usize) {
        self.take::<M>(member);
        add::<M>(&self.words[member], more);
        self.note_taken(more);
    }

    fn promote<M: Mode>(&self, member: usize) -> bool {
        let taken = if self.is_trivial() {
            try_increment::<M>(&self.words[member])
        } else {
            try_increment_member::<M>(&self.words[member], &self.live)
        };
        if taken {
            self.note_taken(1);
        }
        taken
    }

    fn give_up<M: Mode>(&self, member: usize) {
        assert!(!self.freed.load(Relaxed), "freed while a reference was held");
        self.outstanding.fetch_sub(1, Relaxed);
        let last = if self.is_trivial() {
            decrement::<M>(&self.words[member])
        } else {
            decrement_member::<M>(&self.words[member], &self.live)
        };
        if last {
            assert_eq!(self.outstanding.load(Relaxed), 0, "freed early");
            assert!(!self.freed.swap(true, Relaxed), "freed twice");
        }
    }

    /// Does something that a thread with these references may do.
    fn step<M: Mode>(&self, held: &mut Vec<usize>) {
        let mut random = thread_rng();
        let member = random.gen_range(0..self.words.len());
        let own = if held.is_empty() { None } else { Some(random.gen_range(0..held.len())) };
        match (random.gen_range(0..8), own) {
            (0 | 1, Some(_)) => {
                self.take::<M>(member);
                held.push(member);
            }
            (2 | 3, Some(own)) => self.give_up::<M>(held.swap_remove(own)),
            (4, Some(own)) => self.passed.lock().unwrap().push(held.swap_remove(own)),
            (5, _) => held.extend(self.passed.lock().unwrap().pop()),
            (6, _) => {
                if self.promote::<M>(member) {
                    held.push(member);
                } else {
                    assert!(held.is_empty(), "a component that is held refused a promotion");
                }
            }
            (7, Some(own)) => {
                // Walks on: from then on the new member alone keeps the component alive.
                self.take::<M>(member);
                self.give_up::<M>(std::mem::replace(&mut held[own], member));
                if random.gen_ratio(1, 8) {
                    self.take_many::<M>(member, 2);
                    held.extend([member; 3]);
                }
            }
            _ => {}
        }
    }

    fn live_through(&self, mut held: Vec<usize>) {
        for _ in 0..STEPS {
            self.step::<Shared>(&mut held);
        }
        for member in held {
            self.give_up::<Shared>(member);
        }
    }

    /// Called when all threads have ended.
    fn assert_reclaimed(&self) {
        let passed = std::mem::take(&mut *self.passed.lock().unwrap());
        for member in passed {
            self.give_up::<Shared>(member);
        }
        assert!(self.freed.load(Relaxed), "leaked");
        assert!(self.words.iter().all(|word| word.load(Relaxed) == FROZEN));
        assert!(self.is_trivial() || self.live.load(Relaxed) == 0);
    }
}

/// Runs the body under schedules that switch anywhere, and under ones that switch seldom, which find other defects.
fn check(body: fn()) {
    let schedules = match std::env::var("COUNT_SCHEDULES") {
        Ok(number) => number.parse().expect("COUNT_SCHEDULES is a number of schedules"),
        Err(_) => 20_000,
    };
    let seed = RandomState::new().hash_one(0);
    println!("SHUTTLE_RANDOM_SEED={seed} repeats this run, unless it was set before");
    run(RandomScheduler::new_from_seed(seed, schedules / 2), body);
    run(PctScheduler::new_from_seed(seed, 4, schedules.div_ceil(2)), body);
}

fn run(scheduler: impl Scheduler + 'static, body: fn()) {
    let mut config = Config::new();
    // Shuttle tells that it treats every ordering as sequentially consistent: those are loom's to check.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(body);
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Runs four to eight threads that each begin with a reference to some member.
fn shared_by_threads(members: usize) {
    let threads = thread_rng().gen_range(4..=8);
    let held: Vec<usize> = (0..threads).map(|_| thread_rng().gen_range(0..members)).collect();
    let component = Component::new(members, &held);
    join(
        held.into_iter()
            .map(|member| {
                let component = component.clone();
                thread::spawn(move || component.live_through(vec![member]))
            })
            .collect(),
    );
    component.assert_reclaimed();
}

#[test]
fn members_taken_dropped_passed_and_promoted_at_random_are_freed_once_and_never_early() {
    check(|| shared_by_threads(thread_rng().gen_range(2..=6)));
}

#[test]
fn a_single_object_taken_dropped_passed_and_promoted_at_random_is_freed_once_and_never_early() {
    check(|| shared_by_threads(1));
}

#[test]
fn threads_that_walk_from_member_to_member_on_one_reference_each_keep_the_component_alive() {
    check(|| {
        const MEMBERS: usize = 4;
        let component = Component::new(MEMBERS, &[0, 0, 1, 2]);
        join(
            [0, 0, 1, 2]
                .into_iter()
                .map(|first| {
                    let component = component.clone();
                    thread::spawn(move || {
                        let mut here = first;
                        for _ in 0..STEPS {
                            let next = (here + thread_rng().gen_range(1..MEMBERS)) % MEMBERS;
                            component.take::<Shared>(next);
                            component.give_up::<Shared>(here);
                            here = next;
                        }
                        component.give_up::<Shared>(here);
                    })
                })
                .collect(),
        );
        component.assert_reclaimed();
    });
}

/// The first interpreter: its GIL, and whether there may be others.
struct First {
    gil: Mutex<()>,
    shared: AtomicBool,
}

impl First {
    /// What its threads do: a step each time they have the GIL, in the mode that they find then.
    fn live_through(&self, component: &Component, mut held: Vec<usize>) {
        for _ in 0..STEPS {
            self.with_the_gil(|shared| {
                if shared { component.step::<Shared>(&mut held) } else { component.step::<Alone>(&mut held) }
            });
        }
        for member in held {
            self.with_the_gil(|shared| {
                if shared { component.give_up::<Shared>(member) } else { component.give_up::<Alone>(member) }
            });
        }
    }

    fn with_the_gil<R>(&self, operation: impl FnOnce(bool) -> R) -> R {
        let _held = self.gil.lock().unwrap();
        operation(self.shared.load(Relaxed))
    }
}

/// Two to four threads of the first interpreter, one of which creates another interpreter, of as many threads.
fn through_the_change(members: usize) {
    let threads = thread_rng().gen_range(2..=4);
    let held: Vec<usize> = (0..threads).map(|_| thread_rng().gen_range(0..members)).collect();
    let component = Component::new(members, &held);
    let first = Arc::new(First { gil: Mutex::new(()), shared: AtomicBool::new(false) });
    let mut running: Vec<_> = held[1..]
        .iter()
        .map(|&member| {
            let (component, first) = (component.clone(), first.clone());
            thread::spawn(move || first.live_through(&component, vec![member]))
        })
        .collect();
    for _ in 0..threads {
        let (component, member) = (component.clone(), thread_rng().gen_range(0..members));
        first.with_the_gil(|shared| {
            if shared {
                component.take::<Shared>(member)
            } else {
                component.take::<Alone>(member)
            }
            first.shared.store(true, Relaxed);
        });
        running.push(thread::spawn(move || component.live_through(vec![member])));
    }
    first.live_through(&component, vec![held[0]]);
    join(running);
    component.assert_reclaimed();
}

#[test]
fn members_counted_before_and_after_a_second_interpreter_appears_are_freed_once_and_never_early() {
    check(|| through_the_change(thread_rng().gen_range(2..=6)));
}

#[test]
fn a_single_object_counted_before_and_after_a_second_interpreter_appears_is_freed_once_and_never_early() {
    check(|| through_the_change(1));
}

#[test]
fn a_member_whose_count_saturates_becomes_immortal_and_keeps_its_component() {
    check(|| {
        let component = Component::new(2, &[0; 4]);
        component.words[1].store(encode(MAX_COUNT as usize - 8), Relaxed);
        component.live.store(2, Relaxed);
        join(
            (0..4)
                .map(|_| {
                    let component = component.clone();
                    thread::spawn(move || {
                        for _ in 0..3 {
                            component.take::<Shared>(1);
                            component.take::<Shared>(1);
                            assert!(component.promote::<Shared>(1));
                            component.give_up::<Shared>(1);
                        }
                        component.give_up::<Shared>(0);
                        // A reference that was taken is there as ever.
                        component.take::<Shared>(0);
                        component.give_up::<Shared>(1);
                        component.give_up::<Shared>(0);
                    })
                })
                .collect(),
        );
        assert!(is_immortal(component.words[1].load(Relaxed)));
        assert_eq!(component.live.load(Relaxed), 1);
        assert!(!component.freed.load(Relaxed));
    });
}
