//! Files as rows: delimited text, JSON (lines or one array) and Parquet, one row at a time.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use encoding_rs::{Decoder, Encoding};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::ImportError;
use super::input::{Caps, Input, Meter, Opened, read_all};
use crate::progress::Progress;

/// One value as a source gives it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// UTC milliseconds.
    Time(i64),
    List(Vec<Cell<'a>>),
}

/// One row of any format.
#[derive(Debug)]
pub(crate) enum Row<'a> {
    Fields(&'a csv::StringRecord),
    Json(&'a Value),
    Cells(&'a [Cell<'static>]),
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Delimited text.
    Csv,
    /// One JSON object per line, or one array of objects.
    Json,
    /// Apache Parquet.
    Parquet,
}

/// How to read a file's rows.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) format: Format,
    /// One or more characters between fields.
    pub(crate) delimiter: String,
    pub(crate) quote: Option<u8>,
    pub(crate) header: bool,
    pub(crate) encoding: &'static Encoding,
    /// Lines before the header or the first row.
    pub(crate) skip_rows: u64,
}

/// What the row callback wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    Stop,
}

/// Receives the header, then every row: its 1-based number and its content, or why it has none.
pub(crate) trait RowSink {
    fn header(&mut self, names: &[String]) -> Result<(), ImportError>;
    fn row(&mut self, number: u64, row: Result<Row<'_>, BadRow>) -> Result<Flow, ImportError>;
}

/// A record that is not a row.
#[derive(Debug)]
pub(crate) struct BadRow {
    pub(crate) message: String,
    pub(crate) raw: String,
}

impl Row<'_> {
    /// The value of a column by resolved index or, for JSON, by name; a dotted name goes down.
    pub(crate) fn get(&self, name: &str, index: Option<usize>) -> Cell<'_> {
        match self {
            Self::Fields(record) => match index.and_then(|i| record.get(i)) {
                Some(text) => Cell::Text(Cow::Borrowed(text)),
                None => Cell::Null,
            },
            Self::Cells(cells) => index.and_then(|i| cells.get(i)).cloned().unwrap_or(Cell::Null),
            Self::Json(value) => json_path(value, name).map_or(Cell::Null, json_cell),
        }
    }

    /// Number of fields; 0 for JSON, whose fields have no order.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Fields(record) => record.len(),
            Self::Cells(cells) => cells.len(),
            Self::Json(_) => 0,
        }
    }

    /// The row as text for the rejects file.
    pub(crate) fn raw(&self) -> String {
        match self {
            Self::Fields(record) => record.iter().collect::<Vec<_>>().join("\t"),
            Self::Json(value) => value.to_string(),
            Self::Cells(cells) => cells.iter().map(|c| format!("{c:?}")).collect::<Vec<_>>().join("\t"),
        }
    }
}

fn json_path<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    if let Some(found) = value.get(name) {
        return Some(found);
    }
    let (head, rest) = name.split_once('.')?;
    json_path(value.get(head)?, rest)
}

fn json_cell(value: &Value) -> Cell<'_> {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(b) => Cell::Bool(*b),
        Value::Number(n) => {
            n.as_i64().map(Cell::Int).or_else(|| n.as_f64().map(Cell::Float)).unwrap_or(Cell::Null)
        }
        Value::String(s) => Cell::Text(Cow::Borrowed(s)),
        Value::Array(values) => Cell::List(values.iter().map(json_cell).collect()),
        Value::Object(_) => Cell::Text(Cow::Owned(value.to_string())),
    }
}

/// Reads every row of an input.
pub(crate) fn each_row(
    input: &Input,
    layout: &Layout,
    caps: &Caps,
    progress: &dyn Progress,
    sink: &mut dyn RowSink,
) -> Result<(), ImportError> {
    input.open(caps, progress, |opened| {
        check_content(input, layout.format, &opened.head)?;
        match layout.format {
            Format::Csv if layout.delimiter.len() == 1 => csv_rows(input, layout, caps, opened, sink),
            Format::Csv => line_rows(input, layout, caps, opened, sink),
            Format::Json => json_rows(input, layout, caps, opened, sink),
            Format::Parquet => parquet_rows(input, caps, opened, sink),
        }
    })
}

