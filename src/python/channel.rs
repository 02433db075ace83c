//! `channel`, `select`, and the types `Sender` and `Receiver`.
//!
//! Each object is one handle of a channel (`share::channel`), and is frozen, so all interpreters share that handle: when
//! the last reference to it goes, in whichever interpreter, its side of the channel is closed.
//!
//! Nothing that does not block lets go of the GIL. A blocked call does, and takes its message only when it has the GIL
//! again.

use std::ffi::{CStr, c_int, c_void};
use std::num::NonZeroUsize;
use std::ptr;
use std::time::{Duration, Instant};

use super::static_type::{self, CLASS_GETITEM, COPY, DEEPCOPY, LAST_METHOD, REDUCE, method};
use crate::object::answer::{none, or_null};
use crate::object::ffi;
use crate::object::header::{self, Object, Type};
use crate::object::raise::{self, Raised};
use crate::share::channel::{self, Receiver, RecvError, SendError, Sender, TryRecvError, TrySendError};
use crate::share::exception;
use crate::share::line::{Block, Wait};
use crate::share::reference::Reference;

/// How long the thread that handles signals sleeps between two looks for one: well within the time in which an answer to
/// Ctrl-C seems immediate. Other threads sleep until they are woken.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// Blocks without the GIL.
struct Released {
    /// Owned; null before the first wait.
    interpreter: *mut ffi::PyInterpreterView,
}

impl Released {
    const fn new() -> Self {
        Released { interpreter: ptr::null_mut() }
    }
}

impl Drop for Released {
    fn drop(&mut self) {
        if !self.interpreter.is_null() {
            // SAFETY: it is ours.
            unsafe { ffi::PyInterpreterView_Close(self.interpreter) };
        }
    }
}

impl Block for Released {
    type Interrupt = Raised;

    fn block(&mut self, wait: &mut Wait<'_>, until: Option<Instant>) -> Result<(), Raised> {
        // SAFETY: the caller holds the GIL, and holds it again on return.
        unsafe {
            if self.interpreter.is_null() {
                self.interpreter = ffi::PyInterpreterView_FromCurrent();
                if self.interpreter.is_null() {
                    return Err(Raised);
                }
            }
            let handles_signals = ffi::imm_handles_signals() != 0;
            loop {
                let end = if handles_signals {
                    let look = Instant::now() + SIGNAL_INTERVAL;
                    Some(until.map_or(look, |until| until.min(look)))
                } else {
                    until
                };
                let thread = ffi::PyEval_SaveThread();
                let woken = wait.sleep(end);
                // Keeps the interpreter from ending while this thread takes the GIL.
                let guard = ffi::PyInterpreterGuard_FromView(self.interpreter);
                let ends = guard.is_null();
                if ends {
                    // Unless this is the thread that ends it, the next call does not return: somebody else must have what
                    // this wait was woken for.
                    wait.abandon();
                }
                ffi::PyEval_RestoreThread(thread);
                if !ends {
                    ffi::PyInterpreterGuard_Close(guard);
                }
                raise::unless_negative(ffi::PyErr_CheckSignals())?;
                if woken || ends || until.is_some_and(|until| until <= Instant::now()) {
                    return Ok(());
                }
            }
        }
    }
}

// ---- Errors and arguments -------------------------------------------------

#[cold]
unsafe fn raise_closed(message: &CStr) -> Raised {
    // SAFETY: a GIL is held.
    unsafe {
        if let Ok(error) = exception::class(|exceptions| exceptions.channel_closed) {
            ffi::PyErr_SetString(error, message.as_ptr());
        }
        Raised
    }
}

#[cold]
unsafe fn raise_closed_for_sending() -> Raised {
    // SAFETY: a GIL is held.
    unsafe { raise_closed(c"the channel is closed") }
}

#[cold]
unsafe fn raise_closed_for_receiving() -> Raised {
    // SAFETY: a GIL is held.
    unsafe { raise_closed(c"the channel is closed and empty") }
}

