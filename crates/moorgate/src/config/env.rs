//! The environment: one variable for each key, and `…_FILE` for secrets.

use std::{collections::HashMap, fs};

use super::{
    error::{ConfigError, Place},
    given::{Given, Value},
    keys::{KEYS, Key, Kind},
};

/// Every key that is set in the environment. A variable that is no key's name is never looked at.
pub(super) fn read(env: &dyn Fn(&str) -> Option<String>) -> Result<HashMap<Key, Given>, ConfigError> {
    let mut found = HashMap::new();
    for key in KEYS {
        let variable = key.variable();
        let plain = env(&variable);
        let value = match (key.kind, plain) {
            (Kind::Secret, plain) => secret(&variable, plain, env(&format!("{variable}_FILE")))?,
            (Kind::Later, Some(value)) if !value.trim().is_empty() => {
                return Err(ConfigError::Later { place: Place::Env { variable }, key: key.dotted().into() });
            }
            (Kind::List, plain) => plain,
            (Kind::Plain | Kind::Hidden | Kind::Later, plain) => plain.filter(|value| !value.trim().is_empty()),
        };
        if let Some(value) = value {
            found.insert(*key, Given { place: Place::Env { variable }, value: Value::Variable(value) });
        }
    }
    Ok(found)
}

fn secret(variable: &str, plain: Option<String>, path: Option<String>) -> Result<Option<String>, ConfigError> {
    let (plain, path) = (plain.filter(|value| !value.is_empty()), path.filter(|path| !path.is_empty()));
    match (plain, path) {
        (Some(_), Some(_)) => Err(ConfigError::TwoSecrets { variable: variable.into() }),
        (plain, None) => Ok(plain),
        (None, Some(path)) => match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(source) => {
                let variable = format!("{variable}_FILE").into();
                Err(ConfigError::SecretUnreadable { variable, path: path.into(), source })
            }
        },
    }
}
