//! Weak references: to frozen objects, and frozen ones.
//!
//! **To a frozen object.** CPython keeps the weak references to an object in a list that begins in the object, and
//! changes it whenever one of them is made or goes away. A frozen object may be referenced weakly from several
//! interpreters at once, so each of them has a list of its own: the word where CPython's list begins holds a chain
//! of nodes instead, one for each interpreter that asked.
//!
//! ```text
//!   frozen object                    node                      node
//!   weak list word ---------------> interpreter 0  ---------> interpreter 7
//!                                   list: ref <-> ref         list: ref
//! ```
//!
//! A list is used as CPython always did, under its interpreter's GIL, by code that holds the object alive. What may
//! happen without holding it alive takes a lock, chosen by the object's address: promoting a weak reference,
//! taking one off its list, and, at the object's end, clearing all. A weak reference that is
//! cleared by another interpreter than its own stands in its interpreter's *inbox* until its callback was called there.
//!
//! **Frozen.** A weak reference inside a frozen graph is strong while frozen: a referent that died would be a
//! mutation. It is on no list, and owns its `wr_object`. When it becomes mutable again, it becomes weak again.

use std::alloc::Layout;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::references;
use crate::object::answer::none;
use crate::object::edges::is_weak_reference;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, FROZEN_REFERENT, Object};
use crate::object::memory;
use crate::object::raise::{self, Raised};

type Weak = *mut ffi::PyWeakReference;

/// One interpreter's list of weak references to one frozen object.
struct Node {
    interpreter: i64,
    head: Weak,
    next: *mut Node,
}

/// The node for an object that is about to be frozen, already referenced weakly: allocated before the commit.
pub struct NewNode(NonNull<Node>);

const LOCKS: usize = 64;
static LOCK_OF: [Mutex<()>; LOCKS] = [const { Mutex::new(()) }; LOCKS];

fn lock(op: Object) -> MutexGuard<'static, ()> {
    // Objects are 16 bytes apart at least.
    LOCK_OF[(op.addr() >> 4) % LOCKS].lock()
}

unsafe fn running_interpreter() -> i64 {
    // SAFETY: a GIL is held.
    unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) }
}

/// The word where the weak references to `op` begin, or `None` if its type supports none.
#[inline]
unsafe fn slot(op: Object) -> Option<NonNull<*mut c_void>> {
    // SAFETY: a nonzero offset leads to that word (`_PyType_SUPPORTS_WEAKREFS`).
    unsafe {
        let offset = (*header::type_of(op)).tp_weaklistoffset;
        if offset == 0 { None } else { NonNull::new(op.byte_offset(offset).cast()) }
    }
}

/// The referent of a weak reference that another interpreter may be clearing.
unsafe fn referent<'a>(weak: Weak) -> &'a AtomicPtr<ffi::PyObject> {
    // SAFETY: the caller keeps the weak reference alive.
    unsafe { AtomicPtr::from_ptr(&raw mut (*weak).wr_object) }
}

/// A new weak reference to `op` that nobody else has. CPython gives all who want one without a callback the same, which
/// keeps its referent alive once somebody has frozen it.
///
/// # Errors
/// MemoryError is set, or TypeError if there can be none.
///
/// # Safety
/// The caller holds a GIL and `op` alive.
pub unsafe fn own_reference(op: Object) -> Result<Object, Raised> {
    // SAFETY: the caller's. The callback does nothing: it asks whether a dead weak reference is true.
    unsafe { raise::unless_null(ffi::PyWeakref_NewRef(op, (&raw mut ffi::PyBool_Type).cast())) }
}

/// Releases an [`own_reference`] whose referent is gone. True if it is.
///
/// # Safety
/// The caller owns the reference, no longer once this returned true, and holds the GIL of its interpreter.
pub unsafe fn release_if_dead(own: Object) -> bool {
    // SAFETY: the caller's.
    unsafe {
        let is_dead = ffi::PyWeakref_IsDead(own) != 0;
        if is_dead {
            ffi::Py_DecRef(own);
        }
        is_dead
    }
}