#[cold]
unsafe fn raise_timed_out(message: &CStr) -> Raised {
    // SAFETY: a GIL is held.
    unsafe { ffi::PyErr_SetString(ffi::PyExc_TimeoutError, message.as_ptr()) };
    Raised
}

unsafe fn raise_recv_error(error: RecvError<Raised>) -> Raised {
    // SAFETY: a GIL is held.
    unsafe {
        match error {
            RecvError::Closed => raise_closed_for_receiving(),
            RecvError::TimedOut => raise_timed_out(c"no message arrived in time"),
            RecvError::Interrupted(raised) => raised,
        }
    }
}

/// The arguments of a METH_FASTCALL | METH_KEYWORDS function that knows one keyword, `timeout`.
#[derive(Clone, Copy)]
struct Arguments {
    values: *const Object,
    /// How many of them are positional.
    positional: isize,
    /// The keywords of the others, or null.
    names: Object,
}

impl Arguments {
    /// The deadline, when that many arguments come before `timeout`, which may be given by position too.
    unsafe fn deadline(self, function: &CStr, before: isize) -> Result<Option<Instant>, Raised> {
        // SAFETY: the arguments are borrowed for the call.
        unsafe {
            if self.positional == before && self.names.is_null() {
                return Ok(None);
            }
            if !(before..=before + 1).contains(&self.positional) {
                ffi::PyErr_Format(
                    ffi::PyExc_TypeError,
                    c"%s takes %zd to %zd positional arguments (%zd given)".as_ptr(),
                    function.as_ptr(),
                    before,
                    before + 1,
                    self.positional,
                );
                return Err(Raised);
            }
            let timeout = self.keyword(function)?;
            if self.positional == before {
                return deadline(timeout);
            }
            if !timeout.is_null() {
                ffi::PyErr_Format(
                    ffi::PyExc_TypeError,
                    c"%s got multiple values for argument 'timeout'".as_ptr(),
                    function.as_ptr(),
                );
                return Err(Raised);
            }
            deadline(*self.values.offset(before))
        }
    }

    /// The value of the keyword `timeout`, borrowed, or null.
    unsafe fn keyword(self, function: &CStr) -> Result<Object, Raised> {
        // SAFETY: a tuple of strings, each of which has a value behind the positional ones.
        unsafe {
            let names = if self.names.is_null() { 0 } else { ffi::PyTuple_Size(self.names) };
            let mut timeout = ptr::null_mut();
            for i in 0..names {
                let name = ffi::PyTuple_GetItem(self.names, i);
                if ffi::PyUnicode_EqualToUTF8(name, c"timeout".as_ptr()) == 0 {
                    ffi::PyErr_Format(
                        ffi::PyExc_TypeError,
                        c"%s got an unexpected keyword argument '%U'".as_ptr(),
                        function.as_ptr(),
                        name,
                    );
                    return Err(Raised);
                }
                timeout = *self.values.offset(self.positional + i);
            }
            Ok(timeout)
        }
    }
}

/// When a timeout that begins now is over; never, if it is null or None, or too long to matter.
unsafe fn deadline(timeout: Object) -> Result<Option<Instant>, Raised> {
    // SAFETY: a GIL is held.
    unsafe {
        if timeout.is_null() || timeout == none() {
            return Ok(None);
        }
        let seconds = ffi::PyFloat_AsDouble(timeout);
        if seconds == -1.0 && !ffi::PyErr_Occurred().is_null() {
            return Err(Raised);
        }
        if seconds.is_nan() || seconds < 0.0 {
            ffi::PyErr_SetString(
                ffi::PyExc_ValueError,
                c"timeout must be a number of seconds of at least zero".as_ptr(),
            );
            return Err(Raised);
        }
        Ok(Duration::try_from_secs_f64(seconds).ok().and_then(|timeout| Instant::now().checked_add(timeout)))
    }
}

unsafe fn boolean(value: bool) -> Object {
    // SAFETY: a GIL is held.
    unsafe { ffi::PyBool_FromLong(i64::from(value)) }
}

