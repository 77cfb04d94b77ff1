//! What earlier work taught us.
