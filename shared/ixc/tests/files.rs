//! Files for import: forms, encodings, bad lines, duplicates, bounds.

use proptest::prelude::*;
use regua_domain::ids::CustomerId;
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::money::Centavos;
use regua_ixc::files::{Entry, FileError, FileOptions, Note, Parsed, parse_customers, parse_invoices};
use std::io::{Cursor, Read, Seek, SeekFrom};

fn options() -> FileOptions {
    FileOptions::named("test.csv")
}

fn customers(bytes: &[u8]) -> Result<Parsed<Customer, Cursor<&[u8]>>, FileError> {
    parse_customers(Cursor::new(bytes), &options())
}

fn invoices(bytes: &[u8]) -> Result<Parsed<Invoice, Cursor<&[u8]>>, FileError> {
    parse_invoices(Cursor::new(bytes), &options())
}

/// What a file says: its rows, its problems and its notes as people read them.
fn told<T: regua_ixc::files::FileRecord, R: Read + Seek>(parsed: Parsed<T, R>) -> (Vec<T>, Vec<String>, Vec<String>) {
    let (mut rows, mut problems, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for entry in parsed {
        match entry.expect("a readable file") {
            Entry::Row { row, .. } => rows.push(row),
            Entry::Bad(problem) => problems.push(problem.to_string()),
            Entry::Note(note) => notes.push(note.to_string()),
        }
    }
    (rows, problems, notes)
}

const INVOICES: &str = "\
id;id_cliente;valor;valor_aberto;data_emissao;data_vencimento;status;id_carteira_cobranca;filial_id;id_contrato;status_contrato;liberado;tipo_recebimento;linha_digitavel;pix_copia_e_cola;link_pagamento;pagamento_data
1;2;1.234,56;1.234,56;01/11/2026;24/11/2026;A;5;1;9;A;S;Boleto;00190.50095 40144.816069 06809.350314 3 37370000000100;00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-4266554400005204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***63041D3D;https://pay.example/1;
3;2;10.00;;2026-11-01;2026-11-24;R;5;1;0;;S;Pix;;;;2026-11-20
";

#[test]
fn the_columns_of_the_interface_are_read_in_both_forms() {
    let (rows, problems, notes) = told(invoices(INVOICES.as_bytes()).expect("a header"));
    assert_eq!((problems, notes), (vec![], vec![]));
    let [first, second] = &rows[..] else { panic!("two rows") };
    assert_eq!((first.amount, first.open_amount, first.status), (Centavos(123_456), Centavos(123_456), InvoiceStatus::Open));
    assert_eq!(
        (first.due_on.to_string(), first.issued_on.map(|day| day.to_string())),
        ("2026-11-24".into(), Some("2026-11-01".into()))
    );
    assert_eq!(
        (first.pix_code.as_str(), first.payment_link.as_str(), first.contract_status.as_str()),
        (
            "00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-4266554400005204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***63041D3D",
            "https://pay.example/1",
            "A"
        )
    );
    assert!(first.is_open());
    assert_eq!((second.amount, second.open_amount, second.contract_id.as_str()), (Centavos(1000), Centavos(0), ""));
    assert_eq!(second.paid_on.map(|day| day.to_string()).as_deref(), Some("2026-11-20"));
}

#[test]
fn the_same_columns_as_json_lines_give_the_same_rows() {
    let json = r#"{"id": 1, "id_cliente": "2", "valor": 1234.56, "valor_aberto": "1.234,56", "data_emissao": "01/11/2026", "data_vencimento": "2026-11-24", "status": "A", "id_carteira_cobranca": 5, "filial_id": 1, "id_contrato": 9, "status_contrato": "A", "liberado": true, "tipo_recebimento": "Boleto", "linha_digitavel": "00190.50095 40144.816069 06809.350314 3 37370000000100", "pix_copia_e_cola": "00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-4266554400005204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***63041D3D", "link_pagamento": "https://pay.example/1", "pagamento_data": null}

{"id": "3", "id_cliente": 2, "valor": "10.00", "data_emissao": "2026-11-01", "data_vencimento": "24/11/2026", "status": "R", "id_carteira_cobranca": "5", "filial_id": "1", "id_contrato": "0", "liberado": "S", "tipo_recebimento": "Pix", "pagamento_data": "2026-11-20"}"#;
    let (rows, problems, notes) = told(invoices(json.as_bytes()).expect("objects"));
    assert_eq!((problems, notes), (vec![], vec![]));
    assert_eq!(rows, told(invoices(INVOICES.as_bytes()).expect("a header")).0);
}

#[test]
fn encodings_and_delimiters_are_detected() {
    let utf8 = "id;razao;whatsapp;cidade\n1;José da Conceição;49 99999-0000;Chapecó\n";
    let latin: Vec<u8> = utf8.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect();
    let marked = [b"\xef\xbb\xbf".as_slice(), utf8.as_bytes()].concat();
    let commas = utf8.replace(';', ",").replace('\n', "\r\n");
    for bytes in [utf8.as_bytes(), &latin, &marked, commas.as_bytes()] {
        let (rows, problems, _) = told(customers(bytes).expect("a header"));
        assert_eq!((rows.len(), problems.len()), (1, 0));
        assert_eq!((rows[0].name.as_str(), rows[0].city.as_str()), ("José da Conceição", "Chapecó"));
    }
}

#[test]
fn the_header_may_be_in_any_order_and_case() {
    let text = "\"WhatsApp\"; RAZAO ;num_dias_cob;ID;participa_cobranca;participa_pre_cobranca\n;Ana;3;7;;N\n";
    let (rows, _, notes) = told(customers(text.as_bytes()).expect("a header"));
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!((rows[0].id.clone(), rows[0].days_before_collection), (CustomerId("7".into()), 3));
    assert!(!rows[0].takes_part_in_collection && !rows[0].takes_part_in_pre_due);
}

#[track_caller]
fn check_refused(bytes: &[u8], message: &str) {
    let error = customers(bytes).err().expect("a file that can't be read");
    assert_eq!(error.to_string(), message);
}

#[test]
fn a_file_that_cannot_be_read_at_all_is_one_clear_error() {
    check_refused(b"", "test.csv is empty; expected a header with the ERP's column names, or JSON Lines");
    check_refused(b"\n \r\n", "test.csv is empty; expected a header with the ERP's column names, or JSON Lines");
    check_refused(
        b"razao;uf\nAna;SC",
        "test.csv, line 1: the header has 2 columns, but not id, telefone_celular or whatsapp; expected the ERP's own column names",
    );
    check_refused(
        b"1;Ana Maria;49 9999",
        "test.csv, line 1: the header has 3 columns, but not id, razao, telefone_celular or whatsapp; expected the ERP's own column names",
    );
    check_refused(b"\nid;razao;whatsapp;ID\n", "test.csv, line 2: the header has the column id twice; leave one");
    check_refused(
        b"[{\"id\":1}]",
        "test.csv is one JSON list; expected JSON Lines: one object per line, without brackets and commas around them",
    );
    let not_text = "test.csv is not text in UTF-8 or Windows-1252 (UTF-16, or a spreadsheet?); save it as CSV in UTF-8";
    check_refused(b"\xff\xfei\0d\0", not_text);
    check_refused(b"PK\x03\x04\0\0", not_text);
}

#[test]
fn each_bad_line_has_one_message_with_line_column_shape_and_expectation() {
    let text = "id;id_cliente;valor;data_vencimento;status;liberado;valor_aberto
1;2;10,00;24/11/2026;A;S;10,00
2;2;1.234;24/11/2026;A;S;10,00
3;2;10,00;31/02/2026;A;S;10,00
4;2;10,00;24/11/2026;aberto;S;10,00
5;2;10,00;24/11/2026
;2;10,00;24/11/2026;A;S;10,00
7;2;10,00;24/11/2026;P;S;
8;2;10,00;;A;S;10,00
9;2;10,00;24/11/2026;A;S;10,00;;
10;2;10,00;24/11/2026;A;S;10,00;x
\"11;2;10,00;24/11/2026;A;S;10,00
12;2;10,00;24/11/2026;A;talvez;10,00
13;2;10,00;24/11/2026;A;S;10,00
";
    let (rows, problems, _) = told(invoices(text.as_bytes()).expect("a header"));
    let ids: Vec<&str> = rows.iter().map(|invoice| invoice.id.0.as_str()).collect();
    assert_eq!(ids, ["1", "9", "13"]);
    assert_eq!(
        problems,
        [
            "test.csv, line 3: valor is `9.999`, expected money whose cents are told, as 1234.00 or 1.234,00: one mark before three digits may mean either",
            "test.csv, line 4: data_vencimento is `99/99/9999`, expected a date as YYYY-MM-DD or DD/MM/YYYY",
            "test.csv, line 5: status is `aaaaaa`, expected A (open), P (partial), R (received) or C (cancelled)",
            "test.csv, line 6: found 4 fields, expected 7, as in the header",
            "test.csv, line 7: id is empty, expected 1 to 64 letters, digits, points, dashes or underscores, not 0",
            "test.csv, line 8: valor_aberto is empty, expected what is still owed of a partly paid title",
            "test.csv, line 9: data_vencimento is empty, expected the due date",
            "test.csv, line 11: found 8 fields, expected 7, as in the header",
            "test.csv, line 12: found a quote that is not closed within 64 lines or 65536 bytes, expected a closing quote, and quotes inside quotes written twice",
            "test.csv, line 13: liberado is `aaaaaa`, expected S, N or empty",
        ]
    );
}

#[test]
fn bad_json_lines_are_told_one_by_one_and_repeat_nothing() {
    let text = "{\"id\":1,\"razao\":\"Ana\"}\n{\"id\":2,\"razao\":\"segredo\"\n7\n{\"razao\":\"Eva\"}\n{\"id\":4,\"razao\":[]}\n{\"id\":5,\"razao\":\"Lia\"} x\n{\"id\":6,\"razao\":\"Bia\"}";
    let (rows, problems, _) = told(customers(text.as_bytes()).expect("objects"));
    assert_eq!(rows.len(), 2);
    assert_eq!(
        problems,
        [
            "test.csv, line 2: found no JSON object (unreadable at column 25), expected one JSON object per line",
            "test.csv, line 3: found no JSON object (unreadable at column 1), expected one JSON object per line",
            "test.csv, line 4: id is absent, expected 1 to 64 letters, digits, points, dashes or underscores, not 0",
            "test.csv, line 5: razao is a list, expected a scalar",
            "test.csv, line 6: found no JSON object (unreadable at column 24), expected one JSON object per line",
        ]
    );
}

#[test]
fn columns_that_are_not_read_are_named_once_and_never_kept() {
    let note = "columns that are not read: senha, obs (leave personal data out of the file: senha)";
    let delimited =
        "id;razao;whatsapp;senha;obs;participa_cobranca;participa_pre_cobranca\n1;Ana;;segredo;x;S;S\n2;Eva;;segredo;x;S;S\n";
    let object = r#"{"id":1,"razao":"Ana","senha":"segredo","obs":"x","participa_cobranca":"S","participa_pre_cobranca":"S"}"#;
    let objects = format!("{object}\n{object}");
    for text in [delimited, objects.as_str()] {
        let (rows, _, notes) = told(customers(text.as_bytes()).expect("a file"));
        assert_eq!(notes[0], format!("line 1: {note}"));
        assert!(!format!("{rows:?}{notes:?}").contains("segredo"));
        assert_eq!(notes.iter().filter(|told| told.contains("not read")).count(), 1);
    }
}

#[test]
fn what_an_absent_column_is_taken_for_is_told() {
    let wanted = [
        "there is no column liberado: every invoice is released",
        "there is no column valor_aberto: an open invoice owes all of its `valor`",
    ];
    let delimited = "id,id_cliente,valor,data_vencimento,status\n1,2,\"10,00\",2026-11-24,A\n";
    let object = r#"{"id":1,"id_cliente":2,"valor":"10,00","data_vencimento":"2026-11-24","status":"A"}"#;
    for text in [delimited, object] {
        let (rows, problems, notes) = told(invoices(text.as_bytes()).expect("a file"));
        assert_eq!((notes, problems), (wanted.map(str::to_owned).to_vec(), vec![]));
        assert!(rows[0].released && rows[0].open_amount == Centavos(1000));
    }
}

#[test]
fn the_later_line_of_an_id_wins_with_a_note() {
    let text = "id;razao;whatsapp\n1;Ana;\n2;Eva;\n1;Ana Maria;\n";
    let mut parsed = customers(text.as_bytes()).expect("a header");
    let batch = parsed.next_batch(100).expect("a readable file").expect("rows");
    let names: Vec<&str> = batch.rows.iter().map(|customer| customer.name.as_str()).collect();
    assert_eq!(names, ["Ana Maria", "Eva"]);
    assert!(batch.notes.contains(&Note::DuplicateId { line: 4, id: "1".into() }));
    assert!(parsed.next_batch(100).expect("a readable file").is_none());

    let (rows, _, notes) = told(customers(text.as_bytes()).expect("a header"));
    assert_eq!((rows.len(), rows[2].name.as_str()), (3, "Ana Maria"));
    assert_eq!(notes.last().map(String::as_str), Some("line 4: id 1 was there before; this later line wins"));
}

#[test]
fn too_many_records_end_the_file() {
    let text = "id;razao;whatsapp\n1;Ana;\n2;Eva;\n3;Lia;\n";
    let options = FileOptions { rows_max: 2, ..options() };
    let entries: Vec<_> = parse_customers(Cursor::new(text), &options).expect("a header").collect();
    assert!(matches!(entries.last(), Some(Err(FileError::TooManyRows { rows_max: 2, .. }))));
    assert_eq!(entries.iter().filter(|entry| matches!(entry, Ok(Entry::Row { .. }))).count(), 2);
}

/// A file of any size that is nowhere in memory: its lines are written as they are read.
struct Endless {
    next: u64,
    rows: u64,
    line: Cursor<Vec<u8>>,
}

impl Endless {
    fn line(&self) -> Vec<u8> {
        match self.next {
            0 => b"id;razao;whatsapp;participa_cobranca;participa_pre_cobranca\n".to_vec(),
            n => format!("{n};Cliente {n};(49) 99999-{:04};S;S\n", n % 10_000).into_bytes(),
        }
    }
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.line.read(buffer)?;
        if read > 0 || self.next > self.rows {
            return Ok(read);
        }
        self.line = Cursor::new(self.line());
        self.next += 1;
        self.line.read(buffer)
    }
}