// ---- channel ---------------------------------------------------------------

const CHANNEL_DOC: &CStr = c"channel(capacity=None)
--

Return (sender, receiver), the two ends of a new channel.

Both are frozen, and may be used by any number of threads and interpreters at the
same time. Each message is received once. With a capacity, a send waits while that
many messages are in the channel; without, it never waits.

Raises ValueError if capacity is less than 1.";

unsafe extern "C" fn new_channel(_: Object, args: Object, kwargs: Object) -> Object {
    // SAFETY: METH_VARARGS | METH_KEYWORDS.
    unsafe {
        let names = [c"capacity".as_ptr(), ptr::null()];
        let mut capacity: Object = ptr::null_mut();
        let parsed = ffi::PyArg_ParseTupleAndKeywords(
            args,
            kwargs,
            c"|O:channel".as_ptr(),
            names.as_ptr().cast(),
            &raw mut capacity,
        );
        if parsed == 0 {
            return ptr::null_mut();
        }
        let Ok(capacity) = capacity_of(capacity) else {
            return ptr::null_mut();
        };
        let (sender, receiver) = channel::channel::<Reference>(capacity);
        let sender = static_type::new_instance(sender_type(), sender);
        let receiver = static_type::new_instance(receiver_type(), receiver);
        let both = if sender.is_null() || receiver.is_null() {
            ptr::null_mut()
        } else {
            ffi::PyTuple_Pack(2, sender, receiver)
        };
        ffi::Py_DecRef(sender);
        ffi::Py_DecRef(receiver);
        both
    }
}

unsafe fn capacity_of(capacity: Object) -> Result<Option<NonZeroUsize>, Raised> {
    // SAFETY: a GIL is held; null or borrowed.
    unsafe {
        if capacity.is_null() || capacity == none() {
            return Ok(None);
        }
        // A number that is too large means as many as a channel can ever hold.
        let number = ffi::PyNumber_AsSsize_t(capacity, ptr::null_mut());
        if number == -1 && !ffi::PyErr_Occurred().is_null() {
            return Err(Raised);
        }
        match usize::try_from(number).ok().and_then(NonZeroUsize::new) {
            None => {
                ffi::PyErr_SetString(
                    ffi::PyExc_ValueError,
                    c"capacity must be at least 1, or None for no limit".as_ptr(),
                );
                Err(Raised)
            }
            capacity => Ok(capacity),
        }
    }
}

// ---- Sender ----------------------------------------------------------------

/// # Safety
/// `op` is a `Sender` object that lives as long as the result is used.
unsafe fn sender<'a>(op: Object) -> &'a Sender<Reference> {
    // SAFETY: the caller's.
    unsafe { static_type::value(op) }
}

const SEND: &CStr = c"Sender.send()";

unsafe extern "C" fn send(op: Object, values: *const Object, positional: isize, names: Object) -> Object {
    // SAFETY: METH_FASTCALL | METH_KEYWORDS; the caller holds op and the arguments.
    unsafe {
        let Ok(deadline) = (Arguments { values, positional, names }).deadline(SEND, 1) else {
            return ptr::null_mut();
        };
        let Ok(message) = Reference::new(*values, SEND) else {
            return ptr::null_mut();
        };
        let refused = match sender(op).send(message, deadline, &mut Released::new()) {
            Ok(()) => return none(),
            Err(refused) => refused,
        };
        // The message is given up last: that may run Python code.
        let _message = match refused {
            SendError::Closed(message) => {
                raise_closed_for_sending();
                message
            }
            SendError::TimedOut(message) => {
                raise_timed_out(c"the channel was full all the time");
                message
            }
            SendError::Interrupted(message, Raised) => message,
        };
        ptr::null_mut()
    }
}

