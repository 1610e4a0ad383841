//! CSV files as programs and people save them: with commas, semicolons or tabs, with or without a
//! byte order mark.

use crate::error::invalid_input;
use anyhow::Result;
use csv::{DeserializeErrorKind, ErrorKind, StringRecord};
use egsde_data::files::read_text;
use egsde_data::nearest::offer_path;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Largest file.
const MAX_FILE: u64 = 64 << 20;

/// Signs that may stand between fields, the usual one first.
const DELIMITERS: [char; 3] = [',', ';', '\t'];

/// One record and the line on which it stands, from 1.
#[derive(Debug)]
pub struct Record<T> {
    /// The line in the file.
    pub line: u64,
    /// Its fields by their headings.
    pub fields: T,
}

/// The text of a CSV file.
///
/// # Errors
/// Invalid input: the file cannot be read, is too large or no text; the nearest name is offered.
pub fn csv_text(path: &Path) -> Result<String> {
    read_text(path, MAX_FILE)
        .map_err(|error| invalid_input(format!("{error:#}{}", offer_path(path))))
}

/// The sign between fields: the one that the headings have most of.
fn delimiter(text: &str) -> u8 {
    let headings = text.lines().next().unwrap_or_default();
    let count = |sign: &char| headings.matches(*sign).count();
    // Where counts are equal, the first sign is taken: `max_by_key` would take the last.
    let signs = DELIMITERS.iter().rev();
    signs
        .max_by_key(|sign| count(sign))
        .map_or(b',', |c| *c as u8)
}

/// What is wrong with a record, in words.
fn mistake(error: &csv::Error, headings: &StringRecord) -> String {
    match error.kind() {
        ErrorKind::Deserialize { err, .. } => {
            let column = err
                .field()
                .and_then(|field| headings.get(field as usize))
                .map_or(String::new(), |name| format!("column `{name}`: "));
            let reason = match err.kind() {
                DeserializeErrorKind::ParseInt(_) => "expected a whole number".to_string(),
                DeserializeErrorKind::ParseFloat(_) => {
                    "expected a number, with a point before its decimals".to_string()
                }
                DeserializeErrorKind::ParseBool(_) => "expected true or false".to_string(),
                DeserializeErrorKind::UnexpectedEndOfRow => "the line ends too early".to_string(),
                other => other.to_string().replace("unknown variant", "unknown name"),
            };
            format!("{column}{reason}")
        }
        ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("{len} fields, the headings are {expected_len}"),
        _ => error.to_string(),
    }
}

/// The records of a CSV text; `path` names it in errors.
///
/// # Errors
/// Invalid input: a line in another format, with its number and column.
pub fn parse_csv<T: DeserializeOwned>(text: &str, path: &Path) -> Result<Vec<Record<T>>> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(text))
        .from_reader(text.as_bytes());
    let headings = reader.headers().cloned().unwrap_or_default();
    let at = path.display();
    let mut records = Vec::new();
    for record in reader.records() {
        let read = record.and_then(|record| {
            let line = record.position().map_or(0, csv::Position::line);
            let fields = record.deserialize(Some(&headings))?;
            Ok(Record { line, fields })
        });
        records.push(read.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            invalid_input(format!("{at}:{line}: {}", mistake(&error, &headings)))
        })?);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    struct Fields {
        name: String,
        value: f64,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its mistakes are looked at")]
    struct Side {
        answer: Answer,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Answer {
        Left,
    }

    fn parse(text: &str) -> Result<Vec<Record<Fields>>> {
        parse_csv(text, Path::new("a.csv"))
    }

    #[test]
    fn every_usual_sign_between_fields_is_read() {
        for text in [
            "name,value\na,1.5\n",
            "name;value\na;1.5\n",
            "name\tvalue\na\t1.5",
        ] {
            let records = parse(text).unwrap();
            let Record { line, fields } = &records[0];
            assert_eq!((*line, fields.name.as_str(), fields.value), (2, "a", 1.5));
        }
    }

    #[test]
    fn a_mistake_names_line_and_column() {
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(
            refused("name,value\na,1\nb,x\n"),
            "a.csv:3: column `value`: expected a number, with a point before its decimals"
        );
        assert_eq!(
            refused("name;value\na;1;2\n"),
            "a.csv:2: 3 fields, the headings are 2"
        );
        assert!(refused("name\na\n").contains("missing field `value`"));
        let side = parse_csv::<Side>("answer\nup\n", Path::new("a.csv"));
        let error = side.unwrap_err().to_string();
        assert_eq!(error, "a.csv:2: unknown name `up`, expected `left`");
    }
}
