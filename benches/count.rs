//! What taking and dropping one reference to a frozen object costs, beside CPython's own count of a mutable one.
//!
//! Every bench does a pair, one reference taken and one dropped, on each of 16 objects in turn: in a program, too, other
//! work stands between two pairs on one object, so that the second does not wait for what the first has just stored.
//!
//! At the end stand the ratios to the mutable pair: of the best of many short rounds in which all pairs take turns, so that
//! a busy or changing machine moves none against the others.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, criterion_group};
use immutable::lifetime::count::{
    Alone, FROZEN, IMMORTAL, Mode, Shared, decrement, decrement_member, encode, increment, increment_member,
    try_increment_member,
};

const MEMBER: u16 = 1;

/// An object as CPython lays it out, on cache lines of its own: the collector's word, and the header.
#[repr(C, align(128))]
struct Object {
    gc_next: usize,
    gc_prev: *const Record,
    refcnt: AtomicU32,
    overflow: u16,
    flags: u16,
    ty: usize,
}

/// A record, on a cache line of its own.
#[repr(align(128))]
struct Record {
    live: AtomicUsize,
}

/// A counter on a cache line of its own.
#[repr(align(128))]
struct Runs(AtomicUsize);

// SAFETY: the record of an object outlives it, and its only field is an atomic.
unsafe impl Sync for Object {}

impl Object {
    fn new(word: u32, record: Option<&Record>) -> Self {
        Object {
            gc_next: 0,
            gc_prev: record.map_or(std::ptr::null(), |record| record),
            refcnt: AtomicU32::new(word),
            overflow: 0,
            flags: if record.is_some() { MEMBER } else { 0 },
            ty: 0,
        }
    }

    fn record(&self) -> &Record {
        // SAFETY: called for members only, whose record outlives them.
        unsafe { &*self.gc_prev }
    }

    /// Whether `Py_INCREF` and `Py_DECREF` leave the object to the runtime: their second test, after that for immortals.
    fn is_frozen(&self) -> bool {
        let word = self.refcnt.load(Ordering::Relaxed);
        word >= IMMORTAL && self.refcnt.load(Ordering::Relaxed) >= FROZEN
    }
}

