//! Identifiers and random numbers (expression reference, section 15.2), from the caller's random sequence and clock.

use crate::error::Fault;
use crate::eval::{Args, Frame, Session};
use crate::value::Value;

type Answer = Result<Value, Fault>;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const NANO_ID_ALPHABET: &str = "_-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const MAX_NANO_ID: i64 = 1_000;
/// KSUIDs count seconds from here, 13 May 2014.
const KSUID_EPOCH: i64 = 1_400_000_000;

fn random(session: &Session<'_>) -> Result<u64, Fault> {
    Ok(session.environment.services.random()?)
}

fn random_wide(session: &Session<'_>) -> Result<u128, Fault> {
    Ok(u128::from(random(session)?) << 64 | u128::from(random(session)?))
}

/// A number below `bound`, each equally likely.
fn below(session: &Session<'_>, bound: u64) -> Result<u64, Fault> {
    let rest = u64::MAX % bound;
    loop {
        session.meter.steps(1)?;
        let number = random(session)?;
        if number < u64::MAX - rest || bound.is_power_of_two() {
            return Ok(number % bound);
        }
    }
}

fn base62(mut number: u128, width: usize) -> String {
    let mut digits = Vec::with_capacity(width);
    while number > 0 || digits.len() < width {
        digits.push(BASE62[(number % 62) as usize]);
        number /= 62;
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

/// Version 7: milliseconds since 1970, then random bits.
pub(super) fn uuid(frame: &mut Frame<'_, '_>, _: &Args) -> Answer {
    let millis = frame.session.environment.services.now()?.timestamp_millis();
    let bits = random_wide(frame.session)?;
    let number = (u128::from(millis as u64) & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (bits >> 52 & 0xFFF) << 64
        | 0b10 << 62
        | bits & 0x3FFF_FFFF_FFFF_FFFF;
    let hex = format!("{number:032x}");
    Ok(Value::text(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])))
}

pub(super) fn id(frame: &mut Frame<'_, '_>, _: &Args) -> Answer {
    // a high bit so that the length does not vary much
    Ok(Value::text(base62(random_wide(frame.session)? | 1 << 127, 22)))
}

/// Four bytes of time and sixteen random ones in base 62.
pub(super) fn ksuid(frame: &mut Frame<'_, '_>, _: &Args) -> Answer {
    let seconds = frame.session.environment.services.now()?.timestamp() - KSUID_EPOCH;
    let mut bytes = Vec::with_capacity(20);
    bytes.extend((seconds as u32).to_be_bytes());
    bytes.extend(random_wide(frame.session)?.to_be_bytes());
    let mut digits = Vec::with_capacity(27);
    for _ in 0..27 {
        let mut remainder = 0u32;
        for byte in &mut bytes {
            let part = remainder << 8 | u32::from(*byte);
            *byte = (part / 62) as u8;
            remainder = part % 62;
        }
        digits.push(BASE62[remainder as usize]);
    }
    Ok(Value::text(digits.iter().rev().map(|digit| char::from(*digit)).collect::<String>()))
}

pub(super) fn nano_id(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let length = match args.get(0) {
        None => 21,
        Some(Value::Int(length)) => i64::from(*length),
        Some(Value::Long(length)) => *length,
        Some(_) => {
            return Err(Fault::host("java.lang.ClassCastException: the argument 'length' has to be a whole number"));
        }
    };
    if length > MAX_NANO_ID {
        return Err(Fault::engine(format!("The 'nanoId()' function field 'length' must be lower than: {MAX_NANO_ID}")));
    }
    let alphabet: Vec<char> = match args.get(1) {
        None => NANO_ID_ALPHABET.chars().collect(),
        Some(value) => frame.session.printer().plain_text(value)?.chars().collect(),
    };
    if length < 0 || alphabet.is_empty() {
        return Err(Fault::host("java.lang.IllegalArgumentException: the length is negative or the alphabet empty"));
    }
    let mut text = String::new();
    for _ in 0..length {
        let place = below(frame.session, alphabet.len() as u64)?;
        text.extend(usize::try_from(place).ok().and_then(|place| alphabet.get(place)));
    }
    Ok(Value::text(text))
}

pub(super) fn random_int(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let whole = |position: usize, name: &str| match args.get(position) {
        None => Err(Fault::engine(format!("The 'randomInt' function expects an argument {name}."))),
        Some(Value::Int(number)) => Ok(i64::from(*number)),
        Some(Value::Long(number)) => Ok(*number),
        Some(_) => Err(Fault::engine(format!("The 'randomInt' function expects an argument {name} of type Long."))),
    };
    let (lower, upper) = (whole(0, "lower")?, whole(1, "upper")?);
    if upper < lower {
        return Err(Fault::engine("In 'randomInt' upper is less than lower"));
    }
    let offset = if lower == upper { 0 } else { below(frame.session, upper.abs_diff(lower))? };
    Ok(Value::Int(lower.wrapping_add_unsigned(offset) as i32))
}

pub(super) fn random_port(frame: &mut Frame<'_, '_>, _: &Args) -> Answer {
    Ok(Value::Int(i32::from(frame.session.environment.services.random_port()?)))
}
