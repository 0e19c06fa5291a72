//! Ion text: reading (expression reference, section 15.2) and writing (section 12.4).

mod lex;
mod read;
mod write;

pub(crate) use read::parse;
pub(crate) use write::to_text;
