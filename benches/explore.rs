//! What freezing costs, on a model heap of a million objects of one cache line each.
//!
//! `touch` reads and writes every header once, in the order in which the search enters them: the least that any freeze
//! can do. `walk` is the plainest traversal with a visited flag. `explore`, `count`, `commit` and `rollback` are the real
//! ones. `pickle` takes the same data (the shape `records`) to bytes and back with serde-pickle.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use immutable::freeze::explore::explore;
use immutable::freeze::plan::Plan;
use serde::{Deserialize, Serialize};

#[path = "../tests/model/mod.rs"]
mod model;

use model::{Id, ModelHeap, Shape, Snapshot, VISITED};

const SIZE: usize = 1_000_000;

fn plan_of(heap: &mut ModelHeap, root: Id) -> Plan<Id> {
    match explore(heap, &[root]) {
        Ok(plan) => plan,
        Err(stopped) => panic!("{:?}", stopped.reason()),
    }
}

fn order_of(heap: &mut ModelHeap, root: Id) -> Vec<Id> {
    let plan = plan_of(heap, root);
    let order = plan.entries().map(|entry| entry.node).collect();
    plan.rollback(heap);
    order
}

fn touch(heap: &mut ModelHeap, order: &[Id], flag: u8) {
    for id in order {
        heap.objects[id.0 as usize].flags ^= flag;
    }
}

fn walk(heap: &mut ModelHeap, root: Id) -> usize {
    let mut todo = vec![root];
    heap.objects[root.0 as usize].flags |= VISITED;
    let mut entered = 0;
    while let Some(id) = todo.pop() {
        entered += 1;
        for edge in 0..heap.edges_of(id).len() {
            let target = heap.edges_of(id)[edge];
            let flags = &mut heap.objects[target.0 as usize].flags;
            if *flags & VISITED == 0 {
                *flags |= VISITED;
                todo.push(target);
            }
        }
    }
    entered
}

/// Times one part of a freeze, with everything made mutable again in between.
fn freeze_part(heap: &mut ModelHeap, before: &Snapshot, root: Id, rounds: u64, part: usize) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        let times = [(); 4].map(|()| Instant::now);
        let start = times[0]();
        let mut plan = plan_of(heap, root);
        let explored = times[1]();
        plan.count_internal_edges(heap);
        let counted = times[2]();
        plan.commit(heap);
        let committed = times[3]();
        total += [explored - start, counted - explored, committed - counted, committed - start][part];
        heap.thaw(before);
    }
    total
}

fn shapes(criterion: &mut Criterion) {
    for scattered in [false, true] {
        for shape in [Shape::Records, Shape::Tree, Shape::Random, Shape::Chain, Shape::Cycle, Shape::Wide] {
            let (mut heap, root) = shape.build(SIZE, scattered);
            let before = heap.snapshot();
            let order = order_of(&mut heap, root);
            let layout = if scattered { "scattered" } else { "sequential" };
            let mut group = criterion.benchmark_group(format!("{shape:?}/{layout}"));
            group.sample_size(10).throughput(Throughput::Elements(SIZE as u64));
            group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
            group.bench_function("touch", |bencher| bencher.iter(|| touch(&mut heap, &order, VISITED)));
            heap.thaw(&before);
            group.bench_function("walk", |bencher| {
                bencher.iter_custom(|rounds| {
                    (0..rounds)
                        .map(|_| {
                            let start = Instant::now();
                            assert_eq!(black_box(walk(&mut heap, root)), order.len());
                            let taken = start.elapsed();
                            heap.thaw(&before);
                            taken
                        })
                        .sum()
                });
            });
            for (part, name) in ["explore", "count", "commit", "freeze"].into_iter().enumerate() {
                group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                    bencher.iter_custom(|rounds| freeze_part(&mut heap, &before, root, rounds, part));
                });
            }
            group.bench_function("rollback", |bencher| {
                bencher.iter_custom(|rounds| {
                    (0..rounds)
                        .map(|_| {
                            let plan = plan_of(&mut heap, root);
                            let start = Instant::now();
                            plan.rollback(&mut heap);
                            start.elapsed()
                        })
                        .sum()
                });
            });
            group.finish();
        }
    }
}

/// A record of the shape `records`: three objects.
#[derive(Serialize, Deserialize)]
struct Position {
    line: u32,
    column: u32,
}

fn pickle(criterion: &mut Criterion) {
    let records: Vec<Position> =
        (0..SIZE as u32 / 3).map(|number| Position { line: number, column: number % 80 }).collect();
    let bytes = serde_pickle::to_vec(&records, Default::default()).unwrap();
    let mut group = criterion.benchmark_group("Records/pickle");
    group.sample_size(10).throughput(Throughput::Elements(SIZE as u64));
    group.bench_function("dumps", |bencher| {
        bencher.iter(|| serde_pickle::to_vec(&records, Default::default()).unwrap())
    });
    group.bench_function("loads", |bencher| {
        bencher.iter(|| serde_pickle::from_slice::<Vec<Position>>(&bytes, Default::default()).unwrap());
    });
    group.finish();
}

/// A freeze of few objects, as happens most often.
fn small(criterion: &mut Criterion) {
    for size in [1, 10, 100] {
        let (mut heap, root) = Shape::Records.build(size, false);
        criterion.bench_function(&format!("small/{size}"), |bencher| {
            bencher.iter(|| plan_of(&mut heap, root).rollback(&mut heap));
        });
    }
}

criterion_group!(benches, small, shapes, pickle);
criterion_main!(benches);
