//! `explain(*roots)`: what a freeze would do, and has not done.
//!
//! A search that goes on after every refusal, and a second walk over what it has marked, breadth first, which gives
//! each object the shortest path. Then everything is restored, and only then are the steps of the paths worked out, which
//! looks attributes up.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::ptr;

use super::explore::{Reason, explore};
use super::graph::{Graph, Reach, Stop};
use super::heap::Heap;
use super::plan::Plan;
use super::{path, prepare, run};
use crate::object::ffi;
use crate::object::header::{self, Object, PROXY, PyNode, VISITED};
use crate::object::memory::{self, OutOfMemory};
use crate::object::raise::{self, Raised};
use crate::policy::{self, vital};

/// What would become of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Frozen,
    Proxy,
    Refuses(Stop),
}

struct Found {
    op: Object,
    /// The place of the object that it was reached from; of a root, none.
    parent: Option<u32>,
    fate: Fate,
}

/// What a search has found.
#[derive(Default)]
struct Survey {
    found: Vec<Found>,
    places: HashMap<Object, u32>,
    /// Pairs of places: one for each reference between objects that were found.
    edges: Vec<[u32; 2]>,
    components: usize,
    largest: usize,
    hooked: Vec<Object>,
    detached: Vec<(Object, Object)>,
}

/// A new reference to a dict that tells what a freeze of `roots` would do:
///
/// - `objects`: a list of `(object, base, before, behind)`: its path is that of the object at place `base`, or `root` for
///   None, between these two texts;
/// - `refusals`: a dict from places to reasons;
/// - `proxies`, `hooks`: lists of places; `detached`: a dict from places to lists of captured names;
/// - `components`, `largest`: how many with a cycle, and the members of the largest;
/// - `edges`: bytes, two native unsigned 32-bit places for each reference.
///
/// # Errors
/// [`Raised`]: MemoryError.
///
/// # Safety
/// The caller holds a GIL and the roots alive.
pub unsafe fn explain(roots: &[Object]) -> Result<Object, Raised> {
    let mut denied = Vec::new();
    loop {
        // SAFETY: as `run::freeze`: no Python code runs while anything is marked.
        unsafe {
            let state = vital::marked()?;
            let mut graph = Graph::again(state, Reach::DryRun { to_the_end: true }, denied);
            let outcome = survey(&mut graph, roots);
            denied = graph.take_denied();
            let answer = match outcome {
                Ok(Some(survey)) => {
                    survey.found.iter().for_each(|found| ffi::Py_IncRef(found.op));
                    let answer = survey.tell();
                    let error = ffi::PyErr_GetRaisedException();
                    survey.found.iter().for_each(|found| ffi::Py_DecRef(found.op));
                    ffi::PyErr_SetRaisedException(error);
                    Some(answer)
                }
                Ok(None) => None,
                Err(Stop::Raised) => Some(Err(Raised)),
                Err(_) => Some(Err(raise::no_memory(OutOfMemory))),
            };
            run::end(graph);
            if let Some(answer) = answer {
                return answer;
            }
        }
    }
}

/// Searches, looks around, and restores everything. `None` if an object turned out to refuse when all was seen: the
/// next search knows.
unsafe fn survey(graph: &mut Graph<'_>, roots: &[Object]) -> Result<Option<Survey>, Stop> {
    // SAFETY: the caller's.
    unsafe {
        let nodes = PyNode::slice(roots);
        let plan = match explore(graph, nodes) {
            Ok(plan) => plan,
            Err(stopped) => {
                return Err(match stopped.rollback(graph) {
                    Reason::Refused(stop) => stop,
                    Reason::OutOfMemory => Stop::OutOfMemory,
                });
            }
        };
        let outcome = match graph.decide_late(nodes) {
            Ok(()) => Survey::new(graph, &plan, roots).map(Some).map_err(Stop::from),
            Err(Stop::Refused(_) | Stop::NotARoot) => Ok(None),
            Err(stop) => Err(stop),
        };
        plan.rollback(graph);
        outcome
    }
}

