//! Places at which the crash tests end the process, as a power failure would.

/// Aborts a debug build when `FAKTOR_CRASH_AT` is `{step}:{what}`; a release build has no such
/// places.
#[cfg(debug_assertions)]
pub fn crash_point(step: &str, what: Option<&str>) {
    use std::sync::LazyLock;

    static CRASH_AT: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var("FAKTOR_CRASH_AT").ok());

    if let (Some(crash_at), Some(what)) = (CRASH_AT.as_deref(), what)
        && crash_at.split_once(':') == Some((step, what))
    {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub const fn crash_point(_: &str, _: Option<&str>) {}
