//! The pages behind the set-up link. They need no script and load nothing.

use std::fmt::Write as _;

use crate::domain::problem::Problem;

/// What was filled in before; never the password.
#[derive(Default)]
pub(super) struct Filled<'a> {
    pub(super) token: &'a str,
    pub(super) organization_name: &'a str,
    pub(super) first_name: &'a str,
    pub(super) last_name: &'a str,
    pub(super) email: &'a str,
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;color:#1a1f36;background:#f6f8fa;margin:0}\
main{max-width:26rem;margin:3rem auto;padding:2rem;background:#fff;border-radius:8px;\
box-shadow:0 1px 4px rgba(0,0,0,.12)}h1{font-size:1.4rem;margin:0 0 1rem}\
label{display:block;margin:0 0 1rem;font-size:.9rem}\
input{display:block;box-sizing:border-box;width:100%;margin-top:.25rem;padding:.6rem;font:inherit;\
border:1px solid #c9d0da;border-radius:6px}\
button{width:100%;padding:.7rem;font:inherit;font-weight:600;color:#fff;background:#4f46e5;border:0;\
border-radius:6px}em{display:block;font-style:normal;color:#b42318}";

/// The form, with what is wrong beside its field.
pub(super) fn form(filled: &Filled<'_>, problems: &[Problem]) -> String {
    let mut fields = String::new();
    let inputs = [
        (
            "organization_name",
            "Organization",
            "text",
            "organization",
            filled.organization_name,
        ),
        (
            "first_name",
            "Your first name",
            "text",
            "given-name",
            filled.first_name,
        ),
        (
            "last_name",
            "Your last name",
            "text",
            "family-name",
            filled.last_name,
        ),
        ("email", "E-mail address", "email", "username", filled.email),
        (
            "password",
            "Password (12 characters or more)",
            "password",
            "new-password",
            "",
        ),
    ];
    for (name, label, kind, autocomplete, value) in inputs {
        let problem = problems.iter().find(|problem| problem.param == name);
        let problem =
            problem.map_or_else(String::new, |p| format!("<em>{}</em>", escape(&p.detail)));
        // Writing into a String can't fail.
        let _ = write!(
            fields,
            "<label>{label}<input name=\"{name}\" type=\"{kind}\" autocomplete=\"{autocomplete}\" \
             value=\"{}\" required>{problem}</label>",
            escape(value)
        );
    }
    page(
        "Set up Faktor",
        &format!(
            "<p>This makes your organization and its first administrator.</p>\
             <form method=\"post\" action=\"/setup\">\
             <input type=\"hidden\" name=\"token\" value=\"{}\">{fields}\
             <button>Set up</button></form>",
            escape(filled.token)
        ),
    )
}

pub(super) fn done(organization_name: &str) -> String {
    let text = format!(
        "<p>{} is set up. Sign in with <code>POST /v1/auth/token</code>; \
         <a href=\"/docs\">the documentation</a> shows how.</p>",
        escape(organization_name)
    );
    page("All set", &text)
}

pub(super) fn closed() -> String {
    page(
        "This link leads nowhere",
        "<p>It was used, or it is not the one that Faktor printed when it started.</p>",
    )
}

fn page(title: &str, content: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1>{content}</main></body></html>"
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
