//! Writes a corpus to begin from: every template of the conformance cases, one file each.
//!
//! `seeds CASES CORPUS`: the folder with the cases of the expression language, and the folder that is written to.

use std::{collections::BTreeSet, error::Error, fs, path::Path};

use serde_yaml::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(cases), Some(corpus)) = (arguments.next(), arguments.next()) else {
        return Err("usage: seeds CASES CORPUS".into());
    };
    let mut templates = BTreeSet::new();
    for entry in fs::read_dir(&cases)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            collect(&serde_yaml::from_str(&fs::read_to_string(path)?)?, &mut templates);
        }
    }
    fs::create_dir_all(&corpus)?;
    for (index, template) in templates.iter().enumerate() {
        fs::write(Path::new(&corpus).join(format!("seed-{index:04}")), template)?;
    }
    println!("{} templates in {corpus}", templates.len());
    Ok(())
}

/// Every text in which an expression stands, wherever it is in a case.
fn collect(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.contains("{{") || text.contains("{%") || text.contains("{#") => {
            into.insert(text.clone());
        }
        Value::Sequence(items) => items.iter().for_each(|item| collect(item, into)),
        Value::Mapping(map) => map.values().for_each(|item| collect(item, into)),
        _ => {}
    }
}
