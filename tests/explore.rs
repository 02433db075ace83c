//! The search, the plan, and the lifetime of what was frozen, on the model heap, against slow references.
#![cfg(not(loom))]

mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::thread;

use immutable::freeze::explore::{Reason, explore};
use immutable::freeze::plan::Plan;
use immutable::object::fault;
use model::{FROZEN, IMMORTAL, Id, LEAF, ModelHeap, REFUSES, Random, Shape, TRACKED, VISITED, release_records};
use proptest::prelude::*;

/// A small graph, the roots to freeze, and who else holds references.
#[derive(Clone, Debug)]
struct Case {
    objects: Vec<(u8, Vec<Id>)>,
    roots: Vec<Id>,
    holders: Vec<Id>,
}

impl Case {
    fn heap(&self) -> ModelHeap {
        let mut heap = ModelHeap::new(self.objects.clone());
        for &id in self.roots.iter().chain(&self.holders) {
            heap.hold(id);
        }
        heap
    }
}

fn case(with_refusals: bool) -> impl Strategy<Value = Case> {
    (1..24_usize).prop_flat_map(move |size| {
        let id = (0..size as u32).prop_map(Id);
        let flags = prop_oneof![
            12 => Just(0),
            4 => Just(LEAF),
            1 => Just(IMMORTAL),
            (u32::from(with_refusals)) => Just(REFUSES),
        ];
        let object = (flags, prop::collection::vec(id.clone(), 0..4));
        (prop::collection::vec(object, size), prop::collection::vec(id.clone(), 1..4), prop::collection::vec(id, 0..6))
            .prop_map(|(objects, roots, holders)| Case { objects, roots, holders })
    })
}

/// What the search should find, by definition and not by algorithm.
struct Reference {
    reached: BTreeSet<Id>,
    /// `leads[a]` has all that `a` reaches by one edge or more.
    leads: BTreeMap<Id, BTreeSet<Id>>,
}

impl Reference {
    fn new(heap: &ModelHeap, roots: &[Id], enters: impl Fn(Id) -> bool) -> Self {
        let all_from = |start: &[Id]| {
            let mut found = BTreeSet::new();
            let mut todo: Vec<Id> = start.iter().copied().filter(|id| enters(*id)).collect();
            while let Some(id) = todo.pop() {
                if found.insert(id) {
                    todo.extend(heap.edges_of(id).iter().copied().filter(|id| enters(*id)));
                }
            }
            found
        };
        let reached = all_from(roots);
        let leads = reached.iter().map(|id| (*id, all_from(heap.edges_of(*id)))).collect();
        Reference { reached, leads }
    }

    /// The members of the component of an object, if it is not trivial.
    fn component(&self, id: Id) -> Option<BTreeSet<Id>> {
        let members: BTreeSet<Id> =
            self.leads[&id].iter().copied().filter(|other| self.leads[other].contains(&id)).collect();
        (!members.is_empty()).then_some(members)
    }

    fn components(&self) -> BTreeSet<BTreeSet<Id>> {
        self.reached.iter().filter_map(|id| self.component(*id)).collect()
    }
}

fn plan_of(heap: &mut ModelHeap, roots: &[Id]) -> Plan<Id> {
    match explore(heap, roots) {
        Ok(plan) => plan,
        Err(stopped) => panic!("{:?}", stopped.reason()),
    }
}

