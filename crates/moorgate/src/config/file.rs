//! The gateway's file: TOML to given values, each with its line.

use std::{collections::HashMap, fs, ops::Range, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{ConfigError, Place, Wanted},
    given::{Given, Value},
    keys::{self, Key, Kind},
};

/// Reads `path`. Later versions' keys are refused unless they say "none".
pub(super) fn read(path: &Path) -> Result<HashMap<Key, Given>, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
    parse(path, &text)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<HashMap<Key, Given>, ConfigError> {
    let file = File { path, text };
    let root = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        place: file.place(error.span().unwrap_or_default()),
        message: error.message().into(),
    })?;
    let mut found = Vec::new();
    for (name, value) in root.get_ref() {
        match value.get_ref() {
            DeValue::Table(table) if keys::is_section(name.get_ref()) || keys::find("", name.get_ref()).is_none() => {
                file.section(name, table, &mut found);
            }
            _ => found.push(file.key("", name, value)),
        }
    }
    // The parser sorts by name; people read from the top.
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, found)| found).collect()
}

type Found = (usize, Result<(Key, Given), ConfigError>);

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        let before = self.text.as_bytes().iter().take(span.start);
        Place::File { path: self.path.into(), line: before.filter(|byte| **byte == b'\n').count() + 1 }
    }

    fn section(&self, name: &Spanned<std::borrow::Cow<'_, str>>, table: &DeTable<'_>, found: &mut Vec<Found>) {
        let section = name.get_ref();
        if table.is_empty() && !keys::is_section(section) {
            let unknown = ConfigError::Unknown {
                place: self.place(name.span()),
                what: "section",
                written: format!("[{section}]").into(),
                nearest: format!("[{}]", keys::nearest_section(section)).into(),
            };
            found.push((name.span().start, Err(unknown)));
        }
        found.extend(table.iter().map(|(name, value)| self.key(section, name, value)));
    }

    fn key(&self, section: &str, name: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>) -> Found {
        let place = self.place(name.span());
        let result = match keys::find(section, name.get_ref()) {
            None => Err(self.unknown(section, name.get_ref(), place)),
            Some(key) => {
                let value = convert(value.get_ref());
                if key.kind == Kind::Later && !value.is_none() {
                    Err(ConfigError::Later { place, key: key.dotted().into() })
                } else {
                    Ok((key, Given { place, value }))
                }
            }
        };
        (name.span().start, result)
    }

    fn unknown(&self, section: &str, name: &str, place: Place) -> ConfigError {
        if section.is_empty() && keys::is_section(name) {
            let wanted = Wanted::Section(name.into());
            return ConfigError::Wrong { place, key: name.into(), value: "a single value".into(), wanted };
        }
        if section == "cluster" {
            return ConfigError::Later { place, key: format!("cluster.{name}").into() };
        }
        let written = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
        let nearest = keys::nearest_key(section, name).into();
        ConfigError::Unknown { place, what: "key", written: written.into(), nearest }
    }
}

fn convert(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Integer(number) if number.radix() == 10 => Value::Integer(number.as_str().to_owned()),
        DeValue::Integer(number) => Value::Odd(number.to_string()),
        DeValue::Float(number) => Value::Odd(number.to_string()),
        DeValue::Datetime(time) => Value::Odd(time.to_string()),
        DeValue::Array(members) => Value::List(members.iter().map(|member| convert(member.get_ref())).collect()),
        DeValue::Table(_) => Value::Odd("a section".to_owned()),
    }
}
