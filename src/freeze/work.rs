//! A stack of words that grows without moving, fails without aborting, and gives memory back as it shrinks.
//!
//! A `Vec` that doubles holds its words twice while it moves, which alone would break the budget of a freeze (24 bytes
//! of bookkeeping per object). This stack is a list of segments:
//!
//! ```text
//!   first                                    last
//!   [ words 128 ] <-> [ words 256 ] <-> ... [ words 32768 | free ]     spare: one empty segment, or none
//! ```
//!
//! All segments but the last are full; the last may be empty. One segment that was left is kept, so that a stack that moves
//! to and fro over a boundary does not allocate each time.

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use crate::object::memory::{self, OutOfMemory};

const FIRST_CAPACITY: usize = 128 - HEADER_WORDS;
const MAX_CAPACITY: usize = 32 * 1024 - HEADER_WORDS;
const HEADER_WORDS: usize = 3;

#[repr(C)]
struct Segment {
    previous: *mut Segment,
    next: *mut Segment,
    capacity: usize,
    words: [usize; 0],
}

impl Segment {
    fn layout(capacity: usize) -> Option<Layout> {
        Layout::array::<usize>(HEADER_WORDS + capacity).ok()
    }

    /// # Safety
    /// `segment` is valid.
    #[inline]
    unsafe fn words(segment: *mut Segment) -> *mut usize {
        // SAFETY: by the caller; the pointer is derived from the whole segment.
        unsafe { (&raw mut (*segment).words).cast() }
    }

    /// # Safety
    /// `segment` came from the global allocator with its own layout and is not used any more. It may be null.
    unsafe fn release(segment: *mut Segment) {
        let Some(block) = NonNull::new(segment) else { return };
        // SAFETY: by the caller; the layout was computed when it was made, so it is `Some` again.
        unsafe {
            if let Some(layout) = Self::layout((*segment).capacity) {
                memory::release(block.cast(), layout);
            }
        }
    }
}

/// A stack of words.
///
/// Not shared between threads.
pub struct WordStack {
    /// The next free slot of the last segment. The three pointers are null, and equal, while there is no segment.
    top: *mut usize,
    /// The first slot of the last segment.
    base: *mut usize,
    /// The end of the last segment.
    end: *mut usize,
    first: *mut Segment,
    last: *mut Segment,
    spare: *mut Segment,
    /// Words in the full segments before the last one.
    below: usize,
    /// Bytes of all segments, the spare one included, and the most there ever were.
    bytes: usize,
    peak_bytes: usize,
}

