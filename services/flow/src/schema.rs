//! The JSON Schema of flows, made of the same tables that flows are read by: for editors. Draft 7, which is what YAML
//! language servers understand best.
//!
//! It refuses what is unknown, missing or plainly of another shape; what an expression renders to nobody knows before it
//! is rendered, and rules over several places (ids that are taken twice, cycles) are left to [`crate::validate`].

mod property;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::{
    InputType,
    table::{
        self, CHECK, CONCURRENCY, DAG_TASK, FILTER, FILTER_PRECONDITION, FLOW, FLOW_PRECONDITION, Family, INPUT_COMMON,
        Kind, LISTENER, OUTPUT, PLUGIN_DEFAULT, PRECONDITIONS, PropertySpec, RETRY, Role, SLA, TIME_WINDOW, TaskType,
    },
};
use property::{Shape, scalar};

/// The schema as a JSON document; the same for the life of the process.
pub fn json_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(make);
    &SCHEMA
}

fn make() -> Value {
    let mut definitions = Map::new();
    for relaxed in [false, true] {
        Maker { relaxed, definitions: &mut definitions }.all();
    }
    let has = |key: &str| json!({"required": [key]});
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://windhover.dev/schemas/flow.json",
        "title": "Flow",
        "description": "A flow: what runs, in which order, and what starts it.",
        "type": "object",
        // Plugin defaults can give what a type needs.
        "if": {"anyOf": [has("pluginDefaults"), has("taskDefaults")]},
        "then": {"$ref": "#/definitions/relaxed:flow"},
        "else": {"$ref": "#/definitions/flow"},
        "definitions": definitions,
    })
}

/// Makes the definitions: once with what must be there, once (`relaxed`) without.
struct Maker<'d> {
    relaxed: bool,
    definitions: &'d mut Map<String, Value>,
}

