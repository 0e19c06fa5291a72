//! The record of a run: figures, command, machine.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::{Map, Value, json};

#[derive(Default)]
pub(crate) struct Report(Map<String, Value>);

impl Report {
    /// What was recorded last.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let text = fs::read_to_string(folder.join("latest.json")).unwrap_or_else(|_| "{}".to_owned());
        Ok(Self(serde_json::from_str(&text)?))
    }

    /// Three significant digits are more than the noise allows.
    pub(crate) fn set(&mut self, key: &str, value: f64) {
        let rounded = if value.abs() >= 100.0 { value.round() } else { (value * 100.0).round() / 100.0 };
        println!("{key:40} {rounded}");
        self.0.insert(key.to_owned(), json!(rounded));
    }

    pub(crate) fn note(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Writes `latest.json`.
    pub(crate) fn write(mut self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        self.note("command", "make bench");
        self.note("machine.processor", &processor());
        self.0.insert("machine.cores".into(), std::thread::available_parallelism()?.get().into());
        let file = folder.join("latest.json");
        fs::write(&file, serde_json::to_string_pretty(&Value::Object(self.0))? + "\n")?;
        println!("recorded in {}", file.display());
        Ok(())
    }
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.trim_start_matches([' ', '\t', ':']).to_owned()));
    name.unwrap_or_else(|| "unknown".to_owned())
}
