//! Parts: the state of a frozen object that each interpreter has for itself.
//!
//! Some objects are of no use without state that changes, although nothing that a program can read of them does: the
//! cache of `functools.lru_cache`, the registry and the caches of an abstract base class, the values of a
//! `threading.local`. When such an object is frozen, that state moves into its *part*, an ordinary object of the same
//! type that belongs to the interpreter; every other interpreter makes a part of its own when it first needs one.
//!
//! ```text
//!   frozen object ---> token <--- interpreter 0: part      The token outlives the object while an interpreter
//!   (flag: parted)            <--- interpreter 3: part      still has a part, so its address names one object only.
//! ```
//!
//! An interpreter drops a part when it releases the object, or, should another one have done so, after a full
//! collection; and all of them when it ends.
//!
//! **Virtual subclasses.** What was registered with an abstract base class before it was frozen holds in every
//! interpreter. Classes are known by the version that each frozen class has for itself, so nothing is kept alive: a
//! token lists those that are frozen, and a class that freezes later is added by the interpreter where it was registered.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::{idle, interpreter, namesake};
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object, PARTED, STATIC, Type};
use crate::object::memory::{self, OutOfMemory};
use crate::object::raise::{self, Raised};

/// How the types with parts are told, and handled: `_PyImmutable_PartedType` in `immutability.h`.
pub type Kind = ffi::_PyImmutable_PartedType;

/// The kinds that CPython's modules have announced: static structures, the same for every interpreter.
static KINDS: [AtomicPtr<Kind>; 4] = [const { AtomicPtr::new(ptr::null_mut()) }; 4];

/// Announces a kind; once is enough, and more do not matter.
///
/// # Safety
/// `kind` points to a static structure.
pub unsafe fn announce(kind: *mut Kind) {
    for slot in &KINDS {
        // AcqRel: who finds the pointer reads what it points to.
        match slot.compare_exchange(ptr::null_mut(), kind, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            Err(known) if known == kind => return,
            Err(_) => {}
        }
    }
    unreachable!("more types with parts than KINDS has room for");
}

/// The kind of the instances of `ty`, if they have parts.
///
/// # Safety
/// `ty` is a live type.
pub unsafe fn kind_of(ty: Type) -> Option<&'static Kind> {
    // SAFETY: the caller's; announced kinds are static.
    unsafe {
        let traverse = (*header::solid_c_base(ty)).tp_traverse;
        KINDS
            .iter()
            .map_while(|slot| slot.load(Ordering::Acquire).as_ref())
            .find(|kind| kind.traverse.map(|known| known as usize) == traverse.map(|known| known as usize))
    }
}

/// What stands for one frozen object in the tables of the interpreters.
pub struct Token {
    /// The object, the parts, and the registrations that lead here.
    holders: AtomicUsize,
    is_alive: AtomicBool,
    registered: Mutex<Registrations>,
}

/// The classes that count as subclasses of the abstract base class that a token stands for.
#[derive(Default)]
struct Registrations {
    first: Option<Box<Registration>>,
    /// How many were left when those of classes that are gone were dropped, and how many were added since.
    kept: usize,
    added: usize,
}

struct Registration {
    /// See [`key_of`]; 0 for none.
    key: u64,
    /// The token of the class, held, if it is an abstract base class itself: its virtual subclasses count too.
    child: Option<TokenRef>,
    next: Option<Box<Registration>>,
}

impl Registration {
    /// Whether the class may still be there.
    fn is_of_use(&self) -> bool {
        self.child.as_ref().is_none_or(TokenRef::is_alive)
    }
}

impl Registrations {
    fn push(&mut self, mut node: Box<Registration>) {
        node.next = self.first.take();
        self.first = Some(node);
        self.added += 1;
    }

    fn pop(&mut self) -> Option<Box<Registration>> {
        let mut node = self.first.take()?;
        self.first = node.next.take();
        Some(node)
    }

    fn iter(&self) -> impl Iterator<Item = &Registration> {
        std::iter::successors(self.first.as_deref(), |node| node.next.as_deref())
    }

    /// Takes out what is of no use any more, if enough was added to make that worth the walk.
    fn take_useless(&mut self) -> Self {
        const FEW: usize = 16;
        let mut useless = Self::default();
        if self.added > self.kept.max(FEW) {
            let mut all = std::mem::take(self);
            while let Some(node) = all.pop() {
                if node.is_of_use() { &mut *self } else { &mut useless }.push(node);
            }
            (self.kept, self.added) = (self.added, 0);
        }
        useless
    }
}

