//! What was spent, on what, and how well the prompt cache did.
