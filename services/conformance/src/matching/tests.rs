use serde_json::json;

use super::*;

/// A storage that holds two files and is closed for `kestra:///closed`.
struct Storage;

impl Files for Storage {
    fn content(&self, uri: &str) -> Result<Vec<u8>, Unreadable> {
        match uri {
            "kestra:///two" => Ok(b"one\ntwo\n".to_vec()),
            "kestra:///closed" => Err(Unreadable::NotOffered("needs downloads".into())),
            _ => Err(Unreadable::Absent(format!("there is no file {uri}"))),
        }
    }
}

fn found(expected: Value, seen: Option<Value>) -> Findings {
    compare(&expected, seen.as_ref(), "it", &Storage)
}

/// What is expected, what it accepts, what it must refuse.
type Row = (Value, Vec<Option<Value>>, Vec<Option<Value>>);

/// One row per rule: what it takes, values that it accepts, values that it must refuse (`null` in the outer option: the
/// key is missing).
#[test]
fn every_matcher_accepts_what_fits_and_refuses_what_does_not() {
    let rows: Vec<Row> = vec![
        (json!(1), vec![Some(json!(1)), Some(json!(1.0))], vec![Some(json!("1")), Some(json!(2)), None]),
        (json!("a"), vec![Some(json!("a"))], vec![Some(json!("A")), Some(json!("a ")), Some(json!(null)), None]),
        (json!(true), vec![Some(json!(true))], vec![Some(json!("true")), Some(json!(false)), Some(json!(1))]),
        (json!(null), vec![Some(json!(null))], vec![Some(json!(0)), Some(json!("")), None]),
        (
            json!(9_007_199_254_740_993_u64),
            vec![Some(json!(9_007_199_254_740_993_u64))],
            vec![Some(json!(9_007_199_254_740_992_u64))],
        ),
        (
            json!({"a": {"b": 1}}),
            vec![Some(json!({"a": {"b": 1, "c": 2}, "d": 3}))],
            vec![Some(json!({"a": {"b": 2}})), Some(json!({"a": {}})), Some(json!({})), Some(json!([])), None],
        ),
        (
            json!([1, {"a": 1}]),
            vec![Some(json!([1, {"a": 1, "b": 2}]))],
            vec![Some(json!([{"a": 1}, 1])), Some(json!([1])), Some(json!([1, {"a": 1}, 2])), Some(json!({}))],
        ),
        (
            json!({"$.a[0].b": "x"}),
            vec![Some(json!({"a": [{"b": "x"}]}))],
            vec![Some(json!({"a": [{"b": "y"}]})), Some(json!({"a": []})), Some(json!({"$.a[0].b": "x"}))],
        ),
        (json!({"$.a[*]": [1, 2]}), vec![Some(json!({"a": [1, 2]}))], vec![Some(json!({"a": [1]})), Some(json!({}))]),
        (json!({"$regex": "^b+$"}), vec![Some(json!("bbb"))], vec![Some(json!("abb")), Some(json!(1)), None]),
        (json!({"$regex": "b"}), vec![Some(json!("abc"))], vec![Some(json!("ac")), Some(json!(null))]),
        (json!({"$contains": "a.c"}), vec![Some(json!("xa.cx"))], vec![Some(json!("abc")), Some(json!(["a.c"])), None]),
        (json!({"$not": 1}), vec![Some(json!(2)), Some(json!("1")), None], vec![Some(json!(1))]),
        (json!({"$not": {"$contains": "x"}}), vec![Some(json!("a"))], vec![Some(json!("axe"))]),
        (json!({"$absent": true}), vec![None, Some(json!(null))], vec![Some(json!("")), Some(json!(false))]),
        (json!({"$absent": false}), vec![Some(json!(0))], vec![None, Some(json!(null))]),
        (json!({"$null": true}), vec![Some(json!(null))], vec![None, Some(json!(0))]),
        (json!({"$exists": true}), vec![Some(json!(""))], vec![None, Some(json!(null))]),
        (
            json!({"$exact": {"a": {"b": 1}}}),
            vec![Some(json!({"a": {"b": 1}}))],
            vec![Some(json!({"a": {"b": 1}, "c": 1})), Some(json!({"a": {"b": 1, "c": 1}})), Some(json!({}))],
        ),
        (
            json!({"$unordered": [{"$min": 1}, 1]}),
            vec![Some(json!([1, 2])), Some(json!([2, 1]))],
            vec![Some(json!([2, 2])), Some(json!([1])), Some(json!([1, 2, 3])), Some(json!("12")), None],
        ),
        (
            json!({"$has": [{"a": 1}, {"$exists": true}]}),
            vec![Some(json!([{"a": 2}, {"a": 1, "b": 1}]))],
            vec![Some(json!([{"a": 2}])), Some(json!([])), Some(json!({"a": 1})), None],
        ),
        (
            json!({"$all": [{"$contains": "a"}, {"$regex": "b$"}]}),
            vec![Some(json!("ab"))],
            vec![Some(json!("a")), Some(json!("b"))],
        ),
        (json!({"$min": 2}), vec![Some(json!(2)), Some(json!(2.5))], vec![Some(json!(1)), Some(json!("3")), None]),
        (json!({"$max": "PT1M"}), vec![Some(json!("PT59.9S"))], vec![Some(json!("PT61S")), Some(json!(3)), None]),
        (json!({"$min": 1, "$max": 3}), vec![Some(json!(2))], vec![Some(json!(0)), Some(json!(4))]),
        (
            json!({"$instant": "2024-03-01T00:00:00Z"}),
            vec![Some(json!("2024-03-01T01:00:00.000+01:00"))],
            vec![Some(json!("2024-03-01T00:00:01Z")), Some(json!("2024-03-01")), Some(json!(1)), None],
        ),
        (
            json!({"$json": {"a": [1]}}),
            vec![Some(json!("{\"a\": [1], \"b\": 2}"))],
            vec![Some(json!("{\"a\": [2]}")), Some(json!("{")), Some(json!({"a": [1]})), None],
        ),
        (
            json!({"$file_content": "one\ntwo\n"}),
            vec![Some(json!("kestra:///two"))],
            vec![Some(json!("kestra:///none")), Some(json!(1)), None],
        ),
        (json!({"$file_content": {"$contains": "two"}}), vec![Some(json!("kestra:///two"))], vec![]),
        (json!({"$file_content": "one"}), vec![], vec![Some(json!("kestra:///two"))]),
        (json!({"$file_lines": 2}), vec![Some(json!("kestra:///two"))], vec![Some(json!("kestra:///none"))]),
        (json!({"$file_lines": 3}), vec![], vec![Some(json!("kestra:///two"))]),
    ];
    for (expected, fitting, others) in rows {
        for seen in fitting {
            assert_eq!(found(expected.clone(), seen.clone()), Findings::default(), "{expected} must accept {seen:?}");
        }
        for seen in others {
            let findings = found(expected.clone(), seen.clone());
            assert!(!findings.mismatches.is_empty(), "{expected} must refuse {seen:?}");
            assert!(findings.missing.is_empty(), "{expected} {seen:?}");
        }
    }
}

