//! Java's `DecimalFormat` patterns in the locale `en_US` (expression reference, section 12.3).

use bigdecimal::{BigDecimal, RoundingMode, Signed, Zero};

use crate::value::Value;

/// The pattern of the locale.
const DEFAULT: &str = "#,##0.###";
/// Longer patterns are refused.
const MAX_LENGTH: usize = 300;

/// Formats a number by a pattern, or in the default way. Rounds half-even on the exact binary value.
pub(crate) fn format(number: &Value, pattern: Option<&str>) -> Result<String, String> {
    let pattern = Pattern::parse(pattern.unwrap_or(DEFAULT))?;
    let double = match number {
        Value::Float(value) => Some(f64::from(*value)),
        Value::Double(value) => Some(*value),
        _ => None,
    };
    if let Some(double) = double.filter(|double| !double.is_finite()) {
        return Ok(if double.is_nan() { "NaN".to_owned() } else { pattern.framed(double < 0.0, "∞") });
    }
    let exact = match (double, number) {
        (Some(double), _) => BigDecimal::try_from(double).map_err(|error| error.to_string())?,
        (None, Value::Decimal(value)) => value.as_ref().clone(),
        (None, Value::BigInt(value)) => BigDecimal::from(value.as_ref().clone()),
        (None, Value::Int(value)) => BigDecimal::from(*value),
        (None, Value::Long(value)) => BigDecimal::from(*value),
        (None, other) => return Err(format!("{} is no number", other.class_name())),
    };
    let negative = exact.is_negative() || double.is_some_and(|double| double == 0.0 && double.is_sign_negative());
    let scaled = exact.abs() * BigDecimal::from(pattern.multiplier);
    let digits = if pattern.exponent > 0 { pattern.scientific(&scaled) } else { pattern.fixed(&scaled) };
    Ok(pattern.framed(negative, &digits))
}

#[derive(Debug, Default)]
struct Pattern {
    prefix: String,
    suffix: String,
    negative: Option<(String, String)>,
    multiplier: u32,
    min_int: usize,
    max_int: usize,
    min_fraction: usize,
    max_fraction: usize,
    /// Digits in a group; 0 for no grouping.
    group: usize,
    /// The least digits of the exponent; 0 without one.
    exponent: usize,
    /// A point is written even without a fraction.
    point_always: bool,
}

/// One side of the `;`.
struct Part {
    prefix: String,
    number: String,
    suffix: String,
    multiplier: u32,
}

fn is_number_char(c: char) -> bool {
    matches!(c, '#' | '0' | ',' | '.')
}

/// Splits a pattern at its unquoted `;` and each side into prefix, number and suffix.
fn parts(pattern: &str) -> Result<Vec<Part>, String> {
    let mut parts = vec![Part { prefix: String::new(), number: String::new(), suffix: String::new(), multiplier: 1 }];
    let mut chars = pattern.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        let Some(part) = parts.last_mut() else { break };
        let in_suffix = !part.suffix.is_empty();
        if c == '\'' {
            if chars.next_if_eq(&'\'').is_some() {
                affix(part, "'");
            } else {
                quoted = !quoted;
            }
        } else if quoted {
            affix(part, c.encode_utf8(&mut [0; 4]));
        } else if is_number_char(c) && !in_suffix {
            part.number.push(c);
        } else if c == 'E' && !part.number.is_empty() && !in_suffix && !part.number.contains('E') {
            part.number.push('E');
        } else {
            match c {
                ';' => parts.push(Part {
                    prefix: String::new(),
                    number: String::new(),
                    suffix: String::new(),
                    multiplier: 1,
                }),
                '%' | '‰' => {
                    part.multiplier = if c == '%' { 100 } else { 1_000 };
                    affix(part, c.encode_utf8(&mut [0; 4]));
                }
                '¤' => {
                    let sign = if chars.next_if_eq(&'¤').is_some() { "USD" } else { "$" };
                    affix(part, sign);
                }
                c if is_number_char(c) => {
                    return Err(format!("Unquoted special character '{c}' in pattern \"{pattern}\""));
                }
                c => affix(part, c.encode_utf8(&mut [0; 4])),
            }
        }
    }
    if quoted || parts.len() > 2 {
        return Err(format!("Malformed pattern \"{pattern}\""));
    }
    Ok(parts)
}

