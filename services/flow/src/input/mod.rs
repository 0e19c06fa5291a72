//! Inputs of a flow: what they are, and how what a caller gives becomes their values (flow model reference 2, 1.x
//! reference 2).

mod convert;
mod model;
mod nest;
mod pattern;
mod resolve;
mod secret;

pub(crate) use convert::{convert_output, literal_problem};
pub use model::{Bounds, DependsOn, Input, InputKind, InputType, Select};
pub(crate) use nest::nest;
pub use pattern::Pattern;
pub use resolve::{InputError, InputsError, ResolvedInputs, fill_defaults, resolve_inputs};
pub use secret::{open_inputs, resume_inputs, seal_given, sealed_inputs, secret_inputs, texts_of_secrets};