fn freeze(heap: &mut ModelHeap, roots: &[Id]) {
    let mut plan = plan_of(heap, roots);
    plan.count_internal_edges(heap);
    plan.commit(heap);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_reachable_is_found_once_and_the_components_are_exact(case in case(false)) {
        let mut heap = case.heap();
        let reference = Reference::new(&heap, &case.roots, |id| !heap.has(id, IMMORTAL));
        let before = heap.snapshot();
        let plan = plan_of(&mut heap, &case.roots);
        let entered: Vec<Id> = plan.entries().map(|entry| entry.node).collect();
        prop_assert_eq!(plan.len(), entered.len());
        prop_assert_eq!(entered.iter().copied().collect::<BTreeSet<_>>(), reference.reached.clone());
        prop_assert_eq!(entered.len(), reference.reached.len(), "an object was entered twice");
        for entry in plan.entries() {
            prop_assert_eq!(entry.leaf, heap.has(entry.node, LEAF));
            prop_assert!(!heap.has(entry.node, TRACKED) && heap.has(entry.node, VISITED));
        }
        let components: Vec<BTreeSet<Id>> = plan.components().map(|members| members.iter().copied().collect()).collect();
        prop_assert_eq!(components.iter().cloned().collect::<BTreeSet<_>>(), reference.components());
        prop_assert_eq!(plan.components().map(<[Id]>::len).sum::<usize>(), components.iter().map(BTreeSet::len).sum::<usize>());
        plan.rollback(&mut heap);
        prop_assert_eq!(heap.snapshot(), before);
    }

    #[test]
    fn after_a_commit_each_count_is_the_number_of_references_from_outside_the_component(case in case(false)) {
        let mut heap = case.heap();
        let reference = Reference::new(&heap, &case.roots, |id| !heap.has(id, IMMORTAL));
        freeze(&mut heap, &case.roots);
        for id in heap.ids() {
            prop_assert!(!heap.has(id, VISITED));
            prop_assert_eq!(heap.has(id, FROZEN), reference.reached.contains(&id));
            if !reference.reached.contains(&id) {
                continue;
            }
            let own = reference.component(id).unwrap_or_default();
            let from_objects = heap.ids().filter(|source| !own.contains(source)).flat_map(|source| heap.edges_of(source)).filter(|target| **target == id).count();
            let from_outside = case.roots.iter().chain(&case.holders).filter(|held| **held == id).count();
            prop_assert_eq!(heap.external_count(id), Some((from_objects + from_outside) as u32));
            if let Some(record) = heap.record(id) {
                // SAFETY: the component was committed and nothing was dropped yet.
                let (live, members) = unsafe { (record.as_ref().live().load(Ordering::Relaxed), immutable::lifetime::record::Record::members(record)) };
                prop_assert_eq!(members.iter().copied().collect::<BTreeSet<_>>(), own);
                prop_assert_eq!(live, members.iter().filter(|member| heap.external_count(**member) != Some(0)).count());
            } else {
                prop_assert!(own.is_empty());
            }
        }
        // Frozen objects are outside of every later freeze.
        let again = plan_of(&mut heap, &case.roots);
        prop_assert!(again.is_empty());
        again.commit(&mut heap);
        let untouched = case.heap().snapshot();
        heap.thaw(&untouched);
    }

    #[test]
    fn a_refusal_leaves_every_object_as_it_was_and_names_a_real_path(case in case(true)) {
        let mut heap = case.heap();
        let before = heap.snapshot();
        let reference = Reference::new(&heap, &case.roots, |id| !heap.has(id, IMMORTAL));
        let refuses = reference.reached.iter().any(|id| heap.has(*id, REFUSES));
        match explore(&mut heap, &case.roots) {
            Ok(plan) => {
                prop_assert!(!refuses);
                plan.rollback(&mut heap);
            }
            Err(stopped) => {
                let Reason::Refused(culprit) = *stopped.reason() else { panic!("out of memory") };
                let path: Vec<Id> = stopped.path().collect();
                prop_assert_eq!(path.last(), Some(&culprit));
                prop_assert!(heap.has(culprit, REFUSES) && refuses);
                prop_assert!(case.roots.contains(&path[0]));
                for step in path.windows(2) {
                    prop_assert!(heap.edges_of(step[0]).contains(&step[1]), "no edge {:?} in {:?}", step, path);
                }
                prop_assert_eq!(stopped.rollback(&mut heap), Reason::Refused(culprit));
            }
        }
        prop_assert_eq!(heap.snapshot(), before);
    }

    #[test]
    fn a_search_that_only_reports_finds_every_object_that_would_refuse(case in case(true)) {
        let mut heap = case.heap();
        heap.collect_refusals = true;
        let before = heap.snapshot();
        let reference = Reference::new(&heap, &case.roots, |id| !heap.has(id, IMMORTAL | REFUSES));
        let mut refusing: BTreeSet<Id> = case.roots.iter().copied().filter(|id| heap.has(*id, REFUSES)).collect();
        refusing.extend(reference.reached.iter().flat_map(|id| heap.edges_of(*id)).filter(|id| heap.has(**id, REFUSES)));
        let plan = plan_of(&mut heap, &case.roots);
        prop_assert_eq!(plan.entries().map(|entry| entry.node).collect::<BTreeSet<_>>(), reference.reached);
        for path in &heap.refusals {
            prop_assert!(case.roots.contains(&path[0]));
            prop_assert!(path.windows(2).all(|step| heap.edges_of(step[0]).contains(&step[1])));
        }
        prop_assert_eq!(heap.refusals.iter().filter_map(|path| path.last().copied()).collect::<BTreeSet<_>>(), refusing);
        plan.rollback(&mut heap);
        prop_assert_eq!(heap.snapshot(), before);
    }

    #[test]
    fn no_memory_at_any_allocation_leaves_every_object_as_it_was(case in case(false)) {
        let mut heap = case.heap();
        let before = heap.snapshot();
        let mut failures = 0;
        loop {
            fault::begin(failures + 1, usize::MAX);
            let outcome = explore(&mut heap, &case.roots);
            let failed = fault::end();
            match outcome {
                Ok(plan) => {
                    prop_assert_eq!(failed, 0);
                    plan.rollback(&mut heap);
                    break;
                }
                Err(stopped) => prop_assert_eq!(stopped.rollback(&mut heap), Reason::OutOfMemory),
            }
            prop_assert_eq!(heap.snapshot(), before.clone());
            failures += 1;
        }
        prop_assert_eq!(heap.snapshot(), before);
    }

    #[test]
    fn an_object_is_freed_exactly_when_no_reference_leads_to_it(case in case(false), seed in 1..u64::MAX) {
        let mut heap = case.heap();
        freeze(&mut heap, &case.roots);
        // Objects that stay mutable hold what they point at, as any outside reference does.
        let mutable = heap.ids().filter(|id| !heap.has(*id, FROZEN));
        let by_mutable: Vec<Id> = mutable.flat_map(|id| heap.edges_of(id).to_vec()).collect();
        let mut held: Vec<Id> = case.roots.iter().chain(&case.holders).copied().chain(by_mutable).filter(|id| heap.has(*id, FROZEN) && !heap.has(*id, IMMORTAL)).collect();
        let frozen: Vec<Id> = heap.ids().filter(|id| heap.has(*id, FROZEN) && !heap.has(*id, IMMORTAL)).collect();
        // The immortal objects have to be frozen too to be pointed at from frozen ones.
        for object in &mut heap.objects {
            if object.flags & IMMORTAL != 0 {
                object.flags |= FROZEN;
            }
        }
        let mut random = Random(seed);
        let mut retired = Vec::new();
        while !held.is_empty() {
            let alive = Reference::new(&heap, &held, |id| !heap.has(id, IMMORTAL)).reached;
            for &id in &frozen {
                prop_assert_eq!(heap.object(id).freed.load(Ordering::Relaxed), !alive.contains(&id));
                prop_assert_eq!(heap.promote(id), alive.contains(&id), "a weak reference to {:?}", id);
                if alive.contains(&id) {
                    heap.give_up(id, &mut retired);
                }
            }
            if held.len() < 12 && random.below(3) == 0 {
                let alive: Vec<Id> = alive.into_iter().collect();
                let id = alive[random.below(alive.len())];
                heap.take(id);
                held.push(id);
            }
            heap.give_up(held.swap_remove(random.below(held.len())), &mut retired);
        }
        prop_assert!(frozen.iter().all(|id| heap.object(*id).freed.load(Ordering::Relaxed)), "leaked");
        release_records(retired);
    }
}