impl WordStack {
    /// Returns an empty stack, which takes no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            top: ptr::null_mut(),
            base: ptr::null_mut(),
            end: ptr::null_mut(),
            first: ptr::null_mut(),
            last: ptr::null_mut(),
            spare: ptr::null_mut(),
            below: 0,
            bytes: 0,
            peak_bytes: 0,
        }
    }

    /// Returns the number of words.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.below + self.in_last()
    }

    /// Returns whether there is no word.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.top == self.base && self.below == 0
    }

    /// Returns the bytes that the stack takes from the allocator now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the most bytes that the stack ever took.
    #[must_use]
    pub fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }

    /// Makes sure that the next [`WordStack::push_reserved`] has a slot.
    ///
    /// # Errors
    /// [`OutOfMemory`]: the stack is as it was.
    #[inline]
    pub fn reserve(&mut self) -> Result<(), OutOfMemory> {
        if self.top == self.end { self.grow() } else { Ok(()) }
    }

    /// Pushes a word into the slot that [`WordStack::reserve`] made sure of.
    ///
    /// # Safety
    /// `reserve` succeeded after the last push and the last pop.
    #[inline]
    pub unsafe fn push_reserved(&mut self, word: usize) {
        debug_assert!(self.top != self.end);
        // SAFETY: by the caller `top` is a slot of the last segment.
        unsafe {
            self.top.write(word);
            self.top = self.top.add(1);
        }
    }

    /// Pushes a word.
    ///
    /// # Errors
    /// [`OutOfMemory`]: the stack is as it was.
    #[inline]
    pub fn push(&mut self, word: usize) -> Result<(), OutOfMemory> {
        self.reserve()?;
        // SAFETY: just reserved.
        unsafe { self.push_reserved(word) };
        Ok(())
    }

    /// Pushes a word if that takes no memory. Returns whether it did.
    #[inline(always)]
    pub fn push_if_room(&mut self, word: usize) -> bool {
        if self.top == self.end {
            return false;
        }
        // SAFETY: there is a free slot.
        unsafe { self.push_reserved(word) };
        true
    }

    /// Removes the last word and returns it.
    #[inline]
    pub fn pop(&mut self) -> Option<usize> {
        if self.top == self.base && !self.shrink() {
            return None;
        }
        // SAFETY: `top` is above `base`, so the slot below it holds a word.
        unsafe {
            self.top = self.top.sub(1);
            Some(self.top.read())
        }
    }

    /// Returns the word that is `depth` words below the last one, if it lies in the last segment.
    ///
    /// For prefetching: a miss at a segment's boundary costs nothing but time.
    #[inline]
    #[must_use]
    pub fn peek(&self, depth: usize) -> Option<usize> {
        if depth < self.in_last() {
            // SAFETY: there are more than `depth` words between `base` and `top`.
            Some(unsafe { self.top.sub(depth + 1).read() })
        } else {
            None
        }
    }

    /// Returns the words, the oldest first.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> Words<'_> {
        Words { stack: self, segment: self.first, next: ptr::null(), left_here: 0, started: false }
    }

    /// Returns how many words at the end of the stack satisfy `holds`, up to the first that does not.
    pub fn count_last_while(&self, mut holds: impl FnMut(usize) -> bool) -> usize {
        let mut count = 0;
        let (mut segment, mut slot) = (self.last, self.top);
        while !segment.is_null() {
            // SAFETY: `segment` is in the list, and its words from the first one up to `slot` are initialised.
            unsafe {
                let base = Segment::words(segment);
                while slot != base {
                    slot = slot.sub(1);
                    if !holds(slot.read()) {
                        return count;
                    }
                    count += 1;
                }
                segment = (*segment).previous;
                if !segment.is_null() {
                    slot = Segment::words(segment).add((*segment).capacity);
                }
            }
        }
        count
    }

    #[inline]
    fn in_last(&self) -> usize {
        (self.top as usize - self.base as usize) / size_of::<usize>()
    }

    /// Adds a segment after the last one, which is full (or there is none).
    #[cold]
    fn grow(&mut self) -> Result<(), OutOfMemory> {
        let mut segment = core::mem::replace(&mut self.spare, ptr::null_mut());
        if segment.is_null() {
            let capacity = if self.last.is_null() {
                FIRST_CAPACITY
            } else {
                // SAFETY: `last` is valid.
                let last = unsafe { (*self.last).capacity };
                ((last + HEADER_WORDS) * 2 - HEADER_WORDS).min(MAX_CAPACITY)
            };
            let layout = Segment::layout(capacity).ok_or(OutOfMemory)?;
            segment = memory::allocate(layout).ok_or(OutOfMemory)?.as_ptr().cast();
            // SAFETY: `segment` is fresh memory, large enough for the header and the words.
            unsafe { (*segment).capacity = capacity };
            self.bytes += layout.size();
            self.peak_bytes = self.peak_bytes.max(self.bytes);
        }
        self.below += self.in_last();
        // SAFETY: `segment` is ours and in no list; `last` is valid unless it is null.
        unsafe {
            (*segment).previous = self.last;
            (*segment).next = ptr::null_mut();
            if self.last.is_null() {
                self.first = segment;
            } else {
                (*self.last).next = segment;
            }
            self.base = Segment::words(segment);
            self.end = self.base.add((*segment).capacity);
        }
        self.top = self.base;
        self.last = segment;
        Ok(())
    }

    /// Leaves the last segment, which is empty, for the full one before it. Returns whether there is one.
    #[cold]
    fn shrink(&mut self) -> bool {
        if self.below == 0 {
            return false;
        }
        // SAFETY: there are words below the last segment, so there is a segment before it.
        unsafe {
            let previous = (*self.last).previous;
            if !self.spare.is_null() {
                self.bytes -= (HEADER_WORDS + (*self.spare).capacity) * size_of::<usize>();
                Segment::release(self.spare);
            }
            self.spare = self.last;
            (*previous).next = ptr::null_mut();
            self.last = previous;
            self.base = Segment::words(previous);
            self.end = self.base.add((*previous).capacity);
            self.top = self.end;
            self.below -= (*previous).capacity;
        }
        true
    }
}

