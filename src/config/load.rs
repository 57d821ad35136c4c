//! From the documented file, a file and the environment to a checked [`Config`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, DEFAULTS, check};

/// Variables that start with this are settings; all others are none of ours.
const PREFIX: &str = "FAKTOR__";
/// The file that is read, if it is there, when none is named.
const USUAL_FILE: &str = "config.toml";
/// Secrets can be read from a file: put its path into the key with this appended.
const FILE_SUFFIX: &str = "_file";
/// A larger file is no configuration, and no secret.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where a setting's value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the defaults"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong with the configuration, in words for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// As in `server.listen`; a file's path when the file itself is the problem.
    pub key: String,
    /// What was given and what is allowed. Shows no secret.
    pub problem: String,
    pub origin: Origin,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            problem,
            origin,
        } = self;
        write!(f, "{key}: {problem}")?;
        match origin {
            // The file itself is the problem, and named already.
            Origin::File(path) if path.display().to_string() == *key => Ok(()),
            _ => write!(f, " (from {origin})"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Everything that is wrong with the configuration, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let things = if count == 1 { "problem" } else { "problems" };
        write!(f, "the configuration has {count} {things}:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// A setting's value and its origin.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The configuration, with where each value came from.
#[derive(Debug)]
pub struct Effective {
    pub config: Config,
    /// By dotted key.
    pub(super) settings: BTreeMap<String, Setting>,
}

impl Config {
    /// The defaults alone.
    pub fn defaults() -> Result<Self, ConfigErrors> {
        let settings = defaults().map_err(|error| ConfigErrors(vec![error]))?;
        finish(&settings)
    }

    /// As [`Effective::load`], without the origins.
    pub fn load(
        named: Option<&Path>,
        here: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        Effective::load(named, here, environment).map(|effective| effective.config)
    }
}

impl Effective {
    /// Lays a file and the environment over the defaults and checks the result as a whole. The file
    /// is `named`, which must be there then, or `config.toml` in the directory `here`, which need
    /// not.
    pub fn load(
        named: Option<&Path>,
        here: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let settings = defaults().map_err(|error| ConfigErrors(vec![error]))?;
        let mut layers = Layers {
            settings,
            errors: Vec::new(),
        };
        let usual = here.join(USUAL_FILE);
        match named {
            Some(file) => layers.read_file(file),
            None if usual.is_file() => layers.read_file(&usual),
            None => {}
        }
        layers.read_environment(environment);
        for (key, setting) in &layers.settings {
            if let Err(problem) = check::value(key, &setting.value) {
                let origin = setting.origin.clone();
                layers.errors.push(ConfigError {
                    key: key.clone(),
                    problem,
                    origin,
                });
            }
        }
        if !layers.errors.is_empty() {
            return Err(ConfigErrors(layers.errors));
        }
        let config = finish(&layers.settings)?;
        Ok(Self {
            config,
            settings: layers.settings,
        })
    }
}

/// Settings so far, and what was wrong on the way.
struct Layers {
    settings: BTreeMap<String, Setting>,
    errors: Vec<ConfigError>,
}

impl Layers {
    fn read_file(&mut self, path: &Path) {
        let origin = Origin::File(path.to_owned());
        let (key, wrong) = (path.display().to_string(), |problem| {
            (problem, origin.clone())
        });
        let table = read_small(path).map_err(&wrong).and_then(|text| {
            text.parse::<Table>()
                .map_err(|error| wrong(syntax_problem(&text, &error)))
        });
        match table {
            Ok(table) => self.lay_table(&table, &origin),
            Err((problem, origin)) => self.errors.push(ConfigError {
                key,
                problem,
                origin,
            }),
        }
    }

    fn lay_table(&mut self, table: &Table, origin: &Origin) {
        for (section, value) in table {
            match value {
                Value::Table(keys) => {
                    for (key, value) in keys {
                        self.lay(&format!("{section}.{key}"), Given::Toml(value), origin);
                    }
                }
                _ => self.unknown(section, origin),
            }
        }
    }

    fn read_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let ours = environment.into_iter().filter_map(|(name, value)| {
            let key = name
                .strip_prefix(PREFIX)?
                .to_ascii_lowercase()
                .replace("__", ".");
            Some((key, name, value))
        });
        // Sorted, so that problems come in the same order every time.
        let ours: BTreeMap<_, _> = ours
            .map(|(key, name, value)| (key, (name, value)))
            .collect();
        for (key, (name, value)) in ours {
            self.lay(&key, Given::Text(&value), &Origin::Environment(name));
        }
    }

    /// Puts one value over what was there; what it may be is checked later, when all are there.
    fn lay(&mut self, key: &str, given: Given<'_>, origin: &Origin) {
        if let Some(setting) = self.settings.get_mut(key) {
            *setting = Setting {
                value: given.shaped_like(&setting.value),
                origin: origin.clone(),
            };
            return;
        }
        let secret = key
            .strip_suffix(FILE_SUFFIX)
            .filter(|key| check::is_secret(key));
        match secret.and_then(|secret| self.settings.get_mut(secret)) {
            Some(setting) => match given.read_named_file() {
                Ok(text) => {
                    let value = Value::String(text.trim_end().to_owned());
                    *setting = Setting {
                        value,
                        origin: origin.clone(),
                    };
                }
                Err(problem) => self.errors.push(ConfigError {
                    key: key.to_owned(),
                    problem,
                    origin: origin.clone(),
                }),
            },
            None => self.unknown(key, origin),
        }
    }

    fn unknown(&mut self, key: &str, origin: &Origin) {
        let nearest = self
            .settings
            .keys()
            .map(|known| (distance(key, known), known))
            .min()
            .filter(|(distance, known)| *distance <= known.len() / 2);
        let problem = match nearest {
            Some((_, known)) => format!("there is no such setting; did you mean {known}?"),
            None => "there is no such setting".to_owned(),
        };
        self.errors.push(ConfigError {
            key: key.to_owned(),
            problem,
            origin: origin.clone(),
        });
    }
}

/// A value as it was written.
#[derive(Clone, Copy)]
enum Given<'a> {
    Toml(&'a Value),
    /// A variable's text: what it means depends on the setting.
    Text(&'a str),
}

impl Given<'_> {
    /// Text is read as the kind of value that the default is; what can't be read so stays text, and
    /// the check refuses it by name.
    fn shaped_like(self, default: &Value) -> Value {
        let text = match self {
            Self::Toml(value) => return value.clone(),
            Self::Text(text) => text.trim(),
        };
        let as_it_is = || Value::String(text.to_owned());
        match default {
            Value::Integer(_) => text.parse().map_or_else(|_| as_it_is(), Value::Integer),
            Value::Boolean(_) => text.parse().map_or_else(|_| as_it_is(), Value::Boolean),
            Value::Array(_) => {
                let parts = text
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty());
                Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
            }
            _ => as_it_is(),
        }
    }

    /// The text of the file whose path was given.
    fn read_named_file(self) -> Result<String, String> {
        let path = match self {
            Self::Text(text) => text,
            Self::Toml(Value::String(text)) => text,
            Self::Toml(_) => return Err("expected the path of a file".to_owned()),
        };
        read_small(Path::new(path)).map_err(|problem| format!("{path}: {problem}"))
    }
}

fn defaults() -> Result<BTreeMap<String, Setting>, ConfigError> {
    let table: Table = DEFAULTS
        .parse()
        .map_err(|error: toml::de::Error| ConfigError {
            key: USUAL_FILE.to_owned(),
            problem: error.message().to_owned(),
            origin: Origin::Default,
        })?;
    let sections = table
        .into_iter()
        .filter_map(|(section, value)| match value {
            Value::Table(keys) => Some((section, keys)),
            _ => None,
        });
    Ok(sections
        .flat_map(|(section, keys)| {
            keys.into_iter()
                .map(move |(key, value)| (format!("{section}.{key}"), value))
        })
        .map(|(key, value)| {
            (
                key,
                Setting {
                    value,
                    origin: Origin::Default,
                },
            )
        })
        .collect())
}

fn finish(settings: &BTreeMap<String, Setting>) -> Result<Config, ConfigErrors> {
    let mut table = Table::new();
    for (key, setting) in settings {
        let Some((section, key)) = key.split_once('.') else {
            continue;
        };
        let section = table
            .entry(section)
            .or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(keys) = section {
            keys.insert(key.to_owned(), setting.value.clone());
        }
    }
    // Every value was checked by itself, so what is left are settings that don't fit each other.
    let config: Config = Value::Table(table)
        .try_into()
        .map_err(|error: toml::de::Error| {
            ConfigErrors(vec![ConfigError {
                key: USUAL_FILE.to_owned(),
                problem: error.message().to_owned(),
                origin: Origin::Default,
            }])
        })?;
    let misfits = check::together(&config);
    if misfits.is_empty() {
        return Ok(config);
    }
    let named = misfits.into_iter().map(|(key, problem)| {
        let origin = settings
            .get(key)
            .map_or(Origin::Default, |setting| setting.origin.clone());
        ConfigError {
            key: key.to_owned(),
            problem,
            origin,
        }
    });
    Err(ConfigErrors(named.collect()))
}

fn read_small(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path)
        .map_err(|error| error.to_string())?
        .len();
    if size > MAX_FILE_BYTES {
        return Err(format!(
            "the file has {size} bytes; allowed are {MAX_FILE_BYTES}"
        ));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// The parser's own text shows the line, which may hold a secret: only its number goes out.
fn syntax_problem(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    format!("line {line} is not TOML: {}", error.message())
}

/// Levenshtein's edit distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
