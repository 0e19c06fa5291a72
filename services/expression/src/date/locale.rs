//! Names of months and days and the calendars of weeks, by locale.

use super::Problem;

/// A language and a country.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Locale {
    language: String,
    country: String,
}

/// The server's locale.
impl Default for Locale {
    fn default() -> Self {
        Self { language: "en".to_owned(), country: "US".to_owned() }
    }
}

/// The words of a language.
pub(super) struct Words {
    pub(super) months: [&'static str; 12],
    pub(super) short_months: [&'static str; 12],
    /// From Monday.
    pub(super) days: [&'static str; 7],
    pub(super) short_days: [&'static str; 7],
    pub(super) halves: [&'static str; 2],
}

impl Locale {
    /// Reads `fr`, `fr_FR` or `fr-FR`.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let invalid = || format!("Invalid locale format: {text}");
        let mut parts = text.split(['_', '-']);
        let language = parts.next().unwrap_or_default();
        let country = parts.next().unwrap_or_default();
        let letters = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphabetic());
        let fits = (2..=3).contains(&language.len()) && letters(language) && matches!(country.len(), 0 | 2 | 3 | 4);
        if !fits || !country.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(invalid());
        }
        Ok(Self { language: language.to_ascii_lowercase(), country: country.to_ascii_uppercase() })
    }

    pub(super) fn is_english(&self) -> bool {
        self.language == "en"
    }

    pub(super) fn unsupported(&self) -> Problem {
        format!("The locale '{}' is not supported yet for this format", self.language)
    }

    /// The first day of the week, from Monday as 0, and how many days the first week of a year has at least. Without a country those
    /// of the United States.
    pub(super) fn week(&self) -> (u32, u32) {
        match self.country.as_str() {
            "" | "US" | "CA" | "MX" | "BR" | "JP" | "KR" | "IN" | "TW" | "HK" | "IL" | "ZA" | "CO" | "PE" | "VE"
            | "SG" | "TH" | "PH" => (6, 1),
            "PT" => (6, 4),
            "AT" | "BE" | "BG" | "CH" | "CZ" | "DE" | "DK" | "EE" | "ES" | "FI" | "FR" | "GB" | "GR" | "HU" | "IE"
            | "IS" | "IT" | "LT" | "LU" | "NL" | "NO" | "PL" | "RU" | "SE" | "SK" => (0, 4),
            _ => (0, 1),
        }
    }

    pub(super) fn words(&self) -> Result<&'static Words, Problem> {
        match self.language.as_str() {
            "en" => Ok(&ENGLISH),
            "fr" => Ok(&FRENCH),
            "de" => Ok(&GERMAN),
            "es" => Ok(&SPANISH),
            "it" => Ok(&ITALIAN),
            "nl" => Ok(&DUTCH),
            "pt" => Ok(&PORTUGUESE),
            _ => Err(self.unsupported()),
        }
    }
}

static ENGLISH: Words = Words {
    months: [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    short_months: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    days: ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    short_days: ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
    halves: ["AM", "PM"],
};

static FRENCH: Words = Words {
    months: [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
    short_months: ["janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."],
    days: ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
    short_days: ["lun.", "mar.", "mer.", "jeu.", "ven.", "sam.", "dim."],
    halves: ["AM", "PM"],
};

static GERMAN: Words = Words {
    months: [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
    short_months: ["Jan.", "Feb.", "März", "Apr.", "Mai", "Juni", "Juli", "Aug.", "Sept.", "Okt.", "Nov.", "Dez."],
    days: ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"],
    short_days: ["Mo.", "Di.", "Mi.", "Do.", "Fr.", "Sa.", "So."],
    halves: ["AM", "PM"],
};

static SPANISH: Words = Words {
    months: [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
    short_months: ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sept", "oct", "nov", "dic"],
    days: ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"],
    short_days: ["lun", "mar", "mié", "jue", "vie", "sáb", "dom"],
    halves: ["a.\u{a0}m.", "p.\u{a0}m."],
};

static ITALIAN: Words = Words {
    months: [
        "gennaio",
        "febbraio",
        "marzo",
        "aprile",
        "maggio",
        "giugno",
        "luglio",
        "agosto",
        "settembre",
        "ottobre",
        "novembre",
        "dicembre",
    ],
    short_months: ["gen", "feb", "mar", "apr", "mag", "giu", "lug", "ago", "set", "ott", "nov", "dic"],
    days: ["lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato", "domenica"],
    short_days: ["lun", "mar", "mer", "gio", "ven", "sab", "dom"],
    halves: ["AM", "PM"],
};

static DUTCH: Words = Words {
    months: [
        "januari",
        "februari",
        "maart",
        "april",
        "mei",
        "juni",
        "juli",
        "augustus",
        "september",
        "oktober",
        "november",
        "december",
    ],
    short_months: ["jan", "feb", "mrt", "apr", "mei", "jun", "jul", "aug", "sep", "okt", "nov", "dec"],
    days: ["maandag", "dinsdag", "woensdag", "donderdag", "vrijdag", "zaterdag", "zondag"],
    short_days: ["ma", "di", "wo", "do", "vr", "za", "zo"],
    halves: ["a.m.", "p.m."],
};

static PORTUGUESE: Words = Words {
    months: [
        "janeiro",
        "fevereiro",
        "março",
        "abril",
        "maio",
        "junho",
        "julho",
        "agosto",
        "setembro",
        "outubro",
        "novembro",
        "dezembro",
    ],
    short_months: ["jan.", "fev.", "mar.", "abr.", "mai.", "jun.", "jul.", "ago.", "set.", "out.", "nov.", "dez."],
    days: ["segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado", "domingo"],
    short_days: ["seg.", "ter.", "qua.", "qui.", "sex.", "sáb.", "dom."],
    halves: ["AM", "PM"],
};