#[test]
fn an_edge_to_itself_makes_a_component_of_one_and_a_leaf_none() {
    let mut heap = ModelHeap::new([(0, vec![Id(0), Id(1), Id(2)]), (0, vec![Id(2)]), (LEAF, vec![])]);
    heap.hold(Id(0));
    let plan = plan_of(&mut heap, &[Id(0)]);
    assert_eq!(plan.components().collect::<Vec<_>>(), [&[Id(0)][..]]);
    assert_eq!(plan.len(), 3);
    plan.rollback(&mut heap);
}

#[test]
fn the_same_root_twice_and_a_root_below_another_are_entered_once() {
    let mut heap = ModelHeap::new([(0, vec![Id(1)]), (0, vec![Id(2)]), (0, vec![])]);
    let plan = plan_of(&mut heap, &[Id(2), Id(0), Id(0), Id(1)]);
    assert_eq!(plan.entries().map(|entry| entry.node).collect::<BTreeSet<_>>().len(), plan.len());
    assert_eq!(plan.len(), 3);
    plan.rollback(&mut heap);
}

#[test]
fn components_come_after_those_they_lead_to() {
    let (mut heap, root) = Shape::Random.build(5_000, true);
    let plan = plan_of(&mut heap, &[root]);
    let mut done = BTreeSet::new();
    for members in plan.components() {
        let own: BTreeSet<Id> = members.iter().copied().collect();
        let in_component: BTreeSet<Id> = plan.components().flatten().copied().collect();
        for target in members.iter().flat_map(|member| heap.edges_of(*member)) {
            assert!(own.contains(target) || done.contains(target) || !in_component.contains(target));
        }
        done.extend(own);
    }
    plan.rollback(&mut heap);
}