/// Refuses content that plainly is another format.
fn check_content(input: &Input, format: Format, head: &[u8]) -> Result<(), ImportError> {
    let wrong = |name_says: &str, found: &str| {
        Err(ImportError::NotWhatItSays {
            file: input.label.clone(),
            name_says: name_says.into(),
            found: found.into(),
        })
    };
    let is_parquet = head.starts_with(b"PAR1");
    let is_utf16 = head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]);
    match format {
        Format::Parquet if !is_parquet => wrong("Parquet", "something else"),
        Format::Csv | Format::Json if is_parquet => wrong("text", "Parquet"),
        Format::Csv | Format::Json if !is_utf16 && head.contains(&0) => {
            wrong("text", "binary: it has a zero byte in its first 64 KiB")
        }
        Format::Json => {
            match head.iter().find(|b| !b.is_ascii_whitespace() && !b"\xef\xbb\xbf".contains(b)) {
                Some(b'{' | b'[') | None => Ok(()),
                Some(_) if is_utf16 => Ok(()),
                Some(_) => wrong("JSON", "text that begins with neither `{` nor `[`"),
            }
        }
        _ => Ok(()),
    }
}

/// Turns text of any encoding into UTF-8 and fails at the first byte that is not of it.
struct Transcoder<R> {
    inner: R,
    decoder: Decoder,
    pending: Vec<u8>,
    out: Vec<u8>,
    out_at: usize,
    is_done: bool,
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        while self.out_at == self.out.len() {
            if self.is_done {
                return Ok(0);
            }
            let mut chunk = [0_u8; 16 << 10];
            let n = self.inner.read(&mut chunk)?;
            self.pending.extend_from_slice(&chunk[..n]);
            let last = n == 0;
            self.out.resize(self.pending.len() * 3 + 16, 0);
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(&self.pending, &mut self.out, last);
            if let encoding_rs::DecoderResult::Malformed(..) = result {
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "not of the encoding"));
            }
            self.pending.drain(..read);
            self.out.truncate(written);
            self.out_at = 0;
            self.is_done = last;
        }
        let n = buf.len().min(self.out.len() - self.out_at);
        buf[..n].copy_from_slice(&self.out[self.out_at..self.out_at + n]);
        self.out_at += n;
        Ok(n)
    }
}

/// Text as UTF-8: a byte-order mark decides, then the stated encoding.
fn text_reader<'a>(
    opened: Opened<'a>,
    encoding: &'static Encoding,
) -> (Box<dyn Read + 'a>, Meter, &'static Encoding) {
    let (encoding, n_mark) = Encoding::for_bom(&opened.head).unwrap_or((encoding, 0));
    let mut reader = opened.reader;
    let mut mark = vec![0; n_mark];
    // The mark is in the head, so this cannot run short.
    let _ = reader.read_exact(&mut mark);
    if encoding == encoding_rs::UTF_8 {
        return (reader, opened.meter, encoding);
    }
    let transcoder = Transcoder {
        inner: reader,
        decoder: encoding.new_decoder_without_bom_handling(),
        pending: Vec::new(),
        out: Vec::new(),
        out_at: 0,
        is_done: false,
    };
    (Box::new(transcoder), opened.meter, encoding)
}

/// Maps read errors of text: encoding, caps, damage.
struct TextErrors<'a> {
    input: &'a Input,
    caps: &'a Caps,
    meter: Meter,
    encoding: &'static Encoding,
}

impl TextErrors<'_> {
    fn io(&self, e: &std::io::Error) -> ImportError {
        if e.kind() == std::io::ErrorKind::InvalidData && e.to_string() == "not of the encoding" {
            return self.encoding(self.meter.offset());
        }
        self.meter.failed(self.input, self.caps, "text to the end of the file", e)
    }

    fn encoding(&self, offset: u64) -> ImportError {
        ImportError::Encoding {
            file: self.input.label.clone(),
            offset,
            encoding: self.encoding.name().to_owned(),
        }
    }
}

