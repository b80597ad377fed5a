//! Where an agent's configuration comes from: a file, a directory of files, or the environment alone.
//!
//! What any of it means is `trunkline_core::config::agent`'s to say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use trunkline_core::config::agent::{self, Agent, variables};
use trunkline_core::config::layers::Layer;
use trunkline_core::config::{Node, Problems};

use crate::{files, yaml};

/// How many files a directory may hold.
const MOST_FILES: usize = 100;

/// Reads the configuration at `path`, if anything is there, with the environment laid over it; else the variable that
/// holds a whole configuration, and then nothing else; else what single variables say.
///
/// # Errors
///
/// If the agent cannot be started with it: every problem there is with it. Otherwise the problems are warnings.
pub fn load(
    path: Option<&Path>,
    environment: &BTreeMap<String, String>,
) -> Result<(Agent, Problems), Problems> {
    let read = |text: &str| yaml::parse("", text).ok().map(|(node, _)| node);
    let whole = environment
        .get(variables::WHOLE)
        .filter(|text| !text.is_empty());
    let (files, alone, problems) = match (path.filter(|path| path.exists()), whole) {
        (Some(path), _) => {
            let (files, problems) = files_at(path)?;
            (files, false, problems)
        }
        (None, Some(text)) => {
            let (tree, problems) = yaml::parse(variables::WHOLE, text)?;
            let file = variables::WHOLE.to_owned();
            (vec![Layer { file, tree }], true, problems)
        }
        (None, None) => {
            let named = path.map_or_else(
                || "environment".to_owned(),
                |path| format!("{} (there is no such file)", path.display()),
            );
            (Vec::new(), false, Problems::of(&named))
        }
    };
    let mut environment = environment.clone();
    if alone {
        environment.retain(|name, _| !name.starts_with("PATRONI_"));
    }
    agent::understand(&files, &environment, &read, problems)
}

/// The file at a path; of a directory, every `*.yml` and `*.yaml` in the order of the alphabet.
fn files_at(path: &Path) -> Result<(Vec<Layer>, Problems), Problems> {
    let name = path.display().to_string();
    if !path.is_dir() {
        // As Patroni does it; whatever else it is would be empty when it is read again.
        let (tree, problems) = file(path)?;
        return Ok((vec![Layer { file: name, tree }], problems));
    }
    let mut all = Problems::of(&name);
    let mut layers = Vec::new();
    for path in listed(path)? {
        let (tree, problems) = file(&path)?;
        all.take_over(problems);
        let file = path.display().to_string();
        layers.push(Layer { file, tree });
    }
    Ok((layers, all))
}

fn listed(directory: &Path) -> Result<Vec<PathBuf>, Problems> {
    let name = directory.display().to_string();
    let unreadable = |error: std::io::Error| Problems::unreadable(&name, &error.to_string());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_yaml = path
            .extension()
            .is_some_and(|extension| extension == "yml" || extension == "yaml");
        if is_yaml && path.is_file() {
            paths.push(path);
        }
        if paths.len() > MOST_FILES {
            let cause = format!("it holds more than {MOST_FILES} files");
            return Err(Problems::unreadable(&name, &cause));
        }
    }
    paths.sort();
    Ok(paths)
}

fn file(path: &Path) -> Result<(Node, Problems), Problems> {
    let name = path.display().to_string();
    let text =
        files::read_small(path).map_err(|error| Problems::unreadable(&name, &error.to_string()))?;
    yaml::parse(&name, &text)
}
