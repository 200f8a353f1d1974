//! A saved context of the `nats` CLI: `nats/context/NAME.json` below the configuration folder
//! (natscli, `internal/context`). What it holds that we cannot do is refused, not ignored.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::commands::environment::Environment;
use crate::commands::failure::Refusal;
use crate::commands::named;

/// What a context says; an empty text says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Context {
    /// Servers, separated by commas.
    #[serde(deserialize_with = "said")]
    pub(super) url: Option<String>,
    #[serde(deserialize_with = "said")]
    pub(super) user: Option<String>,
    #[serde(deserialize_with = "said")]
    pub(super) password: Option<String>,
    #[serde(deserialize_with = "said")]
    pub(super) token: Option<String>,
    #[serde(deserialize_with = "said")]
    pub(super) creds: Option<PathBuf>,
    #[serde(deserialize_with = "said")]
    pub(super) nkey: Option<PathBuf>,
    #[serde(deserialize_with = "said")]
    pub(super) cert: Option<PathBuf>,
    #[serde(deserialize_with = "said")]
    pub(super) key: Option<PathBuf>,
    #[serde(deserialize_with = "said")]
    pub(super) ca: Option<PathBuf>,
    #[serde(deserialize_with = "said")]
    pub(super) inbox_prefix: Option<String>,
    pub(super) tls_first: bool,
    #[serde(deserialize_with = "said")]
    nsc: Option<String>,
    #[serde(deserialize_with = "said")]
    socks_proxy: Option<String>,
    #[serde(deserialize_with = "said")]
    user_jwt: Option<String>,
    #[serde(deserialize_with = "said")]
    user_seed: Option<String>,
}

impl Context {
    /// Reads the context with this name.
    pub(super) fn read(name: &str, environment: &Environment) -> anyhow::Result<Self> {
        let folder = environment.config_folder().ok_or_else(|| {
            Refusal::usage(format!(
                "context {name:?} cannot be looked for: HOME is not set\nset HOME or XDG_CONFIG_HOME"
            ))
        })?;
        let folder = folder.join("nats").join("context");
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Refusal::usage(format!(
                "{name:?} cannot be the name of a context\n{}",
                known(&folder)
            )));
        }
        let path = folder.join(format!("{name}.json"));
        let text = named::text(&path).map_err(|error| {
            let shown = path.display();
            Refusal::usage(format!(
                "cannot read context {name:?} at {shown}: {error}\n{}",
                known(&folder)
            ))
        })?;
        let context: Self = serde_json::from_str(&text).map_err(|error| {
            let shown = path.display();
            Refusal::usage(format!("{shown} is no context of the nats CLI: {error}\nmend it with: nats context edit {name}"))
        })?;
        context.usable(name)
    }

    fn usable(self, name: &str) -> anyhow::Result<Self> {
        let unusable = [
            (&self.nsc, "nsc"),
            (&self.socks_proxy, "socks_proxy"),
            (&self.user_jwt, "user_jwt"),
            (&self.user_seed, "user_seed"),
        ];
        match unusable.iter().find(|(value, _)| value.is_some()) {
            Some((_, key)) => Err(Refusal::usage(format!(
                "context {name:?} uses {key}, which is not there yet\nuse a context with a user, a token or a creds file"
            ))),
            None => Ok(self),
        }
    }
}

/// Names of the contexts that are there.
fn known(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |path: PathBuf| {
        let json = path.extension().is_some_and(|extension| extension == "json");
        json.then(|| Some(path.file_stem()?.to_string_lossy().into_owned())).flatten()
    };
    let mut names: Vec<String> = entries.filter_map(|entry| name(entry.path())).collect();
    names.sort();
    match names.is_empty() {
        true => format!("there are no contexts in {}", folder.display()),
        false => format!("there are: {}", names.join(", ")),
    }
}

fn said<'de, D: Deserializer<'de>, T: From<String>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()).map(T::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_members_say_nothing_and_unknown_ones_are_the_clis_business() {
        let text =
            r#"{"url": "nats://a,nats://b", "user": "", "creds": "/x.creds", "color": "red"}"#;
        let context: Context = serde_json::from_str(text).unwrap();
        assert_eq!(context.url.as_deref(), Some("nats://a,nats://b"));
        assert_eq!((context.user, context.creds), (None, Some("/x.creds".into())));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_its_name() {
        for key in ["nsc", "socks_proxy", "user_jwt", "user_seed"] {
            let context: Context = serde_json::from_str(&format!("{{{key:?}: \"x\"}}")).unwrap();
            let told = context.usable("mine").unwrap_err().to_string();
            assert!(told.contains(key), "{told}");
        }
    }
}
