//! Members without a collector header, and so without room for the address of
//! their component: code objects whose constants lead back to them, and instances of C types
//! that do not support the collector and were registered as freezable all the same.
//!
//! They are few, and looked up only when a reference to one is taken or dropped.

use parking_lot::RwLock;
use std::collections::HashMap;
use std::ptr::NonNull;

use super::record::Record;
use crate::object::header::{Object, PyNode};
use crate::object::memory::OutOfMemory;

static RECORDS: RwLock<Option<HashMap<usize, usize>>> = RwLock::new(None);

/// Notes the components of members that are about to be committed: all of them, or none.
///
/// # Errors
/// [`OutOfMemory`].
pub fn insert<I>(members: I) -> Result<(), OutOfMemory>
where
    I: Iterator<Item = (Object, NonNull<Record<PyNode>>)> + Clone,
{
    let count = members.clone().count();
    if count == 0 {
        return Ok(());
    }
    let mut records = RECORDS.write();
    let records = records.get_or_insert_default();
    records.try_reserve(count)?;
    for (member, record) in members {
        records.insert(member.addr(), record.as_ptr().expose_provenance());
    }
    Ok(())
}

/// The component of a member.
pub fn find(member: Object) -> Option<NonNull<Record<PyNode>>> {
    let records = RECORDS.read();
    let address = *records.as_ref()?.get(&member.addr())?;
    NonNull::new(std::ptr::with_exposed_provenance_mut(address))
}

/// Forgets a member whose component is being torn down.
pub fn remove(member: Object) {
    if let Some(records) = RECORDS.write().as_mut() {
        records.remove(&member.addr());
    }
}
