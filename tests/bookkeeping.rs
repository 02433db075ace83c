//! How much memory a freeze takes, by the allocator's own count.
#![cfg(not(loom))]

mod model;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use immutable::freeze::explore::explore;
use immutable::lifetime::record;
use model::Shape;

struct Counting;

thread_local! {
    /// Whether this thread's memory is counted: the test's is, the test runner's is not.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTED.get() {
            let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
            PEAK.fetch_max(now, Ordering::Relaxed);
        }
        // SAFETY: by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if COUNTED.get() {
            NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: by the caller.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that a stack may have beyond its words: a segment that is partly used and a spare one.
const SLACK: usize = 3 * 2 * 256 * 1024;

#[test]
fn a_freeze_takes_at_most_24_bytes_per_object_beside_the_records_and_leaves_nothing_but_them() {
    COUNTED.set(true);
    for (shape, size) in [
        (Shape::Wide, 10_000_000),
        (Shape::Chain, 1_000_000),
        (Shape::Cycle, 1_000_000),
        (Shape::Records, 1_000_000),
        (Shape::Tree, 1_000_000),
    ] {
        let (mut heap, root) = shape.build(size, false);
        let untouched = if size > 1_000_000 { None } else { Some(heap.snapshot()) };
        let before = NOW.load(Ordering::Relaxed);
        let records_before = record::totals().1;
        PEAK.store(before, Ordering::Relaxed);
        let Ok(mut plan) = explore(&mut heap, &[root]) else { panic!("no memory") };
        assert_eq!(plan.len(), size);
        plan.count_internal_edges(&mut heap);
        plan.commit(&mut heap);
        let records = record::totals().1 - records_before;
        let left = NOW.load(Ordering::Relaxed) - before;
        let peak = PEAK.load(Ordering::Relaxed) - before - records;
        println!(
            "{shape:?}: {:.2} bytes per object, records {:.2}",
            peak as f64 / size as f64,
            records as f64 / size as f64
        );
        assert!(peak <= 24 * size + SLACK, "{shape:?}: {peak} bytes for {size} objects");
        assert_eq!(left, records, "{shape:?}: something was left");
        if let Some(untouched) = untouched {
            heap.thaw(&untouched);
            assert_eq!(record::totals().1, records_before);
        }
    }
    COUNTED.set(false);
}
