//! The rules of the calculator, one example each.