unsafe extern "C" fn try_send(op: Object, message: Object) -> Object {
    // SAFETY: METH_O.
    unsafe {
        let Ok(message) = Reference::new(message, c"Sender.try_send()") else {
            return ptr::null_mut();
        };
        match sender(op).try_send(message) {
            Ok(()) => boolean(true),
            Err(TrySendError::Full(_message)) => boolean(false),
            Err(TrySendError::Closed(_message)) => {
                raise_closed_for_sending();
                ptr::null_mut()
            }
        }
    }
}

unsafe extern "C" fn close_sender(op: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS.
    unsafe {
        sender(op).close();
        none()
    }
}

unsafe extern "C" fn sender_length(op: Object) -> isize {
    // SAFETY: sq_length.
    unsafe { sender(op).len() as isize }
}

unsafe extern "C" fn sender_closed(op: Object, _: *mut c_void) -> Object {
    // SAFETY: a getter.
    unsafe { boolean(sender(op).is_closed()) }
}

unsafe extern "C" fn sender_capacity(op: Object, _: *mut c_void) -> Object {
    // SAFETY: a getter.
    unsafe { capacity(sender(op).capacity()) }
}

unsafe extern "C" fn sender_repr(op: Object) -> Object {
    // SAFETY: tp_repr.
    unsafe {
        let end = sender(op);
        repr(op, end.is_closed(), end.len(), end.capacity())
    }
}

// ---- Receiver --------------------------------------------------------------

/// # Safety
/// `op` is a `Receiver` object that lives as long as the result is used.
unsafe fn receiver<'a>(op: Object) -> &'a Receiver<Reference> {
    // SAFETY: the caller's.
    unsafe { static_type::value(op) }
}

unsafe extern "C" fn recv(op: Object, values: *const Object, positional: isize, names: Object) -> Object {
    // SAFETY: METH_FASTCALL | METH_KEYWORDS; the caller holds op.
    unsafe {
        let Ok(deadline) = (Arguments { values, positional, names }).deadline(c"Receiver.recv()", 0) else {
            return ptr::null_mut();
        };
        let received = receiver(op).recv(deadline, &mut Released::new());
        match received {
            Ok(message) => message.into_object(),
            Err(error) => or_null(Err(raise_recv_error(error))),
        }
    }
}

unsafe extern "C" fn try_recv(op: Object, values: *const Object, n: isize) -> Object {
    // SAFETY: METH_FASTCALL.
    unsafe {
        if n > 1 {
            ffi::PyErr_Format(
                ffi::PyExc_TypeError,
                c"Receiver.try_recv() takes at most 1 argument (%zd given)".as_ptr(),
                n,
            );
            return ptr::null_mut();
        }
        match receiver(op).try_recv() {
            Ok(message) => message.into_object(),
            Err(TryRecvError::Closed) => {
                raise_closed_for_receiving();
                ptr::null_mut()
            }
            Err(TryRecvError::Empty) if n == 1 => {
                ffi::Py_IncRef(*values);
                *values
            }
            Err(TryRecvError::Empty) => {
                raise_timed_out(c"there is no message now");
                ptr::null_mut()
            }
        }
    }
}

unsafe extern "C" fn close_receiver(op: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS.
    unsafe {
        receiver(op).close();
        none()
    }
}

unsafe extern "C" fn iterate(op: Object) -> Object {
    // SAFETY: tp_iter.
    unsafe { ffi::Py_IncRef(op) };
    op
}

unsafe extern "C" fn next(op: Object) -> Object {
    // SAFETY: tp_iternext: null without an exception is the end.
    unsafe {
        match receiver(op).recv(None, &mut Released::new()) {
            Ok(message) => message.into_object(),
            Err(RecvError::Closed) => ptr::null_mut(),
            Err(error) => or_null(Err(raise_recv_error(error))),
        }
    }
}

unsafe extern "C" fn receiver_length(op: Object) -> isize {
    // SAFETY: sq_length.
    unsafe { receiver(op).len() as isize }
}

unsafe extern "C" fn receiver_closed(op: Object, _: *mut c_void) -> Object {
    // SAFETY: a getter.
    unsafe { boolean(receiver(op).is_closed()) }
}