impl Survey {
    /// # Safety
    /// The plan is of a search of this graph, which is still marked.
    unsafe fn new(graph: &mut Graph<'_>, plan: &Plan<PyNode>, roots: &[Object]) -> Result<Self, OutOfMemory> {
        let mut survey = Survey::default();
        // SAFETY: the caller's: what is reached is live.
        unsafe {
            for &root in roots {
                survey.reach(graph, root, None)?;
            }
            let mut next = 0;
            while let Some(&Found { op, fate, .. }) = survey.found.get(next as usize) {
                if fate == Fate::Frozen && header::flags(op) & header::MEMBER != 0 {
                    let mut outcome = Ok(());
                    let _ = graph.for_each_edge(PyNode(op), &mut |graph: &mut Graph<'_>, target| {
                        outcome = survey.reach(graph, target.0, Some(next));
                        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                    });
                    outcome?;
                }
                next += 1;
            }
        }
        for entry in plan.entries() {
            if Graph::becomes_proxy(entry.keep)
                && let Some(&place) = survey.places.get(&entry.node.0)
            {
                survey.found[place as usize].fate = Fate::Proxy;
                // SAFETY: it was reached, so it is live.
                if let Some(name) = unsafe { prepare::name_to_freeze(entry.node.0) } {
                    survey.note(name, Some(place), Fate::Frozen)?;
                }
            }
        }
        for members in plan.components() {
            survey.components += 1;
            survey.largest = survey.largest.max(members.len());
        }
        survey.hooked = memory::collect(graph.hooked().iter().copied())?;
        survey.detached = memory::collect(graph.prepared().detached())?;
        Ok(survey)
    }

    /// Notes an edge from the object at `parent` to `op`, if that would be frozen, or a proxy, or refuses.
    unsafe fn reach(&mut self, graph: &Graph<'_>, op: Object, parent: Option<u32>) -> Result<(), OutOfMemory> {
        let fate = match graph.refusals().get(&op) {
            Some(&stop) => Fate::Refuses(stop),
            // SAFETY: op is live.
            None => match unsafe { header::flags(op) } {
                flags if flags & VISITED != 0 => Fate::Frozen,
                // Since an earlier freeze.
                flags if flags & PROXY != 0 => Fate::Proxy,
                _ => return Ok(()),
            },
        };
        self.note(op, parent, fate)
    }

    fn note(&mut self, op: Object, parent: Option<u32>, fate: Fate) -> Result<(), OutOfMemory> {
        self.places.try_reserve(1)?;
        self.found.try_reserve(1)?;
        let place = *self.places.entry(op).or_insert_with(|| {
            self.found.push(Found { op, parent, fate });
            self.found.len() as u32 - 1
        });
        if let Some(parent) = parent {
            self.edges.try_reserve(1)?;
            self.edges.push([parent, place]);
        }
        Ok(())
    }

    unsafe fn tell(&self) -> Result<Object, Raised> {
        // SAFETY: a GIL is held, and nothing is marked any more.
        unsafe {
            let answer = raise::unless_null(ffi::PyDict_New())?;
            let filled = self.fill(answer);
            if filled.is_err() {
                ffi::Py_DecRef(answer);
            }
            filled.map(|()| answer)
        }
    }

    unsafe fn fill(&self, answer: Object) -> Result<(), Raised> {
        // SAFETY: as `tell`; `put` uses the new references up.
        unsafe {
            put(answer, c"objects", self.objects())?;
            put(answer, c"refusals", self.refusals())?;
            put(answer, c"proxies", self.listed(self.of_fate(Fate::Proxy)))?;
            let hooked = self.hooked.iter().filter_map(|op| self.places.get(op).copied());
            put(answer, c"hooks", self.listed(hooked))?;
            put(answer, c"detached", self.detached())?;
            put(answer, c"components", raise::unless_null(ffi::PyLong_FromSize_t(self.components)))?;
            put(answer, c"largest", raise::unless_null(ffi::PyLong_FromSize_t(self.largest)))?;
            let bytes = (self.edges.len() * size_of::<[u32; 2]>()) as isize;
            put(answer, c"edges", raise::unless_null(ffi::PyBytes_FromStringAndSize(self.edges.as_ptr().cast(), bytes)))
        }
    }

    fn of_fate(&self, fate: Fate) -> impl Iterator<Item = u32> {
        (0_u32..).zip(&self.found).filter(move |(_, found)| found.fate == fate).map(|(place, _)| place)
    }

    unsafe fn listed(&self, places: impl Iterator<Item = u32>) -> Result<Object, Raised> {
        // SAFETY: as `tell`.
        unsafe {
            filled(ffi::PyList_New(0), |list| {
                for place in places {
                    let number = raise::unless_null(ffi::PyLong_FromUnsignedLong(place.into()))?;
                    let appended = ffi::PyList_Append(list, number);
                    ffi::Py_DecRef(number);
                    raise::unless_negative(appended)?;
                }
                Ok(())
            })
        }
    }

    unsafe fn refusals(&self) -> Result<Object, Raised> {
        // SAFETY: as `tell`.
        unsafe {
            filled(ffi::PyDict_New(), |dict| {
                for (place, found) in self.found.iter().enumerate() {
                    let reason = match found.fate {
                        Fate::Refuses(Stop::Refused(refusal)) => refusal.reason(),
                        Fate::Refuses(_) => policy::NOT_A_ROOT,
                        Fate::Frozen | Fate::Proxy => continue,
                    };
                    put_at(dict, place, raise::new_text(reason))?;
                }
                Ok(())
            })
        }
    }

    unsafe fn detached(&self) -> Result<Object, Raised> {
        // SAFETY: as `tell`; the dicts are still owned by what was prepared.
        unsafe {
            filled(ffi::PyDict_New(), |dict| {
                for (function, namespace) in &self.detached {
                    if let Some(&place) = self.places.get(function) {
                        put_at(dict, place as usize, ffi::PyDict_Keys(*namespace))?;
                    }
                }
                Ok(())
            })
        }
    }

    unsafe fn objects(&self) -> Result<Object, Raised> {
        // SAFETY: as `tell`.
        unsafe {
            filled(ffi::PyList_New(0), |list| {
                let mut from = 0;
                while let Some(first) = self.found.get(from) {
                    // Breadth first: what was reached from one object is in one piece.
                    let parent = first.parent;
                    let siblings = self.found[from..].iter().take_while(|found| found.parent == parent).count();
                    self.tell_children(list, parent, &self.found[from..from + siblings])?;
                    from += siblings;
                }
                Ok(())
            })
        }
    }

    /// Appends the children of one object to the list.
    unsafe fn tell_children(&self, list: Object, parent: Option<u32>, children: &[Found]) -> Result<(), Raised> {
        // SAFETY: as `tell`.
        unsafe {
            let Some(place) = parent else {
                return children.iter().try_for_each(|child| append(list, child.op, None, "", ""));
            };
            let parent = &self.found[place as usize];
            // The attributes of an instance are written without its dict.
            let owner = parent.parent.map(|owner| (owner, self.found[owner as usize].op));
            let owner = owner.filter(|(_, owner)| path::is_instance_dict(*owner, parent.op));
            let steps = path::Steps::from(parent.op, owner.is_some()).map_err(|error| raise::no_memory(error))?;
            for child in children {
                let step = steps.to(child.op).map_err(|error| raise::no_memory(error))?;
                let base = if step.is_attribute { owner.map_or(place, |(owner, _)| owner) } else { place };
                append(list, child.op, Some(base), step.before, &step.behind)?;
            }
            Ok(())
        }
    }
}