impl Drop for Registrations {
    fn drop(&mut self) {
        // One by one: a chain of boxes would be dropped by recursion.
        while self.pop().is_some() {}
    }
}

/// A counted reference to a token.
pub struct TokenRef(NonNull<Token>);

impl TokenRef {
    /// A new token.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new() -> Result<Self, OutOfMemory> {
        let token = memory::boxed(Token {
            holders: AtomicUsize::new(1),
            is_alive: AtomicBool::new(true),
            registered: Mutex::default(),
        })?;
        Ok(TokenRef(NonNull::from(Box::leak(token))))
    }

    fn get(&self) -> &Token {
        // SAFETY: counted.
        unsafe { self.0.as_ref() }
    }

    /// Whether the object is still there, and frozen.
    fn is_alive(&self) -> bool {
        // Relaxed: nothing is read of the object.
        self.get().is_alive.load(Ordering::Relaxed)
    }

    /// Adds a registration, which was allocated before.
    pub fn register(&self, registration: NewRegistration, key: u64, child: Option<TokenRef>) {
        let mut node = registration.0;
        (node.key, node.child) = (key, child);
        let mut registered = self.get().registered.lock();
        let useless = registered.take_useless();
        registered.push(node);
        drop(registered);
        drop(useless); // not under the lock: tokens may go with it
    }

    /// True if one of the classes was registered, directly or with a class that was.
    fn has_registered(&self, keys: &[u64]) -> bool {
        // A lock is taken under that of a class above it only, and ABCMeta.register makes no cycles.
        self.get().registered.lock().iter().any(|node| {
            node.key != 0 && keys.contains(&node.key)
                || node.child.as_ref().is_some_and(|child| child.is_alive() && child.has_registered(keys))
        })
    }
}

impl Clone for TokenRef {
    fn clone(&self) -> Self {
        // Relaxed: a reference is at hand.
        self.get().holders.fetch_add(1, Ordering::Relaxed);
        TokenRef(self.0)
    }
}

impl Drop for TokenRef {
    fn drop(&mut self) {
        // AcqRel: the last one to let go sees what the others did.
        if self.get().holders.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: boxed by `new`, and nobody's any more.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

/// Memory for a registration.
pub struct NewRegistration(Box<Registration>);

impl NewRegistration {
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new() -> Result<Self, OutOfMemory> {
        Ok(Self(memory::boxed(Registration { key: 0, child: None, next: None })?))
    }
}

/// A registration of a class that is not frozen yet.
struct Pending {
    /// A weak reference to the class, owned: another one may come to its address.
    class: Object,
    token: TokenRef,
    registration: NewRegistration,
}

/// The parts that one interpreter has, and what it has yet to register.
#[derive(Default)]
pub struct Parts {
    /// By address of the token, which is held.
    parts: HashMap<NonNull<Token>, (TokenRef, Object)>,
    pending: HashMap<Type, Vec<Pending>>,
}

impl Parts {
    /// Makes room for `n` more parts.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn reserve(&mut self, n: usize) -> Result<(), OutOfMemory> {
        Ok(self.parts.try_reserve(n)?)
    }

    /// Stores a part, for which there is room, and takes over the reference.
    pub fn insert(&mut self, token: TokenRef, part: Object) {
        self.parts.insert(token.0, (token, part));
    }

    /// Makes room for one more registration of an unfrozen class.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn reserve_pending(&mut self, class: Type, n: usize) -> Result<(), OutOfMemory> {
        self.pending.try_reserve(1)?;
        Ok(self.pending.entry(class).or_default().try_reserve(n)?)
    }

    /// Notes that `class`, which is not frozen, was registered; there is room. `weak` is a reference to it, taken over.
    pub fn register_later(&mut self, class: Type, weak: Object, token: TokenRef, registration: NewRegistration) {
        if let Some(pending) = self.pending.get_mut(&class) {
            pending.push(Pending { class: weak, token, registration });
        }
    }

