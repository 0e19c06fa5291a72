//! Changes of stored JSON: deep merges and dotted paths.

use serde_json::{Map, Value};

/// Merges `with` into `value`: maps entry by entry, everything else is replaced.
pub(crate) fn merge(value: &mut Value, with: Value) {
    match (value, with) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, item) in from {
                match into.get_mut(&key) {
                    Some(known) => merge(known, item),
                    None => drop(into.insert(key, item)),
                }
            }
        }
        (into, from) => *into = from,
    }
}

/// Sets the place of a dotted path; maps on the way are made, and what is no map is replaced by one.
pub(crate) fn set_path(root: &mut Value, path: &str, value: Value) {
    let mut at = root;
    for part in path.split('.') {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(map) = at else { return };
        at = map.entry(part).or_insert(Value::Null);
    }
    *at = value;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_are_merged_deeply_and_everything_else_is_replaced() {
        let mut value = json!({"a": {"b": 1, "c": [1]}, "d": 2});
        merge(&mut value, json!({"a": {"c": [2], "e": 3}, "d": {"f": 4}}));
        assert_eq!(value, json!({"a": {"b": 1, "c": [2], "e": 3}, "d": {"f": 4}}));
    }

    #[test]
    fn a_path_makes_the_maps_on_its_way() {
        let mut value = json!({"a": 1});
        set_path(&mut value, "a.b.c", json!(2));
        set_path(&mut value, "d", json!(3));
        assert_eq!(value, json!({"a": {"b": {"c": 2}}, "d": 3}));
    }
}