// ---- Lists of a frozen object

unsafe fn find(op: Object, interpreter: i64) -> *mut Node {
    // SAFETY: the caller holds the lock of op, whose word holds a chain.
    unsafe {
        let Some(slot) = slot(op) else { return ptr::null_mut() };
        let mut node: *mut Node = (*slot.as_ptr()).cast();
        while !node.is_null() && (*node).interpreter != interpreter {
            node = (*node).next;
        }
        node
    }
}

/// Releases the node of a list that is empty, so that nothing is kept for interpreters that are gone.
unsafe fn take_out(op: Object, node: *mut Node) {
    // SAFETY: the caller holds the lock of op, in whose chain node is.
    unsafe {
        let Some(slot) = slot(op) else { return };
        let mut place: *mut *mut Node = slot.as_ptr().cast();
        while *place != node {
            place = &raw mut (**place).next;
        }
        *place = (*node).next;
        release_node(NonNull::new_unchecked(node));
    }
}

/// Whether CPython itself keeps a list of weak references to `op` for each interpreter.
unsafe fn is_managed_static(op: Object) -> bool {
    // SAFETY: the caller holds op alive.
    unsafe {
        header::has_feature(header::type_of(op), ffi::Py_TPFLAGS_TYPE_SUBCLASS)
            && header::has_feature(op.cast(), ffi::_Py_TPFLAGS_STATIC_BUILTIN)
    }
}

fn new_node(interpreter: i64) -> Option<NonNull<Node>> {
    let node = memory::allocate(Layout::new::<Node>())?.cast::<Node>();
    // SAFETY: fresh memory of that layout.
    unsafe { node.write(Node { interpreter, head: ptr::null_mut(), next: ptr::null_mut() }) };
    Some(node)
}

unsafe fn release_node(node: NonNull<Node>) {
    // SAFETY: from `new_node`, and the caller's alone.
    unsafe { memory::release(node.cast(), Layout::new::<Node>()) }
}

/// Makes the running interpreter's list, if there is none. `None` if there is no memory.
///
/// # Safety
/// `op` is frozen and its type supports weak references; the caller holds it alive, and a GIL.
pub unsafe fn make_list(op: Object) -> Option<()> {
    // SAFETY: the chain is changed under its lock.
    unsafe {
        if is_managed_static(op) {
            return Some(());
        }
        let interpreter = running_interpreter();
        inbox::open(interpreter)?;
        let _held = lock(op);
        if find(op, interpreter).is_null() {
            let node = new_node(interpreter)?;
            let slot = slot(op)?.as_ptr();
            (*node.as_ptr()).next = (*slot).cast();
            *slot = node.as_ptr().cast();
        }
        Some(())
    }
}

/// Where the running interpreter's list begins; if it has none, a list that is empty and never written.
///
/// # Safety
/// As [`make_list`]; the result is valid while the caller holds `op` alive and its GIL, and clears no weak reference.
pub unsafe fn list(op: Object) -> *mut Object {
    static EMPTY: AtomicPtr<ffi::PyObject> = AtomicPtr::new(ptr::null_mut());
    // SAFETY: a node stays until the object dies or this interpreter clears its last weak reference, and only this
    // interpreter uses the head until then.
    unsafe {
        let _held = lock(op);
        let node = find(op, running_interpreter());
        if node.is_null() { EMPTY.as_ptr() } else { (&raw mut (*node).head).cast() }
    }
}

/// Promotes a weak reference: a new reference to its referent, or `None` if that is gone.
///
/// # Safety
/// `weak` is alive and carries the flag [`FROZEN_REFERENT`]; its interpreter's GIL is held.
pub unsafe fn promote(weak: Object) -> Option<Object> {
    // SAFETY: as `with_referent` says.
    unsafe { with_referent(weak, |target| references::try_take(target).then_some(target)).flatten() }
}