    /// Registers a class that was just frozen wherever that was waited for.
    ///
    /// # Safety
    /// As [`key_of`]; the GIL of the interpreter is held.
    pub unsafe fn register_frozen(&mut self, class: Type) {
        if self.pending.is_empty() {
            return;
        }
        for pending in self.pending.remove(&class).unwrap_or_default() {
            // SAFETY: owned weak references, whose end runs no Python code.
            unsafe {
                let mut referent = ptr::null_mut();
                ffi::PyWeakref_GetRef(pending.class, &raw mut referent);
                ffi::Py_DecRef(referent);
                if referent == class.cast() {
                    pending.token.register(pending.registration, key_of(class), own_token(class));
                }
                ffi::Py_DecRef(pending.class);
            }
        }
    }

    /// Drops the parts of objects that are gone, and what waits for classes that are.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL; `self` may have changed on return.
    pub unsafe fn drop_idle(&mut self) {
        let dead = idle::take_idle(&mut self.parts, |_, (token, _)| !token.is_alive());
        let mut references = Vec::new();
        for pending in self.pending.values_mut() {
            if references.try_reserve(pending.len()).is_ok() {
                // SAFETY: owned weak references.
                references.extend(pending.extract_if(.., |each| unsafe { ffi::PyWeakref_IsDead(each.class) } != 0));
            }
        }
        self.pending.retain(|_, pending| !pending.is_empty());
        for (_, part) in dead {
            // SAFETY: owned by the entry, which is gone.
            unsafe { ffi::Py_DecRef(part) };
        }
        for pending in references {
            // SAFETY: as above.
            unsafe { ffi::Py_DecRef(pending.class) };
        }
    }

    /// Drops everything. True if there was a part.
    ///
    /// # Safety
    /// As [`Parts::drop_idle`].
    pub unsafe fn clear(&mut self) -> bool {
        // SAFETY: as there.
        let had_parts = idle::release_all(&mut self.parts, |_, (_, part)| unsafe { ffi::Py_DecRef(part) });
        for pending in std::mem::take(&mut self.pending).into_values().flatten() {
            // SAFETY: as there.
            unsafe { ffi::Py_DecRef(pending.class) };
        }
        had_parts
    }
}

/// Where an object keeps the address of its token.
unsafe fn slot(op: Object, kind: &Kind) -> *mut *mut c_void {
    // SAFETY: the announced type has a pointer there.
    unsafe { op.byte_offset(kind.token).cast() }
}

/// The token of a frozen object with parts.
unsafe fn token_of(op: Object) -> Option<NonNull<Token>> {
    // SAFETY: the caller's: op is alive.
    unsafe {
        if header::flags(op) & PARTED == 0 {
            return None;
        }
        NonNull::new((*slot(op, kind_of(header::type_of(op))?)).cast())
    }
}

/// Gives an object that was just frozen its token.
///
/// # Safety
/// `op` has parts, is frozen, and was seen by nobody else yet.
pub unsafe fn settle(op: Object, kind: &Kind, token: &TokenRef) {
    // SAFETY: the caller's. The object holds the token until `unsettle`.
    unsafe {
        *slot(op, kind) = std::mem::ManuallyDrop::new(token.clone()).0.as_ptr().cast();
        header::set_flags(op, header::flags(op) | PARTED);
    }
}

/// Gives an object that is no longer frozen the state back that the running interpreter has for it.
///
/// # Safety
/// `op` is ordinary again, and nobody else has it; a GIL is held. Python code may run.
pub unsafe fn unsettle(op: Object) {
    // SAFETY: the caller's. The object's own hold on the token ends here.
    unsafe {
        let Some(kind) = kind_of(header::type_of(op)) else { return };
        let Some(token) = NonNull::new(ptr::replace(slot(op, kind), ptr::null_mut()).cast::<Token>()) else { return };
        header::set_flags(op, header::flags(op) & !PARTED);
        let token = TokenRef(token);
        token.get().is_alive.store(false, Ordering::Relaxed);
        let part = interpreter::existing().and_then(|state| state.parts.parts.remove(&token.0));
        if let Some((_, part)) = part {
            if let Some(exchange) = kind.exchange {
                exchange(op, part);
            }
            ffi::Py_DecRef(part);
        }
    }
}

