//! What taking and dropping one reference to a frozen object costs, beside CPython's own count of a mutable one.
//!
//! Every bench is a pair: one reference taken, one dropped.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use immutable::lifetime::count::{
    IMMORTAL, decrement, decrement_member, encode, increment, increment_member, is_frozen_count, try_increment_member,
};

/// A word on a cache line of its own, as an object's is.
#[repr(align(128))]
struct Word(AtomicU32);

/// A component of two members, and its record.
struct Pair {
    members: [Word; 2],
    live: AtomicUsize,
}

impl Pair {
    fn new(counts: [usize; 2]) -> Self {
        let live = counts.iter().filter(|count| **count > 0).count();
        Pair { members: counts.map(|count| Word(AtomicU32::new(encode(count)))), live: AtomicUsize::new(live) }
    }

    #[inline]
    fn take_and_drop(&self, member: usize) {
        let word = &black_box(&self.members[member]).0;
        increment_member(word, &self.live);
        black_box(decrement_member(word, &self.live));
    }
}

/// `Py_INCREF` and `Py_DECREF` of a mutable object: a load, a test, a store, none of them atomic to others.
#[inline]
fn mutable_pair(word: &AtomicU32) {
    let count = word.load(Ordering::Relaxed);
    if count < IMMORTAL {
        word.store(count + 1, Ordering::Relaxed);
    }
    let word = black_box(word);
    let count = word.load(Ordering::Relaxed);
    if (count as i32) >= 0 {
        word.store(count - 1, Ordering::Relaxed);
        black_box(count == 1);
    }
}

/// Runs a bench while another thread runs `other` all the time.
fn beside(
    group: &mut BenchmarkGroup<'_, criterion::measurement::WallTime>,
    name: &str,
    own: impl Fn(),
    other: impl Fn() + Sync,
) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                other();
            }
        });
        group.bench_function(name, |bencher| bencher.iter(&own));
        stop.store(true, Ordering::Relaxed);
    });
}

fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one thread");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    let mutable = AtomicU32::new(1);
    group.bench_function("mutable", |bencher| bencher.iter(|| mutable_pair(black_box(&mutable))));
    let trivial = AtomicU32::new(encode(1));
    group.bench_function("trivial", |bencher| {
        bencher.iter(|| {
            increment(black_box(&trivial));
            black_box(decrement(black_box(&trivial)))
        });
    });
    group.bench_function("trivial, with the test for frozen", |bencher| {
        bencher.iter(|| {
            let word = black_box(&trivial);
            if is_frozen_count(word.load(Ordering::Relaxed)) {
                increment(word);
            }
            let word = black_box(&trivial);
            is_frozen_count(word.load(Ordering::Relaxed)) && black_box(decrement(word))
        });
    });
    let pair = Pair::new([1, 0]);
    group.bench_function("live member", |bencher| bencher.iter(|| pair.take_and_drop(0)));
    group.bench_function("member from zero", |bencher| bencher.iter(|| pair.take_and_drop(1)));
    group.bench_function("promotion of a live member", |bencher| {
        bencher.iter(|| {
            let word = &black_box(&pair.members[0]).0;
            try_increment_member(word, &pair.live) && black_box(decrement_member(word, &pair.live))
        });
    });
    group.finish();
}

fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("two threads");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    let pair = Pair::new([1, 1]);
    beside(&mut group, "different live members", || pair.take_and_drop(0), || pair.take_and_drop(1));
    beside(&mut group, "the same live member", || pair.take_and_drop(0), || pair.take_and_drop(0));
    let pair = Pair::new([1, 0]);
    beside(&mut group, "live member beside a member from zero", || pair.take_and_drop(0), || pair.take_and_drop(1));
    let own = Word(AtomicU32::new(encode(1)));
    let other = Word(AtomicU32::new(encode(1)));
    let trivial = |word: &AtomicU32| {
        increment(black_box(word));
        black_box(decrement(black_box(word)));
    };
    beside(&mut group, "different trivial objects", || trivial(&own.0), || trivial(&other.0));
    beside(&mut group, "the same trivial object", || trivial(&own.0), || trivial(&own.0));
    group.finish();
}

criterion_group!(benches, one_thread, two_threads);
criterion_main!(benches);