#[test]
fn an_unknown_or_malformed_matcher_fails_whatever_is_seen() {
    let malformed = [
        json!({"$regexp": "a"}),
        json!({"$regex": "("}),
        json!({"$regex": 1}),
        json!({"$contains": ["a"]}),
        json!({"$min": "often"}),
        json!({"$instant": "noon"}),
        json!({"$absent": "yes"}),
        json!({"$all": "a"}),
        json!({"$has": "a"}),
        json!({"$regex": "a", "name": "a"}),
    ];
    for expected in malformed {
        for seen in [Some(json!("a")), Some(json!(["a"])), None] {
            assert!(!found(expected.clone(), seen).mismatches.is_empty(), "{expected}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_looked_at_is_missing_not_wrong() {
    let expected = json!({"uri": {"$file_lines": 1}, "size": 3});
    let closed = found(expected.clone(), Some(json!({"uri": "kestra:///closed", "size": 3})));
    assert_eq!(closed, Findings { mismatches: vec![], missing: vec!["needs downloads".into()] });
    let wrong_as_well = found(expected, Some(json!({"uri": "kestra:///closed", "size": 4})));
    assert_eq!(wrong_as_well.mismatches, ["it.size: expected 3, saw 4"]);
    let not = found(json!({"$not": {"$file_lines": 1}}), Some(json!("kestra:///closed")));
    assert_eq!(not, Findings { mismatches: vec![], missing: vec!["needs downloads".into()] });
}

#[test]
fn a_mismatch_names_its_place_and_both_values() {
    let findings = found(json!({"a": [{"b": "x"}]}), Some(json!({"a": [{"b": "y"}]})));
    assert_eq!(findings.mismatches, ["it.a[0].b: expected \"x\", saw \"y\""]);
}

#[test]
fn items_are_assigned_so_that_all_find_a_place() {
    // The first item fits both places, the second only the first.
    assert_eq!(assign(2, 2, |item, place| item == 0 || place == 0), Ok(()));
    assert_eq!(assign(2, 2, |_, place| place == 0), Err(1));
}
