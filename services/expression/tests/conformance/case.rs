//! One case: what it evaluates and what it expects.

use std::path::Path;

use serde_yaml::{Mapping, Value as Yaml};
use windhover_expression::{Environment, TemplateCache, Value, render_structure, render_text, render_typed};

use crate::context;
use crate::world::World;

pub(crate) struct Case {
    pub(crate) name: String,
    data: Mapping,
}

/// What an evaluation gave.
pub(crate) enum Outcome {
    Text(String),
    Value(Value),
    Error(String),
}

pub(crate) fn load(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).expect("a file of cases can be read");
    let mut document: Yaml = serde_yaml::from_str(&text).expect("a file of cases is YAML");
    document.apply_merge().expect("aliases resolve");
    let Yaml::Sequence(cases) = document else { panic!("{} is no list", path.display()) };
    cases
        .into_iter()
        .map(|case| {
            let Yaml::Mapping(data) = case else { panic!("a case is no map") };
            Case { name: data["name"].as_str().expect("a case has a name").to_owned(), data }
        })
        .collect()
}

impl Case {
    fn text(&self, key: &str) -> Option<&str> {
        self.data.get(key).and_then(Yaml::as_str)
    }

    pub(crate) fn evaluate(&self) -> Outcome {
        let variables = context::variables(self.data.get("context"));
        let world = World::new(self.data.get("env"));
        let cache = TemplateCache::default();
        let recursive = self.data.get("config").and_then(|config| config.get("recursive")).and_then(Yaml::as_bool);
        let environment =
            Environment::new(&variables, &world).with_cache(&cache).with_recursive(recursive.unwrap_or(false));
        let template = &self.data["template"];
        let result = match self.text("mode").unwrap_or("render") {
            "typed" => render_typed(template.as_str().expect("a text"), &environment).map(Outcome::Value),
            "object" => render_structure(&context::json(template), &environment)
                .map(|json| Outcome::Value(Value::from_json(&json))),
            _ => render_text(template.as_str().expect("a text"), &environment).map(Outcome::Text),
        };
        result.unwrap_or_else(|error| Outcome::Error(error.to_string()))
    }

    pub(crate) fn verify(&self, outcome: &Outcome) -> Result<(), String> {
        if let Some(pattern) = self.text("error") {
            let Outcome::Error(message) = outcome else { return Err(format!("succeeds with {}", outcome.show())) };
            let pattern = regex::RegexBuilder::new(pattern).case_insensitive(true).dot_matches_new_line(true).build();
            let fits = pattern.expect("a pattern").is_match(message);
            return if fits { Ok(()) } else { Err(format!("fails with: {message}")) };
        }
        let expected = &self.data["expect"];
        let fits = match (outcome, self.text("match").unwrap_or("exact")) {
            (Outcome::Error(message), _) => return Err(format!("fails with: {message}")),
            (Outcome::Text(text), "json") => {
                serde_json::from_str::<serde_json::Value>(text).is_ok_and(|json| json == context::json(expected))
            }
            (Outcome::Text(text), "regex") => {
                regex::Regex::new(expected.as_str().expect("a pattern")).expect("a pattern").is_match(text)
            }
            (Outcome::Text(text), _) => {
                expected.as_str() == Some(text) || context::scalar_text(expected).as_ref() == Some(text)
            }
            (Outcome::Value(value), _) => value.to_json().is_ok_and(|json| json == context::json(expected)),
        };
        if fits {
            Ok(())
        } else {
            Err(format!("expected {:?}, got {}", context::json(expected).to_string(), outcome.show()))
        }
    }
}

impl Outcome {
    fn show(&self) -> String {
        match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Value(value) => format!("{value:?}"),
            Self::Error(message) => format!("the error {message}"),
        }
    }
}