/// Fills a new container, which is given up if that fails.
unsafe fn filled(container: Object, fill: impl FnOnce(Object) -> Result<(), Raised>) -> Result<Object, Raised> {
    let container = raise::unless_null(container)?;
    match fill(container) {
        Ok(()) => Ok(container),
        Err(raised) => {
            // SAFETY: owned.
            unsafe { ffi::Py_DecRef(container) };
            Err(raised)
        }
    }
}

/// Stores a new reference under a name.
unsafe fn put(dict: Object, name: &std::ffi::CStr, value: Result<Object, Raised>) -> Result<(), Raised> {
    // SAFETY: a GIL is held.
    unsafe {
        let value = value?;
        let stored = ffi::PyDict_SetItemString(dict, name.as_ptr(), value);
        ffi::Py_DecRef(value);
        raise::unless_negative(stored)
    }
}

/// Stores a new reference, which may be null, under a number.
unsafe fn put_at(dict: Object, place: usize, value: Object) -> Result<(), Raised> {
    // SAFETY: a GIL is held.
    unsafe {
        let value = raise::unless_null(value)?;
        let key = ffi::PyLong_FromSize_t(place);
        let stored = if key.is_null() { -1 } else { ffi::PyDict_SetItem(dict, key, value) };
        ffi::Py_DecRef(key);
        ffi::Py_DecRef(value);
        raise::unless_negative(stored)
    }
}

unsafe fn append(list: Object, op: Object, base: Option<u32>, before: &str, behind: &str) -> Result<(), Raised> {
    // SAFETY: a GIL is held; the tuple takes over the references.
    unsafe {
        ffi::Py_IncRef(op);
        let mut parts = [op, ptr::null_mut(), ptr::null_mut(), ptr::null_mut()];
        parts[1] = match base {
            Some(place) => ffi::PyLong_FromUnsignedLong(place.into()),
            None => {
                ffi::Py_IncRef(&raw mut ffi::_Py_NoneStruct);
                &raw mut ffi::_Py_NoneStruct
            }
        };
        parts[2] = raise::new_text(before);
        parts[3] = raise::new_text(behind);
        let complete = parts.iter().all(|part| !part.is_null());
        let entry = if complete { ffi::PyTuple_New(4) } else { ptr::null_mut() };
        if entry.is_null() {
            parts.iter().for_each(|part| ffi::Py_DecRef(*part));
            return Err(Raised);
        }
        for (i, part) in (0..).zip(parts) {
            ffi::PyTuple_SetItem(entry, i, part);
        }
        let appended = ffi::PyList_Append(list, entry);
        ffi::Py_DecRef(entry);
        raise::unless_negative(appended)
    }
}
