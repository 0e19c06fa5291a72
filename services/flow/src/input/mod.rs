//! Inputs of a flow: what they are, and how what a caller gives becomes their values (flow model reference 2, 1.x
//! reference 2).

mod convert;
mod model;
mod nest;
mod pattern;
mod resolve;

pub(crate) use convert::{convert_output, literal_problem};
pub use model::{Bounds, DependsOn, Input, InputKind, InputType, Select};
pub(crate) use nest::nest;
pub use pattern::Pattern;
pub use resolve::{InputError, InputsError, ResolvedInputs, fill_defaults, resolve_inputs};