/// True if the referent is gone.
///
/// # Safety
/// As [`promote`].
pub unsafe fn is_dead(weak: Object) -> bool {
    // SAFETY: as `with_referent` says.
    unsafe { !with_referent(weak, |target| references::is_alive(target)).unwrap_or(false) }
}

/// Calls `act` with the referent, whose memory cannot be released meanwhile; `None` if the reference was cleared.
unsafe fn with_referent<T>(weak: Object, act: impl FnOnce(Object) -> T) -> Option<T> {
    // SAFETY: whoever releases the referent first clears this reference, and takes the lock for that. Relaxed: the
    // lock orders.
    unsafe {
        let referent = referent(weak.cast());
        loop {
            let target = referent.load(Ordering::Relaxed);
            if target == none() {
                return None;
            }
            let _held = lock(target);
            if referent.load(Ordering::Relaxed) == target {
                return Some(act(target));
            }
        }
    }
}

/// Takes a weak reference off the list that it is on, and clears it. No callback is called.
///
/// # Safety
/// As [`promote`].
pub unsafe fn clear(weak: Object) {
    let weak: Weak = weak.cast();
    // SAFETY: list and inbox are changed under their locks.
    unsafe {
        let interpreter = running_interpreter();
        let cleared = with_referent(weak.cast(), |target| {
            let node = find(target, interpreter);
            if node.is_null() {
                unlink(weak, ptr::null_mut());
            } else {
                unlink(weak, &raw mut (*node).head);
                if (*node).head.is_null() {
                    take_out(target, node);
                }
            }
            referent(weak).store(none(), Ordering::Relaxed);
        });
        if cleared.is_none() {
            inbox::withdraw(interpreter, weak);
        }
        header::set_flags(weak.cast(), header::flags(weak.cast()) & !FROZEN_REFERENT);
    }
}

/// Takes `weak` out of a list that begins at `head`.
unsafe fn unlink(weak: Weak, head: *mut Weak) {
    // SAFETY: the caller has the list.
    unsafe {
        let (prev, next) = ((*weak).wr_prev, (*weak).wr_next);
        if !head.is_null() && *head == weak {
            *head = next;
        }
        if !prev.is_null() {
            (*prev).wr_next = next;
        }
        if !next.is_null() {
            (*next).wr_prev = prev;
        }
        (*weak).wr_prev = ptr::null_mut();
        (*weak).wr_next = ptr::null_mut();
    }
}

/// Puts `weak` at the end of a list that begins at `head`: only there it can never stand before
/// the references without callback that CPython looks for at the head.
unsafe fn append(weak: Weak, head: *mut Weak) {
    // SAFETY: the caller has the list.
    unsafe {
        let mut last: Weak = ptr::null_mut();
        let mut place = head;
        while !(*place).is_null() {
            last = *place;
            place = &raw mut (*last).wr_next;
        }
        *place = weak;
        (*weak).wr_prev = last;
        (*weak).wr_next = ptr::null_mut();
    }
}

// ---- Freezing

/// True if there are weak references to an object that is not frozen.
///
/// # Safety
/// `op` is live and not frozen.
#[inline]
pub unsafe fn is_referenced(op: Object) -> bool {
    // SAFETY: the caller's.
    unsafe { slot(op).is_some_and(|slot| !(*slot.as_ptr()).is_null()) }
}

/// What [`attach`] needs; `None` if there is no memory.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn prepare_attach() -> Option<NewNode> {
    // SAFETY: the caller's.
    unsafe {
        let interpreter = running_interpreter();
        inbox::open(interpreter)?;
        new_node(interpreter).map(NewNode)
    }
}

impl NewNode {
    /// Gives the memory back.
    pub fn discard(self) {
        // SAFETY: it was not attached.
        unsafe { release_node(self.0) }
    }
}

