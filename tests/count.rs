//! The counting protocol by itself, in both modes, and under long random schedules of real threads.
#![cfg(not(any(loom, shuttle)))]

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use immutable::lifetime::count::{
    Alone, FROZEN, IMMORTAL, MAX_COUNT, Mode, Shared, add, count_of, decrement, decrement_member, encode, increment,
    increment_member, is_frozen_count, is_immortal, try_increment, try_increment_member,
};

#[test]
fn the_encoding_tells_mutable_immortal_and_frozen_apart() {
    for (word, frozen, immortal) in [
        (0, false, false),
        (1, false, false),
        (0x7FFF_FFFF, false, false),
        (0x8000_0000, false, true),
        (IMMORTAL, false, true),
        (0xDFFF_FFFF, false, true),
        (FROZEN, true, false),
        (u32::MAX, true, false),
    ] {
        assert_eq!((is_frozen_count(word), is_immortal(word)), (frozen, immortal), "{word:#x}");
        assert_eq!(count_of(word).is_some(), frozen);
    }
    assert_eq!(count_of(encode(0)), Some(0));
    assert_eq!(count_of(encode(12345)), Some(12345));
    assert_eq!(count_of(encode(MAX_COUNT as usize)), Some(MAX_COUNT));
    assert_eq!(encode(MAX_COUNT as usize + 1), IMMORTAL);
    assert_eq!(encode(usize::MAX), IMMORTAL);
}

#[test]
fn a_trivial_component_dies_with_its_last_reference_and_cannot_be_promoted_then() {
    fn check<M: Mode>() {
        let word = AtomicU32::new(encode(1));
        increment::<M>(&word);
        add::<M>(&word, 3);
        assert!(try_increment::<M>(&word));
        assert_eq!(count_of(word.load(Ordering::Relaxed)), Some(6));
        for _ in 0..5 {
            assert!(!decrement::<M>(&word));
        }
        assert!(decrement::<M>(&word));
        assert!(!try_increment::<M>(&word));
        assert_eq!(word.load(Ordering::Relaxed), FROZEN);
    }
    check::<Shared>();
    check::<Alone>();
}

#[test]
fn a_component_dies_with_its_last_live_member() {
    fn check<M: Mode>() {
        let words = [AtomicU32::new(encode(1)), AtomicU32::new(encode(0))];
        let live = AtomicUsize::new(1);
        increment_member::<M>(&words[1], &live);
        increment_member::<M>(&words[1], &live);
        assert_eq!(live.load(Ordering::Relaxed), 2);
        assert!(!decrement_member::<M>(&words[0], &live));
        assert!(try_increment_member::<M>(&words[0], &live), "alive through the other member");
        assert!(!decrement_member::<M>(&words[0], &live));
        assert!(!decrement_member::<M>(&words[1], &live));
        assert_eq!(live.load(Ordering::Relaxed), 1);
        assert!(decrement_member::<M>(&words[1], &live));
        assert!(!try_increment_member::<M>(&words[0], &live));
        assert!(!try_increment_member::<M>(&words[1], &live));
        assert_eq!(live.load(Ordering::Relaxed), 0);
    }
    check::<Shared>();
    check::<Alone>();
}

#[test]
fn a_count_near_its_limit_becomes_immortal_and_stays() {
    fn check<M: Mode>() {
        let live = AtomicUsize::new(1);
        type Raise = fn(&AtomicU32, &AtomicUsize);
        let raises: [(&str, Raise); 6] = [
            ("increment", |word, _| increment::<M>(word)),
            ("add one", |word, _| add::<M>(word, 1)),
            ("add many", |word, _| add::<M>(word, usize::MAX)),
            ("try_increment", |word, _| assert!(try_increment::<M>(word))),
            ("increment_member", increment_member::<M>),
            ("try_increment_member", |word, live| assert!(try_increment_member::<M>(word, live))),
        ];
        for (name, raise) in raises {
            let word = AtomicU32::new(encode(MAX_COUNT as usize - 1));
            raise(&word, &live);
            if name != "add many" {
                assert_eq!(count_of(word.load(Ordering::Relaxed)), Some(MAX_COUNT), "{name}");
            }
            raise(&word, &live);
            raise(&word, &live);
            assert!(is_immortal(word.load(Ordering::Relaxed)), "{name}");
            for _ in 0..3 {
                assert!(!decrement::<M>(&word));
                assert!(!decrement_member::<M>(&word, &live));
            }
            assert!(is_immortal(word.load(Ordering::Relaxed)), "{name}");
            assert_eq!(live.load(Ordering::Relaxed), 1, "{name}: an immortal member stays live");
        }
    }
    check::<Shared>();
    check::<Alone>();
}

