use std::path::Path;

use super::*;

const NOWHERE: &str = "/nonexistent";

fn load(environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::load(None, Path::new(NOWHERE), owned(environment))
}

fn owned(environment: &[(&str, &str)]) -> Vec<(String, String)> {
    environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn load_file(text: &str, environment: &[(&str, &str)]) -> Result<Effective, ConfigErrors> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.toml"), text).unwrap();
    Effective::load(None, directory.path(), owned(environment))
}

fn problems(loaded: Result<impl Sized, ConfigErrors>) -> Vec<(String, String)> {
    let errors = loaded.err().map_or_else(Vec::new, |errors| errors.0);
    errors
        .into_iter()
        .map(|error| (error.key, error.problem))
        .collect()
}

#[test]
fn the_documented_file_is_the_default_and_every_key_is_explained() {
    let config = Config::defaults().unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:3300");
    assert_eq!(config.payments.provider, PaymentProvider::Sandbox);
    assert_eq!(config.log.format, LogFormat::Auto);
    // A comment stands above each key, or above the first of keys that go together.
    let mut above = "";
    for line in DEFAULTS.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(
                !above.is_empty() && !above.starts_with('['),
                "no comment above {line}"
            );
        }
        above = line;
    }
}

#[test]
fn laying_the_documented_file_over_the_defaults_changes_nothing() {
    let same = load_file(DEFAULTS, &[]).unwrap();
    assert_eq!(
        format!("{:?}", same.config),
        format!("{:?}", Config::defaults().unwrap())
    );
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_defaults() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\npublic_url = \"http://file.example\"\n";
    let loaded = load_file(file, &[("FAKTOR__SERVER__LISTEN", "127.0.0.1:2")])
        .unwrap()
        .config;
    assert_eq!(loaded.server.listen.port(), 2);
    assert_eq!(loaded.server.public_url, "http://file.example");
    assert_eq!(loaded.server.request_timeout_s, 30);
}

