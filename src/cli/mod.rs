//! What a person types and sees: the only room that touches the terminal.
