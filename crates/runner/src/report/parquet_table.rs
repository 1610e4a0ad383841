//! A table as Parquet: one line per row and metric, with the columns of the CSV.
//!
//! Text is stored as plain UTF-8 strings, which every reader can filter and sort.

use super::export::{Number, NumberTable};
use anyhow::{Context, Result};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::sync::Arc;

const SCHEMA: &str = "message table {
    required binary experiment (UTF8);
    required binary method (UTF8);
    required binary source (UTF8);
    required binary metric (UTF8);
    required double mean;
    optional double std;
    optional int32 n (INTEGER(32, false));
    optional double ci95;
    optional binary note (UTF8);
}";

/// Writes the next column of the schema. `values` holds one entry per line, `None` for a hole.
fn write_optional<T: DataType>(
    group: &mut SerializedRowGroupWriter<&mut Vec<u8>>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<()> {
    let (mut present, mut levels) = (Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(value.is_some()));
        present.extend(value);
    }
    write_column::<T>(group, &present, Some(&levels))
}

/// Writes the next column of the schema, which has a value on every line.
fn write_text<'a>(
    group: &mut SerializedRowGroupWriter<&mut Vec<u8>>,
    values: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let values: Vec<ByteArray> = values.map(ByteArray::from).collect();
    write_column::<ByteArrayType>(group, &values, None)
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<&mut Vec<u8>>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<()> {
    let mut column = group
        .next_column()?
        .context("more columns than the schema")?;
    column.typed::<T>().write_batch(values, levels, None)?;
    Ok(column.close()?)
}

fn write_columns(
    group: &mut SerializedRowGroupWriter<&mut Vec<u8>>,
    experiment: &str,
    numbers: &[Number],
) -> Result<()> {
    write_text(group, numbers.iter().map(|_| experiment))?;
    write_text(
        group,
        numbers.iter().map(|number| number.row.method.as_str()),
    )?;
    write_text(group, numbers.iter().map(|number| number.row.source.name()))?;
    write_text(group, numbers.iter().map(|number| number.metric))?;
    let means: Vec<f64> = numbers.iter().map(|number| number.cell.mean).collect();
    write_column::<DoubleType>(group, &means, None)?;
    write_optional::<DoubleType>(group, numbers.iter().map(|number| number.cell.std))?;
    let counts = numbers.iter().map(|number| number.cell.n);
    // Parquet stores an unsigned 32-bit number in the bits of a signed one.
    write_optional::<Int32Type>(group, counts.map(|n| n.map(u32::cast_signed)))?;
    write_optional::<DoubleType>(group, numbers.iter().map(|number| number.cell.ci95))?;
    let notes = numbers.iter().map(|number| number.note);
    write_optional::<ByteArrayType>(group, notes.map(|note| note.map(ByteArray::from)))
}

/// The bytes of a Parquet file with one row group.
///
/// # Errors
/// The writer refuses the columns.
pub fn to_parquet(table: &NumberTable) -> Result<Vec<u8>> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    write_columns(&mut group, table.experiment, &table.numbers())?;
    group.close()?;
    writer.close()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::table::{Cell, CellNote, Origin, TableRow};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;
    use std::collections::BTreeMap;
    use std::io::Write;

    #[test]
    fn parquet_holds_one_line_per_number() {
        let cell = Cell {
            mean: 3.5,
            n: Some(1),
            note: Some(CellNote::Machine(0)),
            ..Cell::default()
        };
        let metrics = BTreeMap::from([("l2".to_string(), cell)]);
        let rows = [TableRow {
            method: "A".into(),
            source: Origin::Ours,
            metrics,
        }];
        let table = NumberTable {
            experiment: "t",
            rows: &rows,
            machines: &["M".to_string()],
        };
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&to_parquet(&table).unwrap()).unwrap();
        let rows: Vec<_> = SerializedFileReader::new(file)
            .unwrap()
            .get_row_iter(None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!(row.get_string(1).unwrap(), "A");
        assert_eq!(row.get_string(3).unwrap(), "l2");
        assert_eq!(row.get_double(4).unwrap(), 3.5);
        assert!(row.get_double(5).is_err(), "a hole is no number");
        assert_eq!(row.get_uint(6).unwrap(), 1);
        assert_eq!(row.get_string(8).unwrap(), "M");
    }
}
