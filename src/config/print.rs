//! The configuration as it is in effect.

use toml::Value;

use super::load::{Effective, Origin};
use super::{DEFAULTS, check};

impl Effective {
    /// TOML in the order of `config.toml`, a comment behind what is not a default saying where it
    /// came from. Secrets are `"***"`.
    pub fn print(&self) -> String {
        let mut section = "";
        let mut printed = String::new();
        for line in DEFAULTS.lines() {
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                if !section.is_empty() {
                    printed.push('\n');
                }
                section = name;
                printed.push_str(line);
                printed.push('\n');
            } else if let Some((key, _)) = line.split_once(" = ") {
                printed.push_str(&self.print_setting(section, key));
            }
        }
        printed
    }

    /// Empty for what is no setting, such as a comment with an equals sign.
    fn print_setting(&self, section: &str, key: &str) -> String {
        let name = format!("{section}.{key}");
        let Some(setting) = self.settings.get(&name) else {
            return String::new();
        };
        let is_hidden = check::is_secret(&name) && setting.value.as_str() != Some("");
        let value = if is_hidden {
            Value::String("***".to_owned()).to_string()
        } else {
            setting.value.to_string()
        };
        match &setting.origin {
            Origin::Default => format!("{key} = {value}\n"),
            origin => format!("{key} = {value} # from {origin}\n"),
        }
    }
}