unsafe extern "C" fn receiver_capacity(op: Object, _: *mut c_void) -> Object {
    // SAFETY: a getter.
    unsafe { capacity(receiver(op).capacity()) }
}

unsafe extern "C" fn receiver_repr(op: Object) -> Object {
    // SAFETY: tp_repr.
    unsafe {
        let end = receiver(op);
        repr(op, end.is_closed(), end.len(), end.capacity())
    }
}

// ---- Both ends -------------------------------------------------------------

unsafe fn capacity(capacity: Option<NonZeroUsize>) -> Object {
    // SAFETY: a GIL is held.
    unsafe {
        match capacity {
            Some(capacity) => ffi::PyLong_FromSize_t(capacity.get()),
            None => none(),
        }
    }
}

unsafe fn repr(op: Object, closed: bool, length: usize, capacity: Option<NonZeroUsize>) -> Object {
    let state = if closed { c"closed" } else { c"open" };
    // SAFETY: a GIL is held; the arguments are those that the format names.
    unsafe {
        let name = (*header::type_of(op)).tp_name;
        match capacity {
            None => ffi::PyUnicode_FromFormat(c"<%s: %s, %zu messages>".as_ptr(), name, state.as_ptr(), length),
            Some(capacity) => ffi::PyUnicode_FromFormat(
                c"<%s: %s, %zu of %zu messages>".as_ptr(),
                name,
                state.as_ptr(),
                length,
                capacity.get(),
            ),
        }
    }
}

/// An end of a channel is true, also when the channel is empty: `len()` alone would make it false.
unsafe extern "C" fn is_true(_: Object) -> c_int {
    1
}

// ---- select ----------------------------------------------------------------

const SELECT_DOC: &CStr = c"select(*receivers, timeout=None)
--

Return (receiver, message): a message from whichever receiver has one.

Waits if none has. A receiver whose channel is closed and empty is passed over;
when all are, ChannelClosed is raised. Raises TimeoutError if no message arrives
within timeout seconds.";

unsafe extern "C" fn select(_: Object, values: *const Object, positional: isize, names: Object) -> Object {
    // SAFETY: METH_FASTCALL | METH_KEYWORDS.
    unsafe { or_null(select_from(Arguments { values, positional, names })) }
}

unsafe fn select_from(arguments: Arguments) -> Result<Object, Raised> {
    // SAFETY: a GIL is held; the caller holds the arguments.
    unsafe {
        let deadline = deadline(arguments.keyword(c"select()")?)?;
        if arguments.positional == 0 {
            ffi::PyErr_SetString(ffi::PyExc_TypeError, c"select() needs at least one Receiver".as_ptr());
            return Err(Raised);
        }
        let given = std::slice::from_raw_parts(arguments.values, arguments.positional.unsigned_abs());
        let mut receivers = Vec::new();
        receivers.try_reserve_exact(given.len()).map_err(|error| raise::no_memory(error.into()))?;
        for &op in given {
            if header::type_of(op) != receiver_type() {
                ffi::PyErr_Format(
                    ffi::PyExc_TypeError,
                    c"select() takes Receivers, not '%.200s'".as_ptr(),
                    (*header::type_of(op)).tp_name,
                );
                return Err(Raised);
            }
            receivers.push(receiver(op));
        }
        // Before there is a message that could be lost for want of memory.
        let result = raise::unless_null(ffi::PyTuple_New(2))?;
        match channel::select(&receivers, deadline, &mut Released::new()) {
            Ok((number, message)) => {
                let message = message.into_object();
                if message.is_null() {
                    ffi::Py_DecRef(result);
                    return Err(Raised);
                }
                ffi::Py_IncRef(given[number]);
                ffi::PyTuple_SetItem(result, 0, given[number]);
                ffi::PyTuple_SetItem(result, 1, message);
                Ok(result)
            }
            Err(error) => {
                ffi::Py_DecRef(result);
                Err(raise_recv_error(error))
            }
        }
    }
}

// ---- The types -------------------------------------------------------------