impl Maker<'_> {
    fn all(mut self) {
        for entry in table::types().filter(|entry| entry.is_built() && entry.family != Family::Generated) {
            let schema = self.object(&[entry.properties, entry.common()], Some(entry), entry.name);
            self.define(entry.name, schema);
        }
        for (name, role) in
            [("task", Role::Task), ("trigger", Role::Trigger), ("condition", Role::Condition), ("part", Role::Part)]
        {
            let schema = self.by_type(role);
            self.define(name, schema);
            let list = self.list(name);
            self.define(&format!("{name}s"), list);
        }
        let objects: [(&str, &'static [PropertySpec]); 12] = [
            ("flow", FLOW),
            ("output", OUTPUT),
            ("pluginDefault", PLUGIN_DEFAULT),
            ("listener", LISTENER),
            ("concurrency", CONCURRENCY),
            ("retry", RETRY),
            ("sla", SLA),
            ("check", CHECK),
            ("dagTask", DAG_TASK),
            ("preconditions", PRECONDITIONS),
            ("flowPrecondition", FLOW_PRECONDITION),
            ("filterPrecondition", FILTER_PRECONDITION),
        ];
        for (name, specs) in objects {
            let schema = self.object(&[specs], None, name);
            self.define(name, schema);
        }
        for (name, specs) in [("filter", FILTER), ("timeWindow", TIME_WINDOW)] {
            let schema = self.object(&[specs], None, name);
            self.define(name, schema);
        }
        self.input();
        self.define("labels", labels());
        self.define("states", json!({"type": ["array", "null"], "items": {"type": "string"}}));
    }

    fn define(&mut self, name: &str, schema: Value) {
        self.definitions.insert(self.name(name), schema);
    }

    fn name(&self, name: &str) -> String {
        if self.relaxed { format!("relaxed:{name}") } else { name.to_owned() }
    }

    fn reference(&self, name: &str) -> Value {
        json!({"$ref": format!("#/definitions/{}", self.name(name))})
    }

    /// A map with the properties of these tables; `of` is the type that they belong to, `path` leads to the map.
    fn object(&self, tables: &[&'static [PropertySpec]], of: Option<&TaskType>, class: &str) -> Value {
        self.object_at(tables, of, class, "")
    }

    fn object_at(&self, tables: &[&'static [PropertySpec]], of: Option<&TaskType>, class: &str, path: &str) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for spec in tables.iter().flat_map(|table| table.iter()) {
            let at = if path.is_empty() { spec.name.to_owned() } else { format!("{path}.{}", spec.name) };
            let known = of.and_then(|entry| table::property_doc(entry, &at));
            let shape = Shape { spec, nested: self.nested(class, spec.name), inner: self.inner(spec, of, class, &at) };
            let mut schema = shape.schema(json!({"if": {"type": "null"}, "else": self.reference("part")}));
            if let Some((default, doc)) = known {
                property::describe(&mut schema, default, doc);
            }
            for alias in spec.aliases {
                properties.insert((*alias).to_owned(), schema.clone());
            }
            properties.insert(spec.name.to_owned(), schema);
            let always = matches!(spec.name, "id" | "type") || class == "flow";
            // What has another name may stand under that.
            if spec.required && spec.aliases.is_empty() && (always || !self.relaxed) {
                required.push(spec.name);
            }
        }
        let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
        if let Some(map) = schema.as_object_mut().filter(|_| !required.is_empty()) {
            map.insert("required".to_owned(), json!(required));
        }
        if let (Some(map), Some(doc)) = (schema.as_object_mut(), of.and_then(|entry| table::doc_of(entry.name)))
            && path.is_empty()
        {
            map.insert("description".to_owned(), json!(doc.doc));
        }
        schema
    }

    /// The map inside of a property that is one.
    fn inner(&self, spec: &PropertySpec, of: Option<&TaskType>, class: &str, at: &str) -> Option<Value> {
        match spec.kind {
            Kind::Object(specs) => Some(self.object_at(&[specs], of, class, at)),
            _ => None,
        }
    }

    fn list(&self, name: &str) -> Value {
        json!({"type": ["array", "null"], "items": self.reference(name)})
    }

    /// What stands in a property that is read by what knows it. Null is the same as absent.
    fn nested(&self, class: &str, name: &str) -> Value {
        let list = |name: &str| self.list(name);
        let map = |name: &str| json!({"type": ["object", "null"], "additionalProperties": self.reference(name)});
        // Not one of two, so that what is wrong is told in its place.
        let one = |name: &str| json!({"if": {"type": "null"}, "else": self.reference(name)});
        let is = |end: &str| class.ends_with(end);
        match name {
            "tasks" if is(".Dag") => list("dagTask"),
            "tasks" | "errors" | "finally" | "then" | "else" | "afterExecution" | "defaults" => self.reference("tasks"),
            "cases" => map("tasks"),
            "task" | "onPause" => one("task"),
            "triggers" => self.reference("triggers"),
            "conditions" if is(".MultipleCondition") => map("condition"),
            "conditions" | "scheduleConditions" => self.reference("conditions"),
            "inputs" | "onResume" => list("input"),
            "outputs" => list("output"),
            "pluginDefaults" | "taskDefaults" => list("pluginDefault"),
            "listeners" => list("listener"),
            "sla" | "checks" => list(name.trim_end_matches('s')),
            "flows" => list("flowPrecondition"),
            "where" => list("filterPrecondition"),
            "filters" => list("filter"),
            "labels" => one("labels"),
            "states" | "stopAfter" => self.reference("states"),
            "concurrency" | "retry" | "preconditions" | "timeWindow" => one(name),
            "values" | "dependsOn" => json!({"type": ["object", "null"]}),
            _ => json!({}),
        }
    }

    /// A map whose properties depend on its type.
    fn by_type(&self, role: Role) -> Value {
        let types = || {
            table::types()
                .filter(|entry| entry.is_built() && entry.family != Family::Generated && entry.family.role() == role)
        };
        let names = |entry: &TaskType| -> Vec<&str> {
            std::iter::once(entry.name).chain(entry.aliases.iter().copied()).collect()
        };
        let all: Vec<&str> = types().flat_map(names).collect();
        let branches: Vec<Value> = types()
            .map(|entry| {
                json!({
                    "if": {"properties": {"type": {"enum": names(entry)}}, "required": ["type"]},
                    "then": self.reference(entry.name),
                })
            })
            .collect();
        json!({
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"enum": all, "description": "What it is."}},
            "allOf": branches,
        })
    }

    /// Inputs: their properties depend on the type too.
    fn input(&mut self) {
        let mut branches = Vec::new();
        for input in InputType::ALL.iter().copied() {
            let name = format!("input:{}", input.as_str());
            let schema = self.object(&[INPUT_COMMON, table::input_properties(input)], None, "input");
            self.define(&name, schema);
            let mut names = vec![input.as_str()];
            if input == InputType::Bool {
                names.push("BOOLEAN");
            }
            branches.push(json!({
                "if": {"properties": {"type": {"enum": names}}, "required": ["type"]},
                "then": self.reference(&name),
            }));
        }
        let names: Vec<&str> = InputType::ALL.iter().map(|input| input.as_str()).chain(["BOOLEAN"]).collect();
        let schema = json!({
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"enum": names}},
            "allOf": branches,
        });
        self.define("input", schema);
    }
}

fn labels() -> Value {
    let pair = json!({
        "type": "object",
        "properties": {"key": {"type": "string"}, "value": scalar()},
        "required": ["key", "value"],
        "additionalProperties": false,
    });
    json!({
        "if": {"type": "array"},
        "then": {"items": pair},
        "else": {"type": ["object", "string"], "additionalProperties": scalar(), "pattern": property::TEMPLATE},
    })
}