#[test]
fn variables_are_read_as_what_the_setting_is() {
    let config = load(&[
        ("FAKTOR__EFFECTS__MAX_ATTEMPTS", " 3 "),
        (
            "FAKTOR__SERVER__ALLOWED_ORIGINS",
            "https://a.example, http://b.example:8080",
        ),
        ("FAKTOR__LOG__FORMAT", "json"),
        ("FAKTOR__STORAGE__DATA_DIR", "123"),
        ("FAKTOR__SERVER__PUBLIC_URL", ""),
        // None of ours.
        ("FAKTOR_ADMIN_EMAIL", "ada@x.example"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    assert_eq!(config.effects.max_attempts, 3);
    assert_eq!(
        config.server.allowed_origins,
        ["https://a.example", "http://b.example:8080"]
    );
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.storage.data_dir, Path::new("123"));
}

#[test]
fn every_problem_is_reported_at_once_with_its_key_value_and_what_is_allowed() {
    let file =
        "[server]\nlisten = 3300\nportt = 1\n[effects]\nmax_attempts = 0\n[nonsense]\na = 1\n";
    let found = problems(load_file(file, &[("FAKTOR__LOG__FORMAT", "xml")]));
    let expected = [
        ("nonsense.a", "there is no such setting"),
        ("server.portt", "there is no such setting"),
        (
            "effects.max_attempts",
            "0 is not allowed; expected a whole number from 1 to 100",
        ),
        (
            "log.format",
            "\"xml\" is not allowed; expected one of auto, human, json",
        ),
        (
            "server.listen",
            "3300 is not allowed; expected an address and port such as",
        ),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((key, problem), (expected_key, expected_problem)) in found.iter().zip(expected) {
        assert_eq!(key, expected_key);
        assert!(problem.starts_with(expected_problem), "{key}: {problem}");
    }
    let shown = load(&[("FAKTOR__LOG__FORMAT", "xml")])
        .unwrap_err()
        .to_string();
    assert_eq!(
        shown,
        "the configuration has 1 problem:\n  log.format: \"xml\" is not allowed; expected one of \
         auto, human, json (from FAKTOR__LOG__FORMAT)"
    );
}

#[test]
fn an_unknown_key_suggests_the_nearest_one() {
    for (name, nearest) in [
        ("FAKTOR__SERVER__LISTENN", "server.listen"),
        ("FAKTOR__MAIL__FORM", "mail.from"),
        ("FAKTOR__PAYMENT__TIMEOUT_MS", "payments.timeout_ms"),
        (
            "FAKTOR__PAYMENTS__WEBHOOK_SECRETFILE",
            "payments.webhook_secret",
        ),
    ] {
        let found = problems(load(&[(name, "x")]));
        let suggestion = format!("there is no such setting; did you mean {nearest}?");
        assert_eq!(found[0].1, suggestion, "{name}");
    }
    for name in [
        "FAKTOR__",
        "FAKTOR__SERVER",
        "FAKTOR__SERVER__LISTEN__X",
        "FAKTOR__LOG__FILTER_FILE",
    ] {
        assert_eq!(problems(load(&[(name, "x")])).len(), 1, "{name}");
    }
}

#[test]
fn what_a_setting_may_not_be_is_refused() {
    for (name, values) in [
        (
            "SERVER__LISTEN",
            &["", "3300", "localhost", "127.0.0.1", "127.0.0.1:70000"][..],
        ),
        (
            "SERVER__PUBLIC_URL",
            &[
                "faktor.example",
                "ftp://x",
                "http://",
                "http://x/?a",
                "http://x/#a",
            ],
        ),
        (
            "SERVER__PUBLIC_URL",
            &["http://user:word@x", "javascript:alert(1)"],
        ),
        (
            "SERVER__ALLOWED_ORIGINS",
            &["*", "https://a.example/", "https://a.example,b"],
        ),
        (
            "SERVER__REQUEST_TIMEOUT_S",
            &["0", "-1", "601", "1.5", "1s", "99999999999999999999"],
        ),
        ("STORAGE__DATA_DIR", &[""]),
        (
            "MAIL__FROM",
            &[
                "",
                "nobody",
                "a@x.example, b@x.example",
                "Ada <a@x.example>",
            ],
        ),
        ("MAIL__FROM_NAME", &["a\nb"]),
        ("PAYMENTS__PROVIDER", &["paypal", "Sandbox"]),
        ("AUTH__CACHE_TTL_S", &["6"]),
        ("LOG__FILTER", &["", "faktor=loud"]),
    ] {
        for value in values {
            let found = problems(load(&[(&format!("FAKTOR__{name}"), value)]));
            let key = name.to_ascii_lowercase().replace("__", ".");
            assert_eq!(
                found.first().map(|(key, _)| key),
                Some(&key),
                "{name}={value}: {found:?}"
            );
        }
    }
}

#[test]
fn settings_that_do_not_fit_each_other_are_refused() {
    let found = problems(load(&[
        ("FAKTOR__EFFECTS__FIRST_DELAY_MS", "5000"),
        ("FAKTOR__EFFECTS__MAX_DELAY_MS", "1000"),
        ("FAKTOR__AUTH__REFRESH_TOKEN_TTL_S", "10"),
    ]));
    let keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["effects.first_delay_ms", "auth.access_token_ttl_s"]);
    assert_eq!(
        found[0].1,
        "5000 is more than effects.max_delay_ms, which is 1000"
    );
}

#[test]
fn a_secret_can_be_read_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    let name = "FAKTOR__PAYMENTS__WEBHOOK_SECRET_FILE";
    let config = load(&[(name, path.to_str().unwrap())]).unwrap();
    assert_eq!(config.payments.webhook_secret.expose(), "0123456789abcdef");
    let file = format!(
        "[payments]\nwebhook_secret_file = {:?}\n",
        path.to_str().unwrap()
    );
    let config = load_file(&file, &[]).unwrap().config;
    assert_eq!(config.payments.webhook_secret.expose(), "0123456789abcdef");
    let missing = problems(load(&[(name, "/nonexistent/secret")]));
    assert_eq!(missing[0].0, "payments.webhook_secret_file");
}

#[test]
fn a_secret_is_never_shown() {
    let secret = "hush-hush-hush-hush";
    let environment = [("FAKTOR__PAYMENTS__WEBHOOK_SECRET", secret)];
    let effective = Effective::load(None, Path::new(NOWHERE), owned(&environment)).unwrap();
    let shown = format!("{:?} {}", effective.config, effective.print());
    assert!(!shown.contains(secret));
    assert!(
        effective
            .print()
            .contains("webhook_secret = \"***\" # from FAKTOR__PAYMENTS__")
    );
    let short = load(&[("FAKTOR__PAYMENTS__WEBHOOK_SECRET", "hush-hush")]).unwrap_err();
    assert!(!short.to_string().contains("hush"), "{short}");
    // Nor by the parser, which would quote the line.
    let broken = load_file("[payments]\nwebhook_secret = \"hush-hush\n", &[]).unwrap_err();
    assert!(!broken.to_string().contains("hush"), "{broken}");
    assert!(broken.to_string().contains("line 2"), "{broken}");
    let number = load_file("[payments]\nwebhook_secret = 1234\n", &[]).unwrap_err();
    assert!(!number.to_string().contains("1234"), "{number}");
}

#[test]
fn a_named_file_must_be_there_and_a_usual_one_need_not() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Config::load(None, directory.path(), []).is_ok());
    let named = directory.path().join("mine.toml");
    let missing = problems(Config::load(Some(&named), directory.path(), []));
    assert_eq!(missing[0].0, named.display().to_string());
    // The named one is read instead of the usual one.
    std::fs::write(directory.path().join("config.toml"), "nonsense").unwrap();
    std::fs::write(&named, "[log]\nfilter = \"warn\"\n").unwrap();
    let config = Config::load(Some(&named), directory.path(), []).unwrap();
    assert_eq!(config.log.filter, "warn");
}