impl Seek for Endless {
    fn seek(&mut self, place: SeekFrom) -> std::io::Result<u64> {
        assert_eq!(place, SeekFrom::Start(0));
        *self = Self { next: 0, rows: self.rows, line: Cursor::default() };
        Ok(0)
    }
}

#[test]
fn a_long_file_is_read_in_bounded_batches() {
    let endless = Endless { next: 0, rows: 100_000, line: Cursor::default() };
    let mut parsed = parse_customers(endless, &options()).expect("a header");
    let mut rows = 0;
    while let Some(batch) = parsed.next_batch(1000).expect("a readable file") {
        assert!(batch.rows.len() <= 1000 && batch.problems.is_empty() && batch.notes.is_empty());
        rows += batch.rows.len();
    }
    assert_eq!(rows, 100_000);
}

/// A disk that fails in the middle of the second reading.
struct FailingDisk {
    bytes: Cursor<Vec<u8>>,
    rewinds: u32,
}

impl Read for FailingDisk {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.rewinds > 0 && self.bytes.position() > 0 {
            return Err(std::io::Error::other("bad sector"));
        }
        self.bytes.read(buffer)
    }
}

impl Seek for FailingDisk {
    fn seek(&mut self, place: SeekFrom) -> std::io::Result<u64> {
        self.rewinds += 1;
        self.bytes.seek(place)
    }
}

