//! YAML: reading (expression reference, section 15.2) and writing (section 12.4).

mod read;
mod scalar;
mod write;

pub(crate) use read::parse;
pub(crate) use write::to_text;
