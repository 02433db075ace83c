//! `freeze(root, isolated=True)`: does anything outside the graph refer to what is inside?
//!
//! For each object that can be changed now, the references that the graph holds are counted, and compared with the
//! object's count. What is above is held by something else.
//!
//! The check is about data. Classes, functions, code and modules are everybody's: a class is referred to by the module
//! that defines it, and a function's globals by theirs. They are neither checked, unless they are roots, nor are the
//! objects that can only be reached through them. Objects that cannot be changed anyway may be shared too: numbers, strings,
//! and tuples and the like of such.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use super::graph::Graph;
use super::heap::Heap;
use super::plan::Plan;
use crate::object::ffi;
use crate::object::header::{self, MEMBER, Object, PROXY, PyNode, Type, VISITED};
use crate::object::memory::OutOfMemory;
use crate::policy::hook::Hooks;

/// Why such an object refuses.
pub const SHARED: &str = "something outside the graph refers to it, and freeze() was told isolated=True: drop that \
    reference, freeze the object by itself first, or do without isolated=True";

/// An object to check, and the place in the list of the one that it was reached from.
struct Datum {
    op: Object,
    parent: Option<usize>,
    inside: usize,
}

/// The way from a root to an object that something outside the graph refers to, if there is one.
///
/// # Errors
/// [`OutOfMemory`].
///
/// # Safety
/// The plan is of a search of this graph, which is still marked, from these roots. A GIL is held.
pub unsafe fn find_shared(
    graph: &mut Graph<'_>,
    plan: &Plan<PyNode>,
    roots: &[Object],
    hooks: &Hooks,
) -> Result<Option<Vec<Object>>, OutOfMemory> {
    let mut data = Vec::new();
    let mut places = HashMap::new();
    // SAFETY: the caller's: what is reached is live.
    unsafe {
        for &root in roots {
            if header::flags(root) & VISITED != 0 {
                add(&mut data, &mut places, root, None)?;
            }
        }
        let mut next = 0;
        while let Some(&Datum { op, .. }) = data.get(next) {
            if !is_code(op) {
                for_each_edge(graph, op, &mut |target| {
                    if is_checked(target) { add(&mut data, &mut places, target, Some(next)) } else { Ok(()) }
                })?;
            }
            next += 1;
        }
        for entry in plan.entries().filter(|entry| !entry.leaf) {
            for_each_edge(graph, entry.node.0, &mut |target| {
                if let Some(&place) = places.get(&target) {
                    data[place].inside += 1;
                }
                Ok(())
            })?;
        }
        for cell in graph.prepared().own_cells() {
            if let Some(&place) = places.get(&cell) {
                data[place].inside += 1;
            }
        }
        let mut unchanging = Unchanging::default();
        for (place, datum) in data.iter().enumerate() {
            let own = hooks.references(datum.op)
                + if roots.contains(&datum.op) { 1 + ffi::imm_stack_references(datum.op) as usize } else { 0 };
            if header::refcnt(datum.op) as usize > datum.inside + own && !unchanging.contains(graph, datum.op)? {
                return route(&data, place).map(Some);
            }
        }
    }
    Ok(None)
}

fn add(
    data: &mut Vec<Datum>,
    places: &mut HashMap<Object, usize>,
    op: Object,
    parent: Option<usize>,
) -> Result<(), OutOfMemory> {
    data.try_reserve(1)?;
    places.try_reserve(1)?;
    places.entry(op).or_insert_with(|| {
        data.push(Datum { op, parent, inside: 0 });
        data.len() - 1
    });
    Ok(())
}

fn route(data: &[Datum], place: usize) -> Result<Vec<Object>, OutOfMemory> {
    let mut route = Vec::new();
    let mut at = Some(place);
    while let Some(datum) = at.map(|place| &data[place]) {
        route.try_reserve(1)?;
        route.push(datum.op);
        at = datum.parent;
    }
    route.reverse();
    Ok(route)
}

/// True for what was entered and can be changed now, save what is everybody's.
unsafe fn is_checked(op: Object) -> bool {
    // SAFETY: a live object.
    unsafe {
        let flags = header::flags(op);
        flags & VISITED != 0 && !is_code(op) && (flags & MEMBER != 0 || is_bytearray(header::type_of(op)))
    }
}

unsafe fn is_bytearray(ty: Type) -> bool {
    // SAFETY: a live type.
    unsafe { ffi::PyType_IsSubtype(ty, &raw mut ffi::PyByteArray_Type) != 0 }
}

/// True for what defines behaviour, and belongs to a module.
unsafe fn is_code(op: Object) -> bool {
    let types: [Type; 8] = [
        &raw mut ffi::PyFunction_Type,
        &raw mut ffi::PyCode_Type,
        &raw mut ffi::PyCFunction_Type,
        &raw mut ffi::PyCMethod_Type,
        &raw mut ffi::PyMethodDescr_Type,
        &raw mut ffi::PyClassMethodDescr_Type,
        &raw mut ffi::PyGetSetDescr_Type,
        &raw mut ffi::PyMemberDescr_Type,
    ];
    // SAFETY: a live object.
    unsafe {
        let ty = header::type_of(op);
        types.contains(&ty) || header::has_feature(ty, ffi::Py_TPFLAGS_TYPE_SUBCLASS)
    }
}

unsafe fn for_each_edge(
    graph: &mut Graph<'_>,
    op: Object,
    visit: &mut impl FnMut(Object) -> Result<(), OutOfMemory>,
) -> Result<(), OutOfMemory> {
    let mut outcome = Ok(());
    let _ = graph.for_each_edge(PyNode(op), &mut |_: &mut Graph<'_>, target| {
        outcome = visit(target.0);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    outcome
}

/// Objects that are known not to change any more, together with all that they refer to.
#[derive(Default)]
struct Unchanging {
    known: HashSet<Object>,
}

impl Unchanging {
    /// Whether `op` is immutable by nature, and so is all that it refers to.
    unsafe fn contains(&mut self, graph: &mut Graph<'_>, op: Object) -> Result<bool, OutOfMemory> {
        let mut pending = vec_of(op)?;
        let mut seen = HashSet::new();
        while let Some(op) = pending.pop() {
            // SAFETY: a live object, reached from one.
            unsafe {
                if header::is_frozen(op)
                    || header::flags(op) & PROXY != 0
                    || self.known.contains(&op)
                    || seen.contains(&op)
                {
                    continue;
                }
                if header::flags(op) & (VISITED | MEMBER) == VISITED {
                    if is_bytearray(header::type_of(op)) {
                        return Ok(false);
                    }
                    continue;
                }
                if !graph.is_immutable_by_nature(header::type_of(op)) {
                    return Ok(false);
                }
                seen.try_reserve(1)?;
                seen.insert(op);
                for_each_edge(graph, op, &mut |target| {
                    pending.try_reserve(1)?;
                    pending.push(target);
                    Ok(())
                })?;
            }
        }
        self.known.try_reserve(seen.len())?;
        self.known.extend(seen);
        Ok(true)
    }
}

fn vec_of(op: Object) -> Result<Vec<Object>, OutOfMemory> {
    let mut objects = Vec::new();
    objects.try_reserve(1)?;
    objects.push(op);
    Ok(objects)
}
