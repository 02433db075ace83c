//! Objects in a freeze that keep some of their state in parts: see `share::part`.
//!
//! When such an object is entered, its state goes into the part that the running interpreter will have of it, so that
//! the search sees the object as it will be once frozen. A rollback gives the state back.

use std::ptr;

use super::graph::Stop;
use crate::object::address::{AddressMap, AddressSet};
use crate::object::ffi;
use crate::object::header::{self, Object, Type};
use crate::object::raise;
use crate::share::interpreter;
use crate::share::part::{self, Kind, NewRegistration, TokenRef};

/// A class that was registered with an abstract base class.
struct Registered {
    /// Owned.
    class: Object,
    /// A weak reference to it, owned; null once it is passed on.
    weak: Object,
    registration: Option<NewRegistration>,
}

struct Entered {
    op: Object,
    kind: &'static Kind,
    /// Owned; null once the interpreter has it.
    part: Object,
    token: TokenRef,
    registered: Vec<Registered>,
}

/// A class and one of its bases, both abstract base classes.
struct Link {
    base: Type,
    class: Type,
    registration: NewRegistration,
}

/// A class that counts as a subclass of an abstract base class, since it was registered with a subclass of that.
struct Inherited {
    base: Type,
    key: u64,
    registration: NewRegistration,
}

/// What one search has entered.
#[derive(Default)]
pub struct PreparedParts {
    entered: Vec<Entered>,
    /// The objects in `entered`.
    known: AddressSet<Object>,
    /// How often each class was registered with what was entered.
    registrations: AddressMap<Object, usize>,
    links: Vec<Link>,
    inherited: Vec<Inherited>,
}

/// The next class in a registry that is still alive: the weak reference to it, borrowed, and a new reference.
///
/// # Safety
/// `registry` is an exact set of weak references, which nothing has changed since `position` was zero; a GIL is held.
unsafe fn next_registered(registry: Object, position: &mut isize) -> Option<(Object, Object)> {
    // SAFETY: the caller's.
    unsafe {
        let (mut weak, mut class, mut hash) = (ptr::null_mut(), ptr::null_mut(), 0);
        while ffi::_PySet_NextEntry(registry, position, &raw mut weak, &raw mut hash) != 0 {
            if ffi::PyWeakref_GetRef(weak, &raw mut class) > 0 {
                return Some((weak, class));
            }
        }
        None
    }
}

impl PreparedParts {
    /// Moves the state of an object that is being entered into a new part.
    ///
    /// # Errors
    /// There is no memory; the object is as it was.
    ///
    /// # Safety
    /// `op` is live, mutable and of this kind; its interpreter's GIL is held.
    pub unsafe fn prepare(&mut self, op: Object, kind: &'static Kind) -> Result<(), Stop> {
        // An earlier search of the same freeze may have done it.
        if self.known.contains(&op) {
            return Ok(());
        }
        // SAFETY: the caller's. Making a part runs no Python code.
        unsafe {
            self.entered.try_reserve(1)?;
            self.known.try_reserve(1)?;
            interpreter::current().ok_or(Stop::Raised)?.parts.reserve(self.entered.len() + 1)?;
            let token = TokenRef::new()?;
            let part = raise::unless_null(kind.make.map_or(ptr::null_mut(), |make| make(op)))?;
            let registry =
                if kind.registry == 0 { ptr::null_mut() } else { *op.byte_offset(kind.registry).cast::<Object>() };
            self.known.insert(op);
            self.entered.push(Entered { op, kind, part, token, registered: Vec::new() });
            // What was entered has given its state up: a rollback gives it back.
            exchange(kind, op, part);
            self.collect_registered(registry)
        }
    }

    /// Notes the classes in a registry, for the object that was entered last.
    unsafe fn collect_registered(&mut self, registry: Object) -> Result<(), Stop> {
        if registry.is_null() {
            return Ok(());
        }
        // SAFETY: an exact set of weak references, which nothing changes meanwhile.
        unsafe {
            let mut position = 0;
            while let Some((weak, class)) = next_registered(registry, &mut position) {
                ffi::Py_IncRef(weak);
                let registered = Registered { class, weak, registration: None };
                let Some(entered) = self.entered.last_mut() else { return Ok(()) };
                let room = entered.registered.try_reserve(1).and_then(|()| self.registrations.try_reserve(1));
                if let Err(error) = room {
                    registered.give_up();
                    return Err(error.into());
                }
                entered.registered.push(registered);
                let pending = self.registrations.entry(class).or_default();
                *pending += 1;
                if part::key_of(class.cast()) == 0 {
                    let parts = &mut interpreter::current().ok_or(Stop::Raised)?.parts;
                    parts.reserve_pending(class.cast(), *pending)?;
                }
                if let Some(last) = entered.registered.last_mut() {
                    last.registration = Some(NewRegistration::new()?);
                }
            }
            Ok(())
        }
    }