#[test]
fn what_is_printed_can_be_loaded_and_says_where_it_came_from() {
    let environment = [("FAKTOR__ACTORS__IDLE_AFTER_S", "7")];
    let effective = load_file("[mail]\nfrom_name = 'A \"B\"'\n", &environment).unwrap();
    let printed = effective.print();
    assert!(printed.contains("idle_after_s = 7 # from FAKTOR__ACTORS__IDLE_AFTER_S\n"));
    assert!(
        printed
            .lines()
            .any(|line| line.starts_with("from_name") && line.contains("config.toml"))
    );
    let again = load_file(&printed, &[]).unwrap();
    assert_eq!(
        format!("{:?}", again.config),
        format!("{:?}", effective.config)
    );
}

#[test]
fn stripe_needs_its_key_and_its_webhook_secret() {
    let with = |more: &[(&str, &str)]| {
        let mut given = vec![("FAKTOR__PAYMENTS__PROVIDER", "stripe")];
        given.extend_from_slice(more);
        let found = problems(load(&given));
        found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    let key = ("FAKTOR__PAYMENTS__SECRET_KEY", "sk_test_0123456789abcdef");
    let secret = ("FAKTOR__PAYMENTS__WEBHOOK_SECRET", "whsec_0123456789abcdef");
    assert_eq!(
        with(&[]),
        ["payments.secret_key", "payments.webhook_secret"]
    );
    assert_eq!(with(&[key]), ["payments.webhook_secret"]);
    assert_eq!(with(&[secret]), ["payments.secret_key"]);
    assert!(with(&[key, secret]).is_empty());
}

#[test]
fn nodes_that_others_reach_need_an_address_a_secret_and_a_database_to_share() {
    let with = |more: &[(&str, &str)]| {
        let found = problems(load(more));
        found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    let everywhere = ("FAKTOR__CLUSTER__LISTEN", "0.0.0.0:3400");
    assert_eq!(
        with(&[everywhere]),
        ["cluster.advertise", "cluster.cookie", "storage.relational"]
    );
    let advertise = ("FAKTOR__CLUSTER__ADVERTISE", "node-1.internal:3400");
    let cookie = ("FAKTOR__CLUSTER__COOKIE", "a secret of all nodes");
    let relational = ("FAKTOR__STORAGE__RELATIONAL", "postgres://db/faktor");
    assert!(with(&[everywhere, advertise, cookie, relational]).is_empty());
    assert!(with(&[("FAKTOR__CLUSTER__LISTEN", "127.0.0.1:0")]).is_empty());
    let key = ("FAKTOR__CLUSTER__TLS_KEY", "node.key");
    assert_eq!(
        with(&[("FAKTOR__CLUSTER__LISTEN", "127.0.0.1:0"), key]),
        ["cluster.tls_cert", "cluster.tls_ca"]
    );
    assert_eq!(
        with(&[("FAKTOR__CLUSTER__LISTEN", "3400")]),
        ["cluster.listen"]
    );
    assert_eq!(
        with(&[("FAKTOR__CLUSTER__ADVERTISE", "node-1")]),
        ["cluster.advertise"]
    );
}