/// `Py_INCREF` and `Py_DECREF` of a mutable object: each a test, and an addition in memory.
#[inline(always)]
fn mutable_pair(object: &Object) {
    let word = &black_box(object).refcnt;
    if word.load(Ordering::Relaxed) < IMMORTAL {
        word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
    let word = &black_box(object).refcnt;
    if word.load(Ordering::Relaxed) as i32 > 1 {
        word.store(word.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }
}

/// The protocol where it is compiled in.
#[inline(always)]
fn trivial_pair<M: Mode>(object: &Object) {
    let object = black_box(object);
    if object.is_frozen() {
        increment::<M>(&object.refcnt);
    }
    let object = black_box(object);
    if object.is_frozen() {
        black_box(decrement::<M>(&object.refcnt));
    }
}

#[inline(always)]
fn member_pair<M: Mode>(object: &Object) {
    let object = black_box(object);
    if object.is_frozen() {
        increment_member::<M>(&object.refcnt, &object.record().live);
    }
    let object = black_box(object);
    if object.is_frozen() {
        black_box(decrement_member::<M>(&object.refcnt, &object.record().live));
    }
}

/// The protocol as CPython calls it: the function finds out the component, and the mode.
#[inline(always)]
fn called_pair(object: &Object, shared: &AtomicBool) {
    let object = black_box(object);
    if object.is_frozen() {
        take(object, shared);
    }
    let object = black_box(object);
    if object.is_frozen() {
        black_box(give_up(object, shared));
    }
}

#[inline(never)]
fn take(object: &Object, shared: &AtomicBool) {
    fn take_in<M: Mode>(object: &Object) {
        if object.flags & MEMBER == 0 {
            increment::<M>(&object.refcnt);
        } else {
            increment_member::<M>(&object.refcnt, &object.record().live);
        }
    }
    if shared.load(Ordering::Relaxed) { take_in::<Shared>(object) } else { take_in::<Alone>(object) }
}

#[inline(never)]
fn give_up(object: &Object, shared: &AtomicBool) -> bool {
    fn give_up_in<M: Mode>(object: &Object) -> bool {
        if object.flags & MEMBER == 0 {
            decrement::<M>(&object.refcnt)
        } else {
            decrement_member::<M>(&object.refcnt, &object.record().live)
        }
    }
    if shared.load(Ordering::Relaxed) { give_up_in::<Shared>(object) } else { give_up_in::<Alone>(object) }
}

fn promoted_pair<M: Mode>(object: &Object) {
    let object = black_box(object);
    if try_increment_member::<M>(&object.refcnt, &object.record().live) {
        black_box(decrement_member::<M>(&object.refcnt, &object.record().live));
    }
}

const OBJECTS: usize = 16;
type Objects = [Object; OBJECTS];

/// What the benches count: mutable objects, trivial components, and members of one component.
struct Heap {
    mutable: Objects,
    trivial: [Objects; 2],
    /// Live members, for one thread and for another.
    live: [Objects; 2],
    /// Members without references from outside.
    zero: Objects,
}

impl Heap {
    fn new(record: &Record) -> Self {
        record.live.store(2 * OBJECTS, Ordering::Relaxed);
        let objects = |word, record| std::array::from_fn(|_| Object::new(word, record));
        Heap {
            mutable: objects(1, None),
            trivial: [(); 2].map(|()| objects(encode(1), None)),
            live: [(); 2].map(|()| objects(encode(1), Some(record))),
            zero: objects(encode(0), Some(record)),
        }
    }
}

/// Runs a pair on each of the objects.
#[inline(always)]
fn each(objects: &Objects, pair: impl Fn(&Object)) {
    for object in objects {
        pair(object);
    }
}

type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// Runs `measure` while another thread runs `other` all the time. Returns also how often that was, meanwhile.
fn beside<R>(other: impl Fn() + Sync, measure: impl FnOnce() -> R) -> (R, usize) {
    let stop = AtomicBool::new(false);
    let runs_of_other = Runs(AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for runs in 1.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                other();
                runs_of_other.0.store(runs, Ordering::Relaxed);
            }
        });
        while runs_of_other.0.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        let before = runs_of_other.0.load(Ordering::Relaxed);
        let result = measure();
        let runs = runs_of_other.0.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
        (result, runs)
    })
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> Group<'a> {
    let mut group = criterion.benchmark_group(name);
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    group
}

fn one_thread(criterion: &mut Criterion) {
    let record = Record { live: AtomicUsize::new(0) };
    let Heap { mutable, trivial: [trivial, _], live: [live, _], zero } = &Heap::new(&record);
    let [alone, shared] = [false, true].map(AtomicBool::new);
    let mut group = group(criterion, "16 pairs, one thread");
    group.bench_function("mutable", |b| b.iter(|| each(mutable, mutable_pair)));
    group.bench_function("trivial, alone", |b| b.iter(|| each(trivial, trivial_pair::<Alone>)));
    group.bench_function("member, alone", |b| b.iter(|| each(live, member_pair::<Alone>)));
    group.bench_function("trivial, shared", |b| b.iter(|| each(trivial, trivial_pair::<Shared>)));
    group.bench_function("member, shared", |b| b.iter(|| each(live, member_pair::<Shared>)));
    group.bench_function("trivial, alone, called", |b| b.iter(|| each(trivial, |o| called_pair(o, &alone))));
    group.bench_function("member, alone, called", |b| b.iter(|| each(live, |o| called_pair(o, &alone))));
    group.bench_function("trivial, shared, called", |b| b.iter(|| each(trivial, |o| called_pair(o, &shared))));
    group.bench_function("member, shared, called", |b| b.iter(|| each(live, |o| called_pair(o, &shared))));
    group.bench_function("member from zero, alone", |b| b.iter(|| each(zero, member_pair::<Alone>)));
    group.bench_function("member from zero, shared", |b| b.iter(|| each(zero, member_pair::<Shared>)));
    group.bench_function("promotion, alone", |b| b.iter(|| each(live, promoted_pair::<Alone>)));
    group.bench_function("promotion, shared", |b| b.iter(|| each(live, promoted_pair::<Shared>)));
    group.finish();
}