/// A new reference to the part that the running interpreter has of a frozen object, made if need be.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// `op` is alive; the caller holds a GIL.
pub unsafe fn part(op: Object) -> Result<Object, Raised> {
    // SAFETY: the caller's. The state is looked up again after anything that may run Python code.
    unsafe {
        if header::flags(op) & PARTED == 0 {
            ffi::Py_IncRef(op);
            return Ok(op);
        }
        let kind = kind_of(header::type_of(op)).ok_or(Raised)?;
        let token = NonNull::new((*slot(op, kind)).cast()).ok_or(Raised)?;
        idle::watch_collector()?;
        if let Some(&(_, part)) = interpreter::current().ok_or(Raised)?.parts.parts.get(&token)
            && header::flags(part) & FROZEN == 0
        {
            ffi::Py_IncRef(part);
            return Ok(part);
        }
        let part = raise::unless_null(kind.make.map_or(ptr::null_mut(), |make| make(op)))?;
        let Some(state) = interpreter::current() else {
            ffi::Py_DecRef(part);
            return Err(Raised);
        };
        if let Err(error) = state.parts.reserve(1) {
            ffi::Py_DecRef(part);
            return Err(raise::no_memory(error));
        }
        ffi::Py_IncRef(part);
        let hold = std::mem::ManuallyDrop::new(TokenRef(token));
        let before = state.parts.parts.insert(token, ((*hold).clone(), part));
        if let Some((_, before)) = before {
            ffi::Py_DecRef(before);
        }
        Ok(part)
    }
}

/// What tells a class in every interpreter: for a frozen class its version, for a static type its address. 0 for others.
///
/// # Safety
/// `class` is a live type.
pub unsafe fn key_of(class: Type) -> u64 {
    const ADDRESS: u64 = 1 << 63;
    // SAFETY: the caller's. Versions of frozen classes are never used twice.
    unsafe {
        let flags = header::flags(class.cast());
        if flags & STATIC != 0 || !header::has_feature(class, ffi::Py_TPFLAGS_HEAPTYPE) {
            class.addr() as u64 | ADDRESS
        } else if flags & FROZEN != 0 && (*class).tp_version_tag >= ffi::_Py_FROZEN_VERSION {
            u64::from((*class).tp_version_tag)
        } else {
            0
        }
    }
}

/// The token of a frozen abstract base class, held.
///
/// # Safety
/// `class` is a live type; a GIL is held.
pub unsafe fn own_token(class: Type) -> Option<TokenRef> {
    // SAFETY: the caller's; the borrowed reference is used at once.
    unsafe {
        let data = own_data(class)?;
        let hold = std::mem::ManuallyDrop::new(TokenRef(token_of(data)?));
        Some((*hold).clone())
    }
}

/// What `abc` keeps for a class that it has made abstract, borrowed.
///
/// # Safety
/// As [`own_token`].
pub unsafe fn own_data(class: Type) -> Option<Object> {
    // SAFETY: a heap type's dict is an exact dict; the name is an exact string.
    unsafe {
        if !header::has_feature(class, ffi::Py_TPFLAGS_HEAPTYPE) || (*class).tp_dict.is_null() {
            return None;
        }
        let data = ffi::PyDict_GetItemWithError((*class).tp_dict, ffi::imm_name_abc_impl);
        (!data.is_null() && kind_of(header::type_of(data)).is_some_and(|kind| kind.registry != 0)).then_some(data)
    }
}

/// The set of weak references to the classes that were registered with a mutable abstract base class, borrowed.
///
/// # Safety
/// As [`own_token`].
pub unsafe fn own_registry(class: Type) -> Option<Object> {
    // SAFETY: the caller's; the kind tells where the object has its registry, null if it is empty.
    unsafe {
        let data = own_data(class)?;
        let registry = *data.byte_offset(kind_of(header::type_of(data))?.registry).cast::<Object>();
        (!registry.is_null()).then_some(registry)
    }
}

/// True if `subclass` was registered with the abstract base class `class` before that was frozen, or is a subclass of the
/// running interpreter's class of that name.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// Both are live types; a GIL is held. Python code may run.
pub unsafe fn is_registered(class: Type, subclass: Type) -> Result<bool, Raised> {
    // SAFETY: the caller's; a ready type's tp_mro is a tuple of types.
    unsafe {
        let Some(token) = own_token(class) else { return Ok(false) };
        let mro = (*subclass).tp_mro;
        let keys = memory::collect((0..ffi::PyTuple_Size(mro)).map(|i| key_of(ffi::PyTuple_GetItem(mro, i).cast())))
            .map_err(|error| raise::no_memory(error))?;
        Ok(token.has_registered(&keys) || namesake::knows(class, subclass)?)
    }
}