/// Moves the weak references to an object that was just frozen from its own word to a node.
///
/// # Safety
/// Nobody else has seen `op` frozen; its type supports weak references; a GIL is held.
pub unsafe fn attach(op: Object, node: NewNode) {
    // SAFETY: the list is the running interpreter's.
    unsafe {
        let Some(slot) = slot(op) else { return node.discard() };
        let slot = slot.as_ptr();
        let node = node.0.as_ptr();
        (*node).head = (*slot).cast();
        *slot = node.cast();
        for_each((*node).head, |weak| {
            header::set_flags(weak.cast(), header::flags(weak.cast()) | FROZEN_REFERENT);
        });
    }
}

/// Calls `visit` with each weak reference of a list; `visit` may unlink it.
unsafe fn for_each(mut weak: Weak, mut visit: impl FnMut(Weak)) {
    while !weak.is_null() {
        // SAFETY: the caller has the list.
        let next = unsafe { (*weak).wr_next };
        visit(weak);
        weak = next;
    }
}

/// Turns a weak reference that was just frozen, and whose referent the caller gives a reference for, into a strong one.
///
/// # Safety
/// `weak` is a weak reference of the running interpreter, frozen and seen by nobody else yet; its referent is alive.
pub unsafe fn strengthen(weak: Object) {
    let weak: Weak = weak.cast();
    // SAFETY: nobody else has seen it frozen, so it is on its list yet.
    unsafe {
        let target = (*weak).wr_object;
        if header::flags(weak.cast()) & FROZEN_REFERENT != 0 {
            clear(weak.cast());
            (*weak).wr_object = target;
        } else if let Some(slot) = slot(target) {
            unlink(weak, slot.as_ptr().cast());
        }
    }
}

/// Turns a weak reference that is no longer frozen into a weak one, and gives up the reference that it was.
///
/// # Safety
/// `weak` was a member of a component that was dissolved just now, by a caller who holds it alive. Python code may
/// run: the referent may die.
pub unsafe fn weaken(weak: Object) {
    // SAFETY: target is owned by weak until the last line.
    unsafe {
        let reference: Weak = weak.cast();
        let target = (*reference).wr_object;
        if target == none() {
            return;
        }
        if header::flags(target) & FROZEN == 0 {
            if let Some(slot) = slot(target) {
                append(reference, slot.as_ptr().cast());
            }
        } else if make_list(target).is_some() {
            append(reference, list(target).cast());
            header::set_flags(weak, header::flags(weak) | FROZEN_REFERENT);
        } else {
            // No memory for the list: as if the referent were gone.
            (*reference).wr_object = none();
        }
        ffi::Py_DecRef(target);
    }
}

/// Clears a frozen weak reference that is about to be deallocated. Returns its referent, for which the caller
/// now owns a reference; `None` if it was gone already.
///
/// # Safety
/// Nobody else has a reference to `weak`.
pub unsafe fn take_referent(weak: Object) -> Option<Object> {
    // SAFETY: a frozen weak reference owns its referent.
    unsafe {
        let target = ptr::replace(&raw mut (*weak.cast::<ffi::PyWeakReference>()).wr_object, none());
        (target != none()).then_some(target)
    }
}

// ---- The end of a frozen object

/// Gives the weak references of the running interpreter back to an object that will be ordinary again, and
/// clears those of all others.
///
/// After this no other interpreter can reach the object.
///
/// # Safety
/// `op` is frozen and without references; a GIL is held. No Python code runs.
#[inline]
pub unsafe fn detach(op: Object) {
    // SAFETY: nobody makes lists of an object without references to it, so a null word stays so.
    unsafe {
        if let Some(slot) = slot(op)
            && !(*slot.as_ptr()).is_null()
        {
            dissolve(op, slot);
        }
    }
}