const SENDER_DOC: &CStr = c"The end of a channel that messages are put into; made by channel().

Frozen: any number of threads and interpreters may use it at the same time. When
the last reference to it is gone, the channel is closed.";

const SEND_DOC: &CStr = c"send($self, obj, /, timeout=None)
--

Send obj, which must be frozen.

Waits while the channel is full. Raises TypeError if obj is mutable, ChannelClosed
if the channel is closed, and TimeoutError if it was full for timeout seconds.";

const TRY_SEND_DOC: &CStr = c"try_send($self, obj, /)
--

Send obj, which must be frozen, unless the channel is full; return whether it was
sent.

Never waits. Raises TypeError if obj is mutable, ChannelClosed if the channel is
closed.";

const RECEIVER_DOC: &CStr = c"The end of a channel that messages are taken from; made by channel().

Frozen: any number of threads and interpreters may use it at the same time, and
each message is received once. Iteration receives until the channel is closed and
empty. When the last reference to it is gone, the channel is closed, and the
messages that are left are dropped.";

const RECV_DOC: &CStr = c"recv($self, /, timeout=None)
--

Return the next message.

Waits while the channel is empty; those who wait are served in the order in which
they came. Raises ChannelClosed if the channel is closed and empty, and
TimeoutError if no message arrives within timeout seconds.";

const TRY_RECV_DOC: &CStr = c"try_recv($self, default=<unrepresentable>, /)
--

Return the next message if there is one.

Never waits. If there is none now, returns default, or raises TimeoutError if no
default is given. Raises ChannelClosed if the channel is closed and empty.";

const CLOSE_DOC: &CStr = c"close($self, /)
--

Close the channel.

Nothing can be sent any more, from any end; what was sent can still be received.
Everybody who waits is woken. Closing a closed channel does nothing.";

const QSIZE_DOC: &CStr = c"qsize($self, /)
--

Return the number of messages in the channel.";

const CLOSED_DOC: &CStr = c"Whether the channel is closed: messages may be left in it, but none can be sent.";
const CAPACITY_DOC: &CStr = c"How many messages fit into the channel; None if there is no limit.";

unsafe extern "C" fn sender_qsize(op: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS.
    unsafe { ffi::PyLong_FromSize_t(sender(op).len()) }
}

unsafe extern "C" fn receiver_qsize(op: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS.
    unsafe { ffi::PyLong_FromSize_t(receiver(op).len()) }
}

const KEYWORDS: u32 = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;

// CPython reads these tables, and fills in the types when it makes them ready.

static mut SENDER_METHODS: [ffi::PyMethodDef; 9] = [
    method(c"send", send as *const c_void, KEYWORDS, SEND_DOC),
    method(c"try_send", try_send as *const c_void, ffi::METH_O, TRY_SEND_DOC),
    method(c"close", close_sender as *const c_void, ffi::METH_NOARGS, CLOSE_DOC),
    method(c"qsize", sender_qsize as *const c_void, ffi::METH_NOARGS, QSIZE_DOC),
    COPY,
    DEEPCOPY,
    REDUCE,
    CLASS_GETITEM,
    LAST_METHOD,
];

static mut RECEIVER_METHODS: [ffi::PyMethodDef; 9] = [
    method(c"recv", recv as *const c_void, KEYWORDS, RECV_DOC),
    method(c"try_recv", try_recv as *const c_void, ffi::METH_FASTCALL, TRY_RECV_DOC),
    method(c"close", close_receiver as *const c_void, ffi::METH_NOARGS, CLOSE_DOC),
    method(c"qsize", receiver_qsize as *const c_void, ffi::METH_NOARGS, QSIZE_DOC),
    COPY,
    DEEPCOPY,
    REDUCE,
    CLASS_GETITEM,
    LAST_METHOD,
];

const fn getter(
    name: &'static CStr,
    get: unsafe extern "C" fn(Object, *mut c_void) -> Object,
    doc: &'static CStr,
) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef { name: name.as_ptr(), get: Some(get), set: None, doc: doc.as_ptr(), closure: ptr::null_mut() }
}