fn csv_rows(
    input: &Input,
    layout: &Layout,
    caps: &Caps,
    opened: Opened<'_>,
    sink: &mut dyn RowSink,
) -> Result<(), ImportError> {
    let (reader, meter, encoding) = text_reader(opened, layout.encoding);
    let errors = TextErrors { input, caps, meter: meter.clone(), encoding };
    let mut builder = csv::ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(layout.delimiter.as_bytes()[0]);
    match layout.quote {
        Some(quote) => builder.quote(quote),
        None => builder.quoting(false),
    };
    let mut reader = builder.from_reader(reader);
    let mut bytes = csv::ByteRecord::new();
    let mut to_skip = layout.skip_rows;
    let mut wants_header = layout.header;
    if !wants_header {
        sink.header(&[])?;
    }
    let mut number = 0;
    loop {
        let offset = reader.position().byte();
        match reader.read_byte_record(&mut bytes) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(e) => {
                return Err(match e.kind() {
                    csv::ErrorKind::Io(io) => errors.io(io),
                    _ => meter.failed(input, caps, "delimited text", &e),
                });
            }
        }
        meter.record_done();
        if to_skip > 0 {
            to_skip -= 1;
            continue;
        }
        let record = csv::StringRecord::from_byte_record(std::mem::take(&mut bytes))
            .map_err(|_| errors.encoding(offset))?;
        if wants_header {
            wants_header = false;
            let names: Vec<String> = record.iter().map(|n| n.trim().to_owned()).collect();
            sink.header(&names)?;
        } else {
            number += 1;
            if sink.row(number, Ok(Row::Fields(&record)))? == Flow::Stop {
                return Ok(());
            }
        }
        bytes = record.into_byte_record();
    }
}

/// Lines split at a delimiter of several characters, without quoting.
fn line_rows(
    input: &Input,
    layout: &Layout,
    caps: &Caps,
    opened: Opened<'_>,
    sink: &mut dyn RowSink,
) -> Result<(), ImportError> {
    let (reader, meter, encoding) = text_reader(opened, layout.encoding);
    let errors = TextErrors { input, caps, meter: meter.clone(), encoding };
    let mut lines = Lines { reader: BufReader::new(reader), offset: 0 };
    let mut to_skip = layout.skip_rows;
    let mut wants_header = layout.header;
    if !wants_header {
        sink.header(&[])?;
    }
    let mut number = 0;
    let mut line = Vec::new();
    while let Some(offset) = lines.next(&mut line).map_err(|e| errors.io(&e))? {
        meter.record_done();
        if to_skip > 0 {
            to_skip -= 1;
            continue;
        }
        let text = std::str::from_utf8(&line).map_err(|_| errors.encoding(offset))?;
        if text.is_empty() {
            continue;
        }
        let record = csv::StringRecord::from(text.split(layout.delimiter.as_str()).collect::<Vec<_>>());
        if wants_header {
            wants_header = false;
            let names: Vec<String> = record.iter().map(str::to_owned).collect();
            sink.header(&names)?;
        } else {
            number += 1;
            if sink.row(number, Ok(Row::Fields(&record)))? == Flow::Stop {
                return Ok(());
            }
        }
    }
    Ok(())
}

struct Lines<R> {
    reader: BufReader<R>,
    offset: u64,
}

impl<R: Read> Lines<R> {
    /// The next line without its end, and its offset.
    fn next(&mut self, line: &mut Vec<u8>) -> std::io::Result<Option<u64>> {
        line.clear();
        let offset = self.offset;
        let n = self.reader.read_until(b'\n', line)?;
        self.offset += n as u64;
        if n == 0 {
            return Ok(None);
        }
        while matches!(line.last(), Some(b'\n' | b'\r')) {
            line.pop();
        }
        Ok(Some(offset))
    }
}

fn json_rows(
    input: &Input,
    layout: &Layout,
    caps: &Caps,
    opened: Opened<'_>,
    sink: &mut dyn RowSink,
) -> Result<(), ImportError> {
    let first =
        opened.head.iter().find(|b| !b.is_ascii_whitespace() && !b"\xef\xbb\xbf\xff\xfe\x00".contains(b));
    let is_array = first == Some(&b'[');
    let (reader, meter, encoding) = text_reader(opened, layout.encoding);
    let errors = TextErrors { input, caps, meter: meter.clone(), encoding };
    sink.header(&[])?;
    let mut number = 0;
    let mut take = |bytes: &[u8], offset: u64| -> Result<Flow, ImportError> {
        meter.record_done();
        let text = std::str::from_utf8(bytes).map_err(|_| errors.encoding(offset))?;
        if text.trim().is_empty() {
            return Ok(Flow::Continue);
        }
        number += 1;
        let bad = |message: String| BadRow { message, raw: text.to_owned() };
        match serde_json::from_str::<Value>(text) {
            Ok(value) if value.is_object() => sink.row(number, Ok(Row::Json(&value))),
            Ok(_) => sink.row(number, Err(bad("not a JSON object".into()))),
            Err(e) => sink.row(number, Err(bad(format!("not JSON: {e}")))),
        }
    };
    let mut source = BufReader::new(reader);
    if is_array {
        let mut elements = Elements { reader: source, offset: 0, place: Place::Before };
        let mut element = Vec::new();
        loop {
            match elements.next(&mut element).map_err(|e| errors.io(&e))? {
                Next::Element(offset) => {
                    if take(&element, offset)? == Flow::Stop {
                        return Ok(());
                    }
                }
                Next::End => return Ok(()),
                Next::Broken(offset) => {
                    return Err(ImportError::Corrupt {
                        file: input.label.clone(),
                        offset,
                        detail: "the array is not closed; the file may be cut off".into(),
                        expected: "`]` at the end of the JSON array".into(),
                    });
                }
            }
        }
    }
    let mut line = Vec::new();
    let mut offset = 0;
    loop {
        line.clear();
        let n = source.read_until(b'\n', &mut line).map_err(|e| errors.io(&e))?;
        if n == 0 || take(&line, offset)? == Flow::Stop {
            return Ok(());
        }
        offset += n as u64;
    }
}