#[cold]
unsafe fn dissolve(op: Object, slot: NonNull<*mut c_void>) {
    // SAFETY: the chain is taken away under the lock, and the lists of other interpreters are cleared under it.
    unsafe {
        let running = running_interpreter();
        let mut own: Weak = ptr::null_mut();
        let held = lock(op);
        let mut node: *mut Node = ptr::replace(slot.as_ptr(), ptr::null_mut()).cast();
        while let Some(current) = NonNull::new(node) {
            let Node { interpreter, head, next } = current.read();
            if interpreter == running {
                own = head;
            } else {
                for_each(head, |weak| {
                    unlink(weak, ptr::null_mut());
                    inbox::deliver(interpreter, weak);
                    // Last, since the weak reference may go away as soon as its interpreter sees this.
                    referent(weak).store(none(), Ordering::Relaxed);
                });
                if header::has_feature(header::type_of(op), ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
                    inbox::depart(interpreter, op.cast());
                }
            }
            release_node(current);
            node = next;
        }
        for_each(own, |weak| {
            header::set_flags(weak.cast(), header::flags(weak.cast()) & !FROZEN_REFERENT);
        });
        *slot.as_ptr() = own.cast();
        drop(held);
        inbox::ring();
    }
}

/// Forgets what is kept for an interpreter that ends.
///
/// # Safety
/// The caller holds its GIL, and no Python code will run in it any more.
pub unsafe fn end_interpreter(interpreter: i64) {
    inbox::close(interpreter);
}

/// The weak references of each interpreter that others have cleared, until their callbacks were called; and the classes
/// that others have released, until they are off the list of subclasses that each of their bases has there.
mod inbox {
    use super::*;

    /// A class that is gone.
    struct Departed {
        address: usize,
        /// Those that did not go with it; owned, unless immortal.
        bases: Vec<Object>,
    }

    struct Inbox {
        state: *mut ffi::PyInterpreterState,
        view: *mut ffi::PyInterpreterView,
        /// Linked through `wr_next` and `wr_prev`.
        dead: Weak,
        departed: Vec<Departed>,
        /// A call of [`run`] is pending.
        rung: bool,
    }

    // SAFETY: the pointers are only used under the lock, or by the interpreter that they belong to.
    unsafe impl Send for Inbox {}

    static INBOXES: Mutex<Option<HashMap<i64, Inbox>>> = Mutex::new(None);

