//! The shared cell under loom: every interleaving of two and three threads, on the real code.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --test loom_field`. The values are loom's own `Arc`, so that
//! loom reports one that is used after it was dropped, or never dropped.
#![cfg(loom)]

use immutable::share::field::Field;
use loom::sync::Arc;
use loom::thread;

#[derive(Clone)]
struct Reference(Arc<usize>);

impl Reference {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn reference(number: usize) -> Reference {
    Reference(Arc::new(number))
}

fn increment(field: &Field<Reference>) {
    loop {
        let old = field.get();
        if field.compare_and_swap(|value| value.is(&old), reference(*old.0 + 1)).is_ok() {
            return;
        }
        thread::yield_now();
    }
}

#[test]
fn a_value_that_is_got_while_it_is_replaced_stays_alive() {
    loom::model(|| {
        let field = Arc::new(Field::new(reference(1)));
        let getting = {
            let field = field.clone();
            thread::spawn(move || *field.get().0)
        };
        assert_eq!(*field.swap(reference(2)).0, 1);
        assert!([1, 2].contains(&getting.join().unwrap()));
    });
}

#[test]
fn no_increment_is_lost() {
    loom::model(|| {
        let field = Arc::new(Field::new(reference(0)));
        let other = {
            let field = field.clone();
            thread::spawn(move || increment(&field))
        };
        increment(&field);
        other.join().unwrap();
        assert_eq!(*field.get().0, 2);
    });
}

#[test]
fn of_three_swaps_each_gets_another_value() {
    loom::model(|| {
        let field = Arc::new(Field::new(reference(0)));
        let others: Vec<_> = [1, 2]
            .into_iter()
            .map(|number| {
                let field = field.clone();
                thread::spawn(move || *field.swap(reference(number)).0)
            })
            .collect();
        let mut seen = vec![*field.swap(reference(3)).0];
        seen.extend(others.into_iter().map(|thread| thread.join().unwrap()));
        seen.push(*field.get().0);
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
    });
}
