//! What passing a message through a channel costs, beside crossbeam-channel, which cannot be closed or interrupted.
//!
//! The time of one message, or of one round trip. Messages are of the size of a pointer.

use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use immutable::share::channel::{Receiver, Sender, channel};
use immutable::share::field::Field;
use immutable::share::line::Plain;

type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// A channel of either make.
trait Make: Sync {
    type In: Clone + Send + 'static;
    type Out: Clone + Send + 'static;
    const NAME: &'static str;
    fn make(capacity: Option<usize>) -> (Self::In, Self::Out);
    fn send(input: &Self::In, message: usize);
    /// `None` when nothing is left and no sender either.
    fn recv(output: &Self::Out) -> Option<usize>;
}

struct Ours;

impl Make for Ours {
    type In = Sender<usize>;
    type Out = Receiver<usize>;
    const NAME: &'static str = "immutable";

    fn make(capacity: Option<usize>) -> (Self::In, Self::Out) {
        channel(capacity.and_then(NonZeroUsize::new))
    }

    fn send(input: &Self::In, message: usize) {
        input.send(message, None, &mut Plain).expect("a receiver is there");
    }

    fn recv(output: &Self::Out) -> Option<usize> {
        output.recv(None, &mut Plain).ok()
    }
}

struct Crossbeam;

impl Make for Crossbeam {
    type In = crossbeam_channel::Sender<usize>;
    type Out = crossbeam_channel::Receiver<usize>;
    const NAME: &'static str = "crossbeam";

    fn make(capacity: Option<usize>) -> (Self::In, Self::Out) {
        capacity.map_or_else(crossbeam_channel::unbounded, crossbeam_channel::bounded)
    }

    fn send(input: &Self::In, message: usize) {
        input.send(message).expect("a receiver is there");
    }

    fn recv(output: &Self::Out) -> Option<usize> {
        output.recv().ok()
    }
}

/// The time that `messages` take from so many producers to so many consumers.
fn one_way<M: Make>(capacity: Option<usize>, producers: u64, consumers: u64, messages: u64) -> Duration {
    let (input, output) = M::make(capacity);
    let began = Instant::now();
    thread::scope(|scope| {
        for producer in 0..producers {
            let input = input.clone();
            let share = messages / producers + u64::from(producer < messages % producers);
            scope.spawn(move || (0..share).for_each(|number| M::send(&input, number as usize)));
        }
        drop(input);
        for _ in 0..consumers {
            let output = output.clone();
            scope.spawn(move || while M::recv(&output).is_some() {});
        }
    });
    began.elapsed()
}

/// The time of so many messages that are each answered before the next.
fn round_trips<M: Make>(trips: u64) -> Duration {
    let (there, at_there) = M::make(None);
    let (back, at_back) = M::make(None);
    let echo = thread::spawn(move || {
        while let Some(message) = M::recv(&at_there) {
            M::send(&back, message);
        }
    });
    let began = Instant::now();
    for number in 0..trips {
        M::send(&there, number as usize);
        M::recv(&at_back);
    }
    let elapsed = began.elapsed();
    drop(there);
    echo.join().expect("no assertion there");
    elapsed
}

fn bench_make<M: Make>(group: &mut Group<'_>) {
    let name = |what: &str| format!("{}, {what}", M::NAME);
    for (kind, capacity) in [("unbounded", None), ("bounded", Some(100))] {
        let (input, output) = M::make(capacity);
        group.bench_function(name(&format!("{kind}: sent and received by one thread")), |bencher| {
            bencher.iter(|| {
                M::send(&input, 1);
                M::recv(&output)
            });
        });
        for (producers, consumers) in [(1, 1), (4, 4)] {
            group.bench_function(name(&format!("{kind}: {producers} to {consumers} threads")), |bencher| {
                bencher.iter_custom(|messages| one_way::<M>(capacity, producers, consumers, messages));
            });
        }
    }
    group.bench_function(name("round trip"), |bencher| bencher.iter_custom(round_trips::<M>));
}

fn channels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("channel");
    group.measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500)).sample_size(20);
    bench_make::<Ours>(&mut group);
    bench_make::<Crossbeam>(&mut group);
    group.finish();
}

fn fields(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("field");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    let field = Field::new(0_usize);
    group.bench_function("get", |bencher| bencher.iter(|| field.get()));
    group.bench_function("get, compare and swap", |bencher| {
        bencher.iter(|| {
            let old = field.get();
            field.compare_and_swap(|value| *value == old, old + 1)
        });
    });
    group.finish();
}

criterion_group!(benches, channels, fields);
criterion_main!(benches);
