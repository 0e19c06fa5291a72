//! When a rendered condition holds (expression reference, section 17).

/// Whether a rendered `if`, `runIf`, `condition` or the like holds: everything but blank text, `false`, `0` and `-0`.
pub fn is_truthy(rendered: &str) -> bool {
    let blank = rendered.chars().all(char::is_whitespace);
    !blank && !matches!(rendered, "false" | "0" | "-0")
}

/// Whether the rendered *expression condition* of a trigger holds: everything but blank text and `false`, blanks around it ignored.
pub fn is_trigger_truthy(rendered: &str) -> bool {
    !matches!(rendered.trim(), "" | "false")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_false_for_blank_text_false_and_zero_only() {
        for text in ["", " ", "\n", "false", "0", "-0"] {
            assert!(!is_truthy(text), "{text:?}");
        }
        for text in ["true", "null", "False", "0.0", "no", " false "] {
            assert!(is_truthy(text), "{text:?}");
        }
    }

    #[test]
    fn the_condition_of_a_trigger_is_false_for_blank_text_and_false_only() {
        for text in ["", "  ", "false", " false\n"] {
            assert!(!is_trigger_truthy(text), "{text:?}");
        }
        assert!(is_trigger_truthy("0"));
    }
}
