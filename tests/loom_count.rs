//! The counting protocol under loom: every interleaving of two and three threads, on the real code.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --test loom_count`.
#![cfg(loom)]

use immutable::lifetime::count::{
    self, FROZEN, IMMORTAL, MAX_COUNT, decrement, decrement_member, encode, increment, increment_member, try_increment,
    try_increment_member,
};
use immutable::object::primitive::{AtomicU32, AtomicUsize, Ordering};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// A component whose members carry a payload each. Teardown writes the payloads: loom reports a race if any use of
/// them is not ordered before it, and a second teardown is caught by the assertion.
struct Component {
    words: Vec<AtomicU32>,
    live: AtomicUsize,
    payload: Vec<UnsafeCell<bool>>,
}

impl Component {
    fn new(counts: &[usize]) -> Arc<Self> {
        Arc::new(Component {
            words: counts.iter().map(|count| AtomicU32::new(encode(*count))).collect(),
            live: AtomicUsize::new(counts.iter().filter(|count| **count > 0).count()),
            payload: counts.iter().map(|_| UnsafeCell::new(true)).collect(),
        })
    }

    fn take(&self, member: usize) {
        increment_member(&self.words[member], &self.live);
    }

    fn promote(&self, member: usize) -> bool {
        try_increment_member(&self.words[member], &self.live)
    }

    /// Uses a member that is held.
    fn read(&self, member: usize) {
        // SAFETY: loom checks that no teardown runs at the same time, which is what these tests are for.
        assert!(self.payload[member].with(|alive| unsafe { *alive }), "freed early");
    }

    fn drop_reference(&self, member: usize) {
        self.read(member);
        if decrement_member(&self.words[member], &self.live) {
            for payload in &self.payload {
                // SAFETY: as in `read`.
                payload.with_mut(|alive| unsafe {
                    assert!(*alive, "freed twice");
                    *alive = false;
                });
            }
        }
    }

    /// Called when all threads have ended.
    fn assert_reclaimed(&self) {
        for (word, payload) in self.words.iter().zip(&self.payload) {
            assert_eq!(word.load(Ordering::Relaxed), FROZEN);
            // SAFETY: all other threads were joined.
            assert!(!payload.with(|alive| unsafe { *alive }), "leaked");
        }
        assert_eq!(self.live.load(Ordering::Relaxed), 0);
    }
}

type Body = Box<dyn FnOnce(&Component) + Send>;

fn run(component: &Arc<Component>, threads: Vec<Body>) {
    let handles: Vec<_> = threads
        .into_iter()
        .map(|body| {
            let component = component.clone();
            thread::spawn(move || body(&component))
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
}

#[test]
fn two_threads_that_drop_the_last_references_to_two_members_free_the_component_once() {
    loom::model(|| {
        let component = Component::new(&[1, 1]);
        run(&component, vec![Box::new(|c| c.drop_reference(0)), Box::new(|c| c.drop_reference(1))]);
        component.assert_reclaimed();
    });
}

#[test]
fn walking_from_member_to_member_while_another_thread_drops_keeps_the_component_alive() {
    loom::model(|| {
        let component = Component::new(&[1, 1, 0]);
        run(
            &component,
            vec![
                Box::new(|c| {
                    c.take(2);
                    c.drop_reference(0);
                    c.read(2);
                    c.drop_reference(2);
                }),
                Box::new(|c| c.drop_reference(1)),
            ],
        );
        component.assert_reclaimed();
    });
}

#[test]
fn two_threads_that_bring_the_same_member_to_life_add_one_unit() {
    loom::model(|| {
        let component = Component::new(&[1, 1, 0]);
        run(
            &component,
            vec![
                Box::new(|c| {
                    c.take(2);
                    c.drop_reference(0);
                    c.drop_reference(2);
                }),
                Box::new(|c| {
                    c.take(2);
                    c.drop_reference(1);
                    c.drop_reference(2);
                }),
            ],
        );
        component.assert_reclaimed();
    });
}

#[test]
fn a_member_that_goes_to_zero_and_back_while_another_thread_takes_it_stays_exact() {
    loom::model(|| {
        let component = Component::new(&[1, 1, 1]);
        run(
            &component,
            vec![
                Box::new(|c| {
                    c.drop_reference(2);
                    c.take(2);
                    c.drop_reference(0);
                    c.drop_reference(2);
                }),
                Box::new(|c| {
                    c.take(2);
                    c.drop_reference(2);
                    c.drop_reference(1);
                }),
            ],
        );
        component.assert_reclaimed();
    });
}

#[test]
fn three_threads_taking_dropping_and_crossing_over_between_members_free_once() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(|| {
        let component = Component::new(&[1, 1, 1]);
        run(
            &component,
            (0..3)
                .map(|own: usize| {
                    Box::new(move |c: &Component| {
                        let next = (own + 1) % 3;
                        c.take(next);
                        c.drop_reference(own);
                        c.drop_reference(next);
                    }) as Body
                })
                .collect(),
        );
        component.assert_reclaimed();
    });
}

#[test]
fn a_reference_passed_to_another_thread_is_dropped_there() {
    loom::model(|| {
        let component = Component::new(&[1, 0]);
        component.take(1);
        let receiver = {
            let component = component.clone();
            thread::spawn(move || {
                component.take(0);
                component.drop_reference(1);
                component.drop_reference(0);
            })
        };
        component.drop_reference(0);
        receiver.join().unwrap();
        component.assert_reclaimed();
    });
}

#[test]
fn a_reference_passed_on_while_a_third_thread_drops_is_enough() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(|| {
        let component = Component::new(&[1, 1]);
        let passer = {
            let component = component.clone();
            thread::spawn(move || {
                component.take(0);
                let receiver = {
                    let component = component.clone();
                    thread::spawn(move || component.drop_reference(0))
                };
                component.drop_reference(1);
                receiver.join().unwrap();
            })
        };
        component.drop_reference(0);
        passer.join().unwrap();
        component.assert_reclaimed();
    });
}

