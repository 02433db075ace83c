//! The counting protocol under loom: all interleavings, of larger models those with few preemptions, on the real code.
//!
//! loom runs the operations of a thread one after the other, as the orderings of the protocol do not oblige a processor
//! to do. So no model here needs the Release of an increment from zero, or the Acquire of what rests on it: that they are
//! needed is argued in `count.rs`.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --test loom_count`; it takes a minute or two.
#![cfg(loom)]

use immutable::lifetime::count::{
    self, Alone, FROZEN, IMMORTAL, MAX_COUNT, Mode, Shared, add, decrement, decrement_member, encode, increment,
    increment_member, try_increment, try_increment_member,
};
use immutable::object::primitive::{AtomicU32, AtomicUsize, Ordering};
use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicBool;
use loom::sync::{Arc, Mutex};
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
        self.take_in::<Shared>(member);
    }

    fn take_in<M: Mode>(&self, member: usize) {
        increment_member::<M>(&self.words[member], &self.live);
    }

    fn promote(&self, member: usize) -> bool {
        try_increment_member::<Shared>(&self.words[member], &self.live)
    }

    /// Uses a member that is held.
    fn read(&self, member: usize) {
        // SAFETY: loom checks that no teardown runs at the same time, which is what these tests are for.
        assert!(self.payload[member].with(|alive| unsafe { *alive }), "freed early");
    }

    fn drop_reference(&self, member: usize) {
        self.drop_reference_in::<Shared>(member);
    }

    fn drop_reference_in<M: Mode>(&self, member: usize) {
        self.read(member);
        if decrement_member::<M>(&self.words[member], &self.live) {
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

/// Runs a large model: all schedules with at most `preemptions` switches away from a thread that could go on.
fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

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
    bounded(4, || {
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
    bounded(4, || {
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
    bounded(4, || {
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

#[test]
fn a_member_raised_while_another_thread_brings_it_to_zero_has_its_unit() {
    loom::model(|| {
        let component = Component::new(&[1, 1]);
        run(
            &component,
            vec![
                Box::new(|c| {
                    c.take(1);
                    c.drop_reference(0);
                    c.drop_reference(1);
                }),
                Box::new(|c| c.drop_reference(1)),
            ],
        );
        component.assert_reclaimed();
    });
}

#[test]
fn a_thread_may_rest_on_a_member_whose_unit_another_thread_still_owes() {
    loom::model(|| {
        let component = Component::new(&[1, 1, 0, 0]);
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
                    c.take(3);
                    c.drop_reference(2);
                    c.drop_reference(3);
                }),
            ],
        );
        component.assert_reclaimed();
    });
}

#[test]
fn two_threads_that_raise_each_others_next_member_keep_the_component_alive() {
    loom::model(|| {
        let component = Component::new(&[1, 1, 0, 0]);
        let walk = |path: [usize; 3]| {
            Box::new(move |c: &Component| {
                for step in path.windows(2) {
                    c.take(step[1]);
                    c.drop_reference(step[0]);
                }
                c.drop_reference(path[2]);
            }) as Body
        };
        run(&component, vec![walk([0, 2, 3]), walk([1, 3, 2])]);
        component.assert_reclaimed();
    });
}

#[test]
fn a_chain_of_three_debtors_pays_before_the_last_unit_goes() {
    bounded(3, || {
        let component = Component::new(&[1, 1, 1, 0, 0]);
        run(
            &component,
            vec![
                Box::new(|c| {
                    c.take(3);
                    c.drop_reference(0);
                    c.drop_reference(3);
                }),
                Box::new(|c| {
                    c.take(3);
                    c.drop_reference(1);
                    c.take(4);
                    c.drop_reference(3);
                    c.drop_reference(4);
                }),
                Box::new(|c| {
                    c.take(4);
                    c.drop_reference(2);
                    c.drop_reference(4);
                }),
            ],
        );
        component.assert_reclaimed();
    });
}

#[test]
fn a_promotion_of_a_member_that_its_holder_raises_at_the_same_time_adds_one_unit() {
    loom::model(|| {
        let component = Component::new(&[1, 0]);
        run(
            &component,
            vec![
                Box::new(|c| {
                    c.take(1);
                    c.drop_reference(0);
                    c.drop_reference(1);
                }),
                Box::new(|c| {
                    if c.promote(1) {
                        c.drop_reference(1);
                    }
                }),
            ],
        );
        component.assert_reclaimed();
    });
}

#[test]
fn a_thread_may_rest_on_a_promotion_of_a_member_whose_unit_is_still_owed() {
    bounded(4, || {
        let component = Component::new(&[1, 0, 0]);
        run(
            &component,
            vec![
                Box::new(|c| {
                    c.take(1);
                    c.drop_reference(0);
                    c.drop_reference(1);
                }),
                Box::new(|c| {
                    if c.promote(1) {
                        c.take(2);
                        c.drop_reference(1);
                        c.drop_reference(2);
                    }
                }),
            ],
        );
        component.assert_reclaimed();
    });
}

#[test]
fn many_references_taken_at_once_to_a_member_are_as_many_to_drop() {
    loom::model(|| {
        let component = Component::new(&[1, 1]);
        run(
            &component,
            vec![
                Box::new(|c| {
                    c.take(1);
                    add::<Shared>(&c.words[1], 1);
                    c.drop_reference(0);
                    c.drop_reference(1);
                    c.drop_reference(1);
                }),
                Box::new(|c| {
                    c.take(0);
                    c.drop_reference(1);
                    c.drop_reference(0);
                }),
            ],
        );
        component.assert_reclaimed();
    });
}

#[test]
fn a_member_whose_count_saturates_under_two_threads_keeps_its_component_for_ever() {
    loom::model(|| {
        let component = Component::new(&[MAX_COUNT as usize, 1]);
        run(
            &component,
            vec![
                Box::new(|c| {
                    c.take(0);
                    c.take(0);
                    c.drop_reference(0);
                }),
                Box::new(|c| {
                    c.take(0);
                    c.drop_reference(0);
                    c.drop_reference(1);
                }),
            ],
        );
        assert!(count::is_immortal(component.words[0].load(Ordering::Relaxed)));
        assert_eq!(component.live.load(Ordering::Relaxed), 1);
        assert!(component.promote(0));
        component.read(1);
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
        self.drop_reference_in::<Shared>();
    }

    fn drop_reference_in<M: Mode>(&self) {
        // SAFETY: loom checks that no teardown runs at the same time.
        assert!(self.payload.with(|alive| unsafe { *alive }), "freed early");
        if decrement::<M>(&self.word) {
            // SAFETY: as above.
            self.payload.with_mut(|alive| unsafe {
                assert!(*alive, "freed twice");
                *alive = false;
            });
        }
    }

    fn assert_reclaimed(&self) {
        // SAFETY: all other threads were joined.
        assert!(!self.payload.with(|alive| unsafe { *alive }), "leaked");
        assert_eq!(self.word.load(Ordering::Relaxed), FROZEN);
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
                    increment::<Shared>(&object.word);
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
                if try_increment::<Shared>(&object.word) {
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
fn two_promotions_of_a_weak_reference_to_a_single_object_race_with_its_last_drop() {
    bounded(4, || {
        let object = Single::new(1);
        let promoters: Vec<_> = (0..2)
            .map(|_| {
                let object = object.clone();
                thread::spawn(move || {
                    if try_increment::<Shared>(&object.word) {
                        object.drop_reference();
                    }
                })
            })
            .collect();
        object.drop_reference();
        for promoter in promoters {
            promoter.join().unwrap();
        }
        object.assert_reclaimed();
    });
}

#[test]
fn references_to_a_single_object_are_passed_from_thread_to_thread_and_dropped_there() {
    bounded(4, || {
        let object = Single::new(1);
        increment::<Shared>(&object.word);
        let passer = {
            let object = object.clone();
            thread::spawn(move || {
                increment::<Shared>(&object.word);
                let receiver = {
                    let object = object.clone();
                    thread::spawn(move || object.drop_reference())
                };
                object.drop_reference();
                receiver.join().unwrap();
            })
        };
        object.drop_reference();
        passer.join().unwrap();
        object.assert_reclaimed();
    });
}

#[test]
fn many_references_taken_at_once_while_another_thread_takes_and_drops_are_as_many_to_drop() {
    loom::model(|| {
        let object = Single::new(2);
        let other = {
            let object = object.clone();
            thread::spawn(move || {
                add::<Shared>(&object.word, 2);
                for _ in 0..3 {
                    object.drop_reference();
                }
            })
        };
        increment::<Shared>(&object.word);
        object.drop_reference();
        object.drop_reference();
        other.join().unwrap();
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
                increment::<Shared>(&word);
                increment::<Shared>(&word);
                assert!(!decrement::<Shared>(&word));
            })
        };
        increment::<Shared>(&word);
        increment::<Shared>(&word);
        assert!(!decrement::<Shared>(&word));
        other.join().unwrap();
        // Whoever was under way may land on top of the immortal count.
        let end = word.load(Ordering::Relaxed);
        assert!(count::is_immortal(end) && end.abs_diff(IMMORTAL) <= 4, "{end:#x}");
    });
}

#[test]
fn an_addition_and_a_promotion_that_saturate_a_count_at_the_same_time_make_the_object_immortal() {
    loom::model(|| {
        let word = Arc::new(AtomicU32::new(encode(MAX_COUNT as usize - 1)));
        let other = {
            let word = word.clone();
            thread::spawn(move || {
                assert!(try_increment::<Shared>(&word));
                increment::<Shared>(&word);
                assert!(!decrement::<Shared>(&word));
            })
        };
        add::<Shared>(&word, 3);
        assert!(!decrement::<Shared>(&word));
        other.join().unwrap();
        let end = word.load(Ordering::Relaxed);
        assert!(count::is_immortal(end) && end.abs_diff(IMMORTAL) <= 4, "{end:#x}");
    });
}

/// A process that goes over from mode Alone to mode Shared, as the runtime does it.
struct Process {
    /// The GIL of the first interpreter.
    gil: Mutex<()>,
    shared: AtomicBool,
    component: Arc<Component>,
    object: Arc<Single>,
}

impl Process {
    fn new(counts: &[usize], references: usize) -> Arc<Self> {
        Arc::new(Process {
            gil: Mutex::new(()),
            shared: AtomicBool::new(false),
            component: Component::new(counts),
            object: Single::new(references),
        })
    }

    /// Does the steps of a thread of the first interpreter, which lets go of the GIL after each.
    fn each_with_the_gil(&self, steps: [fn(&Self); 3]) {
        for step in steps {
            let _held = self.gil.lock().unwrap();
            step(self);
        }
    }

    // The callers of what follows hold a GIL.

    /// Relaxed: that the callers hold a GIL is what must be enough.
    fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    fn take(&self, member: usize) {
        if self.is_shared() { self.component.take(member) } else { self.component.take_in::<Alone>(member) }
    }

    fn drop_reference(&self, member: usize) {
        if self.is_shared() {
            self.component.drop_reference(member);
        } else {
            self.component.drop_reference_in::<Alone>(member);
        }
    }

    fn take_object(&self) {
        if self.is_shared() { increment::<Shared>(&self.object.word) } else { increment::<Alone>(&self.object.word) }
    }

    fn drop_object(&self) {
        if self.is_shared() { self.object.drop_reference() } else { self.object.drop_reference_in::<Alone>() }
    }

    /// What is done before a second interpreter is created.
    fn share(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }
}

#[test]
fn members_counted_alone_under_one_lock_are_freed_once() {
    loom::model(|| {
        let process = Process::new(&[1, 1, 0], 1);
        let other = {
            let process = process.clone();
            thread::spawn(move || {
                process.each_with_the_gil([|p| p.take(2), |p| p.drop_reference(1), |p| p.drop_reference(2)]);
            })
        };
        process.each_with_the_gil([|p| p.take(2), |p| p.drop_reference(0), |p| p.drop_reference(2)]);
        other.join().unwrap();
        process.component.assert_reclaimed();
    });
}

#[test]
fn members_taken_before_and_dropped_after_the_change_to_shared_are_freed_once() {
    bounded(5, || {
        let process = Process::new(&[1, 1, 0], 1);
        // Another thread of the first interpreter, before, during or after the change.
        let second = {
            let process = process.clone();
            thread::spawn(move || {
                {
                    let _held = process.gil.lock().unwrap();
                    process.take(2);
                    process.drop_reference(1);
                }
                let _held = process.gil.lock().unwrap();
                process.drop_reference(2);
            })
        };
        let held = process.gil.lock().unwrap();
        process.take(2);
        process.share();
        // A thread of another interpreter, with another GIL. It is given the reference to member 2.
        let foreign = {
            let process = process.clone();
            thread::spawn(move || {
                assert!(process.is_shared());
                process.take(0);
                process.drop_reference(2);
                process.drop_reference(0);
            })
        };
        process.drop_reference(0);
        drop(held);
        second.join().unwrap();
        foreign.join().unwrap();
        process.component.assert_reclaimed();
    });
}

#[test]
fn a_single_object_counted_before_and_after_the_change_to_shared_is_freed_once() {
    bounded(6, || {
        let process = Process::new(&[1], 2);
        let second = {
            let process = process.clone();
            thread::spawn(move || {
                {
                    let _held = process.gil.lock().unwrap();
                    process.take_object();
                    process.drop_object();
                }
                let _held = process.gil.lock().unwrap();
                process.drop_object();
            })
        };
        let held = process.gil.lock().unwrap();
        process.take_object();
        process.share();
        let foreign = {
            let process = process.clone();
            thread::spawn(move || {
                assert!(process.is_shared());
                process.take_object();
                process.drop_object();
                process.drop_object();
            })
        };
        process.drop_object();
        drop(held);
        second.join().unwrap();
        foreign.join().unwrap();
        process.object.assert_reclaimed();
    });
}

#[test]
#[should_panic(expected = "leaked")]
fn counting_alone_without_a_common_lock_loses_references() {
    loom::model(|| {
        let object = Single::new(2);
        let other = {
            let object = object.clone();
            thread::spawn(move || object.drop_reference_in::<Alone>())
        };
        object.drop_reference_in::<Alone>();
        other.join().unwrap();
        object.assert_reclaimed();
    });
}
