//! What a connection costs in things that can be counted, so that a change which makes it dearer is seen whatever the
//! machine's mood: allocations, and bytes of an idle tunnel. Bounds, a little above what is needed today; system calls
//! are counted beside them in `front_door`, on the real program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod heap;
mod house;