    fn inboxes() -> MutexGuard<'static, Option<HashMap<i64, Inbox>>> {
        INBOXES.lock()
    }

    /// Makes the inbox of the running interpreter. `None` if there is no memory.
    pub unsafe fn open(interpreter: i64) -> Option<()> {
        // SAFETY: a GIL is held; the view is closed by `close`.
        unsafe {
            if inboxes().as_ref().is_some_and(|all| all.contains_key(&interpreter)) {
                return Some(());
            }
            let view = ffi::PyInterpreterView_FromCurrent();
            if view.is_null() {
                ffi::PyErr_Clear();
                return None;
            }
            let mut all = inboxes();
            let all = all.get_or_insert_default();
            if all.try_reserve(1).is_err() {
                ffi::PyInterpreterView_Close(view);
                return None;
            }
            let state = ffi::PyInterpreterState_Get();
            all.insert(interpreter, Inbox { state, view, dead: ptr::null_mut(), departed: Vec::new(), rung: false });
            Some(())
        }
    }

    pub fn close(interpreter: i64) {
        let inbox = inboxes().as_mut().and_then(|all| all.remove(&interpreter));
        if let Some(inbox) = inbox {
            // SAFETY: from `open`; the bases are owned.
            unsafe {
                ffi::PyInterpreterView_Close(inbox.view);
                for base in inbox.departed.into_iter().flat_map(|departed| departed.bases) {
                    ffi::Py_DecRef(base);
                }
            }
        }
    }

    /// Puts a weak reference that has a callback, and is on no list, into its interpreter's inbox.
    pub unsafe fn deliver(interpreter: i64, weak: Weak) {
        // SAFETY: the weak reference cannot go away before its referent is cleared.
        unsafe {
            if (*weak).wr_callback.is_null() {
                return;
            }
            if let Some(inbox) = inboxes().as_mut().and_then(|all| all.get_mut(&interpreter)) {
                (*weak).wr_next = inbox.dead;
                if !inbox.dead.is_null() {
                    (*inbox.dead).wr_prev = weak;
                }
                inbox.dead = weak;
            }
        }
    }

    /// Notes that a class goes, to which the interpreter has referred weakly, as it does for each subclass that it makes.
    /// Without memory the note is left out, and dead references stay in the tables of the bases.
    pub unsafe fn depart(interpreter: i64, class: header::Type) {
        // SAFETY: the caller is releasing the class, whose bases are whole yet; those that go with it are not taken.
        unsafe {
            let mut all = inboxes();
            let Some(inbox) = all.as_mut().and_then(|all| all.get_mut(&interpreter)) else { return };
            let tuple = (*class).tp_bases;
            let count = if tuple.is_null() { 0 } else { ffi::PyTuple_Size(tuple) };
            let mut bases = Vec::new();
            if inbox.departed.try_reserve(1).is_err() || bases.try_reserve_exact(count.unsigned_abs()).is_err() {
                return;
            }
            bases.extend(
                (0..count)
                    .map(|index| ffi::PyTuple_GetItem(tuple, index))
                    .filter(|&base| header::is_immortal_or_shared(base) && references::try_take(base)),
            );
            inbox.departed.push(Departed { address: class.addr(), bases });
        }
    }

    /// Takes a cleared weak reference out, whose callback then is not called.
    pub unsafe fn withdraw(interpreter: i64, weak: Weak) {
        // SAFETY: a reference that is on no list has no links, and is not the head.
        unsafe {
            if let Some(inbox) = inboxes().as_mut().and_then(|all| all.get_mut(&interpreter)) {
                unlink(weak, &raw mut inbox.dead);
            }
        }
    }

    /// Has every interpreter with something in its inbox empty it soon.
    pub unsafe fn ring() {
        loop {
            let Some((state, guard, interpreter)) = next_to_ring() else { return };
            // SAFETY: the guard keeps the interpreter. This is outside our lock, since both calls may wait.
            unsafe {
                if ffi::imm_add_pending_call(state, Some(run)) == 0
                    && let Some(inbox) = inboxes().as_mut().and_then(|all| all.get_mut(&interpreter))
                {
                    // Too many calls are pending there. The next death rings again.
                    inbox.rung = false;
                    ffi::PyInterpreterGuard_Close(guard);
                    return;
                }
                ffi::PyInterpreterGuard_Close(guard);
            }
        }
    }

    fn next_to_ring() -> Option<(*mut ffi::PyInterpreterState, *mut ffi::PyInterpreterGuard, i64)> {
        let mut all = inboxes();
        for (&interpreter, inbox) in all.as_mut()? {
            let is_empty = inbox.dead.is_null() && inbox.departed.is_empty();
            if !is_empty && !inbox.rung {
                inbox.rung = true;
                // SAFETY: the view is open. No guard: that interpreter is ending, and calls nothing any more.
                let guard = unsafe { ffi::PyInterpreterGuard_FromView(inbox.view) };
                if !guard.is_null() {
                    return Some((inbox.state, guard, interpreter));
                }
            }
        }
        None
    }

    /// Empties the running interpreter's inbox, and calls the callbacks of what is in it.
    unsafe extern "C" fn run(_: *mut c_void) -> c_int {
        // SAFETY: CPython calls this with the GIL of the interpreter that it was meant for.
        unsafe {
            let interpreter = running_interpreter();
            let error = ffi::PyErr_GetRaisedException();
            for Departed { address, bases } in answer(interpreter) {
                for base in bases {
                    ffi::imm_forget_subclass(base.cast(), ptr::without_provenance_mut(address));
                    ffi::Py_DecRef(base);
                }
            }
            while let Some(weak) = next_dead(interpreter) {
                let callback = ptr::replace(&raw mut (*weak).wr_callback, ptr::null_mut());
                call(callback, weak.cast());
                ffi::Py_DecRef(callback);
                ffi::Py_DecRef(weak.cast());
            }
            ffi::PyErr_SetRaisedException(error);
        }
        0
    }

    /// From now on what arrives rings again. Returns the classes that have departed.
    fn answer(interpreter: i64) -> Vec<Departed> {
        let mut all = inboxes();
        let Some(inbox) = all.as_mut().and_then(|all| all.get_mut(&interpreter)) else { return Vec::new() };
        inbox.rung = false;
        std::mem::take(&mut inbox.departed)
    }

    /// A new reference to the first dead one in the inbox.
    unsafe fn next_dead(interpreter: i64) -> Option<Weak> {
        // SAFETY: what is in the inbox is alive: it withdraws when it is deallocated, which takes this GIL.
        unsafe {
            let mut all = inboxes();
            let inbox = all.as_mut()?.get_mut(&interpreter)?;
            while let Some(weak) = NonNull::new(inbox.dead) {
                unlink(weak.as_ptr(), &raw mut inbox.dead);
                // One whose deallocation began is not called, as in stock CPython.
                if header::refcnt(weak.as_ptr().cast()) > 0 {
                    ffi::Py_IncRef(weak.as_ptr().cast());
                    return Some(weak.as_ptr());
                }
            }
            None
        }
    }
}

