//! `angzarr._native`: the engine and the front door for Python. Converts, detaches, calls the core,
//! maps the error.
#![forbid(unsafe_code)]

mod change;
mod convert;
mod door;
mod error;
mod inbox;
mod mailbox;
mod store;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    use super::{Bound, PyModule, PyModuleMethods, PyResult};

    #[pymodule_export]
    use crate::change::Change;
    #[pymodule_export]
    use crate::door::Door;
    #[pymodule_export]
    use crate::mailbox::Mailbox;
    #[pymodule_export]
    use crate::store::Store;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("FORMAT_VERSION", angzarr_core::FORMAT_VERSION)
    }
}
