//! Being built.

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {}