#[test]
fn promoting_a_weak_reference_to_a_component_that_may_be_dying_gives_a_live_object_or_nothing() {
    for member in 0..2 {
        loom::model(move || {
            let component = Component::new(&[1, 0]);
            run(
                &component,
                vec![
                    Box::new(|c| c.drop_reference(0)),
                    Box::new(move |c| {
                        if c.promote(member) {
                            c.read(0);
                            c.drop_reference(member);
                        }
                    }),
                ],
            );
            component.assert_reclaimed();
        });
    }
}

#[test]
fn two_promotions_race_with_the_last_drop() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(|| {
        let component = Component::new(&[1, 0]);
        let promoter = || {
            Box::new(|c: &Component| {
                if c.promote(1) {
                    c.drop_reference(1);
                }
            }) as Body
        };
        run(&component, vec![Box::new(|c| c.drop_reference(0)), promoter(), promoter()]);
        component.assert_reclaimed();
    });
}

#[test]
fn a_promotion_while_the_holder_moves_to_another_member_succeeds() {
    loom::model(|| {
        let component = Component::new(&[1, 0, 1]);
        let promoter = {
            let component = component.clone();
            thread::spawn(move || {
                assert!(component.promote(1), "the component was held all the time");
                component.drop_reference(1);
            })
        };
        component.take(1);
        component.drop_reference(0);
        component.drop_reference(1);
        promoter.join().unwrap();
        component.drop_reference(2);
        component.assert_reclaimed();
    });
}

/// An object that is a component of its own.
struct Single {
    word: AtomicU32,
    payload: UnsafeCell<bool>,
}

impl Single {
    fn new(references: usize) -> Arc<Self> {
        Arc::new(Single { word: AtomicU32::new(encode(references)), payload: UnsafeCell::new(true) })
    }

    fn drop_reference(&self) {
        // SAFETY: loom checks that no teardown runs at the same time.
        assert!(self.payload.with(|alive| unsafe { *alive }), "freed early");
        if decrement(&self.word) {
            // SAFETY: as above.
            self.payload.with_mut(|alive| unsafe {
                assert!(*alive, "freed twice");
                *alive = false;
            });
        }
    }

    fn assert_reclaimed(&self) {
        assert_eq!(self.word.load(Ordering::Relaxed), FROZEN);
        // SAFETY: all other threads were joined.
        assert!(!self.payload.with(|alive| unsafe { *alive }), "leaked");
    }
}

#[test]
fn a_single_object_taken_and_dropped_by_three_threads_is_freed_once() {
    loom::model(|| {
        let object = Single::new(3);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let object = object.clone();
                thread::spawn(move || {
                    increment(&object.word);
                    object.drop_reference();
                    object.drop_reference();
                })
            })
            .collect();
        object.drop_reference();
        for thread in threads {
            thread.join().unwrap();
        }
        object.assert_reclaimed();
    });
}

#[test]
fn promoting_a_weak_reference_to_a_single_object_races_with_its_last_drop() {
    loom::model(|| {
        let object = Single::new(1);
        let promoter = {
            let object = object.clone();
            thread::spawn(move || {
                if try_increment(&object.word) {
                    object.drop_reference();
                }
            })
        };
        object.drop_reference();
        promoter.join().unwrap();
        object.assert_reclaimed();
    });
}

#[test]
fn an_object_whose_count_saturates_under_two_threads_becomes_immortal() {
    loom::model(|| {
        let word = Arc::new(AtomicU32::new(encode(MAX_COUNT as usize)));
        let other = {
            let word = word.clone();
            thread::spawn(move || {
                increment(&word);
                increment(&word);
                assert!(!decrement(&word));
            })
        };
        increment(&word);
        increment(&word);
        assert!(!decrement(&word));
        other.join().unwrap();
        // Whoever was under way may land on top of the immortal count.
        let end = word.load(Ordering::Relaxed);
        assert!(count::is_immortal(end) && end.abs_diff(IMMORTAL) <= 4, "{end:#x}");
    });
}