    /// Notes that a class that is being entered is an abstract base class, and so are bases of it.
    ///
    /// # Errors
    /// There is no memory.
    ///
    /// # Safety
    /// `class` is a live class; a GIL is held.
    pub unsafe fn prepare_class(&mut self, class: Type) -> Result<(), Stop> {
        // SAFETY: a ready type's tp_mro is a tuple of types, itself first.
        unsafe {
            if part::own_data(class).is_none() {
                return Ok(());
            }
            let mro = (*class).tp_mro;
            for i in 1..ffi::PyTuple_Size(mro) {
                let base: Type = ffi::PyTuple_GetItem(mro, i).cast();
                if part::own_data(base).is_some() {
                    self.links.try_reserve(1)?;
                    self.links.push(Link { base, class, registration: NewRegistration::new()? });
                }
            }
            self.collect_inherited(class, class)
        }
    }

    /// Notes the classes that every interpreter knows and that are registered with a subclass of `base`, such as `int` with
    /// `numbers.Integral`: other interpreters do not have these subclasses.
    unsafe fn collect_inherited(&mut self, base: Type, class: Type) -> Result<(), Stop> {
        // SAFETY: the caller's. The list holds the subclasses; the registry is an exact set of weak references, which
        // nothing changes meanwhile.
        unsafe {
            let subclasses = raise::unless_null(ffi::imm_subclasses(class))?;
            let mut outcome = Ok(());
            for i in 0..ffi::PyList_Size(subclasses) {
                let subclass: Type = ffi::PyList_GetItem(subclasses, i).cast();
                outcome = self.collect_inherited(base, subclass);
                if outcome.is_ok()
                    && let Some(registry) = part::own_registry(subclass)
                {
                    outcome = self.collect_keys(base, registry);
                }
                if outcome.is_err() {
                    break;
                }
            }
            ffi::Py_DecRef(subclasses);
            outcome
        }
    }

    unsafe fn collect_keys(&mut self, base: Type, registry: Object) -> Result<(), Stop> {
        // SAFETY: as `collect_inherited`.
        unsafe {
            let mut position = 0;
            while let Some((_, class)) = next_registered(registry, &mut position) {
                let key = part::key_of(class.cast());
                ffi::Py_DecRef(class); // not the last: the registry's weak reference led to it
                if key != 0 {
                    self.inherited.try_reserve(1)?;
                    self.inherited.push(Inherited { base, key, registration: NewRegistration::new()? });
                }
            }
            Ok(())
        }
    }

    /// After the commit: gives the objects their tokens, and the interpreter its parts.
    ///
    /// # Safety
    /// What was entered is frozen, and nobody else has seen it yet.
    pub unsafe fn settle(&mut self) {
        // SAFETY: the caller's; room was made.
        unsafe {
            let Some(state) = interpreter::existing() else { return };
            for entered in &mut self.entered {
                part::settle(entered.op, entered.kind, &entered.token);
                state.parts.insert(entered.token.clone(), std::mem::replace(&mut entered.part, ptr::null_mut()));
            }
            for entered in &mut self.entered {
                for registered in &mut entered.registered {
                    let Some(registration) = registered.registration.take() else { continue };
                    let class: Type = registered.class.cast();
                    match part::key_of(class) {
                        0 => {
                            let weak = std::mem::replace(&mut registered.weak, ptr::null_mut());
                            state.parts.register_later(class, weak, entered.token.clone(), registration);
                        }
                        key => entered.token.register(registration, key, part::own_token(class)),
                    }
                }
            }
        }
    }

    /// After the classes have settled: makes them known where they were registered, and to their abstract bases.
    ///
    /// # Safety
    /// As [`PreparedParts::settle`], which came before.
    pub unsafe fn settle_classes(&mut self, classes: &[Object]) {
        // SAFETY: the caller's.
        unsafe {
            if let Some(state) = interpreter::existing() {
                for &class in classes {
                    state.parts.register_frozen(class.cast());
                }
            }
            for Link { base, class, registration } in self.links.drain(..) {
                if let Some(token) = part::own_token(base) {
                    token.register(registration, 0, part::own_token(class));
                }
            }
            for Inherited { base, key, registration } in self.inherited.drain(..) {
                if let Some(token) = part::own_token(base) {
                    token.register(registration, key, None);
                }
            }
        }
    }

    /// Gives up what is left. After a rollback, the objects get their state back.
    ///
    /// # Safety
    /// The caller holds the GIL. Python code may run.
    pub unsafe fn give_up(self) {
        // All objects first: what is given up may look at them.
        for entered in &self.entered {
            if !entered.part.is_null() {
                // SAFETY: the object is mutable again, and has not changed since.
                unsafe { exchange(entered.kind, entered.op, entered.part) };
            }
        }
        for entered in self.entered {
            // SAFETY: owned.
            unsafe {
                ffi::Py_DecRef(entered.part);
                entered.registered.into_iter().for_each(|registered| registered.give_up());
            }
        }
    }
}

impl Registered {
    unsafe fn give_up(self) {
        // SAFETY: owned.
        unsafe {
            ffi::Py_DecRef(self.class);
            ffi::Py_DecRef(self.weak);
        }
    }
}

unsafe fn exchange(kind: &Kind, op: Object, part: Object) {
    // SAFETY: two objects of the kind, both mutable.
    unsafe {
        debug_assert!(header::flags(op) & header::FROZEN == 0);
        if let Some(exchange) = kind.exchange {
            exchange(op, part);
        }
    }
}