#[test]
fn no_memory_at_any_allocation_of_a_large_graph_leaves_every_object_as_it_was() {
    for shape in [Shape::Random, Shape::Cycle, Shape::Wide, Shape::Chain] {
        let (mut heap, root) = shape.build(3_000, true);
        let before = heap.snapshot();
        let mut failures = 0;
        loop {
            fault::begin(failures + 1, usize::MAX);
            let outcome = explore(&mut heap, &[root]);
            let failed = fault::end();
            match outcome {
                Ok(plan) => {
                    assert_eq!(failed, 0);
                    plan.rollback(&mut heap);
                    break;
                }
                Err(stopped) => assert_eq!(stopped.rollback(&mut heap), Reason::OutOfMemory),
            }
            assert_eq!(heap.snapshot(), before, "{shape:?}, allocation {failures}");
            failures += 1;
        }
        assert!(failures >= 5, "{shape:?}: {failures}");
        assert_eq!(heap.snapshot(), before);
    }
}

/// Freezes a graph, drops its only reference, and checks that all of it went.
fn freeze_and_reclaim(shape: Shape, size: usize) {
    let (mut heap, root) = shape.build(size, true);
    let before = heap.snapshot();
    plan_of(&mut heap, &[root]).rollback(&mut heap);
    assert_eq!(heap.snapshot(), before, "{shape:?}");
    freeze(&mut heap, &[root]);
    assert!(heap.ids().all(|id| heap.has(id, FROZEN)), "{shape:?}");
    let mut retired = Vec::new();
    heap.give_up(root, &mut retired);
    release_records(retired);
    assert!(heap.objects.iter().all(|object| object.freed.load(Ordering::Relaxed)), "{shape:?}");
}

#[test]
fn a_chain_a_million_deep_freezes_and_dies_without_recursion() {
    // A small stack: recursion of any kind would overflow it.
    let body = || freeze_and_reclaim(Shape::Chain, 1_000_000);
    thread::Builder::new().stack_size(64 * 1024).spawn(body).unwrap().join().unwrap();
}

#[test]
fn a_cycle_of_a_million_freezes_and_dies_as_one() {
    let body = || freeze_and_reclaim(Shape::Cycle, 1_000_000);
    thread::Builder::new().stack_size(64 * 1024).spawn(body).unwrap().join().unwrap();
}

#[test]
fn a_million_objects_of_every_other_shape_freeze_and_die() {
    for shape in [Shape::Records, Shape::Tree, Shape::Random, Shape::Wide] {
        freeze_and_reclaim(shape, 1_000_000);
    }
}

/// Threads walk a frozen graph by its edges, taking and dropping references and promoting weak ones.
fn walk_with_threads(shape: Shape, seed: u64) {
    const THREADS: usize = 4;
    let (mut heap, root) = shape.build(60, true);
    freeze(&mut heap, &[root]);
    let heap = &heap;
    let mut retired: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                heap.take(root);
                scope.spawn(move || {
                    let mut random = Random(seed * 64 + number as u64 + 1);
                    let mut held = vec![root];
                    let mut retired = Vec::new();
                    for _ in 0..3_000 {
                        let Some(&from) = held.get(random.below(held.len().max(1))) else { break };
                        let to = match heap.edges_of(from) {
                            [] => from,
                            edges => edges[random.below(edges.len())],
                        };
                        match random.below(8) {
                            0..3 if held.len() < 8 => {
                                heap.take(to);
                                held.push(to);
                            }
                            3 => {
                                assert!(heap.promote(to), "{to:?} is held through {from:?}");
                                heap.give_up(to, &mut retired);
                            }
                            _ => {
                                let dropped = held.swap_remove(random.below(held.len()));
                                heap.give_up(dropped, &mut retired);
                            }
                        }
                        // Anything may be dead by now; if it is not, it can be held for a moment.
                        let any = Id(random.below(heap.len()) as u32);
                        if heap.has(any, FROZEN) && heap.promote(any) {
                            heap.give_up(any, &mut retired);
                        }
                    }
                    for id in held {
                        heap.give_up(id, &mut retired);
                    }
                    // As addresses, since pointers do not pass between threads by themselves.
                    retired.into_iter().map(|record| record.as_ptr().expose_provenance()).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut retired = Vec::new();
        heap.give_up(root, &mut retired);
        let others = threads.into_iter().flat_map(|thread| thread.join().unwrap());
        retired.extend(
            others.filter_map(|address| std::ptr::NonNull::new(std::ptr::with_exposed_provenance_mut(address))),
        );
        retired
    });
    for id in heap.ids().filter(|id| heap.has(*id, FROZEN)) {
        assert!(heap.object(id).freed.load(Ordering::Relaxed), "{shape:?} {id:?} leaked, seed {seed}");
    }
    let count = retired.len();
    retired.sort_unstable();
    retired.dedup();
    assert_eq!(retired.len(), count, "a component died twice");
    release_records(retired);
}

#[test]
fn threads_that_walk_a_frozen_graph_reclaim_all_of_it_exactly_once() {
    for seed in 1..=60 {
        for shape in [Shape::Random, Shape::Cycle, Shape::Tree] {
            walk_with_threads(shape, seed);
        }
    }
}