impl Default for WordStack {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for WordStack {
    fn drop(&mut self) {
        let mut segment = self.first;
        // SAFETY: the list and the spare segment are ours, and nobody can use them any more.
        unsafe {
            Segment::release(self.spare);
            while !segment.is_null() {
                let next = (*segment).next;
                Segment::release(segment);
                segment = next;
            }
        }
    }
}

/// The words of a stack, the oldest first.
pub struct Words<'a> {
    stack: &'a WordStack,
    segment: *mut Segment,
    next: *const usize,
    left_here: usize,
    started: bool,
}

impl Words<'_> {
    /// Returns the word `ahead` words after the next one, if it lies in the same segment. For prefetching.
    #[inline]
    #[must_use]
    pub fn peek(&self, ahead: usize) -> Option<usize> {
        if ahead < self.left_here {
            // SAFETY: `next` is followed by `left_here` words of this segment, which the borrow keeps in place.
            Some(unsafe { self.next.add(ahead).read() })
        } else {
            None
        }
    }

    #[cold]
    fn enter_segment(&mut self) -> bool {
        // SAFETY: the borrow of the stack keeps the list as it is.
        unsafe {
            if self.started && !self.segment.is_null() {
                self.segment = (*self.segment).next;
            }
            self.started = true;
            if self.segment.is_null() {
                return false;
            }
            self.next = Segment::words(self.segment);
            self.left_here =
                if self.segment == self.stack.last { self.stack.in_last() } else { (*self.segment).capacity };
        }
        self.left_here != 0
    }
}

impl Iterator for Words<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.left_here == 0 && !self.enter_segment() {
            return None;
        }
        // SAFETY: `left_here` words of this segment follow `next`.
        let word = unsafe { self.next.read() };
        // SAFETY: one past a word of the segment is in it or at its end.
        self.next = unsafe { self.next.add(1) };
        self.left_here -= 1;
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::fault;

    #[test]
    fn a_stack_is_last_in_first_out_across_segments_and_iterates_oldest_first() {
        let mut stack = WordStack::new();
        assert_eq!(stack.pop(), None);
        for word in 0..100_000 {
            stack.push(word).unwrap();
            assert_eq!(stack.len(), word + 1);
        }
        assert!(stack.iter().eq(0..100_000));
        assert_eq!(stack.count_last_while(|word| word >= 10), 99_990);
        assert_eq!(stack.count_last_while(|_| true), 100_000);
        for word in (0..100_000).rev() {
            assert!(stack.peek(0).is_none_or(|last| last == word));
            assert_eq!(stack.pop(), Some(word));
            assert_eq!(stack.len(), word);
        }
        assert!(stack.is_empty());
        assert_eq!(stack.iter().next(), None);
    }

    #[test]
    fn a_stack_gives_memory_back_as_it_shrinks() {
        let mut stack = WordStack::new();
        for word in 0..1_000_000 {
            stack.push(word).unwrap();
        }
        assert!(stack.bytes() < 8 * 1_000_000 + 300_000);
        while stack.len() > 10 {
            stack.pop();
        }
        assert!(stack.bytes() < 10_000);
        assert!(stack.peak_bytes() >= 8 * 1_000_000);
    }

    #[test]
    fn room_that_is_reserved_and_not_used_hides_no_words() {
        let mut stack = WordStack::new();
        for word in 0..FIRST_CAPACITY {
            stack.push(word).unwrap();
        }
        stack.reserve().unwrap();
        assert_eq!((stack.len(), stack.is_empty()), (FIRST_CAPACITY, false));
        assert!(stack.iter().eq(0..FIRST_CAPACITY));
        assert_eq!(stack.count_last_while(|word| word > 0), FIRST_CAPACITY - 1);
        assert_eq!(stack.pop(), Some(FIRST_CAPACITY - 1));
    }

    #[test]
    fn a_stack_that_finds_no_memory_stays_as_it_was() {
        let mut stack = WordStack::new();
        fault::begin(3, usize::MAX);
        let mut pushed = 0;
        while stack.push(pushed).is_ok() {
            pushed += 1;
        }
        assert_eq!(fault::end(), 1);
        assert_eq!(pushed, FIRST_CAPACITY + 2 * FIRST_CAPACITY + HEADER_WORDS);
        assert!(stack.iter().eq(0..pushed));
        stack.push(pushed).unwrap();
        assert!(stack.iter().eq(0..=pushed));
    }
}