/// The elements of one JSON array as byte ranges, without holding the array.
struct Elements<R> {
    reader: BufReader<R>,
    offset: u64,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Inside,
    After,
}

enum Next {
    Element(u64),
    End,
    Broken(u64),
}

impl<R: Read> Elements<R> {
    fn next(&mut self, element: &mut Vec<u8>) -> std::io::Result<Next> {
        element.clear();
        if self.place == Place::After {
            return Ok(Next::End);
        }
        let (mut depth, mut in_string, mut is_escaped) = (0_u64, false, false);
        let mut start = self.offset;
        loop {
            let (mut used, mut done) = (0, None);
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                return Ok(Next::Broken(start));
            }
            for &byte in chunk {
                used += 1;
                if in_string {
                    element.push(byte);
                    match byte {
                        _ if is_escaped => is_escaped = false,
                        b'\\' => is_escaped = true,
                        b'"' => in_string = false,
                        _ => {}
                    }
                    continue;
                }
                match byte {
                    _ if self.place == Place::Before => {
                        if byte == b'[' {
                            self.place = Place::Inside;
                        }
                        start = self.offset + used as u64;
                    }
                    b',' if depth == 0 => done = Some(Next::Element(start)),
                    b']' if depth == 0 => {
                        self.place = Place::After;
                        let is_blank = element.iter().all(u8::is_ascii_whitespace);
                        done = Some(if is_blank { Next::End } else { Next::Element(start) });
                    }
                    _ => {
                        match byte {
                            b'{' | b'[' => depth += 1,
                            b'}' | b']' => depth = depth.saturating_sub(1),
                            b'"' => in_string = true,
                            _ => {}
                        }
                        element.push(byte);
                    }
                }
                if done.is_some() {
                    break;
                }
            }
            self.reader.consume(used);
            self.offset += used as u64;
            if let Some(next) = done {
                return Ok(next);
            }
        }
    }
}

fn parquet_rows(
    input: &Input,
    caps: &Caps,
    opened: Opened<'_>,
    sink: &mut dyn RowSink,
) -> Result<(), ImportError> {
    match input.as_plain_file(&opened.head) {
        Some(file) => {
            let builder = contained(|| ParquetRecordBatchReaderBuilder::try_new(file));
            parquet_batches(input, caps, builder, sink)
        }
        None => {
            let bytes = bytes::Bytes::from(read_all(input, opened, caps)?);
            let builder = contained(|| ParquetRecordBatchReaderBuilder::try_new(bytes));
            parquet_batches(input, caps, builder, sink)
        }
    }
}

/// Runs a step of the Parquet decoder and turns a panic of it into an error.
///
/// `parquet` 59 indexes out of bounds on some damaged pages (found by our fuzz test in its
/// byte-stream-split decoder). Nothing of ours runs inside, and the reader is dropped after the
/// error, so no broken state is seen.
fn contained<T, E: std::fmt::Display>(step: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(step)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("the decoder gave up on a damaged page".into()),
    }
}