fn affix(part: &mut Part, text: &str) {
    if part.number.is_empty() { part.prefix.push_str(text) } else { part.suffix.push_str(text) }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err("The number pattern is too long".to_owned());
        }
        let mut parts = parts(text)?.into_iter();
        let Some(positive) = parts.next() else { return Err("The number pattern is empty".to_owned()) };
        let negative = parts.next().map(|part| (part.prefix, part.suffix));
        let mut pattern = Self {
            prefix: positive.prefix,
            suffix: positive.suffix,
            negative,
            multiplier: positive.multiplier,
            ..Self::default()
        };
        pattern.count(&positive.number, text)?;
        Ok(pattern)
    }

    /// Takes the widths from the number part, as the host does.
    fn count(&mut self, number: &str, text: &str) -> Result<(), String> {
        let malformed = || format!("Malformed pattern \"{text}\"");
        let (mantissa, exponent) =
            number.split_once('E').map_or((number, None), |(mantissa, rest)| (mantissa, Some(rest)));
        if let Some(exponent) = exponent {
            if exponent.is_empty() || exponent.contains(|c| c != '0') {
                return Err(format!("Malformed exponential pattern \"{text}\""));
            }
            self.exponent = exponent.len();
        }
        let (mut left, mut zeros, mut right) = (0, 0, 0);
        let mut point = None;
        let mut group = None;
        for c in mantissa.chars() {
            match c {
                '#' if zeros > 0 => right += 1,
                '#' => left += 1,
                '0' if right > 0 => return Err(format!("Unexpected '0' in pattern \"{text}\"")),
                '0' => zeros += 1,
                ',' if point.is_none() => group = Some(0),
                '.' if point.is_none() => point = Some(left + zeros + right),
                _ => return Err(malformed()),
            }
            if matches!(c, '#' | '0') && point.is_none() {
                group = group.map(|count| count + 1);
            }
        }
        if let Some(place) = point
            && zeros == 0
            && left > 0
        {
            let whole = if place == 0 { 1 } else { place };
            right = left - whole.min(left);
            left = whole - 1;
            zeros = 1;
        }
        let total = left + zeros + right;
        let place = point.unwrap_or(total);
        if group == Some(0) || place < left || place > left + zeros && point.is_some() && right == 0 {
            return Err(malformed());
        }
        self.min_int = place - left;
        self.max_int = if self.exponent > 0 { left + self.min_int } else { usize::MAX };
        self.max_fraction = if point.is_some() { total - place } else { 0 };
        self.min_fraction = if point.is_some() { (left + zeros).saturating_sub(place) } else { 0 };
        self.group = group.unwrap_or(0);
        self.point_always = place == total && point.is_some();
        Ok(())
    }

    fn framed(&self, negative: bool, digits: &str) -> String {
        match (&self.negative, negative) {
            (_, false) => format!("{}{digits}{}", self.prefix, self.suffix),
            (Some((prefix, suffix)), true) => format!("{prefix}{digits}{suffix}"),
            (None, true) => format!("-{}{digits}{}", self.prefix, self.suffix),
        }
    }

    fn fixed(&self, number: &BigDecimal) -> String {
        let scale = i64::try_from(self.max_fraction).unwrap_or(0);
        let rounded = number.with_scale_round(scale, RoundingMode::HalfEven);
        let text = crate::value::decimal_plain(&rounded);
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let whole = whole.trim_start_matches('0');
        let mut fraction = fraction.trim_end_matches('0').to_owned();
        while fraction.len() < self.min_fraction {
            fraction.push('0');
        }
        let mut whole = format!("{whole:0>width$}", width = self.min_int);
        if whole.is_empty() && fraction.is_empty() {
            whole.push('0');
        }
        let mut out = self.grouped(&whole);
        if !fraction.is_empty() || self.point_always {
            out.push('.');
            out.push_str(&fraction);
        }
        out
    }

    fn grouped(&self, whole: &str) -> String {
        if self.group == 0 {
            return whole.to_owned();
        }
        let mut out = String::with_capacity(whole.len() * 2);
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index).is_multiple_of(self.group) {
                out.push(',');
            }
            out.push(digit);
        }
        out
    }

    fn scientific(&self, number: &BigDecimal) -> String {
        // significant digits; a pattern without any limit of its own keeps all
        let wanted = (self.max_int + self.max_fraction).max(1) as u64;
        let rounded = if number.is_zero() || number.digits() <= wanted {
            number.clone()
        } else {
            let (_, scale) = number.as_bigint_and_exponent();
            let drop = i64::try_from(number.digits() - wanted).unwrap_or(0);
            number.with_scale_round(scale - drop, RoundingMode::HalfEven)
        };
        let (digits, scale) = rounded.as_bigint_and_exponent();
        let all = digits.to_string();
        // the number is 0.DIGITS times ten to the power of `place`
        let place = if rounded.is_zero() { 0 } else { i64::try_from(all.len()).unwrap_or(0) - scale };
        let digits = all.trim_end_matches('0');
        let min_int = i64::try_from(self.min_int).unwrap_or(1);
        let repeat = i64::try_from(self.max_int).unwrap_or(1);
        let (exponent, whole_digits) = if rounded.is_zero() {
            (0, min_int)
        } else if repeat > 1 && repeat > min_int {
            let exponent = if place >= 1 { (place - 1) / repeat * repeat } else { (place - repeat) / repeat * repeat };
            (exponent, place - exponent)
        } else {
            let least = if min_int > 0 || self.min_fraction > 0 { min_int } else { 1 };
            (place - least, least)
        };
        let whole_digits = usize::try_from(whole_digits).unwrap_or(0);
        let least = (self.min_int + self.min_fraction).max(whole_digits);
        let digits = format!("{digits:0<least$}");
        let (whole, fraction) = digits.split_at(whole_digits.min(digits.len()));
        let mut out = whole.to_owned();
        if !fraction.is_empty() || self.point_always {
            out.push('.');
            out.push_str(fraction);
        }
        let sign = if exponent < 0 { "-" } else { "" };
        out.push_str(&format!("E{sign}{:0>width$}", exponent.abs(), width = self.exponent));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(number: f64, pattern: &str) -> String {
        format(&Value::Double(number), Some(pattern)).unwrap_or_else(|problem| problem)
    }

    #[test]
    fn a_pattern_without_zeros_keeps_the_zero_before_the_point() {
        assert_eq!(formatted(0.5, "#.##"), "0.5");
        assert_eq!(formatted(0.5, "#.00"), ".50");
        assert_eq!(formatted(0.0, "#"), "0");
    }

    #[test]
    fn rounding_is_half_even_on_the_exact_binary_value() {
        assert_eq!(formatted(0.125, "0.00"), "0.12");
        // 2.675 is a little less than it says
        assert_eq!(formatted(2.675, "0.00"), "2.67");
    }

    #[test]
    fn negative_numbers_and_quotes_are_framed() {
        assert_eq!(formatted(-1234.5, "#,##0.0;(#)"), "(1,234.5)");
        assert_eq!(formatted(-5.0, "'#'0"), "-#5");
        assert_eq!(formatted(0.05, "0‰"), "50‰");
    }

    #[test]
    fn exponents_follow_the_pattern() {
        assert_eq!(formatted(12345.0, "0.00E0"), "1.23E4");
        assert_eq!(formatted(0.00012, "0.0E00"), "1.2E-04");
        assert_eq!(formatted(0.0, "0.0E0"), "0.0E0");
    }

    #[test]
    fn malformed_patterns_are_refused() {
        assert!(formatted(1.0, "0.0.0").contains("Malformed"));
        assert!(formatted(1.0, "0E").contains("Malformed"));
        assert!(formatted(1.0, "'x").contains("Malformed"));
    }
}
