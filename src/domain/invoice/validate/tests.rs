//! Both sides of every rule.