fn parquet_batches<T: parquet::file::reader::ChunkReader + 'static>(
    input: &Input,
    caps: &Caps,
    builder: Result<ParquetRecordBatchReaderBuilder<T>, String>,
    sink: &mut dyn RowSink,
) -> Result<(), ImportError> {
    let corrupt = |offset: u64, e: &dyn std::fmt::Display| ImportError::Corrupt {
        file: input.label.clone(),
        offset,
        detail: e.to_string(),
        expected: "a whole Parquet file".into(),
    };
    let builder = builder.map_err(|e| corrupt(input.n_bytes, &e))?;
    let claimed: i64 =
        builder.metadata().row_groups().iter().fold(0, |n, g| n.saturating_add(g.total_byte_size().max(0)));
    let n_rows = builder.metadata().file_metadata().num_rows().unsigned_abs();
    // A run-length page can claim rows for no bytes at all, so rows are capped like bytes.
    let most = (16_u64 << 20).saturating_add(input.n_bytes.saturating_mul(caps.max_ratio));
    if claimed.unsigned_abs().max(n_rows) > most {
        return Err(ImportError::TooLarge {
            file: input.label.clone(),
            what: "the compression ratio",
            cap: caps.max_ratio,
            option: "max_ratio",
        });
    }
    let names: Vec<String> = builder.schema().fields().iter().map(|f| f.name().clone()).collect();
    let mut reader = contained(|| builder.with_batch_size(4_096).build()).map_err(|e| corrupt(0, &e))?;
    sink.header(&names)?;
    let mut number = 0;
    loop {
        // Turning values into cells belongs to the step: it meets damaged strings and decimals.
        let step = || reader.next().map(|batch| batch.map(|b| (b.num_rows(), cells(&b)))).transpose();
        let next = contained(step).map_err(|e| corrupt(0, &format!("after row {number}: {e}")))?;
        let Some((n_rows, columns)) = next else { return Ok(()) };
        let mut row = Vec::with_capacity(columns.len());
        for i in 0..n_rows {
            number += 1;
            row.clear();
            row.extend(columns.iter().map(|c| c[i].clone()));
            if sink.row(number, Ok(Row::Cells(&row)))? == Flow::Stop {
                return Ok(());
            }
        }
    }
}

fn cells(batch: &RecordBatch) -> Vec<Vec<Cell<'static>>> {
    batch.columns().iter().map(column_cells).collect()
}

/// The values of an Arrow column. Types without a cell of their own come as their display text.
fn column_cells(column: &ArrayRef) -> Vec<Cell<'static>> {
    use arrow::compute::cast;
    let target = match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, value) if matches!(**value, DataType::Utf8 | DataType::LargeUtf8) => {
            DataType::Utf8
        }
        t if t.is_integer() => DataType::Int64,
        t if t.is_floating() => DataType::Float64,
        DataType::Boolean => DataType::Boolean,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::List(_) => return list_cells(column),
        _ => return display_cells(column),
    };
    let Ok(column) = cast(column, &target) else { return display_cells(column) };
    let each = |f: &dyn Fn(usize) -> Cell<'static>| {
        (0..column.len()).map(|i| if column.is_null(i) { Cell::Null } else { f(i) }).collect()
    };
    use arrow::datatypes as t;
    match &target {
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            each(&|i| Cell::Text(Cow::Owned(values.value(i).to_owned())))
        }
        DataType::Int64 => {
            let values = column.as_primitive::<t::Int64Type>();
            each(&|i| Cell::Int(values.value(i)))
        }
        DataType::Float64 => {
            let values = column.as_primitive::<t::Float64Type>();
            each(&|i| Cell::Float(values.value(i)))
        }
        DataType::Boolean => {
            let values = column.as_boolean();
            each(&|i| Cell::Bool(values.value(i)))
        }
        _ => {
            let values = column.as_primitive::<t::TimestampMillisecondType>();
            each(&|i| Cell::Time(values.value(i)))
        }
    }
}

fn list_cells(column: &ArrayRef) -> Vec<Cell<'static>> {
    let lists = column.as_list::<i32>();
    (0..lists.len())
        .map(|i| if lists.is_null(i) { Cell::Null } else { Cell::List(column_cells(&lists.value(i))) })
        .collect()
}

fn display_cells(column: &ArrayRef) -> Vec<Cell<'static>> {
    let options = FormatOptions::default().with_null("");
    let Ok(formatter) = ArrayFormatter::try_new(column, &options) else {
        return vec![Cell::Null; column.len()];
    };
    (0..column.len())
        .map(|i| match formatter.value(i).try_to_string() {
            Ok(text) if !column.is_null(i) => Cell::Text(Cow::Owned(text)),
            _ => Cell::Null,
        })
        .collect()
}
