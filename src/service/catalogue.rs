//! All Services of this server: the files embedded in the binary, and those of a folder, which add to or override them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::{DefinitionError, Service};

/// Declares the embedded files by their names; a test compares the list with the folder.
macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../presets/services/", $name)))),*]
    };
}

/// The files that come with the binary.
pub(super) const EMBEDDED: &[(&str, &str)] = embedded![
    "bark.toml",
    "dingtalk_bot.toml",
    "discord.toml",
    "email.toml",
    "feishu_bot.toml",
    "gotify.toml",
    "ntfy.toml",
    "serverchan.toml",
    "slack.toml",
    "telegram.toml",
    "webhook.toml",
    "wecom_bot.toml",
];

/// Services by id.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    services: BTreeMap<String, Arc<Service>>,
}

impl Catalogue {
    /// The Services that come with the binary.
    pub fn embedded() -> Result<Self, Vec<DefinitionError>> {
        let mut catalogue = Self::default();
        let files = EMBEDDED.iter().map(|(name, source)| (format!("presets/services/{name}"), (*source).to_owned()));
        catalogue.add(files.collect(), Vec::new())?;
        Ok(catalogue)
    }

    /// The embedded Services, and every `*.toml` of a folder. A folder that does not exist adds nothing. Every file
    /// that is broken is named.
    pub fn load(dir: Option<&Path>) -> Result<Self, Vec<DefinitionError>> {
        let mut catalogue = Self::embedded()?;
        if let Some(dir) = dir {
            let (files, errors) = read_folder(dir);
            catalogue.add(files, errors)?;
        }
        Ok(catalogue)
    }

    /// The Service of that id.
    pub fn get(&self, id: &str) -> Option<Arc<Service>> {
        self.services.get(id).cloned()
    }

    /// Every Service, by id.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// Takes one set of files in. Within the set no two may have one id; what was there before is overridden.
    fn add(
        &mut self,
        files: Vec<(String, String)>,
        mut errors: Vec<DefinitionError>,
    ) -> Result<(), Vec<DefinitionError>> {
        let mut added: BTreeMap<String, (String, Service)> = BTreeMap::new();
        for (path, source) in files {
            match Service::parse(&path, &source) {
                Err(error) => errors.push(error),
                Ok(service) => {
                    let id = service.spec.id.clone();
                    if let Some((first, _)) = added.get(&id) {
                        let reason = format!("id: `{id}` is also the id of {first}");
                        errors.push(DefinitionError { line: super::lines::line_of_id(&source), path, reason });
                    } else {
                        added.insert(id, (path, service));
                    }
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        self.services.extend(added.into_iter().map(|(id, (_, service))| (id, Arc::new(service))));
        Ok(())
    }
}

/// The texts of a folder's definitions in the order of their names, and what could not be read.
fn read_folder(dir: &Path) -> (Vec<(String, String)>, Vec<DefinitionError>) {
    let mut errors = Vec::new();
    let mut fail = |path: &Path, error: std::io::Error| {
        errors.push(DefinitionError { path: path.display().to_string(), line: None, reason: error.to_string() });
    };
    let mut paths = Vec::new();
    match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => fail(dir, error),
        Ok(entries) => {
            for entry in entries {
                match entry {
                    Ok(entry) => paths.push(entry.path()),
                    Err(error) => fail(dir, error),
                }
            }
        }
    }
    // Hidden ones are those of editors and file systems.
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml") && !is_hidden(path));
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        match fs::read_to_string(&path) {
            Ok(source) => files.push((path.display().to_string(), source)),
            Err(error) => fail(&path, error),
        }
    }
    (files, errors)
}
