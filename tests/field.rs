//! A cell shared by threads: no update is lost, and no value is dropped while somebody gets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use immutable::share::field::Field;

struct Reference(Arc<Value>);

struct Value {
    number: usize,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Clone for Reference {
    fn clone(&self) -> Self {
        Reference(self.0.clone())
    }
}

impl Reference {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn reference(number: usize, dropped: &Arc<AtomicUsize>) -> Reference {
    Reference(Arc::new(Value { number, dropped: dropped.clone() }))
}

#[test]
fn a_field_holds_the_last_value_stored() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let field = Field::new(reference(1, &dropped));
    assert_eq!(field.get().0.number, 1);
    assert_eq!(field.swap(reference(2, &dropped)).0.number, 1);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    assert_eq!(field.get().0.number, 2);
    drop(field);
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
}

#[test]
fn compare_and_swap_goes_by_identity() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let first = reference(1, &dropped);
    let field = Field::new(first.clone());
    let refused = field.compare_and_swap(|value| value.is(&reference(1, &dropped)), reference(2, &dropped));
    assert_eq!(refused.err().map(|new| new.0.number), Some(2));
    assert!(field.get().is(&first));
    let replaced = field.compare_and_swap(|value| value.is(&first), reference(3, &dropped));
    assert!(replaced.is_ok_and(|old| old.is(&first)));
    assert_eq!(field.get().0.number, 3);
}

#[test]
fn a_million_increments_from_eight_threads_give_a_million() {
    const THREADS: usize = 8;
    const EACH: usize = 125_000;
    let dropped = Arc::new(AtomicUsize::new(0));
    let made = AtomicUsize::new(1);
    let field = Field::new(reference(0, &dropped));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    loop {
                        let old = field.get();
                        made.fetch_add(1, Ordering::Relaxed);
                        if field.compare_and_swap(|value| value.is(&old), reference(old.0.number + 1, &dropped)).is_ok()
                        {
                            break;
                        }
                    }
                }
            });
        }
    });
    assert_eq!(field.get().0.number, THREADS * EACH);
    // Each value made was dropped once, but for the one that is left.
    assert_eq!(dropped.load(Ordering::Relaxed), made.load(Ordering::Relaxed) - 1);
}

#[test]
fn every_value_swapped_in_is_swapped_out_once() {
    const THREADS: usize = 4;
    const EACH: usize = 50_000;
    let dropped = Arc::new(AtomicUsize::new(0));
    let field = Field::new(reference(0, &dropped));
    let mut seen: Vec<usize> = thread::scope(|scope| {
        let swapping: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (field, dropped) = (&field, &dropped);
                scope.spawn(move || {
                    let numbers = (1..=EACH).map(|i| thread * EACH + i);
                    numbers.map(|number| field.swap(reference(number, dropped)).0.number).collect::<Vec<_>>()
                })
            })
            .collect();
        swapping.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    seen.push(field.get().0.number);
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..=THREADS * EACH));
}