/// Calls the callback of a weak reference. What it raises is reported and dropped.
///
/// # Safety
/// A GIL is held; both references are the caller's.
pub unsafe fn call(callback: Object, weak: Object) {
    // SAFETY: the caller's.
    unsafe {
        if callback.is_null() {
            return;
        }
        let result = ffi::PyObject_CallOneArg(callback, weak);
        if result.is_null() {
            ffi::PyErr_WriteUnraisable(callback);
        }
        ffi::Py_DecRef(result);
    }
}

/// Clears all weak references to mutable objects that the caller is about to clear, and only then calls
/// callbacks, so that no callback can reach one of them. Weak references among them are cleared and not called,
/// as the collector does (`handle_weakref_callbacks` in gc.c).
///
/// # Safety
/// The caller holds a reference to each, and a GIL.
pub unsafe fn clear_all(objects: impl Iterator<Item = Object> + Clone) {
    // SAFETY: a cleared weak reference does not use its links, so these make the list of those to call; a reference
    // of our own keeps each alive until its turn.
    unsafe {
        for op in objects.clone() {
            if is_weak_reference(header::type_of(op)) {
                ffi::_PyWeakref_ClearRef(op.cast());
            }
        }
        let mut to_call: Weak = ptr::null_mut();
        let mut end = &raw mut to_call;
        for op in objects {
            let Some(slot) = slot(op) else { continue };
            let head: *mut Weak = slot.as_ptr().cast();
            while let Some(weak) = NonNull::new(*head) {
                let weak = weak.as_ptr();
                ffi::_PyWeakref_ClearRef(weak);
                if !(*weak).wr_callback.is_null() && header::refcnt(weak.cast()) > 0 {
                    ffi::Py_IncRef(weak.cast());
                    *end = weak;
                    end = &raw mut (*weak).wr_next;
                }
            }
        }
        while let Some(weak) = NonNull::new(to_call) {
            let weak = weak.as_ptr();
            to_call = ptr::replace(&raw mut (*weak).wr_next, ptr::null_mut());
            let callback = ptr::replace(&raw mut (*weak).wr_callback, ptr::null_mut());
            call(callback, weak.cast());
            ffi::Py_DecRef(callback);
            ffi::Py_DecRef(weak.cast());
        }
    }
}