const LAST_GETTER: ffi::PyGetSetDef =
    ffi::PyGetSetDef { name: ptr::null(), get: None, set: None, doc: ptr::null(), closure: ptr::null_mut() };

static mut SENDER_ATTRIBUTES: [ffi::PyGetSetDef; 3] =
    [getter(c"closed", sender_closed, CLOSED_DOC), getter(c"capacity", sender_capacity, CAPACITY_DOC), LAST_GETTER];

static mut RECEIVER_ATTRIBUTES: [ffi::PyGetSetDef; 3] =
    [getter(c"closed", receiver_closed, CLOSED_DOC), getter(c"capacity", receiver_capacity, CAPACITY_DOC), LAST_GETTER];

static mut NUMBER: ffi::PyNumberMethods = ffi::PyNumberMethods {
    nb_bool: Some(is_true),
    // SAFETY: absent functions.
    ..unsafe { std::mem::zeroed() }
};

static mut SENDER_SEQUENCE: ffi::PySequenceMethods = ffi::PySequenceMethods {
    sq_length: Some(sender_length),
    // SAFETY: absent functions.
    ..unsafe { std::mem::zeroed() }
};

static mut RECEIVER_SEQUENCE: ffi::PySequenceMethods = ffi::PySequenceMethods {
    sq_length: Some(receiver_length),
    // SAFETY: absent functions.
    ..unsafe { std::mem::zeroed() }
};

/// The type `Sender`.
pub fn sender_type() -> Type {
    static mut TYPE: ffi::PyTypeObject = {
        let prototype = static_type::prototype::<Sender<Reference>>();
        ffi::PyTypeObject {
            tp_name: c"immutable.Sender".as_ptr(),
            tp_doc: SENDER_DOC.as_ptr(),
            tp_flags: prototype.tp_flags | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION as std::ffi::c_ulong,
            tp_methods: (&raw mut SENDER_METHODS).cast(),
            tp_getset: (&raw mut SENDER_ATTRIBUTES).cast(),
            tp_as_number: &raw mut NUMBER,
            tp_as_sequence: &raw mut SENDER_SEQUENCE,
            tp_repr: Some(sender_repr),
            ..prototype
        }
    };
    &raw mut TYPE
}

/// The type `Receiver`.
pub fn receiver_type() -> Type {
    static mut TYPE: ffi::PyTypeObject = {
        let prototype = static_type::prototype::<Receiver<Reference>>();
        ffi::PyTypeObject {
            tp_name: c"immutable.Receiver".as_ptr(),
            tp_doc: RECEIVER_DOC.as_ptr(),
            tp_flags: prototype.tp_flags | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION as std::ffi::c_ulong,
            tp_methods: (&raw mut RECEIVER_METHODS).cast(),
            tp_getset: (&raw mut RECEIVER_ATTRIBUTES).cast(),
            tp_as_number: &raw mut NUMBER,
            tp_as_sequence: &raw mut RECEIVER_SEQUENCE,
            tp_iter: Some(iterate),
            tp_iternext: Some(next),
            tp_repr: Some(receiver_repr),
            ..prototype
        }
    };
    &raw mut TYPE
}

/// Adds the functions to the module. False with a Python exception.
///
/// # Safety
/// The caller holds the GIL; `module` is the `_immutable` module being made.
pub unsafe fn add_functions(module: Object) -> bool {
    static mut FUNCTIONS: [ffi::PyMethodDef; 3] = [
        method(c"channel", new_channel as *const c_void, ffi::METH_VARARGS | ffi::METH_KEYWORDS, CHANNEL_DOC),
        method(c"select", select as *const c_void, KEYWORDS, SELECT_DOC),
        LAST_METHOD,
    ];
    // SAFETY: the caller's; CPython only reads the table.
    unsafe { ffi::PyModule_AddFunctions(module, (&raw mut FUNCTIONS).cast()) == 0 }
}