fn two_threads(criterion: &mut Criterion) {
    let record = Record { live: AtomicUsize::new(0) };
    let heap = Heap::new(&record);
    let mut group = group(criterion, "16 pairs, two threads");
    let member = |objects| move || each(objects, member_pair::<Shared>);
    let trivial = |objects| move || each(objects, trivial_pair::<Shared>);
    let [first, second] = heap.live.each_ref();
    let [own, other] = heap.trivial.each_ref();
    beside(member(second), || group.bench_function("different members", |b| b.iter(member(first))));
    beside(member(first), || group.bench_function("the same members", |b| b.iter(member(first))));
    beside(member(&heap.zero), || group.bench_function("members beside ones from zero", |b| b.iter(member(first))));
    beside(trivial(other), || group.bench_function("different trivial objects", |b| b.iter(trivial(own))));
    beside(trivial(own), || group.bench_function("the same trivial objects", |b| b.iter(trivial(own))));
    group.finish();
}

/// Prints what each pair costs as a multiple of the mutable pair.
fn print_ratios() {
    const ROUNDS: usize = 300;
    let record = Record { live: AtomicUsize::new(0) };
    let Heap { mutable, trivial: [trivial, _], live: [live, others], .. } = &Heap::new(&record);
    let [alone, shared] = [false, true].map(AtomicBool::new);
    let on_live = || each(live, member_pair::<Shared>);
    let on_others = || each(others, member_pair::<Shared>);
    let pairs: [(&str, &dyn Fn() -> f64); 11] = [
        ("mutable", &|| time(|| each(mutable, mutable_pair))),
        ("trivial, alone", &|| time(|| each(trivial, trivial_pair::<Alone>))),
        ("member, alone", &|| time(|| each(live, member_pair::<Alone>))),
        ("trivial, shared", &|| time(|| each(trivial, trivial_pair::<Shared>))),
        ("member, shared", &|| time(on_live)),
        ("trivial, alone, called", &|| time(|| each(trivial, |o| called_pair(o, &alone)))),
        ("member, alone, called", &|| time(|| each(live, |o| called_pair(o, &alone)))),
        ("trivial, shared, called", &|| time(|| each(trivial, |o| called_pair(o, &shared)))),
        ("member, shared, called", &|| time(|| each(live, |o| called_pair(o, &shared)))),
        ("member, beside a thread on others", &|| time_beside(on_others, on_live)),
        ("member, beside a thread on the same", &|| time_beside(on_live, on_live)),
    ];
    let mut best = [f64::INFINITY; 11];
    for _ in 0..ROUNDS {
        for (best, (_, pair)) in best.iter_mut().zip(&pairs) {
            *best = best.min(pair());
        }
    }
    println!("\n{:38}{:>10}{:>18}", "pair", "ns", "mutable pairs");
    for (nanoseconds, (name, _)) in best.iter().zip(&pairs) {
        println!("{name:38}{nanoseconds:10.2}{:18.2}", nanoseconds / best[0]);
    }
}

/// How often each object has its pair in a round.
const RUNS: usize = 1_000;

/// Nanoseconds of one pair, when `pairs` does one on each object.
fn time(pairs: impl Fn()) -> f64 {
    let start = Instant::now();
    for _ in 0..RUNS {
        pairs();
    }
    start.elapsed().as_nanos() as f64 / (RUNS * OBJECTS) as f64
}

/// As [`time`], while another thread runs `other`. A round through which that did not run as well tells nothing.
fn time_beside(other: impl Fn() + Sync, pairs: impl Fn()) -> f64 {
    let (nanoseconds, runs_of_other) = beside(other, || time(pairs));
    if runs_of_other < RUNS / 2 { f64::INFINITY } else { nanoseconds }
}

criterion_group!(benches, one_thread, two_threads);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    print_ratios();
}
