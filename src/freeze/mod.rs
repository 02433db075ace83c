//! Freezing a graph: roots in, plan built, plan committed.
//!
//! [`explore`] walks everything that the roots reach and finds the strongly connected components on the way. The
//! [`plan::Plan`] that it returns counts the internal edges of the components, and then commits, or rolls back. Both
//! are generic over a [`heap::Heap`], so that tests and benches run them without CPython.

#[cfg(feature = "cpython")]
pub mod detach;
pub mod explore;
#[cfg(feature = "cpython")]
pub mod graph;
pub mod heap;
#[cfg(feature = "cpython")]
pub mod isolation;
#[cfg(feature = "cpython")]
pub mod path;
pub mod plan;
#[cfg(feature = "cpython")]
pub mod prepare;
#[cfg(feature = "cpython")]
pub mod report;
#[cfg(feature = "cpython")]
pub mod run;
#[cfg(feature = "cpython")]
pub mod weak;
pub mod work;