#[test]
fn a_disk_that_fails_ends_the_file_with_an_error() {
    let lines: Vec<String> = (1..=2000).map(|id| format!("{id};Ana;")).collect();
    let text = format!("id;razao;whatsapp\n{}", lines.join("\n"));
    let disk = FailingDisk { bytes: Cursor::new(text.into_bytes()), rewinds: 0 };
    let entries: Vec<_> = parse_customers(disk, &options()).expect("a header").collect();
    assert!(matches!(entries.last(), Some(Err(FileError::Io { .. }))));
    assert!(entries.len() < 2000);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_end(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let lines = bytes.split(|byte| *byte == b'\n').count();
        for header in [&b""[..], b"id;razao;whatsapp\n", b"{}\n"] {
            let file = [header, &bytes].concat();
            if let Ok(parsed) = customers(&file) {
                prop_assert!(parsed.count() <= 4 * lines + 8);
            }
        }
    }

    #[test]
    fn rows_survive_every_form(centavos in 0i64..10_000_000_000, days in 0i64..60_000, name in "[A-Za-zÀ-ÿ][A-Za-zÀ-ÿ;,\" ]{0,30}[a-z]") {
        let day = chrono::NaiveDate::from_ymd_opt(1990, 1, 1).expect("a date") + chrono::TimeDelta::days(days);
        let quoted = name.replace('"', "\"\"");
        let row = format!("id;id_cliente;documento;valor;status;data_vencimento\n1;2;\"{quoted}\";{},{:02};A;{}\n", centavos / 100, centavos % 100, day.format("%d/%m/%Y"));
        let (rows, problems, _) = told(invoices(row.as_bytes()).expect("a header"));
        prop_assert_eq!(problems, Vec::<String>::new());
        prop_assert_eq!((&rows[0].number, rows[0].amount, rows[0].due_on), (&name, Centavos(centavos), day));
    }
}