#[test]
fn an_underflow_makes_the_object_immortal_instead_of_freeing_it() {
    fn check<M: Mode>() {
        let word = AtomicU32::new(encode(0));
        assert!(!decrement::<M>(&word));
        assert!(is_immortal(word.load(Ordering::Relaxed)));
    }
    check::<Shared>();
    check::<Alone>();
}

#[test]
fn a_weak_reference_to_an_object_whose_teardown_began_is_not_promoted() {
    fn check<M: Mode>() {
        let live = AtomicUsize::new(0);
        let word = AtomicU32::new(1);
        assert!(!try_increment::<M>(&word));
        assert!(!try_increment_member::<M>(&word, &live));
        assert_eq!(word.load(Ordering::Relaxed), 1);
    }
    check::<Shared>();
    check::<Alone>();
}

/// A small fast generator of the sequences that the schedules follow (Vigna's xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize) % bound
    }
}

struct Component {
    words: Vec<AtomicU32>,
    live: AtomicUsize,
    freed: AtomicBool,
}

impl Component {
    fn give_up(&self, member: usize) {
        assert!(!self.freed.load(Ordering::Relaxed), "freed while a reference was held");
        if decrement_member::<Shared>(&self.words[member], &self.live) {
            assert!(!self.freed.swap(true, Ordering::Relaxed), "freed twice");
        }
    }
}

#[test]
fn random_schedules_of_four_threads_free_each_component_exactly_once() {
    const THREADS: usize = 4;
    const MEMBERS: usize = 3;
    for seed in 1..=400_u64 {
        let component = Arc::new(Component {
            words: (0..MEMBERS).map(|_| AtomicU32::new(encode(0))).collect(),
            live: AtomicUsize::new(1),
            freed: AtomicBool::new(false),
        });
        // The first reference exists before any thread, as the root's does after a freeze.
        component.words[0].store(encode(1), Ordering::Relaxed);
        let start = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                increment_member::<Shared>(&component.words[number % MEMBERS], &component.live);
                let (component, start) = (component.clone(), start.clone());
                thread::spawn(move || {
                    let mut random = Random(seed * 1000 + number as u64);
                    let mut held = vec![number % MEMBERS];
                    start.wait();
                    for _ in 0..2_000 {
                        match random.below(4) {
                            0 | 1 if !held.is_empty() && held.len() < 5 => {
                                let member = random.below(MEMBERS);
                                increment_member::<Shared>(&component.words[member], &component.live);
                                held.push(member);
                            }
                            2 if held.len() > 1 => {
                                let member = held.swap_remove(random.below(held.len()));
                                component.give_up(member);
                            }
                            3 => {
                                let member = random.below(MEMBERS);
                                if try_increment_member::<Shared>(&component.words[member], &component.live) {
                                    component.give_up(member);
                                } else {
                                    assert!(held.is_empty(), "a live component refused a promotion");
                                }
                            }
                            _ => {}
                        }
                    }
                    for member in held {
                        component.give_up(member);
                    }
                })
            })
            .collect();
        component.give_up(0);
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(component.freed.load(Ordering::Relaxed), "leaked, seed {seed}");
        assert_eq!(component.live.load(Ordering::Relaxed), 0);
        assert!(component.words.iter().all(|word| word.load(Ordering::Relaxed) == FROZEN));
    }
}
